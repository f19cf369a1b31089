"""Levels as their agent sees them, and MiniLab's from above with the way that it went (figure 10)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mmlib import levels
from mmlib.analysis.baselines import Act
from mmlib.figures import video
from mmlib.figures.style import styled
from mmlib.figures.video import Frame
from mmlib.levels.base import Level
from mmlib.spaces import SMALL

VIEW = (224, 168)  # pixels, of each picture of figure 10
DPI = 100  # a picture element of a figure is one on the screen
AGENTS = (96, 72)  # pixels of the agent's own frames in the paper
GAP, TITLE = 10, 44  # pixels; the title has two lines
TRAIL = "#285aeb"  # the way on the map
JUMP, SIGN = 0.08, 0.025  # of the map's longer side: a longer step is a jump; the radius of the agent's sign
WANDERING = (0, 0, 0, 2, 3, 4, 5, 6, 7)  # of SMALL: mostly forward, strafing and turning, neither back nor fire


class Moment(NamedTuple):
    """What the agent saw, `[height, width, 3]`, when, and the reward until then."""

    view: Frame
    seconds: float
    reward: float


class Walk(NamedTuple):
    """Moments of a walk; the map, if there is one, and the way on it."""

    moments: list[Moment]
    overview: Frame | None
    way: NDArray[np.float64]  # [n, 2], x and y from the map's lower left corner; its longer side is 1


def wander() -> Act:
    """A policy that walks about: a random action of `WANDERING`, held for five agent steps."""
    generator, held = np.random.default_rng(0), list[NDArray[np.int64]]()

    def act(level: Level) -> NDArray[np.int32]:
        if not held:
            held.extend([generator.choice(WANDERING, size=level.num_envs)] * 5)
        return SMALL.encode(held.pop())

    return act


def walk(
    name: str,
    act: Act,
    seconds: float = 30.0,
    seed: int = 0,
    backend: str = "auto",
    *,
    views: int = 4,
    size: tuple[int, int] = VIEW,
    enlarged: int = 1,
    **settings: Any,
) -> Walk:
    """Plays a level from its start with a policy and keeps what its first environment's agent saw.

    Args:
      name, seed, backend, settings: of the level, see `levels.make`.
      act: see `baselines.make_policy`.
      seconds: of play, 60 environment frames each; at most what is left of the first episode.
      views: pictures kept: of each equal part of the walk the one with the most colours (others tend to be a wall
        from close by).
      size: width and height in which the views are drawn.
      enlarged: picture elements a side of each of a view's.
    """
    if levels.resolve_backend(backend, name) == "dmlab":  # it draws in the size it is made with
        settings |= {"width": size[0], "height": size[1]}
    moments, total, way = list[Moment](), 0.0, list[tuple[float, float]]()
    with contextlib.closing(levels.make(name, backend, seed=seed, **settings)) as level:
        level.reset()
        most = (level.episode_frames - level.action_repeat) / 60 if level.episode_frames else seconds
        steps = max(views, round(min(seconds, most) * 60 / level.action_repeat))
        for part in np.array_split(np.arange(1, steps + 1), views):
            seen = []
            for step in part.tolist():
                total += float(level.step(act(level)).reward[0])
                if (here := place(level)) is not None:
                    way.append(here)
                if step % 5 == 0 or step == part[-1]:
                    seen.append(Moment(level.render(0, *size).copy(), step * level.action_repeat / 60, total))
            view, *rest = max(seen, key=lambda moment: len(Image.fromarray(moment.view).getcolors(1 << 24) or ()))
            moments.append(Moment(view.repeat(enlarged, 0).repeat(enlarged, 1), *rest))
        overview = video.overview(level, 2 * size[0] * enlarged, size[1] * enlarged)
    return Walk(moments, overview, np.array(way).reshape(-1, 2))


def place(level: Level) -> tuple[float, float] | None:
    """Where the first environment's agent is on the map, see `Walk.way`; None without a map."""
    if (extent := getattr(level, "extent", None)) is None:
        return None
    x, y, *_ = level.pose(0)
    return x / max(extent), y / max(extent)


def lives(way: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """A way [n, 2] in parts, split at jumps (a restart, a respawn); the last ends where the agent's sign begins."""
    jumps = np.hypot(*np.diff(way, axis=0).T) > JUMP
    *before, now = np.split(way, np.flatnonzero(jumps) + 1)
    return [*before, now[np.hypot(*(now - way[-1:]).T) > SIGN]]


@styled
def figure(walks: Mapping[str, Walk]) -> Figure:
    """A row a level: views of the walk, then the map; each picture element is one of the figure's."""
    rows = list(walks.values())
    high, wide = rows[0].moments[0].view.shape[:2]
    views = max(len(walk.moments) for walk in rows)
    across = max(0 if walk.overview is None else walk.overview.shape[1] for walk in rows)
    width, height = views * (wide + GAP) + across, len(rows) * (high + TITLE)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for row, (name, walk) in enumerate(walks.items()):
        top = height - row * (high + TITLE) - TITLE
        figure.text(0, (top + 24) / height, name, fontsize=10, weight="bold")
        for k, (view, seconds, reward) in enumerate(walk.moments):
            left = k * (wide + GAP)
            _place(figure, view, left, top, width, height)
            text = f"{seconds:.1f} s, reward {reward:g}"
            figure.text(left / width, (top + 6) / height, text, fontsize=8, color="0.35")
        if walk.overview is not None:
            axes = _place(figure, walk.overview, views * (wide + GAP), top, width, height)
            tall, size = walk.overview.shape[0], max(walk.overview.shape)
            for x, y in (size * life.T for life in lives(walk.way)):
                axes.plot(x - 0.5, tall - y - 0.5, color=TRAIL, lw=1.5, scalex=False, scaley=False)
    return figure


def _place(figure: Figure, picture: Frame, left: int, top: int, width: int, height: int) -> Axes:
    """Puts a picture into a figure, its upper left corner at (left, top) pixels from the lower left one."""
    high, wide = picture.shape[:2]
    axes = figure.add_axes((left / width, (top - high) / height, wide / width, high / height))
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    return axes
