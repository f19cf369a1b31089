"""How a single run goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.analysis.curves import total_frames
from mmlib.figures.style import BLUE, COLUMN, GREY, LINES, frame_axis, sheet, style, styled
from mmlib.runs.reader import Run

PANELS = {"entropy": "entropy of the mixture (nats)", "alpha": "α"}
POINTS = 40  # of a curve, at most


@styled
def run_curves(run: Run | None) -> Figure:
    """Return, entropy and α of a run over environment frames; of a population also each member, thin.

    Args:
      run: one that has recorded nothing yet, or None, draws nothing.
    """
    figure = sheet(2 * COLUMN, 2.3)
    axes = figure.subplots(1, 3)
    if run is not None:
        look = style(run.method) if run.method in LINES else {"color": BLUE}
        _returns(axes[0], run, look)
        for panel, column in zip(axes[1:], PANELS):
            _metric(panel, run, column, look)
    for panel, title in zip(axes, ("episode return", *PANELS.values())):
        panel.set_title(title)
        frame_axis(panel)
        panel.set_xlim(0, 1.02 * total_frames(run) if run is not None else 1)
        if not panel.lines:
            panel.set_yticks([])
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    axes[2].set_ylim(-0.03, 1.03)
    return figure


def _returns(axes: Axes, run: Run, look: Mapping[str, Any]) -> None:
    episodes = run.episodes()
    if not len(episodes):
        axes.text(0.5, 0.5, "no episode has ended yet", transform=axes.transAxes, ha="center", color=GREY)
        return
    total = max(total_frames(run), int(episodes["frames"].max()))

    def curve(rows: pd.DataFrame) -> pd.Series:
        edges = stats.frame_edges(total, POINTS, [rows["frames"].to_numpy()])
        return pd.Series(stats.learning_curve(rows["frames"], rows["return"], edges), index=edges[1:]).dropna()

    _plot(axes, episodes, curve, look)


def _metric(axes: Axes, run: Run, column: str, look: Mapping[str, Any]) -> None:
    metrics = run.metrics()
    single = run.method in METHODS and METHODS[run.method].single
    if len(metrics) and column in metrics and not (single and column == "alpha"):  # one policy has no alpha
        _plot(axes, metrics, lambda rows: rows.groupby("frames")[column].mean(), look)


def _plot(axes: Axes, rows: pd.DataFrame, curve: Callable[[pd.DataFrame], pd.Series], look: Mapping[str, Any]) -> None:
    """The curve of all members, and thin that of each if there are several."""
    members = [own for _, own in rows.groupby("member")]
    for part, width in [*((own, 0.5) for own in members if len(members) > 1), (rows, 1.6)]:
        values = curve(part)
        axes.plot(values.index, values, lw=width, marker="o" if len(values) == 1 else None, markersize=3, **look)
