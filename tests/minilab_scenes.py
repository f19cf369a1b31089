"""Scenes for the renderer's tests: small maps, art whose colours tell what was hit, and a ray caster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mmlib.levels.minilab.render.frame import render
from mmlib.levels.minilab.render.patterns import SIZE, SKY_COLUMNS, SKY_ROWS, SPRITE_SIZE
from mmlib.levels.minilab.render.textures import AREA, LEVELS, NUM_PICTURES, NUM_THEMES, SLOTS, Art
from mmlib.levels.minilab.world import World, empty_world

SKY, WALL, FLOOR, STEP, SPRITE = 0, 1, 2, 3, 4
CEILING = 98.0


@dataclass
class Scene:
    """One map of cy x cx cells inside a border of walls."""

    cy: int
    cx: int
    sprites: list[tuple[float, ...]] = field(default_factory=list)
    sky: bool = False

    def __post_init__(self):
        self.wall_x = np.zeros((1, self.cy, self.cx + 1), np.uint8)
        self.wall_y = np.zeros((1, self.cy + 1, self.cx), np.uint8)
        self.wall_x[..., 0] = self.wall_x[..., -1] = 1
        self.wall_y[:, 0] = self.wall_y[:, -1] = 1
        self.floor_z = np.zeros((1, self.cy, self.cx), np.float32)
        self.floor_texture = np.zeros((1, self.cy, self.cx), np.uint8)
        self.theme = np.zeros(1, np.uint8)

    @property
    def world(self) -> World:
        """As the renderer takes it."""
        sprites = np.array(self.sprites, np.float32).reshape(1, -1, 5)
        arrays = self.wall_x, self.wall_y, self.floor_z, self.floor_texture, self.theme, sprites
        return World(*arrays, *empty_world(1, (self.cy, self.cx), sprites.shape[1], 0, 0)[6:])

    def picture(self, pose, art: Art, width: int = 96, height: int = 72) -> np.ndarray:
        """[H, W, 3] as seen from pose (x, y, z of the eye, yaw, pitch)."""
        out = np.zeros((1, 3, height, width), np.uint8)
        render(out, np.array([pose], np.float64), self.world, CEILING, self.sky, art, 0, 1)
        return out[0].transpose(1, 2, 0)


def _texels(red, green, blue, count: int) -> np.ndarray:
    """`count` surfaces of LEVELS equal levels; the colours are functions of (s, u, v)."""
    s, _, u, v = np.indices((count, LEVELS, SIZE, SIZE))
    packed = sum(
        np.broadcast_to(f(s, u, v), s.shape).astype(np.uint32) << (8 * c) for c, f in enumerate((red, green, blue))
    )
    return packed.astype(np.uint32).ravel()


def code_art(what: str) -> Art:
    """Art that shows "kind" (what was hit, and its slot) or "place" (where on the surface), before shading.

    kind: red 250 for walls, green 250 for floors, blue 250 for steps, all three for sprites; the slot is 30 a
    unit in another channel. place: red 250, green 3 u, blue 3 v.
    """
    zero, full = (lambda s, u, v: 0 * s), (lambda s, u, v: 250 + 0 * s)
    slot = lambda s, u, v: 30 * s  # noqa: E731
    if what == "kind":
        walls = _texels(full, slot, zero, SLOTS), _texels(zero, zero, full, 1)
        floors = _texels(zero, full, slot, SLOTS)
    else:
        place = (full, lambda s, u, v: 3 * u, lambda s, u, v: 3 * v)
        walls, floors = (_texels(*place, SLOTS), _texels(*place, 1)), _texels(*place, SLOTS)
    white = np.full(LEVELS * SPRITE_SIZE**2, 0xFFFFFFFF, np.uint32)
    slots = np.tile(np.arange(SLOTS, dtype=np.uint8), (NUM_THEMES, 1))
    return Art(
        walls=np.concatenate(walls),
        floors=floors,
        pictures=np.zeros(NUM_PICTURES * LEVELS * AREA, np.uint32),
        skies=np.zeros(SKY_COLUMNS * SKY_ROWS, np.uint32),
        sprites=np.concatenate([0 * white, white]),
        sprite_size=np.array([(0, 0), (0.40, 0.30)], np.float32),
        theme_walls=slots,
        theme_floors=slots,
        theme_steps=np.full(NUM_THEMES, SLOTS, np.uint8),
        theme_sky=np.zeros(NUM_THEMES, np.uint8),
        theme_ceiling=np.zeros(NUM_THEMES, np.uint32),
    )


def kinds(image: np.ndarray) -> np.ndarray:
    """What each pixel of a picture in "kind" art shows, [H, W]."""
    red, green, blue = (image[..., c].astype(int) for c in range(3))
    top = np.maximum(np.maximum(red, green), blue)
    kind = np.where(red == top, WALL, np.where(green == top, FLOOR, STEP))
    kind = np.where((red == green) & (green == blue), SPRITE, kind)
    return np.where(top == 0, SKY, kind)


@dataclass
class Hits:
    """What a ray caster found for every pixel, [H, W]: depth along the view (units), place on the surface."""

    kind: np.ndarray
    depth: np.ndarray
    slot: np.ndarray
    u: np.ndarray
    v: np.ndarray


def cast(scene: Scene, pose, width: int, height: int) -> Hits:
    """Every pixel's ray against every surface of the map, in float64, with no notion of columns or order."""
    x, y, z, yaw, pitch = pose
    cos, sin, focal = math.cos(math.radians(yaw)), math.sin(math.radians(yaw)), width / 2
    row, column = np.mgrid[0:height, 0:width] + 0.5
    k = (column - width / 2) / focal
    down = (row - height / 2) / focal + math.tan(math.radians(pitch))
    dx, dy, dz = cos + k * sin, sin - k * cos, -down  # a step of depth 1
    best = Hits(*(np.zeros((height, width)) for _ in range(5)))
    best.depth[:] = np.inf

    def offer(kind, depth, inside, slot, u, v):
        hit = inside & (depth > 1e-9) & (depth < best.depth)
        for name, value in (("kind", kind), ("depth", depth), ("slot", slot), ("u", u), ("v", v)):
            array = getattr(best, name)
            array[hit] = np.broadcast_to(value, hit.shape)[hit]

    def offer_sheet(j, i, along_x, low, high, kind, slot):
        start, step = (y, dy) if along_x else (x, dx)
        other, across, first = (x, dx, 100 * i) if along_x else (y, dy, 100 * j)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = (100 * (j if along_x else i) - start) / step
            place, rise = other + depth * across - first, z + depth * dz
        inside = (place >= 0) & (place < 100) & (rise >= low) & (rise < high)
        rightward = (step > 0) if along_x else (step < 0)
        u = place / 100 if kind == STEP else np.where(rightward, place, 100 - place) / 100
        offer(kind, depth, inside, slot, u, (high - rise) / 100 % 1)

    floors = scene.floor_z[0].astype(float)
    for walls, along_x in ((scene.wall_x[0], False), (scene.wall_y[0], True)):
        for (j, i), code in np.ndenumerate(walls):
            if code:
                offer_sheet(j, i, along_x, -1e3, CEILING, WALL, code - 1)
                continue
            back = floors[j - 1, i] if along_x else floors[j, i - 1]
            low, high = sorted((back, floors[j, i]))
            if low < high:
                offer_sheet(j, i, along_x, low, high, STEP, 0)
    for (j, i), floor in np.ndenumerate(floors):
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = (floor - z) / dz
            u, v = x / 100 + depth * dx / 100 - i, y / 100 + depth * dy / 100 - j
        inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
        offer(FLOOR, depth, inside, scene.floor_texture[0, j, i], u, v)
    return best
