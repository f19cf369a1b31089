"""How a single run goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.analysis.curves import total_frames
from mmlib.figures.style import BLUE, COLUMN, GREY, LINES, frame_axis, sheet, style, styled
from mmlib.runs.reader import Run

PANELS = {"return": "episode return", "entropy": "entropy of the mixture (nats)", "alpha": "α"}
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
        for panel, column in zip(axes, PANELS):
            _plot(panel, run, column, look)
    for panel, title in zip(axes, PANELS.values()):
        panel.set_title(title)
        frame_axis(panel)
        panel.set_xlim(0, 1.02 * total_frames(run) if run is not None else 1)
        if not panel.lines:
            panel.set_yticks([])
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    axes[2].set_ylim(-0.03, 1.03)
    return figure


def recorded(run: Run, column: str) -> pd.DataFrame:
    """What has a column of `PANELS`: a run's episodes or its metrics; no rows of α where there is a single policy."""
    rows: pd.DataFrame = run.episodes() if column == "return" else run.metrics()
    single = run.method in METHODS and METHODS[run.method].single
    return rows.iloc[:0] if column not in rows or (single and column == "alpha") else rows


def _plot(axes: Axes, run: Run, column: str, look: Mapping[str, Any]) -> None:
    """The curve of all members, and thin that of each if there are several."""
    rows = recorded(run, column)
    if column == "return" and not len(rows):
        axes.text(0.5, 0.5, "no episode has ended yet", transform=axes.transAxes, ha="center", color=GREY)
    if not len(rows):
        return
    total = max(total_frames(run), int(rows["frames"].max()))

    def curve(own: pd.DataFrame) -> pd.Series:
        if column != "return":
            return own.groupby("frames")[column].mean()
        edges = stats.frame_edges(total, POINTS, [own["frames"].to_numpy()])
        return pd.Series(stats.learning_curve(own["frames"], own["return"], edges), index=edges[1:]).dropna()

    members = [own for _, own in rows.groupby("member")]
    for part, width in [*((own, 0.5) for own in members if len(members) > 1), (rows, 1.6)]:
        values = curve(part)
        axes.plot(values.index, values, lw=width, marker="o" if len(values) == 1 else None, markersize=3, **look)
