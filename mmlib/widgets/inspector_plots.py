"""Static twins of the inspector: a state with its policies at a few alphas, and the sweep over alpha."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mmlib.figures.style import GREEN, STYLE
from mmlib.widgets.alpha_sweep import Point
from mmlib.widgets.inspector_view import colours
from mmlib.widgets.recording import Recording
from mmlib.widgets.remix import Bars

ALPHAS = (0.0, 0.5, 1.0)
WIDTH = 11.5  # inches: the width of a notebook
GREY = "#7a7a7a"


def telling_step(made: Recording) -> int:
    """The step at which the first two constituents differ most (KL); the middle one if there is a single policy."""
    kl = [sum(made.remix(t).kl) for t in range(len(made))]
    return int(np.argmax(kl)) if any(kl) else len(made) // 2


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
        legend = [mpl.patches.Patch(color=tint, label=name) for tint, name in zip(tints, _symbols(count))]
        bars.legend(handles=legend, loc="outside lower center", ncols=len(legend))
        return figure


def _symbols(count: int) -> list[str]:
    return [f"$\\pi_{k + 1}$" for k in range(count)] + ([r"$\pi_\mathrm{mm}$"] if count > 1 else [])


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


def sweep_figure(points: Sequence[Point], title: str = "") -> Figure:
    """Return, entropies and KL over alpha (`alpha_sweep`); the band is a 95 % interval of the mean return."""
    a = [point.alpha for point in points]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        mean, error = np.array([p.mean for p in points]), np.array([p.half_width for p in points])
        left.plot(a, mean, "o-", ms=3, color=GREEN)
        left.fill_between(a, mean - error, mean + error, color=GREEN, alpha=0.16, lw=0)
        middle.plot(a, [p.entropy for p in points], "o-", ms=3, color=GREEN, label="entropy")
        middle.plot(a, [p.collision_entropy for p in points], "o--", ms=3, color=GREEN, label="collision entropy")
        middle.legend()
        right.plot(a, [p.kl for p in points], "o-", ms=3, color=GREY)
        left.set_title("mean episode return")
        middle.set_title(r"entropy of $\pi_\mathrm{mm}$ (nats)")
        right.set_title(r"KL($\pi_1 \Vert \pi_2$) (nats)")
        for axes in (left, middle, right):
            axes.set(xlabel="α", xlim=(-0.03, 1.03))
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        figure.suptitle(title, fontsize=8)
        return figure
