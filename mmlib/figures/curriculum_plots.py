"""What a curriculum did: alpha through time, the actions taken, who descends from whom (figures 5 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.figures.plots import COLUMN, LINES, STYLE, frame_axis, label, style
from mmlib.method.methods import METHODS
from mmlib.runs.lineage import Trajectory, ancestry, trajectory
from mmlib.runs.reader import Run

HYPERPARAMETERS = {"alpha": "α", "learning_rate": "learning rate", "entropy_cost": "entropy cost"}


def alpha_trajectories(
    lines: Mapping[tuple[str, str], Sequence[Trajectory]], ends: Mapping[tuple[str, str], float], title: str = ""
) -> Figure:
    """alpha over environment frames (figures 5 left and 8): a colour a level, a dash pattern for each of its runs.

    Args:
      lines: trajectories by level and run, the best member's first: it is drawn thick, others thin.
      ends: environment frames at the end of each run.
      title: above the panel.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.5), layout="constrained")
        axes = figure.add_subplot()
        colours = [colour for colour, _ in (LINES[m] for m in ("mm", "big756", "small", "mm_shared_head"))]
        levels = list(dict.fromkeys(level for level, _ in lines))
        for (level, run), group in lines.items():
            runs = [other for of, other in lines if of == level]
            look: dict[str, Any] = {
                "color": colours[levels.index(level) % len(colours)],
                "ls": ("-", (0, (2.5, 0.8)), ":")[runs.index(run) % 3],
                "drawstyle": "steps-post",
            }
            for k, line in enumerate(group):
                frames = np.append(line.frames, ends[level, run])
                weight = {"lw": 0.7, "alpha": 0.6} if k else {"lw": 1.6, "zorder": 3, "label": f"{level}, {run}"}
                axes.plot(frames, np.append(line.values, line.values[-1]), **look, **weight)
        axes.set(ylabel="α", ylim=(-0.03, 1.03), title=title)
        frame_axis(axes)
        if lines:
            figure.legend(loc="outside lower center", ncols=1 if max(len(f"{a}, {b}") for a, b in lines) > 24 else 2)
        else:
            axes.text(0.5, 0.5, "no run on disk", transform=axes.transAxes, ha="center")
        return figure


def hyperparameters(run: Run) -> Figure:
    """Each hyperparameter along the ancestry of every final member: thin lines; the members' own values are dots."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 2.2), layout="constrained")
        metrics = run.metrics()
        members, end = sorted(set(metrics["member"])), float(metrics["frames"].max())
        for axes, (name, text) in zip(figure.subplots(1, 3), HYPERPARAMETERS.items()):
            axes.plot(metrics["frames"], metrics[name], ".", ms=1.5, color="#b0b0b0")
            for member in members:
                line = trajectory(run, member, name)
                frames, values = np.append(line.frames, end), np.append(line.values, line.values[-1])
                axes.plot(frames, values, drawstyle="steps-post", lw=0.9, color=LINES[run.method][0])
            axes.set_title(text)
            if name == "alpha":
                axes.set_ylim(-0.03, 1.03)
            else:
                axes.set_yscale("log")
            frame_axis(axes)
        return figure


def lineage_graph(run: Run) -> Figure:
    """Who copied whom: a line a member, an arrow a copy; the histories of the final members are drawn thick."""
    decisions, members = run.decisions(), sorted(set(run.metrics()["member"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 0.5 + 0.32 * len(members)), layout="constrained")
        axes = figure.add_subplot()
        end = float(run.metrics()["frames"].max())
        axes.hlines(members, 0, end, color="#c8c8c8", lw=0.8)
        for _, row in decisions[decisions["copied"].astype(bool)].iterrows():
            arrow = {
                "arrowstyle": "-|>",
                "lw": 0.7,
                "color": "#777777",
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 6,
            }
            axes.annotate("", (row["frames"], row["member"]), (row["frames"], row["opponent"]), arrowprops=arrow)
        for member in members:
            for part in ancestry(run, member):
                axes.hlines(part.member, part.start, part.stop, color=LINES[run.method][0], lw=2.0)
        axes.set(
            ylabel="member", yticks=members, title=f"{label(run.method)}: copies, and what the final members lived"
        )
        axes.invert_yaxis()
        axes.grid(False)
        frame_axis(axes)
        return figure


def action_heat_map(run: Run, member: int | None = None) -> Figure:
    """The marginal distribution of the actions taken through time (figure 5 right): a row an action, darker is more.

    Args:
      run: its metrics hold the marginals of each group.
      member: one member; None is the mean over the population.
    """
    metrics = run.metrics()
    if member is not None:
        metrics = metrics[metrics["member"] == member]
    space = METHODS[run.method].space
    grouped = metrics.groupby("frames")["action_marginals"].apply(lambda rows: np.mean(rows.tolist(), axis=0))
    shares = np.stack(grouped.to_list(), axis=1)  # (values, points)
    names = [name for group in space.group_labels for name in group]
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(COLUMN * 1.25, 0.8 + 0.135 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        edges = np.append(0.0, grouped.index.to_numpy(dtype=float))
        rows = np.arange(len(names) + 1)
        mesh = axes.pcolormesh(edges, rows, shares, cmap="Blues", vmin=0, vmax=1, rasterized=True)
        axes.set_yticks(rows[:-1] + 0.5, names, fontsize=6)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        for boundary in np.cumsum(space.group_sizes)[:-1]:
            axes.axhline(boundary, color="#888888", lw=0.6)
        axes.set_title(f"{label(run.method)}: actions taken")
        frame_axis(axes)
        figure.colorbar(mesh, ax=axes, label="share of the group", shrink=0.8)
        return figure


def collision_entropies(runs: Mapping[str, Sequence[Run]], title: str = "") -> Figure:
    """Collision entropy of the acting policy over frames, one line a run (its mean over members)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.5), layout="constrained")
        axes = figure.add_subplot()
        for method, group in runs.items():
            for k, run in enumerate(group):
                _line(axes, run, "collision_entropy", label(method) if k == 0 else None)
        axes.set(ylabel="collision entropy (nats)", title=title, ylim=(0, None))
        frame_axis(axes)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=2)
        return figure


def _line(axes: Axes, run: Run, column: str, name: str | None) -> None:
    values = run.metrics().groupby("frames")[column].mean().dropna()
    axes.plot(values.index, values, lw=1.1, label=name, **style(run.method))
