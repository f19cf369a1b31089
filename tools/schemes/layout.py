"""Figures 1 and 2 laid out from the agent table, so that they cannot disagree with the code; drawing.py draws.

A scheme stands in rows, from what the agent sees to what acts: torsos, cores, heads, constituents, mixtures. A module
is one box however many constituents name it, under the middle of those that do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mmlib.method.methods import AgentSpec

Mixtures = Sequence[tuple[str, Sequence[int]]]  # a level's name or "", and indices of the constituents mixed there

HEIGHT, WIDTH, GAP = 0.5, 1.02, 0.36  # of a box and between two, in units of the drawing
ROW = 0.95  # from one row of boxes to the next
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass
class Box:
    """A module, policy, value or mixture: its text, role and place."""

    text: str
    role: str
    x: float
    y: float
    width: float = WIDTH

    @property
    def height(self) -> float:
        return self.width if self.text == "+" else HEIGHT


@dataclass
class Scheme:
    """Boxes by key, lines from lower to upper ones, and the teachers and students of the transfer cost."""

    boxes: dict[str, Box] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    transfers: list[tuple[str, str]] = field(default_factory=list)
    cost: str = "KL"
    both_ways: bool = True  # whether the transfer cost's gradient reaches the teacher


def mixtures_of(spec: AgentSpec, levels: Sequence[str] = ()) -> Mixtures:
    """Which constituents act together: all of them, or on each level of a multitask agent those that are active there.

    levels: their names, in the order of the run's list; else "level 1", "level 2", ...
    """
    if not spec.tasks:
        return (("", tuple(range(len(spec.constituents)))),)
    names = [levels[task] if task < len(levels) else f"level {task + 1}" for task in range(spec.tasks)]
    active = [spec.active(task) for task in range(spec.tasks)]
    return [(n, tuple(spec.constituents.index(c) for c in parts)) for n, parts in zip(names, active, strict=True)]


def scheme(spec: AgentSpec, levels: Sequence[str] = ()) -> Scheme:
    """Boxes and lines of one agent's scheme, laid out; `levels` as in `mixtures_of`.

    Policies stand in a block on the left and values in one on the right, each in the constituents' order.
    """
    parts, chosen, count = spec.constituents, mixtures_of(spec, levels), len(spec.constituents)
    policies = [i * (WIDTH + GAP) for i in range(count)]
    values = [policies[-1] + (WIDTH + GAP) * (i + 1) + GAP / 2 for i in range(count)]
    middles = [(p + v) / 2 for p, v in zip(policies, values)]
    drawn = Scheme(cost=_cost(spec), both_ways=not spec.stop_gradient)
    logits = {name: f"policy head\n{sum(space.group_sizes)} logits" for name, space in spec.heads.items()}
    torsos = {c.torso: "torso\nconv, conv, linear 256" for c in parts}
    cores = {name: _core_text(name) for c in parts for name in c.cores}
    baselines = {c.baseline: "value head\n1 output" for c in parts}
    _modules(drawn, "torso", [[c.torso] for c in parts], middles, 1, torsos, 1.9)
    _modules(drawn, "core", [list(c.cores) for c in parts], middles, 2.1, cores)
    _modules(drawn, "head", [[c.head] for c in parts], policies, 3.2, logits)
    _modules(drawn, "baseline", [[c.baseline] for c in parts], values, 3.2, baselines)
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
        _mixtures(drawn, spec, chosen, policies, values)
        drawn.transfers = _transfers(spec, chosen)
    drawn.lines = list(dict.fromkeys(drawn.lines))
    return drawn


def _modules(
    drawn: Scheme,
    kind: str,
    named: Sequence[Sequence[str]],
    columns: Sequence[float],
    row: float,
    texts: Mapping[str, str],
    width: float = WIDTH,
) -> None:
    """A row of modules: one box a name, under the middle of the constituents that name it."""
    users = {name: [i for i, names in enumerate(named) if name in names] for names in named for name in names}
    boxes = {}
    for name, owners in users.items():
        role = "shared" if len(owners) > 1 else "target" if owners == [len(named) - 1] else "helper"
        x = sum(columns[i] for i in owners) / len(owners)
        boxes[f"{kind} {name}"] = Box(texts[name], role, x, row * ROW, width)
    _spread(list(boxes.values()))
    drawn.boxes |= boxes


def _inputs(drawn: Scheme) -> None:
    """What the agent sees: the frame under each torso, the last action and reward beside them."""
    torsos = [key for key in drawn.boxes if key.startswith("torso")]
    for key in torsos:
        drawn.boxes[f"frame {key}"] = Box("frame (RGB)", "input", drawn.boxes[key].x, 0.1 * ROW)
        drawn.lines.append((f"frame {key}", key))
    right = max(drawn.boxes[key].x + drawn.boxes[key].width / 2 for key in torsos)
    drawn.boxes["last"] = Box("last action,\nlast reward", "input", right + 0.25 + WIDTH / 2, ROW)


def _transfers(spec: AgentSpec, mixtures: Mixtures) -> list[tuple[str, str]]:
    """Teacher and student of each transfer cost."""
    if spec.transfer == "none":
        return []
    if spec.transfer == "mixture_kl":
        return [(f"π {name or 'mm'}", f"π{indices[-1]}") for name, indices in mixtures]
    return list(dict.fromkeys((f"π{i}", f"π{j}") for _, chain in mixtures for i, j in pairwise(chain)))


def _mixtures(
    drawn: Scheme, spec: AgentSpec, mixtures: Mixtures, policies: Sequence[float], values: Sequence[float]
) -> None:
    """What acts on each level, and its value."""
    for letter, columns in (("π", policies), ("V", values)):
        boxes = []
        for name, indices in mixtures:
            acting = indices[-1:] if spec.mixing == "none" else indices
            terms = _terms(letter, acting)
            text = f"{terms} alone" if len(acting) == 1 else f"${_symbol(letter)}$ = {terms}"
            if spec.mixing == "sampled" and letter == "π":
                text = "c ~ Cat(α): $\\pi_c$ acts"
            if spec.knots:
                text += "\nα = " + " → ".join(f"{alpha:g}" for _, alpha in spec.knots)
            if name:
                text = terms if letter == "V" else f"{name.replace('_', ' ')}\n{terms}"
            shown = text.replace(f"${_symbol(letter)}$", "mm")
            wide = max(WIDTH, 0.072 * max(map(len, shown.split("\n"))) + (0.2 if name else 0.95))
            box = Box(text, "exposed", sum(columns[i] for i in indices) / len(indices), 5.3 * ROW, wide)
            drawn.boxes[f"{letter} {name or 'mm'}"] = box
            drawn.lines += [(f"{letter}{i}", f"{letter} {name or 'mm'}") for i in acting]
            boxes.append(box)
        _spread(boxes)


def _symbol(letter: str) -> str:
    """A mixture's symbol for matplotlib's mathematics."""
    return {"π": r"\pi_{\mathrm{mm}}", "V": r"V_{\mathrm{mm}}"}[letter]


def _terms(letter: str, indices: Sequence[int]) -> str:
    """A mixture as a sum: (1-α) π₁ + α π₂ for two constituents, α₁ π₁ + α₂ π₂ + ... for more."""
    numbers = [str(i + 1).translate(SUBSCRIPTS) for i in indices]
    factors = [""] if len(indices) == 1 else ["(1−α) ", "α "] if len(indices) == 2 else [f"α{n}" for n in numbers]
    return " + ".join(f"{factor}{letter}{n}" for factor, n in zip(factors, numbers))


def _spread(boxes: list[Box]) -> None:
    """Moves the boxes of a row apart until none overlap, about their common middle."""
    boxes = sorted(boxes, key=lambda box: box.x)
    before = [box.x for box in boxes]
    for left, right in pairwise(boxes):
        right.x = max(right.x, left.x + (left.width + right.width) / 2 + 0.16)
    shift = sum(before) / len(before) - sum(box.x for box in boxes) / len(boxes)
    for box in boxes:
        box.x += shift


def _cost(spec: AgentSpec) -> str:
    """What a transfer cost is called in a scheme."""
    return {"masked_kl": "mKL", "cross_entropy": "CE"}.get(spec.transfer, "KL")


def _core_text(name: str) -> str:
    kind = {"lstm": "LSTM", "feed_forward": "linear (FF)"}.get(name.split("/")[0], name.split("/")[0])
    return f"{kind}\n256 units"


def curriculum(spec: AgentSpec) -> Scheme:
    """Figure 1's scheme: the constituents from easy to hard, the mixture that acts, and the transfer cost."""
    count = len(spec.constituents)
    drawn = Scheme(cost=_cost(spec), both_ways=not spec.stop_gradient)
    for i, c in enumerate(spec.constituents):
        role, number = "target" if i == count - 1 else "helper", str(i + 1).translate(SUBSCRIPTS)
        said = "the final agent" if i == count - 1 else "the simplest" if i == 0 else "between"
        cores = " + ".join(_core_text(name).splitlines()[0] for name in c.cores)
        text = f"π{number}: {said}\n{c.space.num_actions} actions, {cores}"
        drawn.boxes[f"π{i}"] = Box(text, role, i * (1.75 + GAP), 0.3, 1.75)
    middle = (count - 1) * (1.75 + GAP) / 2
    text = f"${_symbol('π')}$ = {_terms('π', range(count))}\nacts; the RL loss is on it"
    drawn.boxes["mm"] = Box(text, "exposed", middle, 1.55, max(2.4, 0.6 * count + 1.2))
    drawn.lines = [(f"π{i}", "mm") for i in range(count)]
    drawn.transfers = [(f"π{i}", f"π{i + 1}") for i in range(count - 1)] if spec.transfer != "none" else []
    return drawn
