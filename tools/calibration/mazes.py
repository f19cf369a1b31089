"""What was measured of movement, mazes and random play on DeepMind Lab (commit b1db91a), and MiniLab's samples.

Movement is sampled once from each of the ticks in the engine's cycle, because they are not all of one length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.minilab.engine import MiniLab
from mmlib.levels.minilab.maze.generator import OBJECT_CELL, WALL, generate
from mmlib.levels.minilab.physics import ORIGIN_ABOVE_FLOOR, TICK_MS
from mmlib.levels.minilab.random import MAZE, stream
from mmlib.levels.table import SPECS
from mmlib.spaces import BIG_756, SMALL
from tools.calibration.target import REFERENCE_BIG, Target

Floats = NDArray[np.float64]

MAZE_1, MAZE_2, EXPLORE = "nav_maze_static_01", "nav_maze_static_02", "explore_object_locations_small"
FORWARD, CROUCHED, JUMP = (0, 0, 0, 1, 0, 0, 0), (0, 0, 0, 1, 0, 0, 1), (0, 0, 0, 0, 0, 1, 0)
STAY, TURN, DOWN, RIGHT = (0, 0, 0, 0, 0, 0, 0), (20, 0, 0, 0, 0, 0, 0), (0, 512, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0)
START = (550.0, 50.0)  # the west end of five cells in a row of nav_maze_static_01
RANDOM_POLICIES = {"Small": SMALL.vectors, "Big756": BIG_756.encode(np.arange(756)), "big": REFERENCE_BIG}


class _Body:
    """The agent of one environment, frame by frame."""

    def __init__(self, name: str, seed: int):
        self.level = MiniLab(name, 1, seed, action_repeat=1, width=8, height=8, episode_seconds=1000)

    def act(self, action: Sequence[int], frames: int = 1) -> Floats:
        """Holds an action; returns x, y, z above the floor, yaw, pitch and horizontal speed after each frame."""
        rows = []
        for _ in range(frames):
            self.level.step(np.array([action], np.int32))
            speed = np.hypot(*self.level.state_dict()["agents.velocity"][0, :2])
            x, y, z, yaw, pitch = self.level.pose(0)
            rows.append((x, y, z - ORIGIN_ABOVE_FLOOR, yaw, pitch, speed))
        return np.array(rows)


def _movement(measure: Callable[[_Body], float], level: str, episodes: int, seed: int) -> Floats:
    """`measure` of a body at rest, begun at each tick of the engine's cycle, `[25]`; `episodes` do not matter."""
    body, values = _Body(level, seed), []
    for tick in range(len(TICK_MS)):
        while body.level.state_dict()["agents.frame"][0] % len(TICK_MS) != tick:
            body.act(STAY)
        if level == MAZE_1:
            body.level.set_pose(0, *START, 0.0)
        values.append(measure(body))
    body.level.close()
    return np.array(values)


def _run(body: _Body) -> float:
    """Distance in 60 frames from rest."""
    start = body.level.pose(0).x
    return float(body.act(FORWARD, 60)[-1, 0] - start)


def _stop(body: _Body) -> Floats:
    """Speeds and distances after a run at top speed: the last frame of the run, then those after release."""
    return np.concatenate([body.act(FORWARD, 20)[-1:], body.act(STAY, 40)])


def _jump(body: _Body) -> Floats:
    return body.act(JUMP, 60)[:, 2]


def _from_wall(body: _Body) -> float:
    """Distance between the body's centre and the surface of the wall, which is 1 unit from the cell's edge."""
    return float(body.act(RIGHT, 60)[-1, 1] - 1.0)


MOVEMENT: tuple[tuple[str, str, str, float, Callable[[_Body], float]], ...] = (
    (MAZE_1, "distance in the first 60 frames from rest", "units", 289.3, _run),
    (MAZE_1, "frames to top speed", "frames", 10, lambda b: 1 + int(np.argmax(b.act(FORWARD, 20)[:, 5] >= 320))),
    (MAZE_1, "top speed", "units/s", 320, lambda b: b.act(FORWARD, 40)[-1, 5]),
    (MAZE_1, "stopping distance", "units", 40.6, lambda b: np.ptp(_stop(b)[:, 0])),
    (MAZE_1, "frames to a stop", "frames", 23, lambda b: int(np.argmax(_stop(b)[:, 5] == 0))),
    (MAZE_1, "crouching speed", "units/s", 80.4, lambda b: b.act(CROUCHED, 40)[-1, 5]),
    (MAZE_1, "turn by a pixel", "degrees a frame", 0.1056, lambda b: -np.diff(b.act(TURN, 2)[:, 3])[0] / 20),
    (MAZE_1, "lowest pitch", "degrees", 87.89, lambda b: b.act(DOWN, 5)[-1, 4]),
    (MAZE_1, "centre of the body from a wall", "units", 15.13, _from_wall),
    (MAZE_1, "jump under the ceiling: rise", "units", 41.6, lambda b: _jump(b).max()),
    (MAZE_1, "jump under the ceiling: in the air", "frames", 35, lambda b: int((_jump(b) > 0.01).sum())),
    (EXPLORE, "jump in the open: rise", "units", 44.8, lambda b: _jump(b).max()),
    (EXPLORE, "jump in the open: in the air", "frames", 41, lambda b: int((_jump(b) > 0.01).sum())),
)


@lru_cache(maxsize=16)
def random_play(level: str, policy: str, episodes: int, seed: int) -> dict[str, Floats]:
    """Whole episodes of random play at action repeat 4: return, goals taken and cells visited, each `[episodes]`."""
    vectors, generator = RANDOM_POLICIES[policy], np.random.default_rng(seed)
    batch = min(episodes, 64)
    env = MiniLab(level, batch, seed, width=8, height=8)
    finished: dict[str, list[float]] = {"return": [], "goals": [], "cells": []}
    goals, visited = np.zeros(batch), [set[tuple[int, int]]() for _ in range(batch)]
    while len(finished["return"]) < episodes:
        for i, cells in enumerate(visited):
            pose = env.pose(i)
            cells.add((int(pose.x // 100), int(pose.y // 100)))
        step = env.step(vectors[generator.integers(len(vectors), size=batch)])
        goals += step.reward >= 10
        for i in np.flatnonzero(step.done):
            finished["return"].append(float(step.episode_return[i]))
            finished["goals"].append(goals[i])
            finished["cells"].append(len(visited[i]))
            goals[i], visited[i] = 0, set()
    env.close()
    return {name: np.array(values[:episodes]) for name, values in finished.items()}


def _random_play(level: str, policy: str, what: str, episodes: int, seed: int) -> Floats:
    return random_play(level, policy, episodes, seed)[what]


# Level, policy: return and its standard error; goals in how many episodes; cells visited. None: not measured.
RANDOM_PLAY: dict[tuple[str, str], tuple[float, float, tuple[int, int] | None, float | None]] = {
    (MAZE_1, "Small"): (1.297, 0.128, (12, 300), 10.2),
    (MAZE_1, "Big756"): (2.420, 0.190, None, None),
    (MAZE_1, "big"): (3.90, 0.77, (8, 40), 16.1),
    (MAZE_2, "Small"): (2.250, 0.153, (13, 300), 21.0),
    (MAZE_2, "Big756"): (4.915, 0.308, None, None),
    (MAZE_2, "big"): (5.38, 0.66, (6, 40), 34.9),
    (EXPLORE, "Small"): (2.75, 0.36, None, 22.4),
    (EXPLORE, "big"): (4.70, 0.49, None, 38.2),
}


def _random_targets() -> Iterator[Target]:
    for (level, policy), (returned, error, goals, cells) in RANDOM_PLAY.items():
        what, sample = f"random play, {policy}", partial(_random_play, level, policy)
        yield Target(level, f"{what}: return", "", returned, error, partial(sample, "return"))
        if goals is not None:  # rare and so Poisson
            number, played = goals
            yield Target(
                level, f"{what}: goals", "an episode", number / played, number**0.5 / played, partial(sample, "goals")
            )
        if cells is not None:
            yield Target(level, f"{what}: cells visited", "", cells, None, partial(sample, "cells"))


@lru_cache(maxsize=4)
def _maps(episodes: int, seed: int) -> Floats:
    """Rooms, open cells, apples and dead ends of generated maps, `[max(300, episodes), 4]`."""
    rules, rows = SPECS[EXPLORE].maze, []
    assert rules is not None
    for number in range(max(300, episodes)):
        cells, rooms = generate(rules, np.uint64(stream(seed, 0, number, MAZE)))
        open_cells = cells != WALL
        padded = np.pad(open_cells, 1).astype(int)
        ways = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        apples = int(SPECS[EXPLORE].object_share * (cells == OBJECT_CELL).sum())
        rows.append((len(rooms), open_cells.sum(), apples, (open_cells & (ways < 2)).sum()))
    return np.array(rows, np.float64)


def _generated(number: int, episodes: int, seed: int) -> Floats:
    return _maps(episodes, seed)[:, number]


def _share(rooms: int, episodes: int, seed: int) -> Floats:
    return (_maps(episodes, seed)[:, 0] == rooms).astype(np.float64)


def _map_targets() -> Iterator[Target]:
    for rooms, maps in ((4, 219), (3, 75), (2, 6)):
        share = maps / 300
        error = (share * (1 - share) / 300) ** 0.5
        yield Target(EXPLORE, f"share of the maps with {rooms} rooms", "", share, error, partial(_share, rooms))
    yield Target(EXPLORE, "open cells", "cells", 59.3, None, partial(_generated, 1))
    yield Target(EXPLORE, "apples placed", "", 7.42, 0.057, partial(_generated, 2))
    yield Target(EXPLORE, "dead ends", "", 0, None, partial(_generated, 3))


MAZE_TARGETS: tuple[Target, ...] = (
    *(Target(level, what, unit, value, None, partial(_movement, f, level)) for level, what, unit, value, f in MOVEMENT),
    *_map_targets(),
    *_random_targets(),
)
