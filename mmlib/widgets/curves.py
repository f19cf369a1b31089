"""Curves of any number of runs that can be zoomed into and read off: Plotly draws them in the page, without a kernel.

Plotly's JupyterLab extension shows its JSON. Matplotlib's pictures of the same runs are `figures.run_plots`; a page
that is printed or read elsewhere has those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from plotly.graph_objects import Scatter  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from mmlib.analysis import stats
from mmlib.analysis.curves import total_frames
from mmlib.figures.run_plots import PANELS, recorded
from mmlib.figures.style import BLUE, GREEN, LINES, ORANGE, PURPLE, SKY, VERMILLION
from mmlib.runs.reader import Run

POINTS = 100  # of a curve, at most
INK, RULE = "#808080", "rgba(128, 128, 128, 0.25)"  # to be read in a light and in a dark page
PALETTE = (GREEN, VERMILLION, BLUE, ORANGE, PURPLE, SKY)
DASHES = ("solid", "dash", "dot", "dashdot")  # of a group's seeds, in turn


def chart(groups: Mapping[str, Sequence[Run]], together: bool, smoothing: int) -> dict[str, Any]:
    """Return, entropy and α over environment frames, as Plotly's JSON.

    Args:
      groups: runs that differ in their seeds alone, by name.
      together: whether a group is one line, its mean, with the 95 % interval of the mean (Student's t over seeds).
      smoothing: points of a curve that are averaged, the point itself the last.
    """
    colours = _colours({name: runs[0].method for name, runs in groups.items()})
    end = max((total_frames(run) for runs in groups.values() for run in runs), default=1)
    edges = np.linspace(0.0, max(end, 1), POINTS + 1)
    lines = [
        (name, f"{name}, seed {part[0].seed}" if not together else name, dash, part)
        for name, runs in groups.items()
        for part, dash in zip([runs] if together else [[run] for run in runs], cycle(DASHES))
    ]
    figure = make_subplots(1, len(PANELS), subplot_titles=[*PANELS.values()], horizontal_spacing=0.05)
    for place, column in enumerate(PANELS, start=1):
        for group, name, dash, runs in lines:
            values = {str(run.directory): _values(run, column, edges) for run in runs}
            table = pd.DataFrame(values, index=edges[1:]).apply(_smooth, smoothing=smoothing)
            for trace in _mean(name, table, {"color": colours[group], "dash": dash, "width": 2}):
                trace.update(legendgroup=group, showlegend=place == 1 and trace.showlegend is not False)
                figure.add_trace(trace, 1, place)
    both: dict[str, Any] = {"rangemode": "tozero", "gridcolor": RULE, "zerolinecolor": RULE}
    figure.update_xaxes(title={"text": "environment frames", "standoff": 8}, **both).update_yaxes(**both)
    figure.update_layout(
        height=300 + 20 * sum(trace.showlegend for trace in figure.data),
        margin={"l": 40, "r": 10, "t": 30, "b": 40},
        font={"color": INK, "size": 11},
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.3, "yanchor": "top"},
    ).update_annotations(font_size=12)
    drawn: dict[str, Any] = json.loads(figure.to_json())
    return drawn


def _colours(methods: Mapping[str, str]) -> dict[str, str]:
    """The colours of groups with these methods: the methods', unless several groups have one."""
    if len(set(methods.values())) == len(methods) and all(method in LINES for method in methods.values()):
        return {name: LINES[method][0] for name, method in methods.items()}
    return dict(zip(methods, cycle(PALETTE)))


def _values(run: Run, column: str, edges: np.ndarray) -> np.ndarray:
    """[G], the mean over members, episodes and log points in each bin; NaN where there are none."""
    rows = recorded(run, column)
    if not len(rows):
        return np.full(len(edges) - 1, np.nan)
    return stats.learning_curve(rows["frames"], rows[column].astype(float), edges)


def _smooth(values: pd.Series, smoothing: int) -> pd.Series:
    """[G], a running mean of the bins that have a value; between those it is interpolated, as a line would be."""
    means = values.dropna().rolling(smoothing, min_periods=1).mean().reindex(values.index)
    return means.interpolate("index", limit_area="inside")


def _line(name: str, values: pd.Series, look: Mapping[str, Any]) -> Scatter:
    there = values.dropna().round(4)
    hover = f"{name}<br>%{{x:.3s}} frames: %{{y:.4g}}<extra></extra>"
    x, y = there.index.to_numpy().round().tolist(), there.tolist()
    return Scatter(x=x, y=y, mode="lines", name=name, hovertemplate=hover, **look)


def _mean(name: str, table: pd.DataFrame, line: Mapping[str, Any]) -> list[Scatter]:
    """The mean of a table's columns where all that have values have one, and its interval if there are several."""
    label = name if len(table.columns) == 1 else f"{name} ({len(table.columns)} seeds)"
    table = table.dropna(axis=1, how="all").dropna()
    mean, half = table.mean(axis=1), scipy.stats.t.ppf(0.975, table.count(axis=1) - 1) * table.sem(axis=1)
    traces = [_line(label, mean, {"line": line})]
    around = pd.concat([mean + half, (mean - half)[::-1]]).dropna()
    if len(around):
        look = {"fill": "toself", "fillcolor": line["color"], "opacity": 0.18, "line": {"width": 0}}
        traces.append(_line(label, around, {**look, "hoverinfo": "skip", "showlegend": False}))
    return traces
