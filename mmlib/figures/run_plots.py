"""Pictures of single runs: how one goes, or two beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.analysis import stats
from mmlib.analysis.curves import total_frames
from mmlib.figures.style import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    LINES,
    LONG,
    SOLID,
    VERMILLION,
    frame_axis,
    legend_below,
    sheet,
    style,
    styled,
)
from mmlib.method.methods import METHODS
from mmlib.runs.reader import Run

PANELS = {"entropy": "entropy of the mixture (nats)", "alpha": "α"}
POINTS = 40  # of a curve, at most


@styled
def run_curves(runs: Mapping[str, Run]) -> Figure:
    """Return, entropy and α of a few runs over environment frames; of a population also each member, thin.

    A run's colour is its method's, unless two runs have one method.

    Args:
      runs: by the name in the legend; those that have recorded nothing yet draw nothing.
    """
    methods = [run.method for run in runs.values()]
    looks: list[dict[str, Any]] = [style(method) if method in LINES else {"color": BLUE} for method in methods]
    if len(set(methods)) < len(methods):
        looks = [
            {"color": (GREEN, VERMILLION, BLUE)[i % 3], "linestyle": (SOLID, LONG)[i % 2]} for i in range(len(looks))
        ]
    figure = sheet(2 * COLUMN, 2.3)
    axes = figure.subplots(1, 3)
    for (name, run), look in zip(runs.items(), looks):
        _returns(axes[0], run, look, name)
        for panel, column in zip(axes[1:], PANELS):
            _metric(panel, run, column, look)
    for panel, title in zip(axes, ("episode return", *PANELS.values())):
        panel.set_title(title)
        frame_axis(panel)
        panel.set_xlim(0, 1.02 * max(map(total_frames, runs.values()), default=1))
        if not any(len(line.get_xdata()) for line in panel.lines):
            panel.set_yticks([])
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    axes[2].set_ylim(-0.03, 1.03)
    if len(runs) > 1:
        legend_below(figure, axes[0], columns=1 if max(map(len, runs)) > 50 else 2)
    return figure


def _returns(axes: Axes, run: Run, look: Mapping[str, Any], name: str) -> None:
    episodes = run.episodes()
    axes.plot([], [], label=name, **look)
    if not len(episodes):
        axes.text(0.5, 0.5, "no episode has ended yet", transform=axes.transAxes, ha="center", color=GREY)
        return
    total = max(total_frames(run), int(episodes["frames"].max()))
    members = sorted(set(episodes["member"]))
    groups = [episodes[episodes["member"] == member] for member in members] if len(members) > 1 else []
    for table, width in [*((group, 0.5) for group in groups), (episodes, 1.6)]:
        edges = stats.frame_edges(total, POINTS, [table["frames"].to_numpy()])
        values = stats.learning_curve(table["frames"], table["return"], edges)
        there = ~np.isnan(values)
        marker = "o" if there.sum() == 1 else None
        axes.plot(edges[1:][there], values[there], lw=width, marker=marker, markersize=3, **look)


def _metric(axes: Axes, run: Run, column: str, look: Mapping[str, Any]) -> None:
    metrics = run.metrics()
    single = run.method in METHODS and METHODS[run.method].single
    if not len(metrics) or column not in metrics or (single and column == "alpha"):
        return  # an agent of one policy has no alpha
    members = sorted(set(metrics["member"]))
    for member in members if len(members) > 1 else []:
        own = metrics[metrics["member"] == member]
        axes.plot(own["frames"], own[column], lw=0.5, **look)
    values = metrics.groupby("frames")[column].mean()
    axes.plot(values.index, values, lw=1.6, marker="o" if len(values) == 1 else None, markersize=3, **look)
