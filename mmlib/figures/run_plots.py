"""How runs go, and what a curriculum did: a run's curves, alpha through time, the actions taken, who descends from whom
(figures 5 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.analysis.curves import total_frames
from mmlib.figures.plots import legend_of_methods, logarithmic, seed_lines
from mmlib.figures.style import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    ORANGE,
    RULE,
    SOLID,
    VERMILLION,
    frame_axis,
    label,
    legend_below,
    sheet,
    style,
    styled,
)
from mmlib.runs.lineage import ancestry, best_member, history
from mmlib.runs.reader import Run

HYPERPARAMETERS = {"alpha": "α", "learning_rate": "learning rate", "entropy_cost": "entropy cost"}
PANELS = {"return": "episode return", "entropy": "entropy of the mixture (nats)", "alpha": "α"}
POINTS = 40  # of a curve, at most


@styled
def alpha_trajectories(runs: Mapping[str, Iterable[Run]], title: str = "") -> Figure:
    """alpha over environment frames (figures 5 left and 8): a colour a level, a dash pattern for each of its runs.

    It is drawn along the ancestry of each final member, the best one's thick.
    """
    figure = sheet(COLUMN, 2.5)
    axes = figure.add_subplot()
    names = []
    for (level, its), colour in zip(runs.items(), cycle((GREEN, VERMILLION, BLUE, ORANGE))):
        for run, dashes in zip(its, cycle((SOLID, (0, (2.5, 0.8)), ":"))):
            names.append(f"{level}, {'population' if run.config.get('pbt') else 'seed'} {run.seed}")
            thick, thin = {"lw": 1.6, "zorder": 3, "label": names[-1]}, {"lw": 0.7, "alpha": 0.6}
            metrics, best = run.metrics(), best_member(run)
            for member in sorted(set(metrics["member"])):
                look: Any = {"color": colour, "ls": dashes, **(thick if member == best else thin)}
                _steps(axes, history(run, member, "alpha"), float(metrics["frames"].max()), **look)
    axes.set(ylabel="α", ylim=(-0.03, 1.03), title=title)
    frame_axis(axes)
    if not names:
        axes.text(0.5, 0.5, "no run on disk", transform=axes.transAxes, ha="center")
    legend_below(figure, columns=1 if any(len(name) > 24 for name in names) else 2)
    return figure


def _steps(axes: Axes, line: pd.Series, end: float, **look: Any) -> None:
    """A hyperparameter's history until the run's end."""
    axes.plot([*line.index, end], [*line, line.iloc[-1]], drawstyle="steps-post", **look)


@styled
def hyperparameters(run: Run) -> Figure:
    """Each hyperparameter along the ancestry of every final member: thin lines; the members' own values are dots."""
    figure = sheet(2 * COLUMN, 2.2)
    metrics = run.metrics()
    members, end = sorted(set(metrics["member"])), float(metrics["frames"].max())
    for axes, (name, text) in zip(figure.subplots(1, 3), HYPERPARAMETERS.items()):
        axes.plot(metrics["frames"], metrics[name], ".", ms=1.5, color="#b0b0b0")
        for member in members:
            _steps(axes, history(run, member, name), end, lw=0.9, color=style(run.method)["color"])
        axes.set_title(text)
        if name == "alpha":
            axes.set_ylim(-0.03, 1.03)
        else:
            axes.set_yscale("log")
        frame_axis(axes)
    figure.axes[0].plot([], [], ".", color="#b0b0b0", label="a member at the time")
    figure.axes[0].plot([], [], lw=0.9, color=style(run.method)["color"], label="history of a final member")
    legend_below(figure, columns=2)
    return figure


@styled
def lineage_graph(run: Run) -> Figure:
    """Who copied whom: a line a member, an arrow a copy; the histories of the final members are drawn thick."""
    metrics, decisions = run.metrics(), run.decisions()
    members, end = sorted(set(metrics["member"])), float(metrics["frames"].max())
    figure = sheet(2 * COLUMN, 0.5 + 0.32 * len(members))
    axes = figure.add_subplot()
    axes.hlines(members, 0, end, color="#c8c8c8", lw=0.8)
    arrow = {"arrowstyle": "-|>", "lw": 0.7, "color": GREY, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6}
    for _, row in decisions[decisions["copied"].astype(bool)].iterrows():
        axes.annotate("", (row["frames"], row["member"]), (row["frames"], row["opponent"]), arrowprops=arrow)
    for member in members:
        for part in ancestry(run, member):
            axes.hlines(part.member, part.start, part.stop, color=style(run.method)["color"], lw=2.0)
    axes.set(ylabel="member", yticks=members, title=f"{label(run.method)}: copies, and what the final members lived")
    axes.invert_yaxis()
    axes.grid(False)
    frame_axis(axes)
    return figure


@styled
def action_heat_map(run: Run) -> Figure:
    """The marginal distribution of the actions taken through time (figure 5 right), the mean over the population.

    A row an action, darker is more. The run's metrics hold the marginals of each group, at equal distances.
    Of values in order a row has those around a knot, each by its feature (`spaces.hats`).
    """
    space = METHODS[run.method].space
    grouped = run.metrics().groupby("frames")["action_marginals"].apply(lambda rows: np.mean(rows.tolist(), axis=0))
    names = [name for group in space.feature_labels for name in group]
    shares = pd.DataFrame(np.stack(grouped.to_list(), axis=1), index=names)  # a column a log point
    figure = sheet(COLUMN * 1.25, 0.8 + 0.135 * len(names))
    axes = figure.add_subplot()
    bar = {"label": "share of the group", "shrink": 0.8}
    sns.heatmap(shares, vmin=0, vmax=1, cmap="Blues", cbar_kws=bar, yticklabels=True, rasterized=True, ax=axes)
    axes.grid(False)
    axes.tick_params(axis="y", length=0, labelsize=6, labelrotation=0)
    axes.hlines(np.cumsum([len(group) for group in space.feature_labels])[:-1], *axes.get_xlim(), color=RULE, lw=0.6)
    end = float(grouped.index.max())
    ticks = [tick for tick in MaxNLocator(5).tick_values(0, end) if 0 <= tick <= end]
    axes.set_xticks([tick / end * len(grouped) for tick in ticks], map(EngFormatter(sep=" "), ticks), rotation=0)
    axes.set(xlabel="environment frames", title=f"{label(run.method)}: actions taken")
    return figure


@styled
def collision_entropies(runs: Mapping[str, Sequence[Run]], title: str = "") -> Figure:
    """Collision entropy of the acting policy over frames, one line a run (its mean over members); of several methods on
    a logarithmic axis, since a large action space has several times as much."""
    figure = sheet(COLUMN, 2.5)
    axes = figure.add_subplot()
    seed_lines(axes, runs, "collision_entropy", lw=0.9 if len(runs) > 1 else 1.1)
    axes.set(ylabel="collision entropy (nats)", title=title)
    logarithmic(axes) if len(runs) > 1 else axes.set_ylim(bottom=0)
    frame_axis(axes)
    legend_of_methods(figure, runs, columns=2)
    return figure


@styled
def run_curves(run: Run | None) -> Figure:
    """Return, entropy and α of a run over environment frames; of a population also each member, thin.

    Args:
      run: one that has recorded nothing yet, or None, draws nothing.
    """
    figure = sheet(2 * COLUMN, 2.3)
    for axes, (column, title) in zip(figure.subplots(1, 3), PANELS.items()):
        if run is not None:
            _curve(axes, run, column)
        axes.set_title(title)
        frame_axis(axes)
        axes.set_xlim(0, 1.02 * total_frames(run) if run is not None else 1)
        if not axes.lines:
            axes.set_yticks([])
    figure.axes[0].set_ylim(bottom=min(0.0, figure.axes[0].get_ylim()[0]))
    figure.axes[2].set_ylim(-0.03, 1.03)
    return figure


def recorded(run: Run, column: str) -> pd.DataFrame:
    """What has a column of `PANELS`: a run's episodes or its metrics; no rows of α where there is a single policy."""
    rows: pd.DataFrame = run.episodes() if column == "return" else run.metrics()
    single = run.method in METHODS and METHODS[run.method].single
    return rows.iloc[:0] if column not in rows or (single and column == "alpha") else rows


def _curve(axes: Axes, run: Run, column: str) -> None:
    """Episodes' returns in bins, or the means of a column of the metrics: of all members, thin of each of several."""
    rows, look = recorded(run, column), style(run.method)
    if column == "return" and not len(rows):
        axes.text(0.5, 0.5, "no episode has ended yet", transform=axes.transAxes, ha="center", color=GREY)
    if not len(rows):
        return
    total = max(total_frames(run), int(rows["frames"].max()))
    members = [own for _, own in rows.groupby("member")]
    for part, width in [*((own, 0.5) for own in members if len(members) > 1), (rows, 1.6)]:
        if column == "return":
            edges = stats.frame_edges(total, POINTS, [part["frames"].to_numpy()])
            values = pd.Series(stats.learning_curve(part["frames"], part["return"], edges), index=edges[1:]).dropna()
        else:
            values = part.groupby("frames")[column].mean()
        axes.plot(values.index, values, lw=width, marker="o" if len(values) == 1 else None, markersize=3, **look)
