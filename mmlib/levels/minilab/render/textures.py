"""MiniLab's art, made from formulas: walls, floors, wall pictures, skies and sprites, all deterministic.

A world names surfaces by slot, 0..7, and a theme says what a slot looks like; a theme with fewer surfaces
repeats them. So a map needs only the numbers of its regions. A wall's byte is `wall_code(slot, picture)`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mmlib.levels.minilab.render import patterns
from mmlib.levels.minilab.render.patterns import SIZE, SPRITE_SIZE
from mmlib.numerics.kernels import njit

AREA = SIZE * SIZE
LEVELS = 6  # mip levels; each is stored at full size, so that one index serves all
SLOTS = 8


class Theme(NamedTuple):
    """One look: "pattern colour accent" of each slot's walls and floors, and the sky."""

    walls: str
    floors: str
    sky: str


class Art(NamedTuple):
    """What the renderer draws with. A texel is packed 0xAABBGGRR; texel (u, v) of surface s at a mip level is

    texels[((s * LEVELS + level) * SIZE + u) * SIZE + v].
    """

    walls: np.ndarray  # uint32, v down from the wall's top
    floors: np.ndarray  # uint32, u along x and v along y
    pictures: np.ndarray  # uint32, picture p (from 1) at index p - 1
    skies: np.ndarray  # uint32 [skies * SKY_COLUMNS * SKY_ROWS], column major, from the horizon up
    sprites: np.ndarray  # uint32 [kinds * LEVELS * SPRITE_SIZE ** 2], column major, colour times alpha
    sprite_size: np.ndarray  # float32 [kinds, 2] width and height in cells
    theme_walls: np.ndarray  # uint8 [themes, SLOTS] surface of each slot
    theme_floors: np.ndarray  # uint8 [themes, SLOTS]
    theme_steps: np.ndarray  # uint8 [themes] wall surface of step faces
    theme_sky: np.ndarray  # uint8 [themes]
    theme_ceiling: np.ndarray  # uint32 [themes] colour of a flat ceiling


THEMES = (
    Theme(  # the static mazes
        "panel green teal, tile red navy, brick green teal, brick blue navy, tile yellow brown, panel steel navy",
        "honeycomb orange brown, tile orange brown",
        "noon",
    ),
    Theme(
        "tile steel navy, panel green teal, brick red brown, circuit violet navy",
        "tile orange brown, honeycomb green teal, planks yellow brown, tile grey navy",
        "noon",
    ),
    Theme(
        "brick orange brown, tile blue navy, panel green teal, brick grey navy",
        "stone grey navy, planks orange brown, honeycomb blue navy, tile yellow brown",
        "dusk",
    ),
    Theme(
        "circuit teal navy, brick violet navy, tile yellow brown, panel red brown",
        "planks brown orange, tile teal navy, honeycomb violet navy, stone green teal",
        "noon",
    ),
    Theme(
        "panel yellow brown, circuit green teal, tile red brown, brick blue navy",
        "honeycomb blue navy, stone yellow brown, tile green teal, planks orange brown",
        "dawn",
    ),
    Theme(
        "brick steel navy, panel orange brown, circuit blue navy, tile green teal",
        "planks yellow brown, stone blue navy, tile red brown, honeycomb orange brown",
        "noon",
    ),
    Theme(
        "tile green teal, brick yellow brown, panel blue navy, circuit red brown",
        "tile grey navy, honeycomb yellow brown, stone violet navy, planks brown orange",
        "dawn",
    ),
    Theme(
        "panel violet navy, tile orange brown, brick green teal, panel steel navy",
        "stone green teal, tile orange brown, planks yellow brown, honeycomb grey navy",
        "dusk",
    ),
)
NUM_THEMES = len(THEMES)
NUM_PICTURES = len(patterns.PICTURES)


@njit(cache=True)
def wall_code(slot, picture):
    """The byte of a wall: `slot` 0..7 of the theme, `picture` 0 (none) or 1..NUM_PICTURES."""
    return 1 + slot + SLOTS * picture


def pack(image: np.ndarray) -> np.ndarray:
    """Float [..., 3 or 4] in 0..1 to packed uint32 [...]; with four channels, colours times alpha."""
    channels = [image[..., c] for c in range(image.shape[-1])]
    if len(channels) == 4:
        channels[:3] = [c * channels[3] for c in channels[:3]]
    packed = np.zeros(image.shape[:-1], np.uint32)
    for c, channel in enumerate(channels):
        packed |= np.round(np.clip(channel, 0.0, 1.0) * 255.0).astype(np.uint32) << np.uint32(8 * c)
    return packed


def mipmaps(image: np.ndarray) -> np.ndarray:
    """LEVELS box-filtered copies of an image [S, S, C], each blown up to full size: [LEVELS, S, S, C]."""
    if image.shape[-1] == 4:  # average colours times alpha
        image = np.concatenate([image[..., :3] * image[..., 3:], image[..., 3:]], axis=-1)
    size, levels = image.shape[0], []
    for level in range(LEVELS):
        block = min(1 << level, size)
        small = image.reshape(size // block, block, size // block, block, -1).mean(axis=(1, 3))
        levels.append(small.repeat(block, axis=0).repeat(block, axis=1))
    stack = np.stack(levels)
    if image.shape[-1] == 4:
        stack[..., :3] /= np.maximum(stack[..., 3:], 1e-6)
    return stack


def _columns(images: list[np.ndarray]) -> np.ndarray:
    """Images [S, S, C] (rows first) to the flat, column-major mip texels of `Art`."""
    return np.concatenate([pack(mipmaps(image)).transpose(0, 2, 1).ravel() for image in images])


def _surfaces(themes: list[list[str]], wall: bool) -> tuple[np.ndarray, np.ndarray]:
    """Texels of the walls or floors of all themes, and the surface of each slot, uint8 [themes, SLOTS]."""
    names = sorted({name for own in themes for name in own})
    images = [patterns.surface(*name.split(), wall=wall) for name in names]
    slots = [[names.index(own[slot % len(own)]) for slot in range(SLOTS)] for own in themes]
    return _columns(images), np.array(slots, np.uint8)


@lru_cache(maxsize=1)
def load_art() -> Art:
    """The mazes' art, made at the first call and then shared; treat as read-only."""
    return make_art(THEMES, patterns.SPRITES)


def make_art(themes: tuple[Theme, ...], kinds: tuple[patterns.Sprite, ...]) -> Art:
    """Art of at most 8 themes, with the sprite kinds 1, 2, ..."""
    walls, theme_walls = _surfaces([theme.walls.split(", ") for theme in themes], wall=True)
    floors, theme_floors = _surfaces([theme.floors.split(", ") for theme in themes], wall=False)
    skies = sorted(patterns.SKIES)
    size = np.array([(0.0, 0.0)] + [(sprite.width, sprite.height) for sprite in kinds], np.float32) / 100
    blank = np.zeros((SPRITE_SIZE, SPRITE_SIZE, 4))
    return Art(
        walls=walls,
        floors=floors,
        pictures=_columns([patterns.picture(p) for p in range(NUM_PICTURES)]),
        skies=np.concatenate([pack(patterns.sky(s)).T.ravel() for s in skies]),
        sprites=_columns([blank] + [sprite.draw() for sprite in kinds]),
        sprite_size=size.astype(np.float32),
        theme_walls=theme_walls,
        theme_floors=theme_floors,
        theme_steps=theme_walls[:, 3].copy(),
        theme_sky=np.array([skies.index(theme.sky) for theme in themes], np.uint8),
        theme_ceiling=pack(np.array([np.mean(patterns.SKIES[theme.sky], axis=0) for theme in themes])),
    )
