"""What the inspector says of a state, as HTML in the page's own colours: a table, and a bar for each probability."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from mmlib.figures.style import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, style
from mmlib.method.agent import MixMatchAgent
from mmlib.training.trained import Subject
from mmlib.widgets.remix import Bars, Mixed

CONSTITUENT_COLOURS = (BLUE, VERMILLION, PURPLE, ORANGE)  # pi_1, pi_2, ...
MIXTURE_COLOUR = GREEN
SUBSCRIPTS = "₁₂₃₄₅₆₇₈₉"

STYLE = """<style>
.mmi, .mmi * {box-sizing: border-box}
.mmi {font: 12px/1.35 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--jp-ui-font-color1, #222); font-variant-numeric: tabular-nums}
.mmi h4 {margin: 0 0 3px; font-size: 11.5px; font-weight: 600; display: flex; justify-content: space-between}
.mmi h4 small, .mmi-dim {font-weight: 400; font-size: 11px; color: var(--jp-ui-font-color2, #666)}
.mmi-row {display: grid; grid-template-columns: var(--label) 1fr 38px; gap: 6px; align-items: center; height: 20px}
.mmi-row.taken > :first-child {font-weight: 700}
.mmi-row > :first-child {text-align: right; white-space: nowrap; overflow: hidden; text-overflow: ellipsis}
.mmi-row > :last-child {text-align: right; font-size: 11px}
.mmi-bars {display: block; border-left: 1px solid var(--jp-border-color1, #bbb); padding: 1px 0}
.mmi-bars i {display: block; height: 4px; margin: 1px 0; border-radius: 0 2px 2px 0; min-width: 1px}
.mmi-bars i:last-child {height: 6px}
.mmi-group {margin-bottom: 7px; break-inside: avoid}
.mmi table {border-collapse: collapse; width: 100%; font: inherit; color: inherit}
.mmi th, .mmi td {padding: 1px 6px; text-align: right; font-weight: 400; white-space: nowrap}
.mmi th:first-child, .mmi td:first-child {text-align: left; padding-left: 0; white-space: normal}
.mmi thead th {border-bottom: 1px solid var(--jp-border-color2, #ddd); font-weight: 600}
.mmi td:last-child {font-weight: 600}
.mmi-chip {display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 4px}
.mmi-say {padding: 8px 12px; border-left: 4px solid #D55E00; background: rgba(213, 94, 0, .09)}
.mmi svg {display: block; width: 100%}
.mmi svg text {font-family: inherit !important}
.mmi polyline {vector-effect: non-scaling-stroke}
.mmi-charts {display: flex; flex-wrap: wrap; gap: 4px 12px}
.mmi-charts > * {flex: 1 1 280px; max-width: 460px}
.mmi-strip svg {height: 56px; overflow: visible; background: rgba(128, 128, 128, .08)}
.mmi-keys > * {margin-right: 12px; white-space: nowrap}
</style>"""


def names(agent: MixMatchAgent, task: int = 0) -> list[str]:
    """What each constituent is, in a word or two: its space, its core, or whether it is the level's own."""
    parts = agent.spec.active(task)
    if len({c.space for c in parts}) > 1:
        return [f"{c.space.name}, {c.space.num_actions}" for c in parts]
    if any(c.task is not None for c in parts):
        return ["the level’s own" if c.task is not None else "central" for c in parts]
    kinds = {"feed_forward": "FF", "lstm": "LSTM"}
    cores = ["+".join(kinds.get(n.split("/")[0], n) + n.partition("/")[2] for n in c.cores) for c in parts]
    return cores if len(set(cores)) > 1 else [parts[0].space.name]


def symbols(count: int) -> list[str]:
    """π₁ … π_K, and π_mm if there is more than one."""
    return [f"π{SUBSCRIPTS[k]}" for k in range(count)] + (["πₘₘ"] if count > 1 else [])


def colours(count: int, method: str) -> list[str]:
    """Of `symbols`; a single policy has its method's."""
    return [style(method)["color"]] if count == 1 else [*CONSTITUENT_COLOURS[:count], MIXTURE_COLOUR]


def say(text: str) -> str:
    """A message in words, where something cannot be shown."""
    return f'<div class="mmi"><div class="mmi-say">{escape(text)}</div></div>'


def note(text: str) -> str:
    """A quiet line."""
    return f'<div class="mmi"><span class="mmi-dim">{text}</span></div>'


def sentence(subject: Subject) -> str:
    """What is inspected."""
    method, steps = subject.agent.spec.label, f"{subject.agent_steps:,} agent steps"
    return f"{method} on {subject.level}, after {steps}, α in force {subject.alpha:.2f}"


def table(mixed: Mixed, method: str, called: Sequence[str]) -> str:
    """Entropy, collision entropy and value of every policy, and the KLs: also the legend of the bars."""
    count = len(mixed.weights)
    chips = (f'<span class="mmi-chip" style="background:{colour}"></span>' for colour in colours(count, method))
    heads = "".join(f"<th>{chip}{symbol}</th>" for chip, symbol in zip(chips, symbols(count)))
    rows = {"": [f'<span class="mmi-dim">{escape(name)}</span>' for name in called]}
    numbers = {
        "weight": mixed.weights if count > 1 else (),
        "entropy, nats": mixed.entropy,
        "collision entropy, nats": mixed.collision_entropy,
        "value": mixed.value,
    }
    rows |= {title: [f"{x:.2f}" for x in row] for title, row in numbers.items() if row}
    cells = {title: "".join(f"<td>{cell}</td>" for cell in row) for title, row in rows.items()}
    for k, kl in enumerate(mixed.kl):
        pair = f"KL(π{SUBSCRIPTS[k]} ‖ π{SUBSCRIPTS[k + 1]}), nats"
        cells[pair] = f'<td colspan="{count + 1}">{kl:.3f}</td>'
    body = "".join(f"<tr><td>{title}</td>{row}</tr>" for title, row in cells.items())
    return f'<div class="mmi"><table><thead><tr><th></th>{heads}</tr></thead>{body}</table></div>'


def joint_panels(mixed: Mixed, method: str, taken: int) -> str:
    """The small actions and the top joint actions; the action that was taken is bold."""
    return _panels(mixed.joint, colours(len(mixed.weights), method), "--label: minmax(90px, 52%)", taken)


def group_panels(mixed: Mixed, method: str) -> str:
    """The groups' marginals."""
    return _panels(mixed.groups, colours(len(mixed.weights), method), "--label: 92px; columns: 240px")


def _panels(panels: Sequence[Bars], tints: Sequence[str], style: str, taken: int | None = None) -> str:
    """Panels of bars: from 0 to 1, or of joint actions to a number in the heading, as the few shown add up to less."""
    parts = []
    for panel in panels:
        scale, aside = 1.0, ""
        if panel.actions:
            scale = _nice(float(panel.probs.max()))
            aside = f"sum of {symbols(len(tints) - 1 or 1)[-1]} {panel.probs[-1].sum():.2f} · bars to {scale:g}"
        heading = f"<h4><span>{escape(panel.title)}</span><small>{aside}</small></h4>"
        chosen = [action == taken for action in panel.actions] or [False] * len(panel.labels)
        rows = (_row(*each, tints, scale) for each in zip(panel.labels, panel.probs.T, chosen))
        parts.append(f'<div class="mmi-group">{heading}{"".join(rows)}</div>')
    return f'<div class="mmi" style="{style}">{"".join(parts)}</div>' if parts else ""


def _row(label: str, probs: NDArray[np.float64], taken: bool, tints: Sequence[str], scale: float) -> str:
    bars = "".join(
        f'<i style="width:{100 * min(p / scale, 1):.1f}%;background:{tint}"></i>' for p, tint in zip(probs, tints)
    )
    every = ", ".join(f"{p:.4f}" for p in probs)
    return (
        f'<div class="mmi-row{" taken" if taken else ""}" title="{escape(label)}: {every}">'
        f'<span>{escape(label)}</span><span class="mmi-bars">{bars}</span><span>{probs[-1]:.3f}</span></div>'
    )


def _nice(largest: float) -> float:
    """The smallest of 1, 0.5, 0.2, 0.1 ... that is not below `largest`: it changes seldom while a slider moves."""
    steps = [digit * 10.0**-power for power in range(4) for digit in (1, 0.5, 0.2)]
    return min((step for step in steps if step >= largest - 1e-9), default=1.0)
