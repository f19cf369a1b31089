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
from torch.distributions import kl_divergence

from mmlib.figures.style import GREEN, ORANGE, STYLE, VERMILLION, sheet, styled
from mmlib.widgets.alpha_sweep import Point
from mmlib.widgets.inspector_view import colours, symbols
from mmlib.widgets.recording import Recording
from mmlib.widgets.remix import Bars

ALPHAS = (0.0, 0.5, 1.0)
SVG = "http://www.w3.org/2000/svg"
WIDTH = 11.5  # inches: the width of a notebook
GREY = "#7a7a7a"
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
    if made.subject.constituents == 1:
        return len(made) // 2
    return int(kl_divergence(*made.policies[:2]).argmax())


@styled
def state_figure(made: Recording, step: int) -> Figure:
    """What the agent saw, the map with its way until then, and a column of bars for each of `ALPHAS`.

    Args:
      made: any recording; a single policy has one column.
      step: 0 ... T - 1.
    """
    subject = made.subject
    single = subject.constituents == 1
    mixed = [made.remix(step, subject.weights(a)) for a in ([0.0] if single else ALPHAS)]
    tints = colours(subject.constituents, subject.config.method)
    titles = [subject.agent.spec.label] if single else [f"α = {a:g}" for a in ALPHAS]
    panels: list[list[Any]] = [[m.top for m in mixed]]
    if mixed[0].few and mixed[0].groups:
        panels.insert(0, [m.few for m in mixed])
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
    count = subject.constituents
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
    "mean episode return, 95 % interval": (("mean",), GREEN),
    "entropy of πₘₘ (nats)": (("entropy", "collision_entropy"), GREEN),
    "KL(π₁ ‖ π₂) on its states (nats)": (("kl",), GREY),
}


def _sweep(axes: Axes, title: str, points: Sequence[Point], in_force: float | None) -> None:
    """One chart over alpha; a dotted line where alpha was in training."""
    names, colour = SWEEP[title]
    alphas = [p.alpha for p in points]
    for name, look in zip(names, ("o-", "o--")):
        axes.plot(alphas, [getattr(p, name) for p in points], look, ms=3, color=colour, label=name.replace("_", " "))
    if "mean" in names:
        below, above = ([p.mean + side * p.half_width for p in points] for side in (-1, 1))
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


def sweep_charts(points: Sequence[Point], in_force: float | None) -> list[Inline]:
    """The same for a page, a chart each."""
    with mpl.rc_context(STYLE | IN_PAGE):
        figures = [sheet(3.4, 2.0) for _ in SWEEP]
        for figure, name in zip(figures, SWEEP):
            _sweep(figure.add_subplot(), name, points, in_force)
        return [Inline(figure) for figure in figures]


class Inline:
    """A figure of one chart as SVG in a page's colours, drawn once; an upright line that moves is laid over it.

    Args:
      figure: made under `IN_PAGE`, whose colours stand for the page's.
    """

    def __init__(self, figure: Figure):
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
        body = file.getvalue().partition("</metadata>")[2].rpartition("</svg>")[0]
        for colour, variable in PAGE_COLOURS.items():
            body = body.replace(colour, variable)
        self.body, (self.width, self.height) = body, (figure.get_size_inches() * 72).tolist()
        self.place, self.limits = figure.axes[0].get_position(), figure.axes[0].get_xlim()

    def svg(self, x: float | None = None) -> str:
        """The drawing, with a line from the bottom to the top of its axes at x."""
        over = ""
        if x is not None:
            across = self.width * np.interp(x, self.limits, self.place.intervalx)
            bottom, top = self.height * (1 - self.place.intervaly)
            over = _polyline([(across, bottom), (across, top)])
        size = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        return f'<svg xmlns="{SVG}" {size}>{self.body}{over}</svg>'


class Strip:
    """A whole episode for a page: KL(π₁ ‖ π₂), rewards and the mixture's entropy over steps, without axes.

    It has no margins, so that a step lies where a slider of the same width has it, and its scales do not depend on the
    weights: that of the entropy ends at its largest possible value, max H(πᵢ) + log K.
    """

    TOP, BOTTOM = 1.03, -0.25  # of what is drawn; curves lie in 0 ... 1, rewards below them

    def __init__(self, made: Recording):
        count = made.subject.constituents
        vertices = [made.entropies(tuple(float(i == k) for i in range(count))).max() for k in range(count)]
        self.made, self.most = made, max(vertices) + float(np.log(count))
        kl = kl_divergence(*made.policies[:2]).numpy() if count > 1 else np.zeros(0)
        marks = [(step, ORANGE if made.rewards[step] > 0 else VERMILLION) for step in np.flatnonzero(made.rewards)]
        self.drawn = _polyline(enumerate(kl / max(kl.max(initial=0.0), 1e-9)), GREY)
        self.drawn += "".join(_polyline([(at, self.BOTTOM), (at, -0.05)], colour, 2.5) for at, colour in marks)
        keys = [(GREEN, f"entropy of πₘₘ, 0 to {self.most:.2f} nats")]
        keys += [(GREY, f"KL(π₁ ‖ π₂), 0 to {kl.max():.2f} nats")] if len(kl) else []
        keys += [(ORANGE, "reward")] + [(VERMILLION, "punishment")] * bool((made.rewards < 0).any())
        chips = "".join(f'<span><i class="mmi-chip" style="background:{c}"></i>{text}</span>' for c, text in keys)
        self.legend = f'<div class="mmi-dim mmi-keys">{chips}</div>'

    def mix(self, weights: tuple[float, ...]) -> None:
        """Takes the entropy of the mixture with these weights, in every state."""
        self.entropy = _polyline(enumerate(self.made.entropies(weights) / self.most), GREEN)

    def html(self, step: int) -> str:
        """The strip with a line at a step."""
        box = f"0 {-self.TOP} {max(1, len(self.made) - 1)} {self.TOP - self.BOTTOM}"
        lines = self.drawn + self.entropy + _polyline([(step, self.BOTTOM), (step, self.TOP)])
        drawn = f'<svg xmlns="{SVG}" viewBox="{box}" preserveAspectRatio="none"><g transform="scale(1 -1)">{lines}'
        return f'<div class="mmi mmi-strip">{drawn}</g></svg>{self.legend}</div>'


def _polyline(points: Iterable[tuple[float, float]], colour: str = "currentColor", width: float = 1.4) -> str:
    way = " ".join(f"{x:.6g},{y:.6g}" for x, y in points)
    return f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
