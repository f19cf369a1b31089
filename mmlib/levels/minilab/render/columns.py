"""The passes that make a MiniLab picture, column by column: trace the rays, then fill floors, walls and sky.

Lengths are in cells (100 units). A column's ray is position + depth * (dx, dy), where depth is measured along
the view direction, so a wall's height in rows is its height times focal / depth. A picture fills front to
back and from the bottom up: `bottom`, the first row already filled, only moves up, so what is nearer hides
what is farther, pits and ledges included. Each pass is one call a picture, with its arrays in local variables,
because taking an array out of a tuple inside the loop over columns costs more than drawing the column.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mmlib.levels.minilab.render.patterns import SIZE, SKY_COLUMNS, SKY_ROWS
from mmlib.levels.minilab.render.textures import AREA, LEVELS, NUM_PICTURES
from mmlib.numerics.kernels import njit

F = np.float32
U = np.uint32
FLAGS = {"contract", "reassoc", "arcp", "nsz"}
TEXELS = F(SIZE)
MASK = U(SIZE - 1)
TRIM, SKIRTING = F(0.025), F(0.06)  # dark strips: width at a wall's free end, height along the floor
PICTURE_LEFT, PICTURE_TOP, PICTURE_SIDE = F(0.2), F(0.16), F(0.6)  # where a picture hangs on its wall
FACE_Y, FACE_STEP = F(0.80), F(0.66)  # brightness of walls that run along x, and of step faces


class Eye(NamedTuple):
    """A point of view: position (cells), direction (yaw in radians), horizon (row), focal length (pixels)."""

    x: np.float32
    y: np.float32
    z: np.float32
    cos: np.float32
    sin: np.float32
    yaw: np.float32
    horizon: np.float32
    focal: np.float32


class Rows(NamedTuple):
    """The picture under way, H rows and W columns, and what all floor pixels of a row share."""

    frame: np.ndarray  # uint32 [H * W] packed 0x00BBGGRR
    reciprocal: np.ndarray  # float32 [H] depth of a floor one cell below the eye
    level: np.ndarray  # uint32 [H] offset of the floor's mip level
    shade: np.ndarray  # uint32 [H] brightness of the floor, of 256
    strip: np.ndarray  # uint32 [SIZE] one column of a wall's texels at its brightness


class Rays(NamedTuple):
    """What each column's ray meets, front to back: edges where the floor changes and at last the wall."""

    dx: np.ndarray  # float32 [W] direction, 1 along the view
    dy: np.ndarray  # float32 [W]
    bottom: np.ndarray  # int64 [W] first row filled so far
    hits: np.ndarray  # int64 [W] edges met
    depth: np.ndarray  # float32 [W, L] of the edge
    edge: np.ndarray  # int64 [W, L, 3] index (j, i) of the edge, and 1 for an edge along x (of wall_y), otherwise 0
    code: np.ndarray  # int64 [W, L] wall code, 0 none
    floor: np.ndarray  # float32 [W, L + 1] height of the floor before the edge
    slot: np.ndarray  # int64 [W, L + 1] its texture slot
    row: np.ndarray  # int64 [W, L] first row that the floors up to and at the edge have filled


@njit(nogil=True, cache=True, fastmath=FLAGS)
def shaded(colour, shade):
    """A packed colour times shade / 256."""
    pair = ((colour & U(0xFF00FF)) * shade >> U(8)) & U(0xFF00FF)
    green = ((colour & U(0xFF00)) * shade >> U(8)) & U(0xFF00)
    return pair | green


@njit(nogil=True, cache=True, fastmath=FLAGS)
def mip_level(area):
    """Mip level for a pixel that covers `area` texels of level 0."""
    level = 0
    while area >= F(2.0) and level < LEVELS - 1:
        area *= F(0.25)
        level += 1
    return level


@njit(nogil=True, cache=True, fastmath=FLAGS)
def fade(depth):
    """Brightness, of 256, at a depth in cells."""
    return F(256.0) / (F(1.0) + F(0.09) * depth)


@njit(nogil=True, cache=True, fastmath=FLAGS)
def row_of(value, rows):
    """First row whose centre is not above the continuous row `value`, clipped to 0..rows."""
    return int(np.ceil(min(max(value - F(0.5), F(0.0)), F(rows))))


@njit(nogil=True, cache=True, fastmath=FLAGS)
def trace(rays, world, eye, e):
    """Follow the ray of every column of environment e to its wall."""
    wall_x, wall_y, floor_z, floor_texture = world.wall_x, world.wall_y, world.floor_z, world.floor_texture
    ray_x, ray_y, depths, edges, codes = rays.dx, rays.dy, rays.depth, rays.edge, rays.code
    floors, slots, hits = rays.floor, rays.slot, rays.hits
    cy, cx, width = floor_z.shape[1], floor_z.shape[2], len(ray_x)
    start_i, start_j = min(max(int(eye.x), 0), cx - 1), min(max(int(eye.y), 0), cy - 1)
    for column in range(width):
        k = (F(column) + F(0.5) - F(0.5) * F(width)) / eye.focal
        dx, dy = eye.cos + k * eye.sin, eye.sin - k * eye.cos
        ray_x[column], ray_y[column] = dx, dy
        i, j, n = start_i, start_j, 0
        right, up = int(dx > 0), int(dy > 0)
        delta_x, delta_y = F(1.0) / max(abs(dx), F(1e-6)), F(1.0) / max(abs(dy), F(1e-6))
        next_x, next_y = delta_x * abs(F(i + right) - eye.x), delta_y * abs(F(j + up) - eye.y)
        floor, slot = floor_z[e, j, i], int(floor_texture[e, j, i])
        floors[column, 0], slots[column, 0] = floor * F(0.01), slot
        while True:
            edge_i, edge_j, depth = i, j, min(next_x, next_y)
            along_x = int(next_y <= next_x)
            if along_x:
                edge_j += up
                j += 2 * up - 1
                next_y += delta_y
                code = int(wall_y[e, edge_j, edge_i])
            else:
                edge_i += right
                i += 2 * right - 1
                next_x += delta_x
                code = int(wall_x[e, edge_j, edge_i])
            last = code > 0 or i < 0 or j < 0 or i >= cx or j >= cy
            if not last:
                if floor_z[e, j, i] == floor and floor_texture[e, j, i] == slot:
                    continue
                floor, slot = floor_z[e, j, i], int(floor_texture[e, j, i])
                floors[column, n + 1], slots[column, n + 1] = floor * F(0.01), slot
            depths[column, n], codes[column, n] = max(depth, F(1e-3)), code
            edges[column, n, 0], edges[column, n, 1], edges[column, n, 2] = edge_j, edge_i, along_x
            n += 1
            if last:
                break
        hits[column] = n


@njit(nogil=True, cache=True, fastmath=FLAGS)
def fill_floors(rows, rays, world, art, eye, e):
    """The floors up to the walls and the faces of the steps between them, nearest first."""
    frame, reciprocal, levels, shades = rows.frame, rows.reciprocal, rows.level, rows.shade
    texels, steps = art.floors, art.walls
    height, width, theme = len(reciprocal), len(rays.dx), world.theme[e] & 7
    surfaces, face = art.theme_floors[theme], int(art.theme_steps[theme])
    ray_x, ray_y, hits, depths, edges = rays.dx, rays.dy, rays.hits, rays.depth, rays.edge
    floors, slots, filled, bottoms = rays.floor, rays.slot, rays.row, rays.bottom
    x, y = eye.x * TEXELS, eye.y * TEXELS
    for column in range(width):
        dx, dy, bottom = ray_x[column], ray_y[column], height
        for n in range(hits[column]):
            depth, drop = depths[column, n], eye.z - floors[column, n]
            base = U(surfaces[slots[column, n] & 7]) * U(LEVELS * AREA)
            along_x, along_y = drop * dx * TEXELS, drop * dy * TEXELS
            top = min(row_of(eye.horizon + drop * eye.focal / depth, height), bottom)
            for row in range(top, bottom):
                u = U(np.int32(x + reciprocal[U(row)] * along_x)) & MASK
                v = U(np.int32(y + reciprocal[U(row)] * along_y)) & MASK
                frame[U(row * width + column)] = shaded(texels[base + levels[U(row)] + (u << U(6) | v)], shades[U(row)])
            bottom = top
            rise = floors[column, n + 1] - floors[column, n]
            if n < hits[column] - 1 and rise > F(0.0):
                edge_j, edge_i, along = edges[column, n, 0], edges[column, n, 1], edges[column, n, 2]
                u = eye.x + depth * dx - F(edge_i) if along else eye.y + depth * dy - F(edge_j)
                scale = depth / eye.focal
                level = mip_level(TEXELS * TEXELS * scale * scale)
                base = U((face * LEVELS + level) * AREA) + (U(np.int32(u * TEXELS)) & MASK) * U(SIZE)
                drop -= rise
                top = min(row_of(eye.horizon + drop / scale, height), bottom)
                v = ((F(top) + F(0.5) - eye.horizon) * scale - drop) * TEXELS
                shade = U(fade(depth) * FACE_STEP)
                for row in range(top, bottom):
                    frame[U(row * width + column)] = shaded(steps[base + (U(np.int32(v)) & MASK)], shade)
                    v += scale * TEXELS
                bottom = top
            filled[column, n] = bottom
        bottoms[column] = bottom


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _free_end(wall_x, wall_y, e, i, j):
    """Whether at most one wall meets the grid point (i, j)."""
    cy, cx = wall_x.shape[1], wall_y.shape[2]
    walls = int(j > 0 and wall_x[e, j - 1, i] > 0) + int(j < cy and wall_x[e, j, i] > 0)
    return walls + int(i > 0 and wall_y[e, j, i - 1] > 0) + int(i < cx and wall_y[e, j, i] > 0) < 2


@njit(nogil=True, cache=True, fastmath=FLAGS)
def _fill_picture(frame, width, height, column, top, bottom, edge, scale, texels, base, shade):
    """One column of a wall picture, its upper edge at row `edge`, within the wall's rows top..bottom-1."""
    first = min(max(row_of(edge, height), top), bottom)
    last = min(max(row_of(edge + PICTURE_SIDE / scale, height), first), bottom)
    down = scale * TEXELS / PICTURE_SIDE
    for row in range(first, last):
        texel = U(int((F(row) + F(0.5) - edge) * down)) & MASK
        frame[U(row * width + column)] = shaded(texels[base + texel], shade)


@njit(nogil=True, cache=True, fastmath=FLAGS)
def fill_walls(rows, rays, world, ceiling, art, eye, e):
    """The wall at the end of each ray, `ceiling` cells high, with its picture if one hangs there."""
    frame, height, width, theme = rows.frame, len(rows.reciprocal), len(rays.dx), world.theme[e] & 7
    wall_x, wall_y = world.wall_x, world.wall_y
    surfaces, texels, pictures = art.theme_walls[theme], art.walls, art.pictures
    ray_x, ray_y, hits = rays.dx, rays.dy, rays.hits
    depths, edges, codes = rays.depth, rays.edge, rays.code
    floors, bottoms, strip = rays.floor, rays.bottom, rows.strip
    for column in range(width):
        n = hits[column] - 1
        code, depth = codes[column, n] - 1, depths[column, n]
        if code < 0:  # the ray left the map
            continue
        edge_j, edge_i, along = edges[column, n, 0], edges[column, n, 1], edges[column, n, 2]
        dx, dy = ray_x[column], ray_y[column]
        u = eye.x + depth * dx - F(edge_i) if along else eye.y + depth * dy - F(edge_j)
        light = fade(depth) * (FACE_Y if along else F(1.0))
        if u < TRIM and _free_end(wall_x, wall_y, e, edge_i, edge_j):
            light *= F(0.6)
        if u > F(1.0) - TRIM and _free_end(wall_x, wall_y, e, edge_i + along, edge_j + 1 - along):
            light *= F(0.6)
        if dy < 0 if along else dx > 0:
            u = F(1.0) - u
        shade, u = U(light), min(max(u, F(0.0)), F(0.999))
        scale = depth / eye.focal  # cells a row
        edge = eye.horizon - (ceiling - eye.z) / scale
        bottom = bottoms[column]
        top = min(row_of(edge, height), bottom)
        level = mip_level(TEXELS * TEXELS * scale * scale / max(abs(dy if along else dx), F(0.02)))
        base = U((int(surfaces[code & 7]) * LEVELS + level) * AREA + int(u * TEXELS) * SIZE)
        down = scale * TEXELS * F(65536.0)
        v, dv = U(np.int64((F(top) + F(0.5) - edge) * down)), U(np.int64(down))
        for texel in range(SIZE):
            strip[texel] = shaded(texels[base + U(texel)], shade)
        skirting = eye.horizon + (eye.z - floors[column, n] - SKIRTING) / scale
        skirting = min(max(row_of(skirting, height), top), bottom)
        for row in range(top, skirting):
            frame[U(row * width + column)] = strip[v >> U(16) & MASK]
            v += dv
        for row in range(skirting, bottom):
            frame[U(row * width + column)] = shaded(strip[v >> U(16) & MASK], U(100))
            v += dv
        bottoms[column] = top
        across = (u - PICTURE_LEFT) / PICTURE_SIDE
        if code >= 8 and across >= F(0.0) and across < F(1.0):
            base = U((((code >> 3) - 1) % NUM_PICTURES * LEVELS + level) * AREA + int(across * TEXELS) * SIZE)
            edge += PICTURE_TOP / scale
            _fill_picture(frame, width, height, column, top, bottom, edge, scale, pictures, base, shade)


@njit(nogil=True, cache=True, fastmath=FLAGS)
def fill_sky(rows, rays, world, sky, art, eye, e):
    """Above the walls: a panorama by direction and tangent of the elevation, or, without `sky`, a flat ceiling."""
    frame, bottoms, texels, width = rows.frame, rays.bottom, art.skies, len(rays.dx)
    theme = world.theme[e] & 7
    first, ceiling = int(art.theme_sky[theme]) * SKY_COLUMNS * SKY_ROWS, art.theme_ceiling[theme]
    if not sky:
        for row in range(len(rows.reciprocal)):
            for column in range(width):
                if row < bottoms[column]:
                    frame[U(row * width + column)] = ceiling
        return
    for column in range(width):
        k = (F(column) + F(0.5) - F(0.5) * F(width)) / eye.focal
        angle = math.atan(k)
        turn = int(np.floor((eye.yaw - angle) * F(SKY_COLUMNS / (2.0 * math.pi)))) & (SKY_COLUMNS - 1)
        base = U(first + turn * SKY_ROWS)
        dv = F(SKY_ROWS) / eye.focal * math.cos(angle)
        for row in range(bottoms[column]):
            v = min(max((eye.horizon - F(row) - F(0.5)) * dv, F(0.0)), F(SKY_ROWS - 1))
            frame[U(row * width + column)] = texels[base + U(v)]
