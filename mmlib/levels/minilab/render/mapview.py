"""Top-down pictures of a MiniLab world: floors, walls, apples, goal and agent, north (+y) up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.arenas import BOT
from mmlib.levels.layouts import APPLE, CELL, GOAL
from mmlib.levels.minilab.render.textures import AREA, LEVELS, Art
from mmlib.levels.minilab.world import World

SOLID = (58, 60, 66)
AGENT = (250, 250, 250)
OUTLINE = (20, 20, 24)
SPRITE_COLOURS = {APPLE: (222, 26, 34), GOAL: (255, 222, 40)}
BOT_COLOUR = (255, 120, 190)
OTHER_SPRITE = (60, 220, 235)
MIN_PIXELS = 16
KEPT = 8  # grounds

Image = NDArray[np.float64]
Picture = NDArray[np.uint8]


class Ground(NamedTuple):
    """A map without what moves on it."""

    picture: Picture  # [h, w, 3]
    x: Image  # [h, w] places of the pixels, in cells
    y: Image
    art: Art  # kept alive: its id is part of the key


_GROUNDS: dict[tuple, Ground] = {}


def map_image(pose: NDArray, world: World, art: Art, pixels: int) -> NDArray[np.uint8]:
    """Draws one environment's map.

    Args:
      pose: [5] x, y, eye z, yaw, pitch of the agent (units, degrees).
      world: one environment's arrays.
      art: `load_art()`; surfaces are drawn in their mean colours.
      pixels: the longer side of the picture.

    Returns:
      uint8 [h, w, 3].

    Raises:
      ValueError: fewer than 16 pixels.
    """
    if pixels < MIN_PIXELS:
        raise ValueError(f"a map of {pixels} pixels is too small; at least {MIN_PIXELS}")
    scale = pixels / max(world.floor_z.shape)  # pixels a cell
    ground = _ground(world, _reachable(world, pose), art, pixels)
    image, x, y = ground.picture.copy(), ground.x, ground.y
    for sprite_x, sprite_y, _, kind, _ in world.sprites:
        if kind > 0:
            colour = SPRITE_COLOURS.get(int(kind), OTHER_SPRITE if kind < BOT else BOT_COLOUR)
            size = 0.24 if int(kind) == GOAL else 0.17
            part = _around(x, y, sprite_x / CELL, sprite_y / CELL, size + 0.1 + 4.0 / scale)
            east, north = x[part] - sprite_x / CELL, y[part] - sprite_y / CELL
            away = np.abs(east) + np.abs(north) if int(kind) == GOAL else np.hypot(east, north)
            _blob(image[part], away, size, scale, colour)
    _draw_agent(image, x, y, pose, scale)
    return image


def _ground(world: World, reachable: NDArray, art: Art, pixels: int) -> Ground:
    """Floors and walls, which stay as they are while things move on them: the last few are kept."""
    still = (world.wall_x, world.wall_y, world.floor_z, world.floor_texture, world.theme, reachable)
    key = (pixels, id(art), *(part.tobytes() for part in still))
    if (kept := _GROUNDS.get(key)) is not None:
        return kept
    cy, cx = world.floor_z.shape
    scale = pixels / max(cx, cy)
    height, width = max(1, round(cy * scale)), max(1, round(cx * scale))
    y, x = np.mgrid[0:height, 0:width]
    x, y = (x + 0.5) / scale, (height - y - 0.5) / scale
    image = _floors(x, y, reachable, world, art)
    _draw_walls(image, x, y, world, art, scale)
    made = Ground(np.rint(image).astype(np.uint8), x, y, art)
    for oldest in list(_GROUNDS)[: 1 - KEPT]:
        _GROUNDS.pop(oldest, None)
    _GROUNDS[key] = made
    return made


def _reachable(world: World, pose: NDArray) -> NDArray[np.bool_]:
    """Cells that the agent can get to, [CY, CX]; the others are drawn solid."""
    cy, cx = world.floor_z.shape
    seen = np.zeros((cy, cx), bool)
    seen[int(np.clip(pose[1] // CELL, 0, cy - 1)), int(np.clip(pose[0] // CELL, 0, cx - 1))] = True
    open_x, open_y = world.wall_x[:, 1:-1] == 0, world.wall_y[1:-1] == 0
    while True:
        grown = seen.copy()
        grown[:, 1:] |= seen[:, :-1] & open_x
        grown[:, :-1] |= seen[:, 1:] & open_x
        grown[1:] |= seen[:-1] & open_y
        grown[:-1] |= seen[1:] & open_y
        if (grown == seen).all():
            return seen
        seen = grown


def _mean_colours(texels: NDArray[np.uint32]) -> Image:
    """Mean colour of every surface, [S, 3] in 0..255: the mean of its coarsest mip level."""
    coarse = texels.reshape(-1, LEVELS, AREA)[:, -1]
    return np.stack([(coarse >> np.uint32(8 * c) & np.uint32(255)).mean(1) for c in range(3)], -1)


def _floors(x: Image, y: Image, reachable: NDArray, world: World, art: Art) -> Image:
    """Floors in their surfaces' colours, darker where they lie deeper; cells out of reach all dark."""
    cy, cx = world.floor_z.shape
    i, j = np.clip(x.astype(int), 0, cx - 1), np.clip(y.astype(int), 0, cy - 1)
    colours = _mean_colours(art.floors)[art.theme_floors[world.theme][world.floor_texture & 7]]
    colours = colours * np.clip(0.9 + world.floor_z / 120.0, 0.3, 1.1)[..., None]
    colours = np.where(reachable[..., None], colours, np.array(SOLID, float))
    checks = 1.0 - 0.05 * ((i + j) % 2)
    return np.clip(colours[j, i] * np.where(reachable[j, i], checks, 1.0)[..., None], 0, 255)


def _draw_walls(image: Image, x: Image, y: Image, world: World, art: Art, scale: float) -> None:
    """Walls as lines of at least two pixels, dark around their surface's colour."""
    colours = _mean_colours(art.walls)[art.theme_walls[world.theme]]
    wall_x, wall_y = world.wall_x, world.wall_y
    half = max(1.0, 0.05 * scale)  # pixels
    for margin, inner in ((half, False), (half - max(1.0, 0.3 * half), True)):
        for j, i, along_x in [(*e, False) for e in np.argwhere(wall_x)] + [(*e, True) for e in np.argwhere(wall_y)]:
            code = int(wall_y[j, i] if along_x else wall_x[j, i]) - 1
            colour = colours[code & 7] if inner else np.array(OUTLINE, float)
            reach = margin / scale
            left, right = (i - reach, i + 1 + reach) if along_x else (i - reach, i + reach)
            low, high = (j - reach, j + reach) if along_x else (j - reach, j + 1 + reach)
            if margin <= 0:
                continue
            rows = (y[:, 0] >= low) & (y[:, 0] < high)
            columns = (x[0] >= left) & (x[0] < right)
            image[np.ix_(rows, columns)] = colour


def _around(x: Image, y: Image, east: float, north: float, reach: float) -> tuple[slice, slice]:
    """The part of the picture within `reach` of a place (cells) along each axis."""
    rows = np.flatnonzero(np.abs(y[:, 0] - north) <= reach)
    columns = np.flatnonzero(np.abs(x[0] - east) <= reach)
    if not (len(rows) and len(columns)):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _cover(image: Picture, distance: Image, colour: tuple[int, int, int]) -> None:
    """Paints where `distance` (pixels, negative inside) is below zero, with a soft pixel at the border."""
    alpha = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
    image[:] = np.rint(image + (np.array(colour, float) - image) * alpha)


def _blob(image: Picture, away: Image, size: float, scale: float, colour: tuple[int, int, int]) -> None:
    """An outlined shape: `away` is the distance from its centre, and `size` its radius, in cells."""
    edge = max(1.0, 0.04 * scale)
    _cover(image, (away - size) * scale - edge, OUTLINE)
    _cover(image, (away - size) * scale, colour)


def _draw_agent(image: Picture, x: Image, y: Image, pose: NDArray, scale: float) -> None:
    """An arrowhead that points where the agent looks."""
    yaw = np.radians(pose[3])
    size, edge = max(0.34, 4.0 / scale), max(1.0, 0.045 * scale)
    part = _around(x, y, pose[0] / CELL, pose[1] / CELL, size + (3 * edge + 1) / scale)
    image, x, y = image[part], x[part], y[part]
    ahead = (x - pose[0] / CELL) * np.cos(yaw) + (y - pose[1] / CELL) * np.sin(yaw)
    aside = np.abs((y - pose[1] / CELL) * np.cos(yaw) - (x - pose[0] / CELL) * np.sin(yaw))
    front = (ahead + 2.2 * aside - size) / np.hypot(1, 2.2)
    notch = (-ahead - 0.55 * size + 0.6 * aside) / np.hypot(1, 0.6)
    away = np.maximum(front, notch) * scale
    _cover(image, away - edge, OUTLINE)
    _cover(image, away, AGENT)
