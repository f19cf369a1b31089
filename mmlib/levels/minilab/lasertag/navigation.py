"""Ways through an arena: shortest paths over its cells, and straight lines between two points."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from mmlib.numerics.kernels import njit

_ROOT = math.sqrt(2.0)


def _steps(wall_x: NDArray, wall_y: NDArray, pit: NDArray, j: int, i: int) -> list[tuple[int, int, float]]:
    """Cells (j, i, cost) that can be reached from a cell in one move: beside it, diagonally, or over a pit."""
    cy, cx = pit.shape
    found = []
    west, east = i > 0 and not wall_x[j, i], i + 1 < cx and not wall_x[j, i + 1]
    south, north = j > 0 and not wall_y[j, i], j + 1 < cy and not wall_y[j + 1, i]
    for open_way, dj, di in ((west, 0, -1), (east, 0, 1), (south, -1, 0), (north, 1, 0)):
        if not open_way:
            continue
        if not pit[j + dj, i + di]:
            found.append((j + dj, i + di, 1.0))
        elif di and 0 <= i + 2 * di < cx and not wall_x[j, max(i + di, i + 2 * di)]:
            found.append((j, i + 2 * di, 2.0))
    for dj, vertical in ((-1, south), (1, north)):
        for di, horizontal in ((-1, west), (1, east)):
            if not (vertical and horizontal):
                continue
            corner = (j + max(dj, 0), i + max(di, 0))
            free = not wall_y[corner[0], i + di] and not wall_x[j + dj, corner[1]]
            if free and not (pit[j + dj, i] or pit[j, i + di] or pit[j + dj, i + di]):
                found.append((j + dj, i + di, _ROOT))
    return found


def routes(wall_x: NDArray[np.uint8], wall_y: NDArray[np.uint8], floor_z: NDArray[np.float32]) -> NDArray[np.int16]:
    """Shortest paths between all cells of a map.

    Args:
      wall_x, wall_y, floor_z: `[CY, CX + 1]`, `[CY + 1, CX]`, `[CY, CX]`; a cell below 0 is a pit, jumped along x.

    Returns:
      `[C, C]`, C = CY CX: the next cell (CX j + i) on the way from the first index to the second; the cell itself
      at the goal and where there is no way.
    """
    pit = floor_z < 0
    cy, cx = pit.shape
    cells = cy * cx
    table = np.repeat(np.arange(cells, dtype=np.int16)[:, None], cells, axis=1)
    ways = [[] if pit[j, i] else _steps(wall_x, wall_y, pit, j, i) for j in range(cy) for i in range(cx)]
    for goal in range(cells):
        best = np.full(cells, np.inf)
        best[goal], queue = 0.0, [(0.0, goal)]
        while queue:  # ways are symmetric, so the search from the goal gives every cell's next one
            cost, here = heapq.heappop(queue)
            if cost > best[here]:
                continue
            for j, i, length in ways[here]:
                there = cx * j + i
                if cost + length < best[there] - 1e-9:
                    best[there] = cost + length
                    table[there, goal] = here
                    heapq.heappush(queue, (cost + length, there))
    return table


@njit(nogil=True, cache=True)
def wall_ahead(wall_x, wall_y, x, y, dx, dy, limit, size):
    """How far a ray from (x, y) along (dx, dy) gets before it meets a wall, at most `limit` (in lengths of (dx, dy)).

    Args:
      wall_x, wall_y: the map's `[CY, CX + 1]`, `[CY + 1, CX]`.
      size: side of a cell, units.
    """
    cy, cx = wall_x.shape[0], wall_y.shape[1]
    i, j = math.floor(x / size), math.floor(y / size)
    right, up = int(dx > 0.0), int(dy > 0.0)
    next_x = (size * (i + right) - x) / dx if dx != 0.0 else np.inf
    next_y = (size * (j + up) - y) / dy if dy != 0.0 else np.inf
    step_x = abs(size / dx) if dx != 0.0 else np.inf
    step_y = abs(size / dy) if dy != 0.0 else np.inf
    while 0 <= i < cx and 0 <= j < cy:
        if min(next_x, next_y) >= limit:
            return limit
        if next_x < next_y:
            if wall_x[j, i + right] != 0:
                return next_x
            i += 2 * right - 1
            next_x += step_x
        else:
            if wall_y[j + up, i] != 0:
                return next_y
            j += 2 * up - 1
            next_y += step_y
    return min(limit, next_x, next_y)


@njit(nogil=True, cache=True)
def sees(wall_x, wall_y, x, y, other_x, other_y, size):
    """Whether no wall stands between two points."""
    return wall_ahead(wall_x, wall_y, x, y, other_x - x, other_y - y, 1.0, size) >= 1.0


@njit(nogil=True, cache=True)
def cell_of(x, y, size, columns):
    """Number CX j + i of the cell at (x, y)."""
    return math.floor(y / size) * columns + math.floor(x / size)
