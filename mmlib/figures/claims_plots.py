"""The claims as a picture: each effect with its interval against its bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.analysis.claims import FAILS, HOLDS, TOO_FEW, UNDECIDED, Finding
from mmlib.analysis.evidence import NORMALISED, RELATIVE, RETURN
from mmlib.figures.style import COLUMN, FINE, GREEN, GREY, ORANGE, RULE, VERMILLION, sheet, styled

# Colour, marker and its fill of a verdict: told apart in grey by the marker.
MARKS = {
    HOLDS: (GREEN, "o", GREEN),
    FAILS: (VERMILLION, "X", VERMILLION),
    UNDECIDED: (ORANGE, "D", "#ffffff"),
    TOO_FEW: (GREY, "o", "#ffffff"),
}
UNITS = (NORMALISED, RELATIVE, RETURN)
CUT = 3.0  # times the largest estimate: where the axis ends, so that the interval of two runs does not flatten the rest


@styled
def forest(findings: Sequence[Finding]) -> Figure:
    """Effects that compare returns, a panel a unit, a row a claim and condition.

    One without an interval is a marker alone; an interval that is longer than the axis ends in an arrow.
    """
    shown = [f for f in findings if f.claim.second and np.isfinite(f.evidence.effect.mean)]
    panels = {unit: rows for unit in UNITS if (rows := [f for f in shown if f.evidence.unit == unit])} or {UNITS[0]: []}
    heights = [max(1, len(rows)) for rows in panels.values()]
    figure = sheet(2 * COLUMN, 0.5 + 0.45 * len(panels) + 0.3 * sum(heights))
    grid = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (unit, rows) in zip(grid, panels.items()):
        _panel(axes, rows)
        axes.set_xlabel(f"difference of {unit}s in the claim's direction, 95 % interval")
    for verdict, (colour, marker, fill) in MARKS.items():
        grid[0].plot([], [], color=colour, marker=marker, mfc=fill, markersize=4, label=verdict)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _panel(axes: Axes, findings: Sequence[Finding]) -> None:
    effects = [finding.evidence.effect for finding in findings]
    end = CUT * max((abs(effect.mean) for effect in effects), default=1.0)
    axes.axvline(0, color=RULE, **FINE)
    for row, (finding, effect) in enumerate(zip(findings, effects)):
        colour, marker, fill = MARKS[finding.verdict]
        if np.isfinite(effect.low):
            axes.plot([max(effect.low, -end), min(effect.high, end)], [row, row], color=colour, lw=1.2)
            for beyond, bound, arrow in ((effect.low < -end, -end, "<"), (effect.high > end, end, ">")):
                axes.plot([bound] * beyond, [row] * beyond, arrow, color=colour, markersize=4)
        axes.plot(effect.mean, row, color=colour, marker=marker, mfc=fill, markersize=4.5)
    labels = [f"{finding.claim.number}  {finding.claim.says}\n({finding.where})" for finding in findings]
    axes.set_yticks(range(len(findings)), labels, fontsize=6)
    axes.set(ylim=(max(len(findings), 1) - 0.3, -0.7), xlim=(-1.05 * end, 1.05 * end))
    axes.grid(axis="y", visible=False)
