"""The look of the lasertag levels: two themes, and pictures of items, orbs and bots, all made from formulas."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from mmlib.levels.arenas import LOOKS, SIDES
from mmlib.levels.minilab.render.patterns import COLOURS, SPRITES, Sprite, layer
from mmlib.levels.minilab.render.textures import Art, Theme, make_art

# Wall slot 3 is also that of a pit's sides.
THEMES = (
    Theme(
        "wires royal azure, wires plum violet, wires rust azure, wires gold olive",
        "honeycomb amber sage, tile white cyan",
        "stadium",
    ),
    Theme(
        "wires olive teal, wires olive teal, wires olive teal, honeycomb amber sage",
        "honeycomb amber sage, tile white cyan",
        "stadium",
    ),
)


def _ring(u: np.ndarray, v: np.ndarray, radius: float, width: float) -> np.ndarray:
    return np.abs(np.hypot(u, v) - radius) < width


def _card(image: np.ndarray, u: np.ndarray, v: np.ndarray, ground: str) -> None:
    """A square sign with a light rim."""
    side = np.maximum(np.abs(u), np.abs(v))
    layer(image, side < 0.92, COLOURS["white"])
    layer(image, side < 0.80, COLOURS[ground])


def _orb_item(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    _card(image, u, v, "royal")
    layer(image, _ring(u, v, 0.48, 0.14), COLOURS["cyan"])
    layer(image, np.hypot(u, v) < 0.2, COLOURS["white"])


def _beam_item(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    _card(image, u, v, "violet")
    for k in (-1, 0, 1):
        layer(image, (np.abs(u - 0.35 * k - 0.25 * v) < 0.10) & (np.abs(v) < 0.6), COLOURS["white"])


def _armour_item(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    for size, colour in ((1.0, "black"), (0.85, "gold")):
        low = np.abs(u) < 0.8 * size * np.sqrt(np.clip(1 - np.clip((v + 0.1) / size, 0, 1), 0, 1))
        layer(image, low & (v > -0.85 * size) & (v < 0.95 * size), COLOURS[colour])
    layer(image, np.abs(u + 0.4 * v + 0.1 * np.sign(v)) < 0.13, COLOURS["black"])
    image[..., 3] *= np.hypot(u, v) < 1.3


def _health_item(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    layer(image, np.hypot(u, v) < 0.95, COLOURS["white"])
    layer(image, np.hypot(u, v) < 0.82, (0.15, 0.70, 0.25))
    arm, reach = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
    layer(image, (arm < 0.18) & (reach < 0.6), COLOURS["white"])


def _shot(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    away = np.hypot(u, v)
    layer(image, away < 0.95, (0.20, 0.45, 1.0))
    layer(image, away < 0.70, (0.45, 0.85, 1.0))
    layer(image, away < 0.40, (1.0, 1.0, 1.0))
    image[..., 3] *= np.where(away < 0.70, 1.0, 0.5)


def _blast(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    away = np.hypot(u, v)
    layer(image, away < 0.98, (0.25, 0.55, 1.0))
    layer(image, _ring(u, v, 0.85, 0.09), (0.85, 0.97, 1.0))
    layer(image, away < 0.35, (0.85, 0.97, 1.0))
    image[..., 3] *= np.where(away < 0.35, 0.9, np.where(away > 0.76, 0.8, 0.30))


def _spark(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    away, turn = np.hypot(u, v), np.arctan2(v, u)
    layer(image, away < 0.55 + 0.4 * np.cos(4 * turn), (1.0, 0.92, 0.45))
    layer(image, away < 0.35, (1.0, 1.0, 0.95))


def _hue(look: int, part: int) -> np.ndarray:
    """Colour of a bot's part: three hues a third of the circle apart, light as DeepMind Lab's bots are."""
    hue = 0.92 + look / LOOKS + part / 3.0
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, 0.45 if part == 0 else 0.75, 1.0))


def _bot(look: int, side: int, image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    """A bot from the front (0), its left (1), back (2) or right (3): a round head, a small body, two feet."""
    skin, suit, limb = (_hue(look, part) for part in range(3))
    ahead = {0: 0.0, 1: -1.0, 2: 0.0, 3: 1.0}[side]  # where it looks, in the picture
    for x in (-0.30, 0.30):
        layer(image, np.hypot((u - (x + 0.22 * ahead if side % 2 else x)) / 0.24, (v - 0.90) / 0.11) < 1, limb)
    dim = (0.75 + 0.25 * (v < 0.55))[..., None]
    layer(image, np.hypot(u / 0.42, (v - 0.52) / 0.36) < 1, suit * dim)
    for x in (-0.62, 0.62) if side % 2 == 0 else (0.45 * ahead,):
        layer(image, np.hypot((u - x) / 0.22, (v - 0.34) / 0.18) < 1, limb)
    light = np.clip(1.1 - 0.35 * np.hypot(u + 0.25, v + 0.55), 0.6, 1.0)[..., None]
    layer(image, np.hypot(u / 0.80, (v + 0.38) / 0.58) < 1, skin * light)
    if side == 2:
        layer(image, np.hypot(u / 0.34, (v + 0.30) / 0.24) < 1, suit * 0.8)
        return
    visor = np.hypot((u - 0.50 * ahead) / (0.56 if side == 0 else 0.36), (v + 0.40) / 0.22) < 1
    head = np.hypot(u / 0.80, (v + 0.38) / 0.58) < 1
    layer(image, visor & head, COLOURS["black"])
    for x in (-0.22, 0.22) if side == 0 else (0.55 * ahead,):
        layer(image, (np.hypot((u - x) / 0.09, (v + 0.40) / 0.12) < 1) & head, COLOURS["white"])


def _sprites() -> tuple[Sprite, ...]:
    """Sprite kinds 3, 4, ... in the order of `arenas`."""
    paint: list[tuple[float, float, Callable]] = [
        (28.0, 28.0, _orb_item),
        (28.0, 28.0, _beam_item),
        (26.0, 30.0, _armour_item),
        (28.0, 28.0, _health_item),
        (22.0, 22.0, _shot),
        (110.0, 110.0, _blast),
        (12.0, 12.0, _spark),
    ]
    bots = [(44.0, 58.0, partial(_bot, look, side)) for look in range(LOOKS) for side in range(SIDES)]
    return tuple(Sprite(*sprite) for sprite in paint + bots)


@lru_cache(maxsize=8)
def lasertag_art(cell: float) -> Art:
    """The lasertag levels' art for cells of `cell` units; treat as read-only."""
    art = make_art(THEMES, SPRITES + _sprites())
    return art._replace(sprite_size=(art.sprite_size * 100.0 / cell).astype(np.float32))
