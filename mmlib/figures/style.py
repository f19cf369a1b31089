"""One style for all figures: a method has the same colour everywhere, told apart without seeing colours.

Functions that draw are decorated with `styled`, so that no setting of Matplotlib's is changed outside of them. Curves,
bands and heat maps are seaborn's, drawn into axes of one figure with a constrained layout; its grids of facets are not
used, since they make their figures through pyplot, which keeps them, and lay them out and their legends in another way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from mmlib.alternatives.methods import METHODS

# Okabe and Ito's palette, and a dash pattern each, so that prints in grey can be read too.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY, RULE, SHADE = "#777777", "#888888", "#f0f0f0"  # of words, arrows, verdicts; of reference lines; of a stretch
SOLID, LONG, SHORT, DOTTED = "-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1))
FINE: Any = {"lw": 0.8, "ls": (0, (1, 1.5))}  # of reference lines
ALONE = "/target"  # ends the name of a line beside the methods: the central policy alone
LINES: dict[str, tuple[str, Any]] = {  # colour and dashes
    "small": (BLUE, SOLID),
    "big756": (VERMILLION, SOLID),
    "mm": (GREEN, SOLID),
    "mm_masked_kl": (PURPLE, LONG),
    "mm_shared_head": (ORANGE, SHORT),
    "mm_three": (BLACK, SHORT),
    "mm_stop_gradient": (SKY, LONG),
    "small_kl": (BLACK, LONG),
    "mm_no_kl": (PURPLE, SHORT),
    "kl_no_mixing": (ORANGE, LONG),
    "mm_sampled": (GREY, DOTTED),
    "mm_mixture_kl": (BLACK, DOTTED),
    "mm_cross_entropy": (ORANGE, DOTTED),
    "ff": (BLUE, SOLID),
    "lstm": (VERMILLION, SOLID),
    "ff_lstm": (ORANGE, SHORT),
    "mm_ff_lstm": (GREEN, SOLID),
    "mm_lstm_lstm": (PURPLE, LONG),
    "multitask": (VERMILLION, SOLID),
    "mm_multitask": (GREEN, SOLID),
    f"mm_multitask{ALONE}": (SKY, LONG),
    "mm_learned_alpha": (GREEN, DOTTED),
    "mm_bandit": (GREEN, SHORT),
    "finetune": (ORANGE, LONG),
    "distil": (PURPLE, LONG),
    "kickstart": (SKY, SHORT),
    "small_teacher": (SKY, DOTTED),
    "ff_teacher": (SKY, DOTTED),
    "finetune_ff_lstm": (ORANGE, LONG),
    "distil_ff_lstm": (PURPLE, SHORT),
    "kickstart_ff_lstm": (SKY, SHORT),
    "whole": (VERMILLION, SHORT),
    "mm_whole": (PURPLE, SHORT),
    "mm_three_simplex": (BLACK, DOTTED),
    "mm_three_cores": (BLACK, SHORT),
    "mm_three_cores_simplex": (BLACK, DOTTED),
    "net2net": (BLACK, LONG),
    "distral": (PURPLE, SOLID),
    "q_small": (BLUE, LONG),
    "q_big756": (VERMILLION, LONG),
    "q_mm": (GREEN, LONG),
    f"distral{ALONE}": (PURPLE, DOTTED),
}
SPACES = {"small": ("Small", BLUE), "big540": ("Big", VERMILLION), "big756": ("Big", VERMILLION)}
SPACES |= {"whole": ("the whole space", PURPLE)}
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "figure.dpi": 100,
    "svg.fonttype": "none",
    "svg.hashsalt": "mmlib",
}
COLUMN = 3.5  # inches: the width of a column of a paper

_DRAWING = threading.RLock()  # Matplotlib's settings are the process's, and widgets draw in threads


@contextmanager
def drawing(settings: Any) -> Iterator[None]:
    """Draws with these settings of Matplotlib's, which are as before afterwards."""
    with _DRAWING, mpl.rc_context(settings):
        yield


styled = drawing(STYLE)


def sheet(width: float, height: float) -> Figure:
    """An empty figure, inches, whose axes and legends make room for each other."""
    return Figure(figsize=(width, height), layout="constrained")


def style(method: str) -> dict[str, Any]:
    """A method's colour and dashes, the same in every figure; grey where `LINES` does not have it."""
    colour, dashes = LINES.get(method, (GREY, SOLID))
    return {"color": colour, "linestyle": dashes}


def hues(lines: Sequence[str]) -> dict[str, Any]:
    """`style` of several lines as seaborn takes it."""
    looks = {line: style(line) for line in lines}
    dashes = {line: "" if look["linestyle"] == SOLID else look["linestyle"][1] for line, look in looks.items()}
    return {"palette": {line: look["color"] for line, look in looks.items()}, "dashes": dashes, "hue_order": lines}


def label(method: str) -> str:
    """A method's name in a legend."""
    name = METHODS[method.removesuffix(ALONE)].label
    return f"{name}, central policy alone" if method.endswith(ALONE) else name


def frame_axis(axes: Axes) -> None:
    """An x axis of environment frames from 0, with ticks such as 500 k and 1 M."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("environment frames")


def legend_below(figure: Figure, columns: int) -> None:
    """The figure's legend, of what its first axes have and what only the others have, if they have anything."""
    handles: list[Any] = []
    names: list[str] = []
    for axes in figure.axes:
        new = [(h, name) for h, name in zip(*axes.get_legend_handles_labels(), strict=True) if name not in names]
        handles += [handle for handle, _ in new]
        names += [name for _, name in new]
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.8)


@styled
def save(figure: Figure, directory: str | Path, name: str, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Writes the figure as `<directory>/<name>.<format>` and returns the paths.

    The same data give the same bytes.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in formats]
    dpi = figure.dpi if figure.get_axes() and figure.get_axes()[0].images else 220
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=dpi, metadata=metadata)
    return paths
