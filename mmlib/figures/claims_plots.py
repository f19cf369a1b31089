"""The claims as a picture: each effect with its interval against its bound."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmlib.analysis.claim_tests import FAILS, HOLDS, OPEN
from mmlib.analysis.claims import Finding
from mmlib.figures.plots import COLUMN, STYLE

# Colour and marker of a verdict: told apart in grey by the marker.
MARKS = {HOLDS: ("#009E73", "o"), FAILS: ("#D55E00", "X"), OPEN: ("#777777", "o")}


def forest(findings: Sequence[Finding]) -> Figure:
    """Effects that compare returns, a row a claim and condition; one without an interval is a marker alone."""
    units = ("return", "normalised score", "share of the best")
    shown = [f for f in findings if f.effect.unit in units and np.isfinite(f.effect.estimate)]
    with mpl.rc_context(STYLE):
        height = 0.9 + 0.24 * max(1, len(shown))
        figure = Figure(figsize=(2 * COLUMN, height), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="#888888", lw=0.8, ls=(0, (1, 1.5)))
        for row, finding in enumerate(reversed(shown)):
            _row(axes, row, finding)
        labels = [f"{f.claim.number}  {f.claim.says}  ({f.where})" for f in reversed(shown)]
        axes.set_yticks(range(len(shown)), labels, fontsize=6.2)
        axes.set(xlabel="difference in the claim's direction (units of the table), 95 % interval")
        axes.set_ylim(-0.7, max(len(shown), 1) - 0.3)
        handles = [
            Line2D([], [], color=colour, marker=marker, mfc=_fill(verdict, colour), ls="-", markersize=4, label=verdict)
            for verdict, (colour, marker) in MARKS.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        return figure


def _row(axes: Axes, row: int, finding: Finding) -> None:
    effect, (colour, marker) = finding.effect, MARKS[finding.effect.verdict]
    if np.isfinite(effect.low):
        axes.plot([effect.low, effect.high], [row, row], color=colour, lw=1.2)
    axes.plot(effect.estimate, row, color=colour, marker=marker, mfc=_fill(effect.verdict, colour), markersize=4.5)


def _fill(verdict: str, colour: str) -> str:
    return "#ffffff" if verdict == OPEN else colour
