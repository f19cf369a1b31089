"""The inspector's charts: by Matplotlib, as a picture and as SVG in a page's colours; and a strip without axes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmlib.analysis.stats import mean_interval
from mmlib.figures.style import GREEN, GREY, ORANGE, STYLE, VERMILLION, drawing, sheet, styled
from mmlib.widgets.alpha_sweep import Point
from mmlib.widgets.inspector_view import colours, symbols
from mmlib.widgets.recording import Recording
from mmlib.widgets.remix import Bars

ALPHAS = (0.0, 0.5, 1.0)
AT = "@"  # in a drawing for a page: where its line is, which moves, to be replaced by a number
SVG = "http://www.w3.org/2000/svg"
WIDTH = 11.5  # inches: the width of a notebook
PAGE_COLOURS = {  # JupyterLab's; the left ones stand for them while Matplotlib draws
    "#010203": "var(--jp-ui-font-color1, #222)",
    "#010204": "var(--jp-ui-font-color2, #666)",
    "#010205": "var(--jp-border-color2, #ddd)",
}
TEXT, QUIET, RULE = PAGE_COLOURS
IN_PAGE: Any = dict.fromkeys(("text.color", "axes.titlecolor"), TEXT)
IN_PAGE |= dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), QUIET)
IN_PAGE |= dict.fromkeys(("axes.edgecolor", "grid.color"), RULE)


def telling_step(made: Recording) -> int:
    """The step at which the first two constituents differ most (KL); the middle one if there is a single policy."""
    return len(made) // 2 if made.kl is None else int(made.kl.argmax())


@styled
def state_figure(made: Recording, step: int) -> Figure:
    """What the agent saw, the map with its way until then, and a column of bars for each of `ALPHAS`.

    Args:
      made: any recording; a single policy has one column.
      step: 0 ... T - 1.
    """
    subject, count = made.subject, made.subject.constituents
    single = count == 1
    mixed = [made.remix(step, subject.weights(a)) for a in ([0.0] if single else ALPHAS)]
    tints = colours(count, subject.config.method)
    titles = [subject.agent.spec.label] if single else [f"α = {a:g}" for a in ALPHAS]
    panels = [*zip(*(m.joint for m in mixed))]
    figure = sheet(WIDTH, 5.6)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 3.4))
    pictures, bars = parts
    _pictures(pictures, made, step)
    grid = bars.subplots(len(panels), len(mixed), squeeze=False)
    for place, (row, group) in enumerate(zip(grid, panels)):
        limit = max(float(panel.probs.max()) for panel in group)
        for axes, panel, title, m in zip(row, group, titles, mixed):
            _bars(axes, panel, tints, limit)
            numbers = f"entropy {m.entropy[-1]:.2f} nats, value {m.value[-1]:.2f}"
            # Over the labels too, which leave room for it.
            axes.set_title(panel.title if place else f"{title}: {numbers}\n{panel.title}", loc="right")
        if group[0].labels == group[-1].labels:
            for axes in row[1:]:
                axes.set_yticklabels([])
    legend = [mpl.patches.Patch(color=tint, label=name) for tint, name in zip(tints, symbols(count))]
    bars.legend(handles=legend, loc="outside lower center", ncols=len(legend))
    return figure


def _pictures(figure: Any, made: Recording, step: int) -> None:
    shown = []
    if made.views:
        shown.append(
            (made.views[step], f"step {step}, {made.seconds(step):.1f} s, return {made.rewards[:step].sum():g}")
        )
    if made.maps:
        shown.append((made.map_with_trail(step), "the way until then"))
    for axes, (content, title) in zip(np.atleast_1d(figure.subplots(max(1, len(shown)), 1)), shown):
        axes.imshow(np.asarray(Image.open(io.BytesIO(content))))
        axes.set_title(title)
    for axes in figure.axes:
        axes.set_axis_off()


def _bars(axes: Axes, panel: Bars, tints: Sequence[str], limit: float) -> None:
    """Horizontal bars, one of each policy for each label, the first label on top."""
    rows, height = np.arange(len(panel.labels)), 0.8 / len(tints)
    for k, tint in enumerate(tints):
        axes.barh(rows - 0.4 + (k + 0.5) * height, panel.probs[k], height * 0.9, color=tint)
    short = (label.replace(" + ", "+") for label in panel.labels)
    axes.set_yticks(rows, [label if len(label) < 28 else f"{label[:26]}…" for label in short], fontsize=7)
    axes.set(ylim=(len(panel.labels) - 0.5, -0.5), xlim=(0, limit * 1.05))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


SWEEP = {  # by title: what of a point is drawn, and its colour
    "mean episode return, 95 % interval": (("returns",), GREEN),
    "entropy of πₘₘ (nats)": (("entropy", "collision_entropy"), GREEN),
    "KL(πᵢ ‖ πᵢ₊₁) on its states, summed (nats)": (("kl",), GREY),
}


def _sweep(axes: Axes, title: str, points: Sequence[Point], in_force: float | None) -> None:
    """One chart over alpha; a dotted line where alpha was in training."""
    names, colour = SWEEP[title]
    alphas = [p.alpha for p in points]
    for name, look in zip(names, ("o-", "o--")):
        intervals = [mean_interval(np.atleast_1d(getattr(p, name))) for p in points]  # of a single number: that number
        mean, below, above = np.reshape(intervals, (-1, 3)).T
        axes.plot(alphas, mean, look, ms=3, color=colour, label=name.replace("_", " "))
        axes.fill_between(alphas, below, above, color=colour, alpha=0.16, lw=0)
    if len(names) > 1:
        axes.legend()
    if in_force is not None:
        axes.axvline(in_force, ls=":", lw=1, color=GREY)
    axes.set(xlabel="α", xlim=(-0.03, 1.03), title=title)
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), high + 0.05 * (high - min(0.0, low)))  # a flat line lies inside too


@styled
def sweep_figure(points: Sequence[Point], title: str = "") -> Figure:
    """Return, entropies and KL over alpha (`alpha_sweep`), beside each other."""
    figure = sheet(WIDTH, 2.6)
    for axes, name in zip(figure.subplots(1, 3), SWEEP):
        _sweep(axes, name, points, None)
    figure.suptitle(title, fontsize=8)
    return figure


def sweep_charts(points: Sequence[Point], in_force: float | None) -> str:
    """The same for a page, a chart each, as HTML with an upright line at α = `AT`."""
    with drawing(STYLE | IN_PAGE):
        figures = [sheet(3.4, 2.0) for _ in SWEEP]
        for figure, name in zip(figures, SWEEP):
            _sweep(figure.add_subplot(), name, points, in_force)
        drawn = "".join(f"<div>{_in_page(figure)}</div>" for figure in figures)
    return f'<div class="mmi mmi-charts">{drawn}</div>'


def _in_page(figure: Figure) -> str:
    """A figure of one chart, drawn under `IN_PAGE`, as SVG in the page's colours; over it a line at x = `AT`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True)
    body = file.getvalue().partition("</metadata>")[2].rpartition("</svg>")[0]
    for colour, variable in PAGE_COLOURS.items():
        body = body.replace(colour, variable)
    width, height = (figure.get_size_inches() * 72).tolist()
    x, y, wide, high = figure.axes[0].get_position().bounds
    low, to = figure.axes[0].get_xlim()
    across = f"translate({width * x:g} {height * (1 - y):g}) scale({width * wide / (to - low):g} {-height * high:g})"
    line = f'<g transform="{across} translate({-low:g} 0)">{_polyline([(AT, 0), (AT, 1)], width=2)}</g>'
    return f'<svg xmlns="{SVG}" viewBox="0 0 {width:g} {height:g}">{body}{line}</svg>'


TOP, BOTTOM = 1.03, -0.25  # of what the strip draws; curves lie in 0 ... 1, rewards below them


def strip(made: Recording, weights: tuple[float, ...]) -> str:
    """A whole episode for a page: KL(π₁ ‖ π₂), rewards and the mixture's entropy over steps, without axes, as HTML.

    It has no margins, so that a step lies where a slider of the same width has it, and its scales do not depend on the
    weights: that of the entropy ends at its largest possible value. A line is at step `AT`.
    """
    acting = symbols(made.subject.constituents)[-1]
    lines, keys = list[str](), [(GREEN, f"entropy of {acting}, 0 to {made.most_entropy:.2f} nats")]
    if made.kl is not None:
        lines.append(_polyline(enumerate(made.kl / max(made.kl.max(), 1e-9)), GREY))
        keys.append((GREY, f"KL(π₁ ‖ π₂), 0 to {made.kl.max():.2f} nats"))
    marks = [(step, ORANGE if made.rewards[step] > 0 else VERMILLION) for step in np.flatnonzero(made.rewards)]
    lines += [_polyline([(step, BOTTOM), (step, -0.05)], colour, 2.5) for step, colour in marks]
    lines.append(_polyline(enumerate(made.entropies(weights) / made.most_entropy), GREEN))
    lines.append(_polyline([(AT, BOTTOM), (AT, TOP)]))
    keys += [(ORANGE, "reward")] + [(VERMILLION, "punishment")] * bool((made.rewards < 0).any())
    chips = "".join(f'<span><i class="mmi-chip" style="background:{c}"></i>{text}</span>' for c, text in keys)
    box = f'viewBox="0 {-TOP} {max(1, len(made) - 1)} {TOP - BOTTOM}" preserveAspectRatio="none"'
    drawn = f'<svg xmlns="{SVG}" {box}><g transform="scale(1 -1)">{"".join(lines)}</g></svg>'
    return f'<div class="mmi mmi-strip">{drawn}<div class="mmi-dim mmi-keys">{chips}</div></div>'


def _polyline(points: Iterable[tuple[Any, float]], colour: str = "currentColor", width: float = 1.4) -> str:
    way = " ".join(f"{x},{y:.6g}" for x, y in points)
    return f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
