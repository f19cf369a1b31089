"""Figure 10: levels as their agent sees them, and MiniLab's from above with the way that it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmlib import levels
from mmlib.analysis.baselines import Act
from mmlib.figures.plots import STYLE
from mmlib.levels.minilab.engine import MiniLab
from mmlib.levels.minilab.physics import CELL
from mmlib.levels.minilab.render.mapview import map_image
from mmlib.levels.minilab.render.textures import load_art

VIEW = (224, 168)  # pixels, of each picture of the gallery
GAP, TITLE = 10, 44  # pixels; the title has two lines

Picture = NDArray[np.uint8]


class Moment(NamedTuple):
    """What the agent saw, `[168, 224, 3]`, when, and the reward until then."""

    view: Picture
    seconds: float
    reward: float


class Walk(NamedTuple):
    """Moments of a walk, and the map with the way, if there is a map."""

    moments: list[Moment]
    overview: Picture | None


def walk(level: str, act: Act, seconds: float, views: int = 4, seed: int = 0, backend: str = "minilab") -> Walk:
    """Plays a level with a policy and keeps what its agent saw.

    Args:
      level: a level's name.
      act: see `baselines.make_policy`, for one environment.
      seconds: of play, 60 environment frames each.
      views: pictures kept: of each equal part of the walk the one with the most colours (others tend to be a wall
        from close by).
      seed: of the level.
      backend: minilab or dmlab, which has no map.
    """
    size = dict(zip(("width", "height"), VIEW)) if backend == "dmlab" else {}  # it draws in the size it is made with
    env = levels.make(level, backend, seed=seed, **size)
    env.reset()
    steps, total, way = max(views, round(seconds * 60 / env.action_repeat)), 0.0, list[tuple[float, float]]()
    moments: list[Moment] = []
    for part in np.array_split(np.arange(1, steps + 1), views):
        seen = []
        for step in part.tolist():
            total += float(env.step(act(env)).reward[0])
            way.append(env.pose(0)[:2])
            if step % 5 == 0 or step == part[-1]:
                seen.append(Moment(env.render(0, *VIEW), step * env.action_repeat / 60, total))
        moments.append(max(seen, key=lambda moment: len(np.unique(moment.view.reshape(-1, 3), axis=0))))
    overview = _overview(env, way) if isinstance(env, MiniLab) else None
    env.close()
    return Walk(moments, overview)


def _overview(env: MiniLab, way: list[tuple[float, float]]) -> Picture:
    """The map with a way, at most as wide as two views and as high as one."""
    state = env.state_dict()
    world = {name: state[f"world.{name}"][0] for name in ("wall_x", "wall_y", "floor_z", "floor_texture", "sprites")}
    rows, columns = world["floor_z"].shape
    pixels = int(min(VIEW[1] / rows, 2 * VIEW[0] / columns) * max(rows, columns))
    scale = CELL * columns / env.extent[0]  # the map is drawn in cells of 100 units, whatever the level's are
    theme, pose = int(state["world.theme"][0]), state["agents.pose"][0].copy()
    pose[:2] *= scale
    trail = scale * np.array(way).reshape(-1, 2)
    return map_image(pose, **world, theme=theme, art=load_art(), pixels=pixels, trail=trail)


def figure(walks: Mapping[str, Walk], dpi: int = 100) -> Figure:
    """A row a level: views of the walk, then the map; each picture element is one of the figure's."""
    views = max(len(walk.moments) for walk in walks.values())
    across = max(0 if walk.overview is None else walk.overview.shape[1] for walk in walks.values())
    width, height = views * (VIEW[0] + GAP) + across, len(walks) * (VIEW[1] + TITLE)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
        for row, (name, walk) in enumerate(walks.items()):
            top = height - row * (VIEW[1] + TITLE) - TITLE
            figure.text(0, (top + 24) / height, name, fontsize=10, weight="bold")
            for k, (view, seconds, reward) in enumerate(walk.moments):
                left = k * (VIEW[0] + GAP)
                _place(figure, view, left, top, width, height)
                text = f"{seconds:.1f} s, reward {reward:g}"
                figure.text(left / width, (top + 6) / height, text, fontsize=8, color="0.35")
            if walk.overview is not None:
                _place(figure, walk.overview, views * (VIEW[0] + GAP), top, width, height)
        return figure


def _place(figure: Figure, picture: Picture, left: int, top: int, width: int, height: int) -> None:
    """Puts a picture into a figure, its upper left corner at (left, top) pixels from the lower left one."""
    high, wide = picture.shape[:2]
    axes = figure.add_axes((left / width, (top - high) / height, wide / width, high / height))
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
