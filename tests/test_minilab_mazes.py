"""The maze generator against the statistics of 300 of DeepMind Lab's maps, and its rules one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmlib.levels.minilab.maze.generator import (
    CORRIDOR,
    OBJECT_CELL,
    OPENING,
    ROOM,
    SPAWN_CELL,
    WALL,
    fill_dead_ends,
    generate,
    shorten_detours,
)
from mmlib.levels.minilab.random import MAZE, stream
from mmlib.levels.table import SPECS, MazeRules

EXPLORE = SPECS["explore_object_locations_small"].maze
MINI = SPECS["explore_object_locations_small_mini"].maze


def maps(rules: MazeRules, number: int, seed: int = 0):
    """Yields (cells, room rectangles)."""
    for episode in range(number):
        yield generate(rules, np.uint64(stream(seed, 0, episode, MAZE)))


def neighbours(mask: np.ndarray) -> np.ndarray:
    """How many of each cell's four neighbours are in `mask`."""
    padded = np.pad(mask.astype(int), 1)
    return padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]


def parts(mask: np.ndarray) -> int:
    """Number of connected parts."""
    left, count = mask.copy(), 0
    while left.any():
        count += 1
        stack = [tuple(np.argwhere(left)[0])]
        while stack:
            j, i = stack.pop()
            if left[j, i]:
                left[j, i] = False
                stack += [(j + 1, i), (j - 1, i), (j, i + 1), (j, i - 1)]
    return count


@pytest.fixture(scope="module")
def explore_maps():
    return list(maps(EXPLORE, 1000))


def test_statistics_are_those_of_300_measured_maps(explore_maps):
    # Measured: rooms 4/3/2 in 219/75/6 of 300, open cells mean 59.3 (37 to 66), apples placed mean 7.42.
    rooms = Counter(len(rooms) for _, rooms in explore_maps)
    assert set(rooms) == {2, 3, 4}
    assert rooms[4] / 1000 == pytest.approx(219 / 300, abs=0.08)
    assert rooms[3] / 1000 == pytest.approx(75 / 300, abs=0.08)
    assert rooms[2] / 1000 == pytest.approx(6 / 300, abs=0.02)
    opened = [int((cells != WALL).sum()) for cells, _ in explore_maps]
    assert np.mean(opened) == pytest.approx(59.3, abs=1.0)
    assert 28 <= min(opened) <= 45
    assert 64 <= max(opened) <= 72
    placed = [int((cells == OBJECT_CELL).sum()) // 2 for cells, _ in explore_maps]
    assert np.mean(placed) == pytest.approx(7.42, abs=0.15)


@pytest.mark.parametrize("rules", [EXPLORE, MINI], ids=["explore", "mini"])
def test_every_map_is_closed_connected_and_without_dead_ends(rules):
    for cells, _ in maps(rules, 300, seed=3):
        opened = cells != WALL
        assert not opened[[0, -1]].any()
        assert not opened[:, [0, -1]].any()
        assert parts(opened) == 1
        assert (neighbours(opened)[opened] >= 2).all()


@pytest.mark.parametrize("rules", [EXPLORE, MINI], ids=["explore", "mini"])
def test_rooms_have_the_right_sides_do_not_meet_and_hold_the_right_cells(rules):
    shapes = Counter()
    for cells, rooms in maps(rules, 300, seed=4):
        taken = np.zeros_like(cells)
        for top, left, rows, columns in rooms:
            shapes[rows, columns] += 1
            room = cells[top : top + rows, left : left + columns]
            assert not taken[top - 1 : top + rows + 1, left - 1 : left + columns + 1].any()
            taken[top : top + rows, left : left + columns] = 1
            assert (room == SPAWN_CELL).sum() == rules.spawns == 5
            assert (room == OBJECT_CELL).sum() == rules.objects == 4
            assert (room == ROOM).sum() == rows * columns - 9
        assert not np.isin(cells[taken == 0], [ROOM, SPAWN_CELL, OBJECT_CELL]).any()
    assert set(shapes) == ({(3, 3), (3, 5), (5, 3)} if rules.room_max == 5 else {(3, 3)})


def test_openings_lie_between_a_room_and_something_else(explore_maps):
    for cells, _ in explore_maps[:200]:
        for j, i in np.argwhere(cells == OPENING):
            pairs = [(cells[j - 1, i], cells[j + 1, i]), (cells[j, i - 1], cells[j, i + 1])]
            through = [pair for pair in pairs if WALL not in pair]
            assert len(through) == 1  # one straight way
            assert set(map(int, through[0])) & {ROOM, SPAWN_CELL, OBJECT_CELL}


def read(picture: str) -> np.ndarray:
    """Cells of a map drawn with `*` wall, `.` room, `+` opening, `_` corridor."""
    codes = {"*": WALL, ".": ROOM, "+": OPENING, "_": CORRIDOR}
    return np.array([[codes[letter] for letter in line] for line in picture.split()], np.uint8)


def test_dead_ends_become_wall_and_so_do_openings_onto_them():
    cells = read("""
        *********
        *...*___*
        *...+_*_*
        *...*_*_*
        *+***_***
        *_*___+.*
        *_***_*.*
        *_____*.*
        *********
    """)
    fill_dead_ends(cells)
    assert (cells == read("""
        *********
        *...*****
        *...+_***
        *...*_***
        *+***_***
        *_***_+.*
        *_***_*.*
        *_____*.*
        *********
    """)).all()  # fmt: skip
    cells = read("****** *..+_* *..*** ******")
    fill_dead_ends(cells)
    assert (cells == read("****** *..*** *..*** ******")).all()


def test_detours_around_wall_are_pulled_straight():
    cells = read("""
        *********
        ***___***
        ***_*_***
        *.+_*_+.*
        *.*****.*
        *.*****.*
        *********
        *********
        *********
    """)
    shorten_detours(cells)
    assert (cells == read("""
        *********
        *********
        *********
        *.+___+.*
        *.*****.*
        *.*****.*
        *********
        *********
        *********
    """)).all()  # fmt: skip


def test_a_key_gives_one_map_and_other_keys_give_others():
    first = [cells.tobytes() for cells, _ in maps(EXPLORE, 50)]
    assert first == [cells.tobytes() for cells, _ in maps(EXPLORE, 50)]
    assert len(set(first)) == 50
