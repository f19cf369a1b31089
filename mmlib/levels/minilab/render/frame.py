"""First-person pictures of MiniLab worlds: a serial column renderer for a range of environments.

`render(out, pose, world, ceiling, sky, art, start, stop)`

B environments, CY x CX cells of 100 units, M sprites, pictures of H x W pixels:

- out            uint8 [B, 3, H, W]         written for environments start..stop-1 (planar RGB)
- pose           float32 or float64 [B, 5]  x, y, z of the eye (units), yaw, pitch (degrees; yaw counter-
                                            clockwise from +x, positive pitch looks down)
- world          minilab.world.World        walls are `textures.wall_code(slot, picture)`
- ceiling        float                      height of the wall tops (units)
- sky            bool                       True: open sky above the walls; False: a flat, plain ceiling
- art            textures.Art               `textures.load_art()`
- start, stop    int                        the range of environments

The field of view is 90 degrees across with square pixels (73.74 degrees high at 4:3). Pitch shears the
picture (stated choice). Walls are sheets without thickness that reach the ceiling, and the eye is below it,
so the first wall that a column's ray meets ends the column. Inside, lengths are in cells and a depth is the
distance along the view direction.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from mmlib.levels.minilab.render.columns import (
    FLAGS,
    Eye,
    F,
    Rays,
    Rows,
    U,
    fade,
    fill_floors,
    fill_sky,
    fill_walls,
    mip_level,
    row_of,
    shaded,
    trace,
)
from mmlib.levels.minilab.render.patterns import SIZE, SPRITE_SIZE
from mmlib.levels.minilab.render.textures import AREA, LEVELS
from mmlib.numerics.kernels import njit

NEAR = F(0.08)  # sprites nearer than this many cells are not drawn
SPRITE_AREA = SPRITE_SIZE * SPRITE_SIZE


@njit(nogil=True, cache=True, fastmath=FLAGS)
def render(out, pose, world, ceiling, sky, art, start, stop):
    """Draw environments start..stop-1 into `out`; arguments in the module's docstring."""
    height, width = out.shape[2], out.shape[3]
    sprites = world.sprites
    rows = Rows(
        np.empty(height * width, np.uint32),
        np.empty(height, np.float32),
        np.empty(height, np.uint32),
        np.empty(height, np.uint32),
        np.empty(SIZE, np.uint32),
    )
    rays = _make_rays(width, world.floor_z.shape[1] + world.floor_z.shape[2] + 1)
    order = np.empty(sprites.shape[1], np.int64)
    for e in range(start, stop):
        eye = _make_eye(pose, e, height, width)
        _fill_row_tables(rows, world, eye, e)
        trace(rays, world, eye, e)
        fill_floors(rows, rays, world, art, eye, e)
        fill_walls(rows, rays, world, F(ceiling * 0.01), art, eye, e)
        fill_sky(rows, rays, world, sky, art, eye, e)
        for n in range(_sort_sprites(order, sprites, eye, e)):
            _draw_sprite(rows, rays, sprites, order[n], art, eye, e)
        _unpack(rows.frame, out, e)


@njit(nogil=True, cache=True, parallel=True)
def render_ranges(out, pose, world, ceiling, sky, art, bounds):
    """`render` of the ranges between `bounds`, a thread each."""
    for k in prange(len(bounds) - 1):
        render(out, pose, world, ceiling, sky, art, bounds[k], bounds[k + 1])


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _make_rays(width, length):
    return Rays(
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.int64),
        np.empty(width, np.int64),
        np.empty((width, length), np.float32),
        np.empty((width, length, 3), np.int64),
        np.empty((width, length), np.int64),
        np.empty((width, length + 1), np.float32),
        np.empty((width, length + 1), np.int64),
        np.empty((width, length), np.int64),
    )


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _make_eye(pose, e, height, width):
    yaw, pitch = math.radians(pose[e, 3]), math.radians(pose[e, 4])
    focal = 0.5 * width
    horizon = 0.5 * height - focal * math.tan(pitch)
    x, y, z = pose[e, 0] * 0.01, pose[e, 1] * 0.01, pose[e, 2] * 0.01
    return Eye(F(x), F(y), F(z), F(math.cos(yaw)), F(math.sin(yaw)), F(yaw), F(horizon), F(focal))


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _fill_row_tables(rows, world, eye, e):
    """Depth, mip level and brightness of each row's floor; the last two as seen above the floor underfoot."""
    j = min(max(int(eye.y), 0), world.floor_z.shape[1] - 1)
    i = min(max(int(eye.x), 0), world.floor_z.shape[2] - 1)
    drop = max(eye.z - world.floor_z[e, j, i] * F(0.01), F(0.1))
    reciprocals, levels, shades = rows.reciprocal, rows.level, rows.shade
    for y in range(len(reciprocals)):
        reciprocal = eye.focal / max(F(y) + F(0.5) - eye.horizon, F(0.01))
        depth = reciprocal * drop
        area = F(SIZE * SIZE) * depth * depth * depth / (eye.focal * eye.focal * drop)
        reciprocals[y] = reciprocal
        levels[y] = mip_level(area) * AREA
        shades[y] = U(fade(depth))


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _sprite_depth(sprites, e, m, eye):
    x, y = sprites[e, m, 0] * F(0.01) - eye.x, sprites[e, m, 1] * F(0.01) - eye.y
    return x * eye.cos + y * eye.sin


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _sort_sprites(order, sprites, eye, e):
    """Writes the sprites before the eye into `order`, the farthest first, and returns how many they are."""
    count = 0
    for m in range(sprites.shape[1]):
        depth = _sprite_depth(sprites, e, m, eye)
        if sprites[e, m, 3] <= 0 or depth < NEAR:
            continue
        n = count
        while n > 0 and _sprite_depth(sprites, e, order[n - 1], eye) < depth:
            order[n] = order[n - 1]
            n -= 1
        order[n] = m
        count += 1
    return count


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _draw_sprite(rows, rays, sprites, m, art, eye, e):
    """A picture that faces the viewer, hidden column by column by walls, steps and the floor beneath."""
    hits, depths, codes, floors, filled = rays.hits, rays.depth, rays.code, rays.floor, rays.row
    frame, texels, height, width = rows.frame, art.sprites, len(rows.reciprocal), len(rays.dx)
    kind = min(int(sprites[e, m, 3]), len(art.sprite_size) - 1)
    wide, high = art.sprite_size[kind, 0], art.sprite_size[kind, 1]
    x, y = sprites[e, m, 0] * F(0.01) - eye.x, sprites[e, m, 1] * F(0.01) - eye.y
    depth = x * eye.cos + y * eye.sin
    scale = eye.focal / depth
    left = F(0.5) * F(width) + (x * eye.sin - y * eye.cos - F(0.5) * wide) * scale
    top = eye.horizon + (eye.z - sprites[e, m, 2] * F(0.01) - F(0.5) * high) * scale
    across, down = F(SPRITE_SIZE) / (wide * scale), F(SPRITE_SIZE) / (high * scale)  # texels a column, a row
    base = (kind * LEVELS + mip_level(down * across)) * SPRITE_AREA
    first, last = row_of(top, height), row_of(top + high * scale, height)
    shade = U(fade(depth))
    for column in range(row_of(left, width), row_of(left + wide * scale, width)):
        bottom, end = last, hits[column] - 1
        if codes[column, end] > 0 and depths[column, end] <= depth:
            continue
        n = 0
        while n < end and depths[column, n] < depth:
            bottom = min(bottom, filled[column, n])
            n += 1
        bottom = min(bottom, row_of(eye.horizon + (eye.z - floors[column, n]) * scale, height))
        u = min(int((F(column) + F(0.5) - left) * across), SPRITE_SIZE - 1)
        for row in range(first, bottom):
            v = min(int((F(row) + F(0.5) - top) * down), SPRITE_SIZE - 1)
            texel = texels[U(base + u * SPRITE_SIZE + v)]
            if texel >> U(24):
                frame[U(row * width + column)] = _blend(frame[U(row * width + column)], texel, shade)


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _blend(under, texel, shade):
    """A texel 0xAABBGGRR, its colours already times alpha, over a packed colour."""
    alpha = texel >> U(24)
    return shaded(texel & U(0xFFFFFF), shade) + shaded(under, U(256) - alpha - (alpha >> U(7)))


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _unpack(frame, out, e):
    """The packed picture to the three planes of `out[e]`."""
    height, width = out.shape[2], out.shape[3]
    for y in range(height):
        for x in range(width):
            out[e, 0, y, x] = np.uint8(frame[U(y * width + x)] & U(0xFF))
        for x in range(width):
            out[e, 1, y, x] = np.uint8(frame[U(y * width + x)] >> U(8) & U(0xFF))
        for x in range(width):
            out[e, 2, y, x] = np.uint8(frame[U(y * width + x)] >> U(16) & U(0xFF))
