"""Methods compared: learning curves with their intervals (figures 3, 4, 6, 7 and 9), how the learning went, effects
against the claims' bounds, and what a setting does."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.analysis.baselines import Score
from mmlib.analysis.claims import FAILS, HOLDS, TOO_FEW, UNDECIDED, Finding
from mmlib.analysis.evidence import NORMALISED, RELATIVE, RETURN, counted
from mmlib.analysis.tables import PARTS
from mmlib.figures.style import (
    BLUE,
    COLUMN,
    FINE,
    GREEN,
    GREY,
    ORANGE,
    RULE,
    SHADE,
    SPACES,
    VERMILLION,
    frame_axis,
    hues,
    label,
    legend_below,
    sheet,
    style,
    styled,
)
from mmlib.runs.reader import Run

DIAGNOSTICS = {
    "entropy": "entropy of the mixture (nats)",
    "transfer": "transfer cost, without λ (nats a step)",
    "alpha": "α",
    "rho_mean": "V-trace weight, mean",
    "grad_norm": "gradient norm",
    "value_error": "value error",
}
# Colour, marker and its fill of a verdict: told apart in grey by the marker.
MARKS = {
    HOLDS: (GREEN, "o", GREEN),
    FAILS: (VERMILLION, "X", VERMILLION),
    UNDECIDED: (ORANGE, "D", "#ffffff"),
    TOO_FEW: (GREY, "o", "#ffffff"),
}
UNITS = (NORMALISED, RELATIVE, RETURN)  # of effects that are drawn, in the order of their panels
CUT = 3.0  # times the largest estimate: where the axis ends, so that the interval of two runs does not flatten the rest
LOOKS = ((BLUE, "o"), (VERMILLION, "s"))  # of the parts of a run, `tables.PARTS`


@styled
def learning_curves(
    curves: pd.DataFrame,
    random: Mapping[str, Score] | None = None,
    title: str = "",
    unit: str = "seed",
    handover: tuple[int, int] | None = None,
) -> Figure:
    """Figure 3's panel: episode return over environment frames, one line a method, shaded 95 % intervals.

    Args:
      curves: of one level, from `analysis.curves.learning`, in the order of the legend.
      random: the random policy's score by action space, drawn as dotted lines in the space's colour.
      title: above the panel; usually the level.
      unit: what a seed is, if more than a single agent: "population".
      handover: the frames between which a schedule moves alpha, shaded.
    """
    counts = curves.groupby("line")["seed"].nunique()
    said = {str(line): counted(int(count), unit) for line, count in counts.items()}
    alike = counts.nunique() <= 1
    figure = sheet(COLUMN, 2.9 if alike else 3.4)
    axes = figure.add_subplot()
    _draw(axes, curves, random or {}, {} if alike else said)
    if handover and len(curves):
        axes.axvspan(*handover, color=SHADE, lw=0, zorder=0, label="α moves")
    axes.set(ylabel="episode return", title=f"{title}, {next(iter(said.values()))}" if alike and said else title)
    legend_below(figure, columns=2 if alike else 1)  # with the seeds names are long
    return figure


@styled
def normalised_panel(curves: pd.DataFrame, what: str) -> Figure:
    """Figures 4 and 7: normalised return averaged over levels, in percent of the run.

    Args:
      curves: from `analysis.curves.normalised`.
      what: what 0 and 1 mean, for the axis.
    """
    figure = sheet(COLUMN, 2.9)
    axes = figure.add_subplot()
    _draw(axes, curves, {}, empty="no method has runs on every level")
    levels = curves["level"].nunique()
    axes.set(xlabel="share of the run (%)", ylabel=f"normalised return\n({what})")
    axes.set(xlim=(0, 100), title=f"mean over {counted(levels, 'level')}")
    axes.xaxis.set_major_formatter("{x:g}")
    legend_below(figure, columns=2)
    return figure


@styled
def panels(
    curves: Mapping[str, pd.DataFrame], random: Mapping[str, Mapping[str, Score]] | None = None, level: str = ""
) -> Figure:
    """Learning curves in several panels, of a level each (figure 9) or of some methods each on one level.

    Args:
      curves: from `analysis.curves.learning`, by the panels' titles.
      random: the random policy's score by title, then by action space.
      level: of all panels, which then have one axis of returns; "" where each has its own.
    """
    columns = 2 if len(curves) in (2, 4) else min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = sheet(2 * COLUMN, 0.4 + 2.3 * rows)
    grid = figure.subplots(rows, columns, sharey=bool(level), squeeze=False)
    for axes, (title, drawn) in zip(grid.flat, curves.items()):
        _draw(axes, drawn, (random or {}).get(title, {}))
        axes.set_title(title.replace("_", "_\u200b"), fontsize=7)
    for axes in grid.flat[len(curves) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel("episode return")
    top = max((axes.dataLim.ymax for axes in figure.axes), default=0.0)
    if level and top > 0:  # a limit that was set for one of them holds for all
        grid[0, 0].set_ylim(top=1.05 * top)
    figure.suptitle(level)
    legend_below(figure, columns=4)
    return figure


def _draw(
    axes: Axes,
    curves: pd.DataFrame,
    random: Mapping[str, Score],
    seeds: Mapping[str, str] | None = None,
    empty: str = "no episode has ended yet",
) -> None:
    """A line a method (its seeds in words) with the interval of the mean over levels; dotted lines for random play."""

    def by_level(values: pd.Series) -> list[pd.Series]:
        return [group for _, group in values.groupby(curves.loc[values.index, "level"])]

    lines = list(dict.fromkeys(curves["line"]))
    if lines:
        sns.lineplot(
            curves,
            **{"x": "x", "y": "y", "hue": "line", "style": "line", **hues(lines)},
            estimator=lambda values: float(stats.mean_of_means(by_level(values))),
            errorbar=lambda values: tuple(map(float, stats.bootstrap(stats.mean_of_means, by_level(values)))),
            err_kws={"alpha": 0.18, "lw": 0},
            legend=False,
            ax=axes,
        )
    else:
        axes.text(0.5, 0.5, empty, transform=axes.transAxes, ha="center", color=GREY)
    for line, drawn in zip(lines, axes.lines):
        drawn.set_label(label(line) + (f" ({seeds[line]})" if seeds else ""))
        drawn.set(marker="o" if np.size(drawn.get_xdata()) == 1 else "", markersize=3)  # a single point makes no line
    for space, score in random.items():
        name, colour = SPACES[space]
        axes.axhline(score.mean, color=colour, label=f"random policy, {name}", **FINE)
    frame_axis(axes)
    axes.set_ylabel("")
    if axes.dataLim.ymin >= 0:
        axes.set_ylim(bottom=0)


@styled
def diagnostics(runs: Mapping[str, Sequence[Run]]) -> Figure:
    """How the learning went: entropy, KL, alpha, V-trace weight, gradient norm, value error over frames.

    One thin line a seed (the mean over members); the axes share environment frames.
    """
    figure = sheet(2 * COLUMN, 3.4)
    panels = figure.subplots(2, 3, sharex=True)
    for axes, (column, title) in zip(panels.flat, DIAGNOSTICS.items()):
        seed_lines(axes, runs, column, lw=0.9, alpha=0.85)
        axes.set(title=title, ylabel="")
        frame_axis(axes)
    for axes in panels[0]:
        axes.set_xlabel("")
    logarithmic(panels.flat[4])
    legend_of_methods(figure, runs, columns=min(len(runs), 4) or 1)
    return figure


def seed_lines(axes: Axes, runs: Mapping[str, Sequence[Run]], column: str, **look: float) -> None:
    """One number of the metrics over frames, a line a run: its mean over members."""
    tables = []
    for method, group in runs.items():
        if METHODS[method].single and column in ("transfer", "alpha"):
            continue  # it has no mixture to speak of
        for run in group:
            means = run.metrics().reindex(columns=["frames", column]).groupby("frames", as_index=False).mean()
            tables.append(means.assign(line=method, seed=run.seed))
    rows = pd.concat(tables).dropna() if tables else []
    if len(rows):
        by_line = {"x": "frames", "y": column, "hue": "line", "style": "line", **hues(list(runs))}
        sns.lineplot(rows, **by_line, **look, units="seed", estimator=None, legend=False, ax=axes)


def legend_of_methods(figure: Figure, methods: Collection[str], columns: int) -> None:
    """The figure's legend, of methods whether or not they have a line."""
    for method in methods:
        figure.axes[0].plot([], [], label=label(method), **style(method))
    legend_below(figure, columns)


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


@styled
def forest(findings: Sequence[Finding]) -> Figure:
    """Effects that compare returns, a panel a condition and unit, a row a claim.

    One without an interval is a marker alone; an interval that is longer than the axis ends in an arrow. Bounds other
    than 0, of claims that allow a margin, are marked.
    """
    shown = [f for f in findings if f.claim.second and np.isfinite(f.evidence.effect.mean) and f.evidence.unit in UNITS]
    panels: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(shown, key=lambda f: UNITS.index(f.evidence.unit)):
        panels.setdefault((finding.place, finding.evidence.unit), []).append(finding)
    panels = panels or {("", UNITS[0]): []}
    heights = [1 + len(rows) for rows in panels.values()]
    figure = sheet(2 * COLUMN, 0.5 + 0.5 * len(panels) + 0.2 * sum(heights))
    grid = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, ((place, unit), rows) in zip(grid, panels.items()):
        _panel(axes, rows)
        axes.set_xlabel(f"difference of {unit}s in the claim's direction, 95 % interval")
        axes.set_title("\n".join(textwrap.wrap(place, 80, break_on_hyphens=False)), fontsize=7)
    for verdict in dict.fromkeys(f.verdict for f in shown):
        colour, marker, fill = MARKS[verdict]
        grid[0].plot([], [], color=colour, marker=marker, mfc=fill, markersize=4, label=verdict)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _panel(axes: Axes, findings: Sequence[Finding]) -> None:
    effects = [finding.evidence.effect for finding in findings]
    most = max((abs(effect.mean) for effect in effects), default=1.0)
    ends = (abs(end) for effect in effects for end in (effect.low, effect.high) if np.isfinite(end))
    end = min(CUT * most, 1.1 * max(ends, default=np.inf))
    axes.axvline(0, color=RULE, **FINE)
    for row, (finding, effect) in enumerate(zip(findings, effects)):
        colour, marker, fill = MARKS[finding.verdict]
        if np.isfinite(effect.low):
            axes.plot([max(effect.low, -end), min(effect.high, end)], [row, row], color=colour, lw=1.2)
            for beyond, bound, arrow in ((effect.low < -end, -end, "<"), (effect.high > end, end, ">")):
                axes.plot([bound] * beyond, [row] * beyond, arrow, color=colour, markersize=4)
        axes.plot(effect.mean, row, color=colour, marker=marker, mfc=fill, markersize=4.5)
        bounds = [bound for bound in finding.bounds if bound and abs(bound) <= end]  # 0 has a line of its own
        axes.plot(bounds, [row] * len(bounds), "|", color=RULE, markersize=9)
    labels = [f"{finding.claim.number}  {finding.claim.says}" for finding in findings]
    axes.set_yticks(range(len(findings)), labels, fontsize=6)
    axes.set(ylim=(max(len(findings), 1) - 0.3, -0.7), xlim=(-1.05 * end, 1.05 * end))
    axes.grid(axis="y", visible=False)


@styled
def transfer_costs(table: pd.DataFrame) -> Figure:
    """Draws `analysis.tables.sweep`'s table of "transfer_cost", means and 95 % intervals on a logarithmic axis.

    Lines say where the paper's lambda lies when |S| of eq. (1) counts trajectories, and when it counts agent steps.
    """
    places = [((str(m), str(level)), rows) for (m, level), rows in table.groupby(["method", "level"])]
    figure = sheet(COLUMN * max(1, len(places)), 2.6)
    grid = figure.subplots(1, max(1, len(places)), squeeze=False)[0]
    for axes, ((method, level), rows) in zip(grid, places):
        for k, (part, (colour, marker)) in enumerate(zip(PARTS, LOOKS, strict=True)):
            own = rows[rows["part"] == part]
            x, bars = own["value"] * 1.04 ** (2 * k - 1), [own["mean"] - own["low"], own["high"] - own["mean"]]
            axes.errorbar(x, own["mean"], bars, color=colour, marker=marker, ms=3.5, lw=1.2, capsize=2, label=part)
        weight = METHODS[method].transfer_weight
        readings = {"paper,\n|S| = steps": weight / rows["unroll"].iloc[0], "paper,\n|S| = trajectories": weight}
        for value in readings.values():
            axes.axvline(value, color=RULE, **FINE)
        counts = sorted(set(rows["runs"]))
        seeds = counted(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
        axes.set(
            xscale="log",
            xlabel="λ, with |S| = trajectories",
            ylabel="mean return",
            title=f"{label(method)} ({method}), {level}\n{seeds} a value",  # labels of two methods may be one
        )
        top = axes.secondary_xaxis("top")
        top.set_xticks([*readings.values()], [*readings], fontsize=6)
        top.set_xticks([], minor=True)
    legend_below(figure, columns=2)
    return figure
