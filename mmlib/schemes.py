"""Figures 1 and 2 drawn from the agent table, so that they cannot disagree with the code.

A scheme stands in rows, from what the agent sees to what acts: torsos, cores, heads, constituents, mixtures. A module is
one box however many constituents name it, under the middle of those that do. The colours are the paper's, and edges and
lightness say the same without them: violet is shared, grey (dashed) a helper's own, red the target's own, blue meets the
environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from mmlib.agent import METHODS, AgentSpec, Constituent
from mmlib.plots import COLUMN, STYLE, save

Mixtures = Sequence[tuple[str, Sequence[int]]]  # a level's name or "", and indices of the constituents mixed there

ROLES: dict[str, dict[str, Any]] = {  # fill, edge and dash: told apart in grey as well
    "input": {"facecolor": "#ffffff", "edgecolor": "#777777"},
    "shared": {"facecolor": "#d9c9ea", "edgecolor": "#5b3a8c", "linewidth": 1.3},
    "helper": {"facecolor": "#f1f1f1", "edgecolor": "#555555", "linestyle": (0, (3, 1.5))},
    "target": {"facecolor": "#f2a38c", "edgecolor": "#a32a15"},
    "exposed": {"facecolor": "#a9d1ef", "edgecolor": "#0b5a94", "linewidth": 1.6},
}
LEGEND = {
    "shared": "shared",
    "helper": "a helper's own",
    "target": "the target's own",
    "exposed": "meets the environment",
}
HEIGHT, WIDTH, GAP = 0.5, 1.02, 0.36  # of a box and between two, in units of the drawing
ROW = 0.95  # from one row of boxes to the next
INCHES = 0.6  # of a unit, at least
PAGE, TITLE = 7.3, 0.22  # inches: the width of a page, the height of a title or legend
FONT = 6.2
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass
class Box:
    """A module, policy, value or mixture: its text, role and place."""

    text: str
    role: str
    x: float
    y: float
    width: float = WIDTH


@dataclass
class Scheme:
    """Boxes by key, lines between them (from the lower to the upper), and pairs that the transfer cost holds together."""

    boxes: dict[str, Box]
    lines: list[tuple[str, str]]
    transfers: list[tuple[str, str]]


def mixtures_of(spec: AgentSpec) -> Mixtures:
    """Which constituents act together in which level: all of them, unless the specification has `mixtures`."""
    every: Mixtures = (("", tuple(range(len(spec.constituents)))),)
    return getattr(spec, "mixtures", None) or every


def scheme(spec: AgentSpec, mixtures: Mixtures | None = None) -> Scheme:
    """Boxes and lines of one agent's scheme, laid out.

    Policies stand in a block on the left and values in one on the right, each in the constituents' order.
    Raises ValueError if a mixture names a constituent that the agent does not have.
    """
    parts, chosen = spec.constituents, mixtures_of(spec) if mixtures is None else mixtures
    count = len(parts)
    for name, indices in chosen:
        if not indices or not all(0 <= i < count for i in indices):
            raise ValueError(f"mixture {name!r} has constituents {list(indices)}; the agent's are 0 … {count - 1}")
    acting = 5.3 if count > 1 else 4.15
    policies = [i * (WIDTH + GAP) for i in range(count)]
    values = [policies[-1] + (WIDTH + GAP) * (i + 1) + GAP / 2 for i in range(count)]
    middles = [(p + v) / 2 for p, v in zip(policies, values)]
    drawn = Scheme({}, [], [])

    _modules(drawn, parts, "torso", [[c.torso] for c in parts], middles, 1, lambda _: "torso\nconv, conv, linear 256", 1.9)
    _modules(drawn, parts, "core", [list(c.cores) for c in parts], middles, 2.1, _core_text)
    _modules(
        drawn, parts, "head", [[c.head] for c in parts], policies, 3.2, lambda n: f"policy head\n{_logits(spec, n)} logits"
    )
    _modules(drawn, parts, "baseline", [[c.baseline] for c in parts], values, 3.2, lambda _: "value head\n1 output")
    _inputs(drawn)
    for i, c in enumerate(parts):
        role = "exposed" if count == 1 else "target" if i == count - 1 else "helper"
        number = str(i + 1).translate(SUBSCRIPTS) if count > 1 else ""
        masked = spec.heads[c.head] != c.space and len(spec.heads[c.head].group_sizes) > 1
        actions = f"masked to {c.space.num_actions}" if masked else f"{c.space.num_actions} actions"
        drawn.boxes[f"π{i}"] = Box(f"π{number}\n{actions}", role, policies[i], 4.25 * ROW)
        drawn.boxes[f"V{i}"] = Box(f"V{number}", role, values[i], 4.25 * ROW)
        for core in c.cores:
            below = f"+{i}" if len(c.cores) > 1 else f"core {core}"
            if len(c.cores) > 1:
                drawn.boxes[f"+{i}"] = Box("+", "input", middles[i], 2.68 * ROW, 0.2)
                drawn.lines.append((f"core {core}", below))
            drawn.lines += [(f"torso {c.torso}", f"core {core}"), ("last", f"core {core}")]
            drawn.lines += [(below, f"head {c.head}"), (below, f"baseline {c.baseline}")]
        drawn.lines += [(f"head {c.head}", f"π{i}"), (f"baseline {c.baseline}", f"V{i}")]
    if count > 1:
        _mixtures(drawn, chosen, policies, values, acting)
        if spec.transfer != "none":
            pairs = [(f"π{i}", f"π{j}") for _, indices in chosen for i, j in zip(indices, indices[1:])]
            drawn.transfers = list(dict.fromkeys(pairs))
    drawn.lines = list(dict.fromkeys(drawn.lines))
    return drawn


def _modules(
    drawn: Scheme,
    parts: Sequence[Constituent],
    kind: str,
    named: Sequence[Sequence[str]],
    columns: Sequence[float],
    row: float,
    text: Any,
    width: float = WIDTH,
) -> None:
    """A row of modules: one box a name, under the middle of the constituents that name it."""
    users = {name: [i for i, names in enumerate(named) if name in names] for names in named for name in names}
    boxes = {}
    for name, owners in users.items():
        role = "shared" if len(owners) > 1 else "target" if owners == [len(parts) - 1] else "helper"
        x = sum(columns[i] for i in owners) / len(owners)
        boxes[f"{kind} {name}"] = Box(text(name), role, x, row * ROW, width)
    _spread(list(boxes.values()))
    drawn.boxes |= boxes


def _inputs(drawn: Scheme) -> None:
    """What the agent sees: the frame under each torso, the last action and reward beside them."""
    torsos = [key for key in drawn.boxes if key.startswith("torso")]
    for key in torsos:
        drawn.boxes[f"frame {key}"] = Box("frame (RGB)", "input", drawn.boxes[key].x, 0.1 * ROW)
        drawn.lines.append((f"frame {key}", key))
    right = max(drawn.boxes[key].x + drawn.boxes[key].width / 2 for key in torsos)
    drawn.boxes["last"] = Box("last action,\nlast reward", "input", right + 0.25 + WIDTH / 2, ROW, WIDTH)


def _mixtures(
    drawn: Scheme, mixtures: Mixtures, policies: Sequence[float], values: Sequence[float], row: float
) -> None:
    for letter, columns, key in (("π", policies, "π"), ("V", values, "V")):
        boxes = []
        for name, indices in mixtures:
            terms = _terms(letter, indices)
            text = f"${_symbol(letter)}$ = {terms}"
            if name:
                text = terms if letter == "V" else f"{name.replace('_', ' ')}\n{terms}"
            wide = max(WIDTH, 0.072 * max(map(len, text.removeprefix(f"${_symbol(letter)}$").split("\n"))) + 0.2)
            wide += 0 if name else 0.9
            box = Box(text, "exposed", sum(columns[i] for i in indices) / len(indices), row * ROW, wide)
            drawn.boxes[f"{key} {name or 'mm'}"] = box
            drawn.lines += [(f"{key}{i}", f"{key} {name or 'mm'}") for i in indices]
            boxes.append(box)
        _spread(boxes)


def _symbol(letter: str) -> str:
    """A mixture's symbol for matplotlib's mathematics."""
    return {"π": r"\pi_{\mathrm{mm}}", "V": r"V_{\mathrm{mm}}"}[letter]


def _terms(letter: str, indices: Sequence[int]) -> str:
    """A mixture as a sum: (1-α) π₁ + α π₂ for two constituents, α₁ π₁ + α₂ π₂ + ... for more."""
    numbers = [str(i + 1).translate(SUBSCRIPTS) for i in indices]
    factors = ["(1−α) ", "α "] if len(indices) == 2 else [f"α{n}" for n in numbers]
    return " + ".join(f"{factor}{letter}{n}" for factor, n in zip(factors, numbers))


def _spread(boxes: list[Box]) -> None:
    """Moves the boxes of a row apart until none overlap, about their common middle."""
    boxes = sorted(boxes, key=lambda box: box.x)
    before = [box.x for box in boxes]
    for left, right in zip(boxes, boxes[1:]):
        right.x = max(right.x, left.x + (left.width + right.width) / 2 + 0.16)
    shift = sum(before) / len(before) - sum(box.x for box in boxes) / len(boxes)
    for box in boxes:
        box.x += shift


def _core_text(name: str) -> str:
    kind = {"lstm": "LSTM", "feed_forward": "linear (FF)"}.get(name.split("/")[0], name.split("/")[0])
    return f"{kind}\n256 units"


def _logits(spec: AgentSpec, head: str) -> int:
    return sum(spec.heads[head].group_sizes)


def draw_scheme(spec: AgentSpec, mixtures: Mixtures | None = None) -> Figure:
    """Figure 2's scheme of one agent: its modules, what is shared, its policies, and what acts.

    Args:
      spec: any entry of the agent table.
      mixtures: which constituents are mixed in which level, by index; else `mixtures_of(spec)`.
    """
    return draw_schemes([spec], None if mixtures is None else [mixtures])


def draw_schemes(specs: Sequence[AgentSpec], mixtures: Sequence[Mixtures] | None = None) -> Figure:
    """Figure 2: schemes at one scale, in rows no wider than a page, lettered (a), (b), ... if there are several."""
    schemes = [scheme(spec, None if mixtures is None else mixtures[i]) for i, spec in enumerate(specs)]
    extents = [_extent(one) for one in schemes]
    widths = [right - left for left, right, _ in extents]
    inches = min(max(COLUMN / sum(widths), INCHES), 1.2 * INCHES)
    rows: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        if rows[-1] and (sum(widths[j] for j in rows[-1]) + width) * inches > PAGE:
            rows.append([])
        rows[-1].append(i)
    with mpl.rc_context(STYLE):
        wide = max(sum(widths[i] for i in row) for row in rows) * inches
        heights = [max(extents[i][2] for i in row) * inches + TITLE for row in rows]
        figure = Figure(figsize=(wide, sum(heights) + TITLE))
        bottom = sum(heights) + TITLE
        for row, high in zip(rows, heights):
            bottom, left = bottom - high, (wide - sum(widths[i] for i in row) * inches) / 2
            for i in row:
                width, tall = widths[i] * inches, extents[i][2] * inches
                place = (left / wide, bottom / figure.get_figheight(), width / wide, tall / figure.get_figheight())
                axes = figure.add_axes(place)
                axes.set(xlim=extents[i][:2], ylim=(-0.3, extents[i][2] - 0.3))
                axes.set_axis_off()
                _draw(axes, schemes[i])
                letter = f"({'abcdefgh'[i]}) " if len(specs) > 1 else ""
                axes.set_title(letter + specs[i].label, fontsize=8, pad=2)
                left += width
        _legend(figure, [r for r in LEGEND if any(b.role == r for one in schemes for b in one.boxes.values())])
        return figure


def _extent(drawn: Scheme) -> tuple[float, float, float]:
    """Left, right and height of a scheme, with a margin."""
    boxes = drawn.boxes.values()
    left, right = min(b.x - b.width / 2 for b in boxes), max(b.x + b.width / 2 for b in boxes)
    return left - 0.15, right + 0.15, max(b.y for b in boxes) + HEIGHT / 2 + 0.35


def _draw(axes: Axes, drawn: Scheme) -> None:
    for lower, upper in drawn.lines:
        _line(axes, drawn.boxes[lower], drawn.boxes[upper])
    for first, second in drawn.transfers:
        _transfer(axes, drawn.boxes[first], drawn.boxes[second])
    for box in drawn.boxes.values():
        _box(axes, box)


def _box(axes: Axes, box: Box) -> None:
    corner = (box.x - box.width / 2, box.y - HEIGHT / 2)
    height = HEIGHT if box.text != "+" else box.width
    style = "round,pad=0,rounding_size=0.08" if box.text != "+" else "circle,pad=0"
    if box.text == "+":
        corner = (box.x - box.width / 2, box.y - box.width / 2)
    axes.add_patch(FancyBboxPatch(corner, box.width, height, boxstyle=style, zorder=3, **ROLES[box.role]))
    axes.text(box.x, box.y, box.text, ha="center", va="center_baseline" if "\n" not in box.text else "center",
              fontsize=FONT, zorder=4, linespacing=1.15)  # fmt: skip


def _line(axes: Axes, lower: Box, upper: Box) -> None:
    up = upper.y - (HEIGHT if upper.text != "+" else upper.width) / 2
    start = (lower.x, lower.y + (HEIGHT if lower.text != "+" else lower.width) / 2)
    arrow = {"arrowstyle": "-|>,head_length=0.25,head_width=0.12", "color": "#444444", "lw": 0.8}
    axes.annotate("", (upper.x, up), start, arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}, zorder=2)


def _transfer(axes: Axes, first: Box, second: Box) -> None:
    """The transfer cost between two policies: a dashed line with two heads."""
    left, right = sorted((first, second), key=lambda box: box.x)
    near = right.x - left.x - (left.width + right.width) / 2 < 2 * GAP  # nothing between them
    start, end = (left.x + left.width / 2, left.y), (right.x - right.width / 2, right.y)
    if not near:
        start, end = (left.x + 0.15, left.y + HEIGHT / 2), (right.x - 0.15, right.y + HEIGHT / 2)
    arrow = {"arrowstyle": "<|-|>,head_length=0.2,head_width=0.1", "color": "#a32a15", "lw": 0.9, "ls": (0, (2, 1))}
    curve = "arc3,rad=0" if near else "arc3,rad=-0.16"
    arrow |= {"connectionstyle": curve, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow, zorder=2.5)
    if near:
        axes.text((start[0] + end[0]) / 2, left.y + 0.08, "KL", ha="center", va="bottom", fontsize=FONT - 0.7, color="#a32a15")


def _legend(figure: Figure, roles: Iterable[str]) -> None:
    patches = [Patch(label=LEGEND[role], **ROLES[role]) for role in roles]
    figure.legend(
        handles=patches, loc="lower center", ncols=len(patches), fontsize=5.7, handlelength=1.4, columnspacing=0.8,
        borderaxespad=0.1,
    )  # fmt: skip


def draw_curriculum(spec: AgentSpec) -> Figure:
    """Figure 1: the constituents of an agent from easy to hard, the mixture that acts, and the transfer cost."""
    count = len(spec.constituents)
    drawn = Scheme({}, [], [])
    for i, c in enumerate(spec.constituents):
        role, number = "target" if i == count - 1 else "helper", str(i + 1).translate(SUBSCRIPTS)
        said = "the final agent" if i == count - 1 else "the simplest" if i == 0 else "between"
        text = f"π{number}: {said}\n{c.space.num_actions} actions, {' + '.join(_core_text(n).splitlines()[0] for n in c.cores)}"
        drawn.boxes[f"π{i}"] = Box(text, role, i * (1.75 + GAP), 0.3, 1.75)
    middle = (count - 1) * (1.75 + GAP) / 2
    text = f"${_symbol('π')}$ = {_terms('π', range(count))}\nacts; the RL loss is on it"
    drawn.boxes["mm"] = Box(text, "exposed", middle, 1.55, max(2.4, 0.6 * count + 1.2))
    drawn.lines = [(f"π{i}", "mm") for i in range(count)]
    drawn.transfers = [(f"π{i}", f"π{i + 1}") for i in range(count - 1)] if spec.transfer != "none" else []
    left, right, top = _extent(drawn)
    inches = max(COLUMN / (right - left), INCHES)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=((right - left) * inches, (top - 0.2) * inches + 0.2))
        axes = figure.add_axes((0, 0.2 / figure.get_figheight(), 1, 1 - 0.2 / figure.get_figheight()))
        axes.set(xlim=(left, right), ylim=(-0.1, top - 0.3))
        axes.set_axis_off()
        _draw(axes, drawn)
        _legend(figure, ["helper", "target", "exposed"])
        return figure


def save_schemes(directory: str | Path = "docs/images", methods: Sequence[str] = ("mm",)) -> list[Path]:
    """Draws figure 1 of the first method and figure 2 of all of them: `figure1.png` and `figure2.png` (and .svg)."""
    specs = [METHODS[method] for method in methods]
    return save(draw_curriculum(specs[0]), directory, "figure1") + save(draw_schemes(specs), directory, "figure2")
