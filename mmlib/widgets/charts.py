"""The inspector's charts, each drawn by one function of Matplotlib: as a picture, and as SVG in a page's colours."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch.distributions import kl_divergence

from mmlib.figures.style import GREEN, ORANGE, STYLE, VERMILLION
from mmlib.widgets.alpha_sweep import Point
from mmlib.widgets.inspector_view import colours, symbols
from mmlib.widgets.recording import Recording
from mmlib.widgets.remix import Bars

ALPHAS = (0.0, 0.5, 1.0)
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


def state_figure(made: Recording, step: int, alphas: Sequence[float] = ALPHAS) -> Figure:
    """What the agent saw, the map with its way until then, and a column of bars for each alpha.

    Args:
      made: any recording; a single policy has one column.
      step: 0 ... T - 1.
      alphas: in [0, 1].
    """
    subject = made.subject
    single = subject.constituents == 1
    mixed = [made.remix(step, subject.weights(a)) for a in ([0.0] if single else alphas)]
    tints = colours(subject.constituents, subject.config.method)
    titles = [subject.agent.spec.label] if single else [f"α = {a:g}" for a in alphas]
    panels: list[list[Any]] = [[m.top for m in mixed]]
    if mixed[0].few and mixed[0].groups:
        panels.insert(0, [m.few for m in mixed])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=(1, 3.4))
        pictures, bars = parts
        _pictures(pictures, made, step)
        grid = bars.subplots(len(panels), len(mixed), squeeze=False)
        for place, (row, group) in enumerate(zip(grid, panels)):
            limit = max(float(panel.probs.max()) for panel in group)
            for axes, panel, title, m in zip(row, group, titles, mixed):
                _bars(axes, panel, tints, limit)
                numbers = f"entropy {m.entropy[-1]:.2f} nats, value {m.value[-1]:.2f}"
                axes.set_title(f"{panel.title}" if place else f"{title}: {numbers}\n{panel.title}")
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
    axes.set_yticks(rows, [label.replace(" + ", "+") for label in panel.labels], fontsize=7)
    axes.set(ylim=(len(panel.labels) - 0.5, -0.5), xlim=(0, limit * 1.05))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _return(axes: Axes, points: Sequence[Point]) -> None:
    """The mean return, with its 95 % interval as a band."""
    alphas = [p.alpha for p in points]
    mean, error = np.array([p.mean for p in points]), np.array([p.half_width for p in points])
    axes.plot(alphas, mean, "o-", ms=3, color=GREEN)
    axes.fill_between(alphas, mean - error, mean + error, color=GREEN, alpha=0.16, lw=0)


def _entropies(axes: Axes, points: Sequence[Point]) -> None:
    alphas = [p.alpha for p in points]
    axes.plot(alphas, [p.entropy for p in points], "o-", ms=3, color=GREEN, label="entropy")
    axes.plot(alphas, [p.collision_entropy for p in points], "o--", ms=3, color=GREEN, label="collision entropy")
    axes.legend()


def _divergence(axes: Axes, points: Sequence[Point]) -> None:
    axes.plot([p.alpha for p in points], [p.kl for p in points], "o-", ms=3, color=GREY)


SWEEP: dict[str, Callable[[Axes, Sequence[Point]], None]] = {
    "mean episode return, 95 % interval": _return,
    "entropy of πₘₘ (nats)": _entropies,
    "KL(π₁ ‖ π₂) on its states (nats)": _divergence,
}


def _sweep(axes: Axes, title: str, points: Sequence[Point], in_force: float | None) -> None:
    """One chart over alpha; a dotted line where alpha was in training."""
    if points:
        SWEEP[title](axes, points)
    if in_force is not None:
        axes.axvline(in_force, ls=":", lw=1, color=GREY)
    axes.set(xlabel="α", xlim=(-0.03, 1.03), title=title)
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), high + 0.05 * (high - min(0.0, low)))  # a flat line lies inside too


def sweep_figure(points: Sequence[Point], title: str = "") -> Figure:
    """Return, entropies and KL over alpha (`alpha_sweep`), beside each other."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        for axes, name in zip(figure.subplots(1, 3), SWEEP):
            _sweep(axes, name, points, None)
        figure.suptitle(title, fontsize=8)
        return figure


def sweep_charts(points: Sequence[Point], in_force: float | None) -> list[Inline]:
    """The same for a page, a chart each."""
    with mpl.rc_context(STYLE | IN_PAGE):
        figures = [Figure(figsize=(3.4, 2.0), layout="constrained") for _ in SWEEP]
        for figure, name in zip(figures, SWEEP):
            _sweep(figure.add_subplot(), name, points, in_force)
        return [Inline(figure) for figure in figures]


class Strip:
    """A whole episode for a page: KL(π₁ ‖ π₂) and rewards, drawn once; the mixture's entropy and the step laid over.

    It has no margins, so that a step lies where a slider of the same width has it, and its scales do not depend on the
    weights: that of the entropy ends at its largest possible value, max H(πᵢ) + log K.
    """

    def __init__(self, made: Recording):
        count, last = made.subject.constituents, max(1, len(made) - 1)
        vertices = [made.entropies(tuple(float(i == k) for i in range(count))).max() for k in range(count)]
        self.made, self.most = made, max(vertices) + float(np.log(count))
        kl = kl_divergence(*made.policies[:2]).numpy() if count > 1 else np.zeros(0)
        with mpl.rc_context(STYLE | IN_PAGE):
            figure = Figure(figsize=(10, 0.6))
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, last), ylim=(-0.25, 1.03))
            axes.set_axis_off()
            if len(kl):
                axes.plot(kl / max(float(kl.max()), 1e-9), color=GREY, lw=1)
            for sign, colour in ((1, ORANGE), (-1, VERMILLION)):
                axes.vlines(np.flatnonzero(sign * made.rewards > 0), -0.25, -0.05, color=colour, lw=2.5)
            self.drawn = Inline(figure, stretch=True)
        keys = [(GREEN, f"entropy of πₘₘ, 0 to {self.most:.2f} nats")]
        keys += [(GREY, f"KL(π₁ ‖ π₂), 0 to {kl.max():.2f} nats")] if len(kl) else []
        keys += [(ORANGE, "reward")] + [(VERMILLION, "punishment")] * bool((made.rewards < 0).any())
        chips = "".join(f'<span><i class="mmi-chip" style="background:{c}"></i>{text}</span>' for c, text in keys)
        self.legend = f'<div class="mmi-dim mmi-keys">{chips}</div>'

    def mix(self, weights: tuple[float, ...]) -> None:
        """The entropy of the mixture with these weights, in every state."""
        entropy = self.made.entropies(weights) / self.most
        self.entropy = Line(0, range(len(entropy)), entropy.tolist(), GREEN)

    def html(self, step: int) -> str:
        """The strip with a line at a step."""
        return f'<div class="mmi mmi-strip">{self.drawn.svg(self.entropy, upright(step))}{self.legend}</div>'


class Line(NamedTuple):
    """A line to lay over a drawing, in the coordinates of one of its axes."""

    axes: int
    x: Sequence[float]
    y: Sequence[float] | None  # None: from the bottom to the top
    colour: str = "currentColor"


def upright(x: float) -> Line:
    """A vertical line through the first axes."""
    return Line(0, (x, x), None)


class Inline:
    """A figure as SVG in a page's colours, drawn once; what moves is laid over it.

    Args:
      figure: made under `IN_PAGE`, whose colours stand for the page's.
      stretch: it is drawn as wide as its place, whatever its proportions.
    """

    def __init__(self, figure: Figure, stretch: bool = False):
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
        body = file.getvalue().partition("</metadata>")[2].rpartition("</svg>")[0]
        for colour, variable in PAGE_COLOURS.items():
            body = body.replace(colour, variable)
        self.body, (self.width, self.height) = body, (figure.get_size_inches() * 72).tolist()
        self.shape = 'preserveAspectRatio="none"' if stretch else ""
        self.places: list[Any] = [axes.transData.frozen() for axes in figure.axes]
        self.limits = [axes.get_ylim() for axes in figure.axes]
        self.scale = 72 / figure.dpi

    def svg(self, *lines: Line) -> str:
        """The drawing with lines over it."""
        over = "".join(map(self._laid, lines))
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" {self.shape}'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{self.body}{over}</svg>'

    def _laid(self, line: Line) -> str:
        values = self.limits[line.axes] if line.y is None else line.y
        points = self.places[line.axes].transform(np.column_stack([line.x, values])) * self.scale
        way = " ".join(f"{x:.1f},{self.height - y:.1f}" for x, y in points.tolist())
        return f'<polyline points="{way}" fill="none" stroke="{line.colour}" stroke-width="1.4"/>'
