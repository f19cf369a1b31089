"""Pictures of single runs: how one goes, or two beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.analysis import aggregate
from mmlib.figures.plots import BLUE, COLUMN, GREEN, LINES, LONG, STYLE, VERMILLION, frame_axis, style
from mmlib.method.methods import METHODS
from mmlib.runs.reader import Run

PANELS = {"entropy": "entropy of the mixture (nats)", "alpha": "α"}
POINTS = 40  # of a curve, at most


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
            {"color": (GREEN, VERMILLION, BLUE)[i % 3], "linestyle": ("-", LONG)[i % 2]} for i in range(len(looks))
        ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 2.3), layout="constrained")
        axes = figure.subplots(1, 3)
        for (name, run), look in zip(runs.items(), looks):
            _returns(axes[0], run, look, name)
            for panel, column in zip(axes[1:], PANELS):
                _metric(panel, run, column, look)
        for panel, title in zip(axes, ("episode return", *PANELS.values())):
            panel.set_title(title)
            frame_axis(panel)
            panel.set_xlim(0, 1.02 * max(map(aggregate.total_frames, runs.values()), default=1))
            if not any(len(line.get_xdata()) for line in panel.lines):
                panel.set_yticks([])
        axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
        axes[2].set_ylim(-0.03, 1.03)
        if len(runs) > 1:
            figure.legend(loc="outside lower center", ncols=1 if max(map(len, runs)) > 50 else 2)
        return figure


def _returns(axes: Axes, run: Run, look: Mapping[str, Any], name: str) -> None:
    episodes = run.episodes()
    axes.plot([], [], label=name, **look)
    if not len(episodes):
        axes.text(0.5, 0.5, "no episode has ended yet", transform=axes.transAxes, ha="center", color="#777777")
        return
    total = max(aggregate.total_frames(run), int(episodes["frames"].max()))
    members = sorted(set(episodes["member"]))
    groups = [episodes[episodes["member"] == member] for member in members] if len(members) > 1 else []
    for table, width in [*((group, 0.5) for group in groups), (episodes, 1.6)]:
        curve = aggregate.curves_of({"": [table]}, total, POINTS)[""]
        marker = "o" if len(curve.frames) == 1 else None
        axes.plot(curve.frames, curve.mean, lw=width, marker=marker, markersize=3, **look)


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
