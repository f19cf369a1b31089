"""What the inspector shows, as small pieces of HTML and SVG: quick to make, quick to draw, sharp at any size."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from mmlib.figures.style import BLUE, GREEN, LINES, ORANGE, PURPLE, VERMILLION
from mmlib.method.agent import MixMatchAgent
from mmlib.widgets.alpha_sweep import Point
from mmlib.widgets.remix import Bars, Mixed

CONSTITUENT_COLOURS = (BLUE, VERMILLION, PURPLE, ORANGE)  # pi_1, pi_2, ...
MIXTURE_COLOUR = GREEN
SUBSCRIPTS = "₁₂₃₄₅₆₇₈₉"
STRIP = (1000, 54)  # units of the strip's drawing
CHART = (344, 178)  # pixels

STYLE = """<style>
.mmi, .mmi * {box-sizing: border-box}
.mmi {font: 12px/1.35 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--jp-ui-font-color1, #222); font-variant-numeric: tabular-nums}
.mmi h4 {margin: 0 0 3px; font-size: 11.5px; font-weight: 600; display: flex; justify-content: space-between}
.mmi h4 small, .mmi-dim {font-weight: 400; font-size: 11px; color: var(--jp-ui-font-color2, #666)}
.mmi-row {display: grid; grid-template-columns: var(--label, 122px) 1fr 38px; gap: 6px; align-items: center;
  height: 20px}
.mmi-row.taken > :first-child {font-weight: 700}
.mmi-row > :first-child {text-align: right; white-space: nowrap; overflow: hidden; text-overflow: ellipsis}
.mmi-row > :last-child {text-align: right; font-size: 11px}
.mmi-bars {display: block; border-left: 1px solid var(--jp-border-color1, #bbb); padding: 1px 0}
.mmi-bars i {display: block; height: 4px; margin: 1px 0; border-radius: 0 2px 2px 0; min-width: 1px}
.mmi-bars i:last-child {height: 6px}
.mmi-group {margin-bottom: 7px}
.mmi table {border-collapse: collapse; width: 100%}
.mmi th, .mmi td {padding: 1px 6px; text-align: right; font-weight: 400; white-space: nowrap}
.mmi th:first-child, .mmi td:first-child {text-align: left; padding-left: 0}
.mmi thead th {border-bottom: 1px solid var(--jp-border-color2, #ddd); font-weight: 600}
.mmi td:last-child {font-weight: 600}
.mmi-chip {display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 4px}
.mmi-say {padding: 8px 12px; border-left: 4px solid #D55E00; background: rgba(213, 94, 0, .09)}
.mmi svg text {font: 11px system-ui, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--jp-ui-font-color1, #222)}
.mmi svg .dim {fill: var(--jp-ui-font-color2, #666)}
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
    return [f"π{SUBSCRIPTS[k]}" for k in range(count)] + (["π<sub>mm</sub>"] if count > 1 else [])


def colours(count: int, method: str) -> list[str]:
    """Of `symbols`; a single policy has its method's."""
    return [LINES[method][0]] if count == 1 else [*CONSTITUENT_COLOURS[:count], MIXTURE_COLOUR]


def say(text: str) -> str:
    """A message in words, where something cannot be shown."""
    return f'{STYLE}<div class="mmi"><div class="mmi-say">{escape(text)}</div></div>'


def note(text: str) -> str:
    """A quiet line."""
    return f'{STYLE}<div class="mmi"><span class="mmi-dim">{text}</span></div>'


def table(mixed: Mixed, method: str, called: Sequence[str]) -> str:
    """Entropy, collision entropy and value of every policy, and the KLs: also the legend of the bars."""
    count = len(mixed.weights)
    heads = [
        f'<th><span class="mmi-chip" style="background:{colour}"></span>{symbol}</th>'
        for symbol, colour in zip(symbols(count), colours(count, method))
    ]
    what = [f'<td class="mmi-dim">{escape(name)}</td>' for name in called] + ["<td></td>"] * (count > 1)
    weights = [f"<td>{w:.2f}</td>" for w in mixed.weights] + ["<td></td>"] * (count > 1)
    rows = [f"<tr><td></td>{''.join(what)}</tr>"]
    if count > 1:
        rows.append(f"<tr><td>weight</td>{''.join(weights)}</tr>")
    for title, numbers in (
        ("entropy, nats", mixed.entropy),
        ("collision entropy, nats", mixed.collision_entropy),
        ("value", mixed.value),
    ):
        cells = "".join(f"<td>{x:.2f}</td>" for x in numbers[: len(heads)])
        rows.append(f"<tr><td>{title}</td>{cells}</tr>")
    for k, kl in enumerate(mixed.kl):
        pair = f"KL(π{SUBSCRIPTS[k]} ‖ π{SUBSCRIPTS[k + 1]}), nats"
        rows.append(f'<tr><td>{pair}</td><td colspan="{len(heads)}">{kl:.3f}</td></tr>')
    return f'<div class="mmi"><table><thead><tr><th></th>{"".join(heads)}</tr></thead>{"".join(rows)}</table></div>'


def joint_panels(mixed: Mixed, method: str, taken: int | None) -> str:
    """The small actions and the top joint actions; the action that was taken is bold."""
    panels = [panel for panel in (mixed.few, mixed.top if mixed.groups or mixed.few is None else None) if panel]
    parts = []
    for panel in panels:
        scale = _nice(float(panel.probs.max()))
        share = f"sum of π<sub>mm</sub> {panel.probs[-1].sum():.2f} · bars to {scale:g}"
        parts.append(_panel(panel, len(mixed.weights), method, scale, share, taken))
    return f'<div class="mmi" style="--label: 222px">{"".join(parts)}</div>'


def group_panels(mixed: Mixed, method: str) -> str:
    """The groups' marginals."""
    parts = [_panel(panel, len(mixed.weights), method, 1.0, "", None) for panel in mixed.groups]
    return f'<div class="mmi" style="--label: 92px">{"".join(parts)}</div>' if parts else ""


def _nice(largest: float) -> float:
    """The smallest of 1, 0.5, 0.2, 0.1 ... that is not below `largest`: it changes seldom while a slider moves."""
    steps = [digit * 10.0**-power for power in range(4) for digit in (1, 0.5, 0.2)]
    return min((step for step in steps if step >= largest - 1e-9), default=1.0)


def _panel(panel: Bars, count: int, method: str, scale: float, aside: str, taken: int | None) -> str:
    tints, shown = colours(count, method), len(symbols(count))
    rows = []
    for i, label in enumerate(panel.labels):
        column = panel.probs[:shown, i]
        bars = "".join(
            f'<i style="width:{100 * min(p / scale, 1):.1f}%;background:{tint}"></i>' for p, tint in zip(column, tints)
        )
        chosen = " taken" if taken is not None and panel.actions and panel.actions[i] == taken else ""
        every = ", ".join(f"{p:.4f}" for p in column)
        rows.append(
            f'<div class="mmi-row{chosen}" title="{escape(label)}: {every}"><span>{escape(label)}</span>'
            f'<span class="mmi-bars">{bars}</span><span>{column[-1]:.3f}</span></div>'
        )
    heading = f"<h4><span>{escape(panel.title)}</span><small>{aside}</small></h4>"
    return f'<div class="mmi-group">{heading}{"".join(rows)}</div>'


class Strip:
    """The whole episode in a strip: entropy of pi_mm, KL(pi_1 || pi_2), rewards, and where we are."""

    def __init__(self, entropy: NDArray, kl: NDArray, rewards: NDArray):
        width, height = STRIP
        self.x = (np.arange(len(rewards)) + 0.5) * width / max(1, len(rewards))
        lines = [("#8a8a8a", kl, 1.2), (MIXTURE_COLOUR, entropy, 1.6)]
        body = "".join(self._line(values, colour, stroke) for colour, values, stroke in lines if len(values))
        for t in np.flatnonzero(rewards):
            colour = ORANGE if rewards[t] > 0 else "#000000"
            body += f'<path d="M{self.x[t]:.1f} {height - 9}l-4 9h8z" fill="{colour}"/>'
        top = [f'<span style="color:{MIXTURE_COLOUR}">▬</span> entropy of π<sub>mm</sub>, up to {entropy.max():.2f}']
        if len(kl):
            top.append(f'<span style="color:#8a8a8a">▬</span> KL(π₁ ‖ π₂), up to {kl.max():.2f} nats')
        top.append(f'<span style="color:{ORANGE}">▲</span> reward')
        self.legend, self.body = " &nbsp; ".join(top), body

    def _line(self, values: NDArray, colour: str, stroke: float) -> str:
        height = STRIP[1] - 12
        y = height - (height - 4) * values / max(float(values.max()), 1e-9)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(self.x, y))
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{stroke}" '
            'vector-effect="non-scaling-stroke"/>'
        )

    def html(self, step: int) -> str:
        """The strip with the cursor at a step."""
        width, height = STRIP
        x = f"{self.x[step]:.1f}"
        look = 'stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke"'
        cursor = f'<line x1="{x}" x2="{x}" y1="0" y2="{height}" {look}/>'
        return (
            f'<div class="mmi"><svg width="100%" height="{height}" viewBox="0 0 {width} {height}" '
            'preserveAspectRatio="none" style="display:block;background:rgba(128,128,128,.07)">'
            f"{self.body}{cursor}</svg>"
            f'<span class="mmi-dim">{self.legend}</span></div>'
        )


def sweep_charts(points: Sequence[Point], now: float | None, in_force: float | None) -> str:
    """Return, entropies and KL over alpha: what has been measured so far, and a line where the slider is."""
    a = [point.alpha for point in points]
    error = [(point.mean, point.half_width) for point in points]
    charts = [
        _chart("mean episode return, 95 % interval", a, [("", GREEN, error)], now, in_force),
        _chart(
            "entropy (solid), collision entropy (dashed), nats",
            a,
            [
                ("", GREEN, [(p.entropy, 0.0) for p in points]),
                ("5 3", GREEN, [(p.collision_entropy, 0.0) for p in points]),
            ],
            now,
            in_force,
        ),
        _chart(
            "KL(π₁ ‖ π₂) on the mixture’s states, nats",
            a,
            [("", "#8a8a8a", [(p.kl, 0.0) for p in points])],
            now,
            in_force,
        ),
    ]
    return f'<div class="mmi" style="display:flex;gap:12px">{"".join(charts)}</div>'


def _chart(
    title: str,
    alphas: Sequence[float],
    series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    now: float | None,
    in_force: float | None,
) -> str:
    width, height = CHART
    left, right, top, bottom = 38, width - 8, 22, height - 30
    values = [v + s * e for _, _, line in series for v, e in line for s in (-1, 1)]
    low, high = min([0.0, *values]), max([*values, 1e-3]) if values else 1.0
    ticks = _ticks(low, high)
    high = max(high, ticks[-1])

    def x(alpha: float) -> float:
        return left + alpha * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = [f'<text x="{left - 32}" y="12" style="font-weight:600">{escape(title)}</text>']
    for tick in ticks:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#8884" />')
        parts.append(f'<text class="dim" x="{left - 5}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for alpha in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(f'<text class="dim" x="{x(alpha):.1f}" y="{bottom + 14}" text-anchor="middle">{alpha:g}</text>')
    parts.append(f'<text class="dim" x="{(left + right) / 2}" y="{height - 3}" text-anchor="middle">α</text>')
    if in_force is not None:
        parts.append(_upright(x(in_force), top, bottom, "#888", "2 3"))
    if now is not None:
        parts.append(_upright(x(now), top, bottom, "currentColor", ""))
    for dashes, colour, line in series:
        parts.append(_curve([(x(a), y(v), y(v - e), y(v + e)) for a, (v, e) in zip(alphas, line)], colour, dashes))
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'


def _curve(points: Sequence[tuple[float, float, float, float]], colour: str, dashes: str) -> str:
    """A line with dots through (x, y), and the band between the last two of (x, y, low, high)."""
    if not points:
        return ""
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    edge = [f"{x:.1f},{low:.1f}" for x, _, low, _ in points] + [f"{x:.1f},{high:.1f}" for x, _, _, high in points[::-1]]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>' for x, y, _, _ in points)
    return (
        f'<polygon points="{" ".join(edge)}" fill="{colour}" opacity=".16"/>'
        f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"/>{dots}'
    )


def _upright(x: float, top: float, bottom: float, colour: str, dashes: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{colour}" stroke-dasharray="{dashes}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from below `low` to above `high`."""
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    return [round(k * step, 10) for k in range(int(np.floor(low / step)), int(np.ceil(high / step)) + 1)]
