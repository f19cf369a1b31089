"""MiniLab's levels: layouts, rewards, restarts, and results that do not depend on where they are computed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mmlib import levels
from mmlib.levels.layouts import parse
from mmlib.levels.table import SPECS, LevelSpec

ALL = list(SPECS)
IDLE = np.zeros((1, 7), np.int32)
FORWARD = np.array([[0, 0, 0, 1, 0, 0, 0]], np.int32)


def one(name: str, **arguments):
    return levels.make(name, "minilab", **{"width": 16, "height": 12, "action_repeat": 1, **arguments})


def objects(level, i: int = 0) -> np.ndarray:
    """[M, 5] x, y, z, kind, yaw of the objects now there."""
    sprites = level.state_dict()["world.sprites"][i]
    return sprites[sprites[:, 3] > 0]


def test_the_static_maze_is_the_measured_layout():
    layout = parse(SPECS["nav_maze_static_01"].layout)
    assert layout.walls_x.shape == (5, 11)
    assert layout.walls_y.shape == (6, 10)
    assert len(layout.spawns) == 43
    apples = {(850, 150), (850, 250), (950, 250), (50, 350), (150, 350)}
    assert {tuple(a) for a in layout.apples.tolist()} == apples
    assert layout.goals.tolist() == [[450, 50]]
    spawns = {tuple(s) for s in layout.spawns.tolist()}
    assert apples < spawns
    assert {(250, 50), (350, 50), (450, 50), (350, 150), (450, 150)}.isdisjoint(spawns)


@pytest.mark.parametrize(
    ("picture", "message"),
    [("***\n* *\n***", "needs a cell where an episode can begin"), ("***\n*p*\n***", "one of P, A, a, G, not 'p'")],
)
def test_layouts_in_which_nothing_can_begin_are_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        LevelSpec("mine", "a room", 30, ceiling=98.0, sky=False, layout=picture)


def test_the_second_static_maze_is_the_measured_layout():
    layout = parse(SPECS["nav_maze_static_02"].layout)
    assert (layout.walls_x.shape, layout.walls_y.shape) == ((9, 16), (10, 15))
    assert (len(layout.apples), len(layout.spawns)) == (13, 128)
    assert layout.goals.tolist() == [[1450, 450]]
    apples = {tuple(a) for a in layout.apples.tolist()}
    assert {(150, 50), (1350, 50), (1450, 150), (850, 350), (1250, 550), (350, 750)} < apples
    # The open hall in the west: no walls between cells 200 <= x < 800, 300 <= y < 700.
    assert not layout.walls_x[3:7, 3:8].any() and not layout.walls_y[4:7, 2:8].any()


def reachable(layout) -> np.ndarray:
    """Cells connected to the first spawn point, [CY, CX]."""
    seen = np.zeros((layout.walls_x.shape[0], layout.walls_y.shape[1]), bool)
    stack = [(int(layout.spawns[0][1] // 100), int(layout.spawns[0][0] // 100))]
    while stack:
        j, i = stack.pop()
        if seen[j, i]:
            continue
        seen[j, i] = True
        for blocked, cell in (
            (layout.walls_x[j, i], (j, i - 1)), (layout.walls_x[j, i + 1], (j, i + 1)),
            (layout.walls_y[j, i], (j - 1, i)), (layout.walls_y[j + 1, i], (j + 1, i)),
        ):  # fmt: skip
            if not blocked:
                stack.append(cell)
    return seen


@pytest.mark.parametrize("name", [name for name in ALL if SPECS[name].layout])
def test_fixed_layouts_are_closed_and_every_object_can_be_reached(name):
    layout = parse(SPECS[name].layout)
    seen = reachable(layout)
    for x, y in np.concatenate([layout.spawns, layout.apples, layout.goals]):
        assert seen[int(y // 100), int(x // 100)]


@pytest.mark.parametrize(("number", "cells", "apples"), [("01", 8, 3), ("02", 7, 1)])
def test_the_miniature_mazes_are_crops_with_a_near_goal(number, cells, apples):
    layout = parse(SPECS[f"nav_maze_static_{number}_mini"].layout)
    assert reachable(layout).sum() == cells
    assert len(layout.apples) == apples
    assert len(layout.goals) == 1


def test_the_second_miniature_is_cut_out_of_its_maze():
    maze, mini = (parse(SPECS[f"nav_maze_static_02{name}"].layout) for name in ("", "_mini"))
    assert np.array_equal(mini.walls_x[:, 1:], maze.walls_x[2:6, 14:])
    assert np.array_equal(mini.walls_y[1:-1], maze.walls_y[3:6, 13:])
    corner = np.array([1300, 200])
    assert np.array_equal(mini.goals + corner, maze.goals)
    assert (mini.apples + corner).tolist() == [[1450, 350]]


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("nav_maze_static_01", 3600), ("nav_maze_static_01_mini", 1800),
        ("nav_maze_static_02", 9000), ("nav_maze_static_02_mini", 1800),
        ("explore_object_locations_small", 5400), ("explore_object_locations_small_mini", 1800),
    ],
)  # fmt: skip
def test_episode_lengths(name, frames):
    assert levels.LEVELS[name].episode_frames == frames
    level = one(name, num_envs=2, action_repeat=frames - 1, width=8, height=8)
    assert not level.step(np.zeros((2, 7), np.int32)).done.any()
    step = level.step(np.zeros((2, 7), np.int32))
    assert step.done.all()
    assert (step.episode_frames == frames).all()
    level.close()


def take(level, thing: np.ndarray) -> float:
    """Puts the agent on an object; returns the next frame's reward."""
    level.set_pose(0, float(thing[0]), float(thing[1]), 0.0)
    return float(level.step(IDLE).reward[0])


def test_apples_give_1_once_and_the_goal_gives_10_and_restarts_the_map_two_frames_later():
    level = one("nav_maze_static_01")
    level.set_pose(0, 50.0, 50.0, 0.0)
    level.step(IDLE)
    everything = objects(level)
    assert len(everything) == 6
    apples, goal = everything[everything[:, 3] == 1], everything[everything[:, 3] == 2][0]
    level.set_pose(0, 250.0, 50.0, 0.0)
    assert [take(level, apple) for apple in apples] == [1] * 5
    assert [take(level, apple) for apple in apples] == [0] * 5  # gone, and the map does not restart for it
    frame = int(level.state_dict()["agents.frame"][0])
    assert take(level, goal) == 10
    pose = level.pose(0)
    step = level.step(IDLE)
    assert step.reward[0] == 0  # the goal is gone
    assert level.pose(0)[:2] == pose[:2]
    step = level.step(IDLE)
    assert level.pose(0)[:2] != pose[:2]
    state = level.state_dict()
    assert int(state["agents.frame"][0]) == frame + 3  # the same episode
    assert int(state["agents.restarts"][0]) == 1
    assert len(objects(level)) + step.reward[0] == 6  # everything is back; a spawn point may be an apple's
    assert not step.done[0]
    level.close()


@pytest.mark.parametrize("name", ["explore_object_locations_small", "explore_object_locations_small_mini"])
def test_the_last_apple_restarts_the_generated_map(name):
    level = one(name, seed=5)
    apples = objects(level)
    walls = level.state_dict()["world.wall_x"].copy()
    rewards = [take(level, apple) for apple in apples]
    assert sum(rewards) == len(apples)
    assert int(level.state_dict()["agents.apples_left"][0]) == 0
    assert len(objects(level)) == 0
    level.step(IDLE)
    assert len(objects(level)) == 0
    step = level.step(IDLE)
    assert np.array_equal(objects(level)[:, :2], apples[:, :2])  # the same apples
    assert np.array_equal(level.state_dict()["world.wall_x"], walls)
    assert int(level.state_dict()["agents.restarts"][0]) == 1
    assert not step.done[0]
    level.close()


def test_restarts_and_episodes_spawn_at_different_points_with_different_yaws():
    level = one("nav_maze_static_01", num_envs=200)
    poses = np.array([level.pose(i)[:4] for i in range(200)])
    spawns = {tuple(s) for s in parse(SPECS["nav_maze_static_01"].layout).spawns.tolist()}
    assert {tuple(p) for p in poses[:, :2].tolist()} <= spawns
    assert len({tuple(p) for p in poses[:, :2].tolist()}) > 35  # of 43
    assert poses[:, 3].min() < -150
    assert poses[:, 3].max() > 150
    assert abs(poses[:, 3].mean()) < 30
    assert np.ptp(poses[:, 2]) == 0
    level.close()


def test_half_of_the_object_cells_hold_an_apple_in_the_full_level_and_all_in_the_miniature():
    full = one("explore_object_locations_small", num_envs=300)
    mini = one("explore_object_locations_small_mini", num_envs=50)
    placed = np.array([len(objects(full, i)) for i in range(300)])
    assert set(placed.tolist()) <= {4, 6, 8}
    assert placed.mean() == pytest.approx(7.42, abs=0.2)
    assert {len(objects(mini, i)) for i in range(50)} <= {4, 8}
    full.close()
    mini.close()


def test_generated_maps_change_with_the_episode_and_fixed_ones_do_not():
    for name in ALL:
        level = one(name, episode_seconds=0.1)
        first = level.state_dict()
        for _ in range(6):
            step = level.step(IDLE)
        assert step.done[0]
        second = level.state_dict()
        same = np.array_equal(first["world.wall_x"], second["world.wall_x"])
        assert same == (SPECS[name].maze is None)
        assert not np.array_equal(first["agents.pose"], second["agents.pose"])
        level.close()


@pytest.mark.parametrize("name", ALL)
def test_walls_stop_agents_everywhere(name):
    """A random walk never leaves open cells."""
    arena = SPECS[name].arena
    size = 100 if arena is None else arena.cell
    level = one(name, num_envs=4, action_repeat=4, width=8, height=8)
    rng = np.random.default_rng(0)
    for _ in range(300):
        actions = np.zeros((4, 7), np.int32)
        actions[:, 0] = rng.integers(-60, 61, 4)
        actions[:, 2:4] = rng.integers(-1, 2, (4, 2))
        actions[:, 5] = rng.integers(0, 2, 4)
        level.step(actions)
        state = level.state_dict()
        for i in range(4):
            x, y = level.pose(i)[:2]
            row, column = int(y // size), int(x // size)
            wall_x, wall_y = state["world.wall_x"][i], state["world.wall_y"][i]
            edges = [*wall_x[row, column : column + 2], *wall_y[row : row + 2, column]]
            inside = [x % size, size - x % size, y % size, size - y % size]
            for edge, distance in zip(edges, inside):
                assert not edge or distance > 16
    level.close()


@pytest.mark.parametrize("name", ALL)
def test_threads_change_nothing(name):
    rng = np.random.default_rng(0)
    batches = [one(name, num_envs=5, threads=threads, episode_seconds=0.5) for threads in (1, 2, 5, 9)]
    for _ in range(40):
        actions = np.zeros((5, 7), np.int32)
        actions[:, 0], actions[:, 3] = rng.integers(-60, 61, 5), 1
        steps = [level.step(actions) for level in batches]
        for step in steps[1:]:
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(step, steps[0]))
    for level in batches:
        level.close()


def test_observations_are_drawn_into_other_memory():
    level, other = one("nav_maze_static_01_mini", num_envs=2), one("nav_maze_static_01_mini", num_envs=2)
    memory = np.full_like(level.reset(), 7)
    level.draw_into(memory)
    assert np.array_equal(memory, other.reset())
    actions = np.zeros((2, 7), np.int32)
    actions[:, 0] = 60
    for _ in range(3):
        seen, expected = level.step(actions).observation, other.step(actions).observation
        assert seen is memory and np.array_equal(seen, expected)
    level.close()
    other.close()


PROGRAM = """
import hashlib, sys
import numpy as np
from mmlib import levels
for name in sys.argv[1:]:
    level = levels.make(name, "minilab", num_envs=3, width=24, height=16, seed=11, episode_seconds=0.5)
    digest, rng = hashlib.sha256(level.reset()), np.random.default_rng(0)
    for _ in range(20):
        step = level.step(rng.integers(-1, 2, (3, 7)).clip([-1] * 4 + [0] * 3, 1).astype(np.int32))
        digest.update(b"".join(np.ascontiguousarray(part).tobytes() for part in step))
    print(name, digest.hexdigest())
"""


def test_another_process_plays_the_same():
    run = [sys.executable, "-c", PROGRAM, *ALL]
    first, second = (subprocess.run(run, check=True, capture_output=True, text=True).stdout for _ in range(2))
    assert first == second
    assert [line.split()[0] for line in first.splitlines()] == list(ALL)


def test_layouts_that_are_not_closed_or_not_rectangular_are_refused():
    with pytest.raises(ValueError, match="border"):
        parse("***\n*P \n***")
    with pytest.raises(ValueError, match="odd"):
        parse("***\n*P*")
    with pytest.raises(ValueError, match="odd"):
        parse("***\n*P**\n***")
