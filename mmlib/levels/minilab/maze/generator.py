"""The maze generator of DeepMind Lab's explore levels, as kernels: a new map costs microseconds.

The rules are those of that generator's published parameters (rooms, maze, openings, simplification), written
anew; its maps are matched in distribution, not number for number.

1. Rooms are rectangles on the odd cells, 3 x 3, or with one side 5; they are drawn until `max_rooms` lie
   apart or `ROOM_TRIES` draws failed.
2. What is left of the odd cells is filled with depth-first mazes.
3. Every pair of regions that face each other across one wall cell gets one opening.
4. Dead ends of the corridors are filled, then detours of the corridors around a block of wall are shortened.
5. Every room gets `spawns` spawn cells, then `objects` object cells.

A map of CY x CX cells is uint8 `[CY, CX]`; row j is at y = 100 j. Cells are one of the codes below.
"""

from __future__ import annotations

import numpy as np

from mmlib.levels.minilab.random import below
from mmlib.numerics.kernels import njit

WALL, CORRIDOR, OPENING, ROOM, SPAWN_CELL, OBJECT_CELL = 0, 1, 2, 3, 4, 5

ROOM_TRIES = 1000


@njit(nogil=True, cache=True)
def _draw(dice, n):
    """The next integer in [0, n); `dice` are the key of a random stream and the count, `[1]`, of numbers drawn."""
    key, count = dice
    count[0] += 1
    return below(key, count[0], n)


@njit(nogil=True, cache=True)
def _place_rooms(cells, region, rules, dice):
    """Step 1; returns the rooms."""
    rooms = np.zeros((rules.max_rooms, 4), np.int32)
    shortest, longest = (rules.room_min - 1) // 2, (rules.room_max - 1) // 2
    middle = (shortest + longest) // 2
    count, failed = 0, 0
    while count < rules.max_rooms and failed < ROOM_TRIES:
        columns = shortest + _draw(dice, middle - shortest + 1)
        rows = shortest + _draw(dice, middle - shortest + 1)
        extra = _draw(dice, longest - middle + 1)
        if _draw(dice, 2) == 0:
            columns += extra
        else:
            rows += extra
        top = 2 * _draw(dice, (rules.height - 1) // 2 - rows) + 1
        left = 2 * _draw(dice, (rules.width - 1) // 2 - columns) + 1
        rows, columns = 2 * rows + 1, 2 * columns + 1
        if np.any(region[top : top + rows, left : left + columns]):
            failed += 1
            continue
        region[top : top + rows, left : left + columns] = count + 1
        cells[top : top + rows, left : left + columns] = ROOM
        rooms[count, 0], rooms[count, 1], rooms[count, 2], rooms[count, 3] = top, left, rows, columns
        count += 1
    return rooms[:count]


@njit(nogil=True, cache=True)
def _direction(k):
    """Unit vector k of 0..3: up, down, right, left in rows and columns."""
    return (k == 0) * 1 - (k == 1) * 1, (k == 2) * 1 - (k == 3) * 1


@njit(nogil=True, cache=True)
def _fill_from(cells, region, j, i, mark, dice):
    """A depth-first maze over the free odd cells reachable from (j, i)."""
    height, width = cells.shape
    stack, ways = np.empty(cells.size, np.int64), np.empty(4, np.int64)
    region[j, i], cells[j, i] = mark, CORRIDOR
    stack[0], depth = j * width + i, 1
    while depth > 0:
        j, i = stack[depth - 1] // width, stack[depth - 1] % width
        free = 0
        for k in range(4):
            dj, di = _direction(k)
            if 0 < j + 2 * dj < height and 0 < i + 2 * di < width and region[j + 2 * dj, i + 2 * di] == 0:
                ways[free] = k
                free += 1
        if free == 0:
            depth -= 1
            continue
        dj, di = _direction(ways[_draw(dice, free)])
        for distance in (1, 2):
            region[j + distance * dj, i + distance * di] = mark
            cells[j + distance * dj, i + distance * di] = CORRIDOR
        stack[depth] = (j + 2 * dj) * width + i + 2 * di
        depth += 1


@njit(nogil=True, cache=True)
def _fill_corridors(cells, region, rooms, dice):
    """Step 2; returns the number of regions, `rooms` included."""
    regions = rooms
    for j in range(1, cells.shape[0], 2):
        for i in range(1, cells.shape[1], 2):
            if region[j, i] == 0:
                regions += 1
                _fill_from(cells, region, j, i, regions, dice)
    return regions


@njit(nogil=True, cache=True)
def _facing(region, j, i, k, low, high):
    """Whether region `low` at (j, i) faces region `high` across the wall cell in direction k."""
    dj, di = _direction(k)
    far_j, far_i = j + 2 * dj, i + 2 * di
    inside = 0 < far_j < region.shape[0] and 0 < far_i < region.shape[1]
    return inside and region[j, i] == low and region[far_j, far_i] == high


@njit(nogil=True, cache=True)
def _open(cells, region, low, high, skip):
    """Counts the wall cells between two regions; opens number `skip` of them if there are so many."""
    count = 0
    for j in range(1, cells.shape[0], 2):
        for i in range(1, cells.shape[1], 2):
            for k in range(4):
                if _facing(region, j, i, k, low, high):
                    if count == skip:
                        dj, di = _direction(k)
                        cells[j + dj, i + di] = OPENING
                    count += 1
    return count


@njit(nogil=True, cache=True)
def _connect(cells, region, regions, dice):
    """Step 3."""
    for low in range(1, regions + 1):
        for high in range(low + 1, regions + 1):
            count = _open(cells, region, low, high, -1)
            if count > 0:
                _open(cells, region, low, high, _draw(dice, count))


@njit(nogil=True, cache=True)
def fill_dead_ends(cells):
    """Step 4, first half: corridors that lead nowhere become wall, and so do openings onto them."""
    for start_j in range(1, cells.shape[0] - 1):
        for start_i in range(1, cells.shape[1] - 1):
            j, i = start_j, start_i
            while cells[j, i] == CORRIDOR:
                ways, next_j, next_i = 0, -1, -1
                for k in range(4):
                    dj, di = _direction(k)
                    if cells[j + dj, i + di] != WALL:
                        ways += 1
                        if cells[j + dj, i + di] == CORRIDOR:
                            next_j, next_i = j + dj, i + di
                if ways > 1:
                    break
                cells[j, i] = WALL
                if next_j < 0:
                    break
                j, i = next_j, next_i
    for j in range(1, cells.shape[0] - 1):
        for i in range(1, cells.shape[1] - 1):
            if cells[j, i] == OPENING:
                across = cells[j, i - 1] != WALL and cells[j, i + 1] != WALL
                if not across and (cells[j - 1, i] == WALL or cells[j + 1, i] == WALL):
                    cells[j, i] = WALL


@njit(nogil=True, cache=True)
def _is_detour(cells, j, i, k, size):
    """Whether a corridor runs around the `size` wall cells from (j, i), bulging in direction k.

    With u along the block and v outwards, o corridor, * wall, ? anything, it looks so for size 3:

        v = 2   ? * * * * * ?
        v = 1   * o o o o o *
        v = 0   ? o * * * o ?
        v = -1  ? ? * * * ? ?
    """
    vj, vi = _direction(k)
    uj, ui = vi, -vj
    for v in range(-1, 3):
        for u in range(-2, size + 2):
            outer, beside = u == -2 or u == size + 1, u == -1 or u == size
            if (outer and v != 1) or (beside and v == -1):
                continue
            wanted = CORRIDOR if (v == 1 and not outer) or (v == 0 and beside) else WALL
            row, column = j + u * uj + v * vj, i + u * ui + v * vi
            inside = 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]
            if (cells[row, column] if inside else WALL) != wanted:
                return False
    return True


@njit(nogil=True, cache=True)
def _shorten_at(cells, j, i, size):
    """Pulls the corridor around (j, i) straight, again and again; returns whether anything changed."""
    changed = False
    k = 0
    while k < 4:
        if not _is_detour(cells, j, i, k, size):
            k += 1
            continue
        vj, vi = _direction(k)
        uj, ui = vi, -vj
        for u in range(-1, size + 1):
            if 0 <= u < size:
                cells[j + u * uj, i + u * ui] = CORRIDOR
            cells[j + vj + u * uj, i + vi + u * ui] = WALL
        j, i, k, changed = j - vj, i - vi, 0, True
    return changed


@njit(nogil=True, cache=True)
def shorten_detours(cells):
    """Step 4, second half."""
    size = 1
    while size + 3 < cells.shape[1]:
        changed = False
        for j in range(1, cells.shape[0] - 1):
            for i in range(1, cells.shape[1] - 1):
                if not changed and cells[j, i] == WALL:
                    changed = _shorten_at(cells, j, i, size)
        size = 1 if changed and size != 1 else size + 1


@njit(nogil=True, cache=True)
def _furnish(cells, room, code, number, dice):
    """Step 5: turns up to `number` random bare cells of a room into `code`."""
    top, left, rows, columns = room[0], room[1], room[2], room[3]
    bare = np.flatnonzero(cells[top : top + rows, left : left + columns] == ROOM)
    for n in range(min(number, len(bare))):
        pick = n + _draw(dice, len(bare) - n)
        bare[n], bare[pick] = bare[pick], bare[n]
        cells[top + bare[n] // columns, left + bare[n] % columns] = code


@njit(nogil=True, cache=True)
def generate(rules, key):
    """Draws a map by `table.MazeRules` from random stream `key`.

    Returns:
      cells uint8 `[CY, CX]`, and its rooms int32 `[R, 4]`: first row, first column, rows, columns.
    """
    cells = np.zeros((rules.height, rules.width), np.uint8)
    region = np.zeros((rules.height, rules.width), np.int32)  # 0 wall, 1.. rooms, then mazes
    dice = key, np.zeros(1, np.int64)
    rooms = _place_rooms(cells, region, rules, dice)
    regions = _fill_corridors(cells, region, len(rooms), dice)
    _connect(cells, region, regions, dice)
    fill_dead_ends(cells)
    shorten_detours(cells)
    for room in rooms:
        _furnish(cells, room, SPAWN_CELL, rules.spawns, dice)
        _furnish(cells, room, OBJECT_CELL, rules.objects, dice)
    return cells, rooms
