"""One style for all figures: a method has the same colour everywhere, told apart without seeing colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from mmlib.analysis.baselines import Score
from mmlib.analysis.stats import Curve
from mmlib.levels.base import Level
from mmlib.levels.pictures import overview
from mmlib.method.methods import METHODS
from mmlib.runs.reader import Run
from mmlib.spaces import SMALL

# Okabe and Ito's palette, and a dash pattern each, so that prints in grey can be read too.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
)
LONG, SHORT, DOTTED = (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1))
CENTRAL = "mm_multitask/target"  # a line beside the methods: M&M's central policy alone
LINES: dict[str, tuple[str, Any]] = {  # colour and dashes
    "small": (BLUE, "-"),
    "big756": (VERMILLION, "-"),
    "mm": (GREEN, "-"),
    "mm_masked_kl": (PURPLE, LONG),
    "mm_shared_head": (ORANGE, SHORT),
    "mm_three": (BLACK, SHORT),
    "mm_stop_gradient": (SKY, LONG),
    "small_kl": (BLACK, LONG),
    "mm_no_kl": (PURPLE, SHORT),
    "kl_no_mixing": (ORANGE, LONG),
    "mm_sampled": (SKY, DOTTED),
    "mm_mixture_kl": (BLACK, DOTTED),
    "mm_cross_entropy": (ORANGE, DOTTED),
    "ff": (BLUE, "-"),
    "lstm": (VERMILLION, "-"),
    "ff_lstm": (ORANGE, SHORT),
    "mm_ff_lstm": (GREEN, "-"),
    "mm_lstm_lstm": (PURPLE, LONG),
    "multitask": (VERMILLION, "-"),
    "mm_multitask": (GREEN, "-"),
    CENTRAL: (SKY, LONG),
}
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
SPACE_LABELS = {"small": "Small", "big540": "Big", "big756": "Big"}
SPACE_COLOURS = {"small": BLUE, "big540": VERMILLION, "big756": VERMILLION}
COLUMN = 3.5  # inches: the width of a column of a paper
DIAGNOSTICS = {
    "entropy": "entropy of the mixture (nats)",
    "transfer": "transfer cost, (1 − α) KL (nats a step)",
    "alpha": "α",
    "rho_mean": "V-trace weight, mean",
    "grad_norm": "gradient norm",
    "value_error": "value error",
}


def style(method: str) -> dict[str, Any]:
    """A method's colour and dashes, the same in every figure."""
    colour, dashes = LINES[method]
    return {"color": colour, "linestyle": dashes}


def label(method: str) -> str:
    """A method's name in a legend."""
    return "M&M, central policy alone" if method == CENTRAL else METHODS[method].label


def learning_curves(
    curves: Mapping[str, Curve],
    seeds: Mapping[str, int],
    random: Mapping[str, Score] | None = None,
    title: str = "",
    unit: str = "seed",
) -> Figure:
    """Figure 3's panel: episode return over environment frames, one line a method, shaded 95 % intervals.

    Args:
      curves: by method, in the order of the legend.
      seeds: how many seeds each method's mean is over.
      random: the random policy's score by action space, drawn as dotted lines in the space's colour.
      title: above the panel; usually the level.
      unit: what a seed is, if more than a single agent: "population".
    """
    with mpl.rc_context(STYLE):
        alike = len({seeds[method] for method in curves}) <= 1
        figure = Figure(figsize=(COLUMN, 2.9 if alike else 3.4), layout="constrained")
        axes = figure.add_subplot()
        said = {method: f"{count} {unit}{'' if count == 1 else 's'}" for method, count in seeds.items()}
        _draw_curves(axes, curves, {} if alike else said, random or {})
        if alike and curves:
            title = f"{title}, {said[next(iter(curves))]}"
        axes.set(ylabel="episode return", title=title)
        _legend_below(figure, axes, columns=2 if alike else 1)  # with the seeds names are long
        return figure


def normalised_panel(curves: Mapping[str, Curve], levels: int, what: str) -> Figure:
    """Figures 4 and 7: normalised return averaged over levels, in percent of the run.

    Args:
      curves: by method, from `aggregate.normalised_curves`.
      levels: how many levels are averaged.
      what: what 0 and 1 mean, for the axis.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.9), layout="constrained")
        axes = figure.add_subplot()
        _draw_curves(axes, curves, {}, {})
        axes.set(xlabel="share of the run (%)", ylabel=f"normalised return\n({what})")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(f"mean over {levels} level{'s' if levels > 1 else ''}")
        _legend_below(figure, axes, columns=2)
        return figure


def level_panels(
    curves: Mapping[str, Mapping[str, Curve]], random: Mapping[str, Mapping[str, Score]] | None = None
) -> Figure:
    """Figure 9: a panel a level, the same methods in each.

    Args:
      curves: by level, then by method.
      random: the random policy's score by level, then by action space.
    """
    with mpl.rc_context(STYLE):
        count = len(curves)
        figure = Figure(figsize=(2 * COLUMN, 2.7), layout="constrained")
        for axes, (name, lines) in zip(figure.subplots(1, count, squeeze=False)[0], curves.items()):
            _draw_curves(axes, lines, {}, (random or {}).get(name, {}))
            axes.set_title(name.replace("_", "_\u200b"), fontsize=7)
        figure.axes[0].set_ylabel("episode return")
        _legend_below(figure, figure.axes[0], columns=4)
        return figure


def _draw_curves(
    axes: Axes, curves: Mapping[str, Curve], seeds: Mapping[str, str], random: Mapping[str, Score]
) -> None:
    """One line a method (its seeds in words) with its interval, dotted lines for random policies, over frames."""
    for method, curve in curves.items():
        name = label(method) + (f" ({seeds[method]})" if seeds else "")
        marker = "o" if len(curve.frames) == 1 else None  # a single point makes no line
        axes.plot(curve.frames, curve.mean, label=name, marker=marker, markersize=3, **style(method))
        axes.fill_between(curve.frames, curve.low, curve.high, color=LINES[method][0], alpha=0.18, lw=0)
    for space, score in random.items():
        name = f"random policy, {SPACE_LABELS[space]}"
        axes.axhline(score.mean, color=SPACE_COLOURS[space], lw=0.8, ls=(0, (1, 1.5)), label=name)
    frame_axis(axes)
    if axes.dataLim.ymin >= 0:
        axes.set_ylim(bottom=0)


def _legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    if axes.get_legend_handles_labels()[0]:
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.8)


def diagnostics(runs: Mapping[str, Sequence[Run]]) -> Figure:
    """How the learning went: entropy, KL, alpha, V-trace weight, gradient norm, value error over frames.

    One thin line a seed (the mean over members); the axes share environment frames.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 3.4), layout="constrained")
        panels = figure.subplots(2, 3, sharex=True)
        for axes, (column, title) in zip(panels.flat, DIAGNOSTICS.items()):
            for method, group in runs.items():
                for run in group:
                    _diagnostic(axes, run, column, style(method))
            axes.set_title(title)
        for axes in panels.flat:
            frame_axis(axes, labelled=axes in panels[1])
        _logarithmic(panels.flat[4])
        for method in runs:
            panels.flat[0].plot([], [], **style(method), label=label(method))
        figure.legend(loc="outside lower center", ncols=len(runs))
        return figure


def frame_axis(axes: Axes, labelled: bool = True) -> None:
    """An x axis of environment frames from 0, with ticks such as 500 k and 1 M."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if labelled:
        axes.set_xlabel("environment frames")


def _logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _diagnostic(axes: Axes, run: Run, column: str, look: dict[str, Any]) -> None:
    metrics = run.metrics()
    if column not in metrics or (METHODS[run.method].single and column in ("transfer", "alpha")):
        return  # an agent of one policy has no mixture to speak of
    values = metrics.groupby("frames")[column].mean().dropna()
    axes.plot(values.index, values, lw=0.9, alpha=0.85, **look)


WALK = (0, 0, 0, 2, 3, 4, 5, 6, 7)  # of SMALL: mostly forward, strafing and turning, neither back nor fire


def level_gallery(level: Level, views: int = 3, agent_steps: int = 150, seed: int = 0, scale: int = 4) -> Figure:
    """A level as its agent sees it, and its map from above where the backend draws maps.

    A random walk of the first environment's agent; of each part of it the frame with the most colours (others
    tend to be a wall from close by), enlarged without smoothing.

    Args:
      level: it is reset and stepped; every size of frame will do, but for dmlab, which needs 96 x 72.
      views: frames shown.
      agent_steps: length of each part of the walk.
      seed: of the walk.
      scale: picture elements a side for each of the frame's.
    """
    generator = np.random.default_rng(seed)
    level.reset()
    pictures = []
    height = 72 * scale
    plan = overview(level, 0, height)
    for _ in range(views):
        candidates = []
        for step in range(agent_steps):
            if step % 5 == 0:
                actions = generator.choice(WALK, size=level.num_envs)
            level.step(SMALL.encode(actions))
            if step % 10 == 0:
                candidates.append(level.render(0, 96, 72).copy())
        best = max(candidates, key=lambda frame: len(np.unique(frame.reshape(-1, 3), axis=0)))
        pictures.append(best.repeat(scale, 0).repeat(scale, 1))
    titles = ["the agent's view"] * views
    if plan is None:
        return _side_by_side(pictures, titles)
    return _side_by_side([*pictures, _fit(plan, height)], [*titles, "map"])


def _side_by_side(pictures: Sequence[np.ndarray], titles: Sequence[str], gap: int = 12, dpi: int = 100) -> Figure:
    """Pictures of one height next to each other, each picture element one of the figure's."""
    above = 30
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    height = pictures[0].shape[0] + above
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
        left = 0
        for picture, title in zip(pictures, titles):
            axes = figure.add_axes((left / width, 0, picture.shape[1] / width, picture.shape[0] / height))
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(title, fontsize=11)
            left += picture.shape[1] + gap
        return figure


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    """`[h, w, 3]` repeated to at most `height` rows and centred on white in exactly that many."""
    times = max(1, height // picture.shape[0])
    large = picture.repeat(times, 0).repeat(times, 1)[:height]
    above = (height - large.shape[0]) // 2
    below = height - large.shape[0] - above
    return np.pad(large, ((above, below), (0, 0), (0, 0)), constant_values=255)


def save(figure: Figure, directory: str | Path, name: str, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Writes the figure as `<directory>/<name>.<format>` and returns the paths.

    The same data give the same bytes.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in formats]
    dpi = figure.dpi if figure.get_axes() and figure.get_axes()[0].images else 220
    with mpl.rc_context(STYLE):
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=dpi, metadata=metadata)
    return paths
