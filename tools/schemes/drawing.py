"""Figures 1 and 2 drawn: the boxes and lines of layout.py.

The colours are the paper's, and edges and lightness say the same without them: violet is shared, grey (dashed) a
helper's own, red the target's own, blue meets the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from mmlib.alternatives.methods import METHODS
from mmlib.figures.style import COLUMN, save, styled
from mmlib.method.methods import AgentSpec
from tools.schemes.layout import GAP, HEIGHT, Box, Scheme, curriculum, scheme

RED = "#a32a15"
ROLES: dict[str, dict[str, Any]] = {  # fill, edge and dash: told apart in grey as well
    "input": {"facecolor": "#ffffff", "edgecolor": "#777777"},
    "shared": {"facecolor": "#d9c9ea", "edgecolor": "#5b3a8c", "linewidth": 1.3},
    "helper": {"facecolor": "#f1f1f1", "edgecolor": "#555555", "linestyle": (0, (3, 1.5))},
    "target": {"facecolor": "#f2a38c", "edgecolor": RED},
    "exposed": {"facecolor": "#a9d1ef", "edgecolor": "#0b5a94", "linewidth": 1.6},
}
LEGEND = {
    "shared": "shared",
    "helper": "a helper's own",
    "target": "the target's own",
    "exposed": "meets the environment",
}
INCHES = 0.6  # of a unit of the drawing, at least
PAGE, TITLE = 7.3, 0.22  # inches: the width of a page, the height of a title or legend
FONT = 6.2


@styled
def draw_schemes(specs: Mapping[str, AgentSpec], levels: Sequence[str] = ()) -> Figure:
    """Figure 2's schemes of entries of the agent table, by title: modules, what is shared, policies, and what acts.

    They have one scale, in rows no wider than a page. levels: names of a multitask agent's levels, in the order of the
    run's list.
    """
    schemes = {title: scheme(spec, levels) for title, spec in specs.items()}
    extents = {title: _extent(drawn) for title, drawn in schemes.items()}
    widths = {title: right - left for title, (left, right, _) in extents.items()}
    inches = min(max(COLUMN / sum(widths.values()), INCHES), 1.2 * INCHES)
    rows: list[list[str]] = [[]]
    for title, width in widths.items():
        if rows[-1] and (sum(widths[other] for other in rows[-1]) + width) * inches > PAGE:
            rows.append([])
        rows[-1].append(title)
    across = [sum(widths[title] for title in row) * inches for row in rows]
    heights = [max(extents[title][2] for title in row) * inches + TITLE for row in rows]
    wide, high = max(across), sum(heights) + TITLE
    figure, bottom = Figure(figsize=(wide, high)), high
    for row, its_width, its_height in zip(rows, across, heights):
        bottom, x = bottom - its_height, (wide - its_width) / 2
        for title in row:
            left, right, top = extents[title]
            axes = figure.add_axes((x / wide, bottom / high, widths[title] * inches / wide, top * inches / high))
            axes.set(xlim=(left, right), ylim=(-0.3, top - 0.3))
            axes.set_axis_off()
            _draw(axes, schemes[title])
            axes.set_title(title, fontsize=8, pad=2)
            x += widths[title] * inches
    _legend(figure, *schemes.values())
    return figure


def _extent(drawn: Scheme) -> tuple[float, float, float]:
    """Left, right and height of a scheme, with a margin."""
    boxes = drawn.boxes.values()
    left, right = min(b.x - b.width / 2 for b in boxes), max(b.x + b.width / 2 for b in boxes)
    return left - 0.15, right + 0.15, max(b.y for b in boxes) + HEIGHT / 2 + 0.35


def _draw(axes: Axes, drawn: Scheme) -> None:
    for lower, upper in drawn.lines:
        _line(axes, drawn.boxes[lower], drawn.boxes[upper])
    for teacher, student in drawn.transfers:
        _transfer(axes, drawn.boxes[teacher], drawn.boxes[student], drawn.cost, drawn.both_ways)
    for box in drawn.boxes.values():
        _box(axes, box)


def _box(axes: Axes, box: Box) -> None:
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    style = "circle,pad=0" if box.text == "+" else "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=style, zorder=3, **ROLES[box.role]))
    axes.text(box.x, box.y, box.text, ha="center", va="center_baseline" if "\n" not in box.text else "center",
              fontsize=FONT, zorder=4, linespacing=1.15)  # fmt: skip


def _line(axes: Axes, lower: Box, upper: Box) -> None:
    end, start = (upper.x, upper.y - upper.height / 2), (lower.x, lower.y + lower.height / 2)
    arrow = {"arrowstyle": "-|>,head_length=0.25,head_width=0.12", "color": "#444444", "lw": 0.8}
    axes.annotate("", end, start, arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}, zorder=2)


def _transfer(axes: Axes, teacher: Box, student: Box, name: str, both_ways: bool) -> None:
    """The transfer cost between two policies: a dashed line, with a head at each that its gradient reaches."""
    gap = abs(teacher.x - student.x) - (teacher.width + student.width) / 2
    side = 1 if teacher.x < student.x else -1
    start, end = (teacher.x + side * teacher.width / 2, teacher.y), (student.x - side * student.width / 2, student.y)
    curve = "arc3,rad=0"
    if teacher.y > student.y:  # the mixture
        start, end = (student.x + 0.25, teacher.y - HEIGHT / 2), (student.x + 0.25, student.y + HEIGHT / 2)
    elif gap > 2 * GAP:  # others stand between them
        start, end = (teacher.x + 0.15, teacher.y + HEIGHT / 2), (student.x - 0.15, student.y + HEIGHT / 2)
        curve = "arc3,rad=-0.16"
    heads = "<|-|>" if both_ways else "-|>"
    arrow = {"arrowstyle": f"{heads},head_length=0.2,head_width=0.1", "color": RED, "lw": 0.9, "ls": (0, (2, 1))}
    arrow |= {"connectionstyle": curve, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow, zorder=2.5)
    if curve == "arc3,rad=0":
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        place = (x, y + 0.08) if start[1] == end[1] else (x + 0.16, y - 0.05)
        axes.text(*place, name, ha="center", va="bottom", fontsize=FONT - 0.7, color=RED)


def _legend(figure: Figure, *schemes: Scheme) -> None:
    used = {box.role for drawn in schemes for box in drawn.boxes.values()}
    patches = [Patch(label=text, **ROLES[role]) for role, text in LEGEND.items() if role in used]
    figure.legend(
        handles=patches, loc="lower center", ncols=len(patches), fontsize=5.7, handlelength=1.4, columnspacing=0.8,
        borderaxespad=0.1,
    )  # fmt: skip


@styled
def draw_curriculum(spec: AgentSpec) -> Figure:
    """Figure 1: the constituents of an agent from easy to hard, the mixture that acts, and the transfer cost."""
    drawn = curriculum(spec)
    left, right, top = _extent(drawn)
    inches = max(COLUMN / (right - left), INCHES)
    figure = Figure(figsize=((right - left) * inches, (top - 0.2) * inches + 0.2))
    axes = figure.add_axes((0, 0.2 / figure.get_figheight(), 1, 1 - 0.2 / figure.get_figheight()))
    axes.set(xlim=(left, right), ylim=(-0.1, top - 0.3))
    axes.set_axis_off()
    _draw(axes, drawn)
    _legend(figure, drawn)
    return figure


WIRINGS = {"(a) action spaces": "mm", "(b) cores": "mm_ff_lstm", "(c) several levels": "mm_multitask"}  # of figure 2
LEVELS = ("explore_object_locations_small", "lt_horseshoe_color", "lt_chasm")  # of figure 9


def save_schemes(directory: str | Path = "docs/images") -> list[Path]:
    """Draws figures 1 and 2: `figure1` and `figure2`, each as .png and .svg."""
    specs = {title: METHODS[method] for title, method in WIRINGS.items()}
    paths = save(draw_curriculum(METHODS["mm"]), directory, "figure1")
    return paths + save(draw_schemes(specs, LEVELS), directory, "figure2")
