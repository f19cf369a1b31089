"""Curves of any number of runs that can be zoomed into and read off: Plotly draws them in the page, without a kernel.

They are described as Plotly's JSON, which its JupyterLab extension shows. Matplotlib's pictures of the same runs are
`figures.run_plots`; a page that is printed or read elsewhere has those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from mmlib.analysis import stats
from mmlib.analysis.curves import total_frames
from mmlib.figures.run_plots import PANELS
from mmlib.figures.style import BLUE, GREEN, LINES, ORANGE, PURPLE, SKY, VERMILLION
from mmlib.method.methods import METHODS
from mmlib.runs.reader import Run

POINTS = 100  # of a curve, at most
INK, RULE = "#808080", "rgba(128, 128, 128, 0.25)"  # to be read in a light and in a dark page
PALETTE = (GREEN, VERMILLION, BLUE, ORANGE, PURPLE, SKY)
TITLES = {"return": "episode return", **PANELS}


def chart(groups: Mapping[str, Sequence[Run]], together: bool = True, smoothing: int = 1) -> dict[str, Any]:
    """Return, entropy and α over environment frames, as Plotly's JSON.

    Args:
      groups: runs that differ in their seeds alone, by name.
      together: whether a group is one line, its mean, with the 95 % interval of the mean (Student's t over seeds).
      smoothing: points of a curve that are averaged, the point itself the last.
    """
    colours = _colours([(name, groups[name][0].method) for name in groups])
    end = max((total_frames(run) for runs in groups.values() for run in runs), default=1)
    edges = np.linspace(0.0, max(end, 1), POINTS + 1)
    traces: list[dict[str, Any]] = []
    for place, column in enumerate(TITLES, start=1):
        for name, runs in groups.items():
            values = {str(run.seed): _values(run, column, edges) for run in runs}
            table = pd.DataFrame(values, index=edges[1:]).apply(_smooth, smoothing=smoothing)
            axis = {"xaxis": f"x{place}", "yaxis": f"y{place}", "legendgroup": name, "showlegend": place == 1}
            traces += _mean(name, table, colours[name], axis) if together else _each(name, table, colours[name], axis)
    return {"data": traces, "layout": _layout(sum(trace["showlegend"] for trace in traces))}


def _colours(groups: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A group's colour: its method's, unless several groups have one method."""
    methods = [method for _, method in groups]
    known = len(set(methods)) == len(methods) and all(method in LINES for method in methods)
    return {n: LINES[m][0] if known else PALETTE[i % len(PALETTE)] for i, (n, m) in enumerate(groups)}


def _values(run: Run, column: str, edges: np.ndarray) -> np.ndarray:
    """[G], the mean over members, episodes and log points in each bin; NaN where there are none."""
    if column == "return":
        rows, name = run.episodes(), "return"
    else:
        rows, name = run.metrics(), column
    single = run.method in METHODS and METHODS[run.method].single
    if name not in rows or not len(rows) or (column == "alpha" and single):  # one policy has no alpha
        return np.full(len(edges) - 1, np.nan)
    return stats.learning_curve(rows["frames"], rows[name].astype(float), edges)


def _smooth(values: pd.Series, smoothing: int) -> pd.Series:
    """[G], a running mean of the bins that have a value; between those it is interpolated, as a line would be."""
    means = values.dropna().rolling(smoothing, min_periods=1).mean().reindex(values.index)
    return means.interpolate("index", limit_area="inside") if len(means.dropna()) else means


def _line(name: str, x: pd.Index, y: pd.Series, look: Mapping[str, Any], axis: Mapping[str, Any]) -> dict[str, Any]:
    there = y.notna().to_numpy()
    points = {"x": x[there].round().tolist(), "y": y[there].round(4).tolist()}
    hover = f"{name}<br>%{{x:.3s}} frames: %{{y:.4g}}<extra></extra>"
    return {"type": "scatter", "mode": "lines", "name": name, **points, "hovertemplate": hover, **axis, **look}


def _each(name: str, table: pd.DataFrame, colour: str, axis: Mapping[str, Any]) -> list[dict[str, Any]]:
    dashes = ("solid", "dash", "dot", "dashdot")
    lines = []
    for k, (seed, values) in enumerate(table.items()):
        look = {"line": {"color": colour, "width": 1.5, "dash": dashes[k % len(dashes)]}}
        lines.append(_line(f"{name}, seed {seed}", table.index, values, look, axis))
    return lines


def _mean(name: str, table: pd.DataFrame, colour: str, axis: Mapping[str, Any]) -> list[dict[str, Any]]:
    counts, mean = table.count(axis=1), table.mean(axis=1)
    label = name if len(table.columns) == 1 else f"{name} ({len(table.columns)} seeds)"
    lines = [_line(label, table.index, mean, {"line": {"color": colour, "width": 2}}, axis)]
    half = scipy.stats.t.ppf(0.975, counts - 1) * table.std(axis=1) / np.sqrt(counts)
    band = half[half.notna()]
    if len(band):
        around = pd.concat([(mean + half)[band.index], (mean - half)[band.index][::-1]])
        look = {"fill": "toself", "fillcolor": colour, "opacity": 0.18, "line": {"width": 0}, "hoverinfo": "skip"}
        lines.append({**_line(label, around.index, around, look, axis), "showlegend": False})
    return lines


def _layout(entries: int) -> dict[str, Any]:
    legend = {"orientation": "h", "y": -0.3, "yanchor": "top"}
    layout: dict[str, Any] = {
        "grid": {"rows": 1, "columns": len(TITLES), "pattern": "independent", "xgap": 0.14},
        "height": 300 + 20 * entries,
        "margin": {"l": 40, "r": 10, "t": 30, "b": 40},
        "font": {"color": INK, "size": 11},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": legend,
        "annotations": [],
    }
    for place, title in enumerate(TITLES.values(), start=1):
        lines = {"gridcolor": RULE, "zerolinecolor": RULE}
        layout[f"xaxis{place}"] = {
            **lines,
            "title": {"text": "environment frames", "standoff": 8},
            "rangemode": "tozero",
        }
        layout[f"yaxis{place}"] = {**lines, "rangemode": "tozero"}
        where = {"xref": f"x{place} domain", "yref": f"y{place} domain", "x": 0.5, "y": 1.12}
        layout["annotations"].append({"text": title, "showarrow": False, "font": {"size": 12}, **where})
    return layout
