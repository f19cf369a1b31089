"""The paper's claims as drawings: the shapes that its figures have, by hand and without numbers, beside what was
measured. Nothing here is data."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator

from mmlib.figures.style import BLUE, COLUMN, GREEN, VERMILLION, label, legend_below, sheet, style, styled

# Figures 3, 6 and 9 of Czarnecki et al. 2018, roughly: by panel and method how high it ends, and after what share of
# the run it is two thirds there.
CURVES: dict[str, dict[str, dict[str, tuple[float, float]]]] = {
    "3": {
        "": {
            "small": (0.55, 0.13),
            "big756": (0.75, 0.4),
            "mm": (0.95, 0.23),
            "mm_masked_kl": (0.88, 0.23),
            "mm_shared_head": (0.82, 0.22),
        }
    },
    "6": {
        "": {
            "ff": (0.65, 0.13),
            "lstm": (0.75, 0.33),
            "ff_lstm": (0.83, 0.4),
            "mm_ff_lstm": (0.92, 0.24),
            "mm_lstm_lstm": (0.5, 0.55),
        }
    },
    "9": {
        "navigation": {"multitask": (0.85, 0.25), "mm_multitask": (0.78, 0.3)},
        "lasertag, two levels": {"multitask": (0.3, 0.5), "mm_multitask": (0.8, 0.35)},
    },
}
# Figure 5, left and right, and figure 8: alpha in the experiments, and the collision entropy, by shares of the run.
SWITCHES: dict[str, dict[str, tuple[str, Any, list[tuple[float, float]]]]] = {
    "alpha": {
        "action spaces": (GREEN, "-", [(0, 0), (0.05, 0.05), (0.2, 0.95), (0.25, 1), (1, 1)]),
        "cores, navigation": (
            BLUE,
            (0, (3, 1, 1, 1)),
            [(0, 0), (0.1, 0.6), (0.18, 0.25), (0.28, 0.8), (0.36, 0.5), (0.48, 1), (1, 1)],
        ),
        "cores, lasertag": (VERMILLION, (0, (5, 1.5)), [(0, 0), (0.4, 0.1), (0.75, 0.95), (0.85, 1), (1, 1)]),
    },
    "entropy": {"M&M": (GREEN, "-", [(0, 0.05), (0.15, 0.15), (0.5, 0.8), (0.7, 0.95), (1, 1)])},
}
NOTE = "what the paper says, drawn by hand"


@styled
def returns(figure: str) -> Figure:
    """The curves of figure "3", "6" or "9" as the paper describes them."""
    panels = CURVES[figure]
    drawing = sheet(COLUMN * len(panels), 2.9)
    t = np.linspace(0, 1, 200)
    for axes, (title, methods) in zip(drawing.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        for method, (end, share) in methods.items():
            axes.plot(t, end * -np.expm1(-t / share) / -np.expm1(-1 / share), label=label(method), **style(method))
        _bare(axes, "return", f"{NOTE}{title and f': {title}'}", 1.1)
    legend_below(drawing, columns=2)
    return drawing


@styled
def rise(what: str) -> Figure:
    """How "alpha" or the collision "entropy" moves as the paper describes it."""
    drawing = sheet(COLUMN, 2.5)
    axes = drawing.add_subplot()
    t = np.linspace(0, 1, 200)
    for name, (colour, dashes, points) in SWITCHES[what].items():
        axes.plot(t, PchipInterpolator(*zip(*points))(t), color=colour, ls=dashes, label=name)
    _bare(axes, "α" if what == "alpha" else "collision entropy", NOTE, 1.05)
    legend_below(drawing, columns=2)
    return drawing


def _bare(axes: Axes, ylabel: str, title: str, top: float) -> None:
    axes.set(xlabel="training", ylabel=ylabel, xlim=(0, 1), ylim=(0, top), xticks=[], yticks=[], title=title)
