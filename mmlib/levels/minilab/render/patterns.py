"""Formulas behind MiniLab's art: images as float arrays in 0..1, rows first; surfaces can be tiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SIZE = 64  # texels across a surface, and across a cell
SPRITE_SIZE = 32
SKY_COLUMNS, SKY_ROWS = 256, 64  # all directions; tangent of the elevation 0..1
_V, _U = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE  # row and column coordinates, 0..1

COLOURS = {
    "green": (0.33, 0.58, 0.36),
    "teal": (0.10, 0.42, 0.46),
    "red": (0.74, 0.22, 0.17),
    "navy": (0.17, 0.20, 0.42),
    "blue": (0.28, 0.44, 0.80),
    "orange": (0.95, 0.60, 0.13),
    "brown": (0.45, 0.24, 0.08),
    "yellow": (0.90, 0.80, 0.32),
    "violet": (0.58, 0.36, 0.70),
    "steel": (0.58, 0.66, 0.76),
    "grey": (0.62, 0.62, 0.60),
    "white": (0.95, 0.95, 0.92),
    "black": (0.10, 0.10, 0.12),
    "pink": (0.96, 0.62, 0.68),
    "cyan": (0.30, 0.85, 0.90),
    "royal": (0.13, 0.27, 0.72),
    "azure": (0.22, 0.48, 0.86),
    "plum": (0.40, 0.11, 0.44),
    "rust": (0.56, 0.20, 0.12),
    "gold": (0.88, 0.76, 0.14),
    "olive": (0.27, 0.40, 0.31),
    "amber": (0.80, 0.50, 0.09),
    "sage": (0.63, 0.60, 0.33),
}
SKIES = {  # colours at the horizon and at the zenith
    "noon": ((0.68, 0.87, 0.99), (0.32, 0.62, 0.95)),
    "dawn": ((0.99, 0.88, 0.76), (0.46, 0.66, 0.93)),
    "dusk": ((0.86, 0.80, 0.96), (0.36, 0.42, 0.80)),
    "stadium": ((0.62, 0.84, 0.99), (0.45, 0.72, 0.97)),
}


def _colour(name: str) -> np.ndarray:
    return np.array(COLOURS[name])


def _noise(seed: int, rows: int, columns: int, waves: int = 24, top: int = 6) -> np.ndarray:
    """Smooth periodic noise [rows, columns], mean 0, deviation 1: random waves of frequency up to `top`."""
    draw = np.random.RandomState(seed)
    v, u = np.mgrid[0:rows, 0:columns]
    total = np.zeros((rows, columns))
    for _ in range(waves):
        a, b = draw.randint(-top, top + 1, 2)
        phase = 2 * np.pi * (a * u / columns + b * v / rows + draw.rand())
        total += np.cos(phase) / (1.0 + np.hypot(a, b))
    return (total - total.mean()) / (total.std() + 1e-9)


def _cells(columns: int, rows: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles, every second row moved by `shift`: distance to the border (0..0.5), a value for each."""
    row = np.floor(_V * rows)
    across = _U * columns + shift * (row % 2)
    border = np.minimum(np.abs((across % 1) - 0.5) * -1 + 0.5, (0.5 - np.abs((_V * rows % 1) - 0.5)) * columns / rows)
    value = np.random.RandomState(seed).rand(rows, columns)
    return border, value[row.astype(int), np.floor(across).astype(int) % columns]


def _brick(seed: int) -> tuple[np.ndarray, np.ndarray]:
    border, value = _cells(3, 6, 0.5, seed)
    joint = border < 0.07
    return 0.85 + 0.3 * value, joint * 0.75


def _tile(seed: int) -> tuple[np.ndarray, np.ndarray]:
    border, value = _cells(4, 4, 0.0, seed)
    return 0.92 + 0.16 * value + 0.12 * (border > 0.3), (border < 0.06) * 0.7


def _panel(seed: int) -> tuple[np.ndarray, np.ndarray]:
    border, value = _cells(2, 3, 0.5, seed)
    groove = np.abs(border - 0.16) < 0.035
    return 0.9 + 0.2 * value, np.maximum((border < 0.05) * 0.65, groove * 0.4)


def _circuit(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(seed)
    lines = np.zeros((SIZE, SIZE))
    for _ in range(9):
        u, v, run, drop = draw.randint(0, 8, 4) * 8
        lines[v + 3 : v + 6, np.arange(u, u + run + 8) % SIZE] = 1
        lines[np.arange(v, v + drop + 4) % SIZE, u + 3 : u + 6] = 1
        lines[(np.arange(v, v + 9)[:, None]) % SIZE, np.arange(u, u + 9) % SIZE] = 1
    return np.ones((SIZE, SIZE)), lines * 0.6


def _wires(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Thin lines between round nodes, on and off a frame of plates."""
    draw, lines = np.random.RandomState(seed), np.zeros((SIZE, SIZE))
    for _ in range(7):
        u, v, run, drop = draw.randint(0, 8, 4) * 8
        lines[v + 3, np.arange(u, u + run + 16) % SIZE] = 1
        lines[np.arange(v, v + drop + 8) % SIZE, u + 3] = 1
        near = np.hypot((_U * SIZE - u - 3.5 + 32) % SIZE - 32, (_V * SIZE - v - 3.5 + 32) % SIZE - 32)
        lines[(near > 1.5) & (near < 3.2)] = 1
    border, value = _cells(2, 3, 0.5, seed)
    return 0.92 + 0.16 * value - 0.12 * (border < 0.03), lines * 0.55


def _honeycomb(seed: int) -> tuple[np.ndarray, np.ndarray]:
    j, i = np.mgrid[-1:6, -1:6]
    centre_u, centre_v = ((i + 0.5 * (j % 2)) / 4).ravel(), (j / 4).ravel()
    away = np.hypot(_U[..., None] - centre_u, 0.9 * (_V[..., None] - centre_v))
    order = np.sort(away, axis=-1)
    value = np.random.RandomState(seed).rand(4, 4)[(j % 4).ravel(), (i % 4).ravel()]
    return 0.88 + 0.24 * value[away.argmin(-1)], (order[..., 1] - order[..., 0] < 0.035) * 0.55


def _planks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    border, value = _cells(1, 5, 0.5, seed)
    seam = np.abs((_V * 5 % 1) - 0.5) > 0.44
    end = border < 0.012
    return 0.85 + 0.3 * value + 0.06 * np.sin(_U * 4 * np.pi + value * 9), (seam | end) * 0.6


def _stone(seed: int) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.RandomState(seed).rand(14, 2)
    shifts = np.array([(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)])
    every = (points[None] + shifts[:, None]).reshape(-1, 2)
    away = np.hypot(_U[..., None] - every[:, 0], _V[..., None] - every[:, 1])
    order = np.sort(away, axis=-1)
    return 0.8 + 0.03 * (away.argmin(-1) % 14), (order[..., 1] - order[..., 0] < 0.03) * 0.5


PATTERNS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "brick": _brick,
    "tile": _tile,
    "panel": _panel,
    "circuit": _circuit,
    "wires": _wires,
    "honeycomb": _honeycomb,
    "planks": _planks,
    "stone": _stone,
}


def surface(pattern: str, colour: str, accent: str, *, wall: bool) -> np.ndarray:
    """A surface [SIZE, SIZE, 3] that can be tiled; a wall is lighter at its top."""
    seed = sum(ord(c) * (n + 1) for n, c in enumerate(pattern + colour))
    light, mix = PATTERNS[pattern](seed)
    light = light + 0.05 * _noise(seed, SIZE, SIZE)
    image = _colour(colour) * light[..., None]
    image = image + (_colour(accent) - image) * mix[..., None]
    if wall:
        image *= (1.06 - 0.16 * _V)[..., None]
        image[:3] *= 1.15
    return np.clip(image, 0.0, 1.0)


def sky(name: str) -> np.ndarray:
    """A panorama [SKY_ROWS, SKY_COLUMNS, 3] from the horizon (row 0) up, with soft clouds."""
    low, high = (np.array(c) for c in SKIES[name])
    rise = ((np.arange(SKY_ROWS) + 0.5) / SKY_ROWS)[:, None, None]
    image = low + (high - low) * np.sqrt(rise)
    cloud = np.clip(_noise(len(name) * 7 + 1, SKY_ROWS * 2, SKY_COLUMNS, 40, 7)[:SKY_ROWS] - 0.6, 0, 1.2) / 1.2
    cloud = cloud * np.clip(4 * rise[..., 0], 0, 1)
    image = image + (1.0 - image) * 0.55 * cloud[..., None]
    if name == "stadium":
        _build_stands(image)
    return image


def _build_stands(image: np.ndarray) -> None:
    """Rows of seats around the horizon of a panorama, in tiers with lit edges."""
    rise, place = (np.arange(SKY_ROWS) + 0.5) / SKY_ROWS, np.arange(SKY_COLUMNS)
    for low, high, colour in ((0.0, 0.27, "navy"), (0.27, 0.30, "azure"), (0.33, 0.47, "navy"), (0.50, 0.58, "azure")):
        image[(rise >= low) & (rise < high)] = 0.75 * _colour(colour)
    for low, high in ((0.30, 0.33), (0.47, 0.50), (0.58, 0.61)):
        tier = np.flatnonzero((rise >= low) & (rise < high))
        image[tier[0] : tier[-1] + 1] = np.where(place % 4 < 3, 0.92, 0.35)[None, :, None]
    seats = (rise < 0.47)[:, None] & ((np.arange(SKY_ROWS)[:, None] + place) % 2 == 0) & (image.sum(-1) < 1.4)
    image[seats] *= 1.35


def _disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) < 1


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.hypot(u, v) < 0.62 + 0.3 * np.cos(5 * np.arctan2(u, v))


SHAPES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    _disc,
    lambda u, v: (np.abs(u) < 0.33) | (np.abs(v) < 0.33),  # cross
    lambda u, v: np.abs(u) + np.abs(v) < 1,  # diamond
    lambda u, v: (v > -0.8) & (v < 0.8) & (np.abs(u) < (v + 0.8) / 1.6),  # triangle
    lambda u, v: np.sin(v * 8) > 0,  # stripes
    lambda u, v: np.floor(u * 2 + 4) % 2 == np.floor(v * 2 + 4) % 2,  # checks
    lambda u, v: (np.hypot(u, v) * 2.5 % 1) < 0.5,  # rings
    _star,
)
PICTURES = tuple(
    (shape, *colours)
    for shape, colours in zip(
        SHAPES + SHAPES[:7],
        (
            ("white", "red"),
            ("white", "pink"),
            ("yellow", "blue"),
            ("cyan", "black"),
            ("white", "green"),
            ("white", "black"),
            ("orange", "navy"),
            ("violet", "yellow"),
            ("black", "yellow"),
            ("blue", "white"),
            ("pink", "violet"),
            ("red", "white"),
            ("yellow", "orange"),
            ("cyan", "violet"),
            ("white", "blue"),
        ),
        strict=True,
    )
)


def picture(index: int) -> np.ndarray:
    """A framed wall picture [SIZE, SIZE, 3], index 0..len(PICTURES) - 1."""
    shape, ground, ink = PICTURES[index]
    v, u = _V * 2 - 1, _U * 2 - 1
    image = np.where(shape(u / 0.75, v / 0.75)[..., None], _colour(ink), _colour(ground))
    image[np.maximum(np.abs(u), np.abs(v)) > 0.84] = _colour("white") * 0.8
    image[np.maximum(np.abs(u), np.abs(v)) > 0.93] = _colour("black")
    return image


def layer(image: np.ndarray, mask: np.ndarray, colour: ArrayLike) -> None:
    """Paints over an image `[..., 4]` where `mask` `[...]` is."""
    image[..., :3] = np.where(mask[..., None], colour, image[..., :3])
    image[..., 3] = np.maximum(image[..., 3], mask)


def _apple(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    body = np.hypot(np.abs(u) - 0.28, (v - 0.16) / 1.12) < 0.64
    light = np.clip(1.05 - 0.55 * np.hypot(u + 0.32, v + 0.12), 0.45, 1.05)
    layer(image, body, np.array((0.92, 0.07, 0.10)) * light[..., None])
    layer(image, np.hypot(u + 0.40, v + 0.08) < 0.15, (1.0, 0.75, 0.72))
    stalk = (np.abs(u - 0.06 + 0.2 * (v + 0.5)) < 0.07) & (v > -0.95) & (v < -0.35)
    layer(image, stalk, (0.32, 0.18, 0.08))
    layer(image, np.hypot((u - 0.38) / 0.34, (v + 0.74) / 0.17) < 1, (0.25, 0.72, 0.20))


def _goal(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    layer(image, (v > 0.62) & (np.hypot(u / 0.9, (v - 0.75) / 0.22) < 1), (0.45, 0.10, 0.62))
    layer(image, np.hypot(u / 0.9, (v - 0.66) / 0.2) < 1, (0.72, 0.28, 0.92))
    gem, left = np.abs(u) / 0.62 + np.abs(v + 0.18) / 0.78, (u < 0)[..., None]
    layer(image, gem < 1, np.where(left, (1.0, 0.98, 0.55), (0.98, 0.82, 0.10)))
    layer(image, (gem < 1) & (v > -0.18), np.where(left, (0.95, 0.75, 0.1), (0.8, 0.5, 0.05)))
    layer(image, gem < 0.45, (1.0, 1.0, 0.95))


class Sprite(NamedTuple):
    """A billboard: its size in units, and what paints it onto an image `[..., 4]` over u, v in -1..1, v down."""

    width: float
    height: float
    paint: Callable[[np.ndarray, np.ndarray, np.ndarray], None]

    def draw(self) -> np.ndarray:
        """[SPRITE_SIZE, SPRITE_SIZE, 4], alpha last: the mean of 4 x 4 samples a texel."""
        size = SPRITE_SIZE
        v, u = (np.mgrid[0 : 4 * size, 0 : 4 * size] + 0.5) / (2 * size) - 1
        fine = np.zeros((*u.shape, 4))
        self.paint(fine, u, v)
        fine[..., :3] *= fine[..., 3:]
        image = fine.reshape(size, 4, size, 4, 4).mean(axis=(1, 3))
        image[..., :3] /= np.maximum(image[..., 3:], 1e-6)
        return image


SPRITES = (Sprite(30.0, 32.0, _apple), Sprite(44.0, 48.0, _goal))  # kinds 1, 2, ...
