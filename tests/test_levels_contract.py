"""The one contract of levels, over every backend and level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmlib import levels
from mmlib.levels.base import ACTION_HIGH, ACTION_LOW

CASES = [(backend, name) for backend in levels.BACKENDS if backend != "auto" for name in levels.LEVELS]
B, W, H = 3, 32, 24


def make(backend: str, name: str, **arguments) -> levels.Level:
    return levels.make(name, backend, **{"num_envs": B, "width": W, "height": H, "seed": 7, **arguments})


def random_actions(rng: np.random.Generator, num_envs: int = B) -> np.ndarray:
    return rng.integers(ACTION_LOW, ACTION_HIGH + 1, (num_envs, 7)).astype(np.int32)


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request):
    return request.param


def test_the_registry_describes_every_level(case):
    backend, name = case
    info = levels.LEVELS[name]
    assert info.name == name
    assert info.miniature == name.endswith("_mini")
    assert info.description
    level = make(backend, name)
    assert isinstance(level, levels.Level)
    assert (level.name, level.backend, level.num_envs) == (name, backend, B)
    assert (level.width, level.height, level.action_repeat) == (W, H, 4)
    assert level.episode_frames == info.episode_frames
    level.close()


def test_shapes_types_and_ranges(case):
    level, rng = make(*case), np.random.default_rng(0)
    frames = level.reset()
    assert (frames.shape, frames.dtype) == ((B, 3, H, W), np.uint8)
    for _ in range(20):
        step = level.step(random_actions(rng))
        assert (step.observation.shape, step.observation.dtype) == ((B, 3, H, W), np.uint8)
        assert (step.reward.shape, step.reward.dtype) == ((B,), np.float32)
        assert (step.done.shape, step.done.dtype) == ((B,), np.bool_)
        assert (step.episode_return.shape, step.episode_return.dtype) == ((B,), np.float32)
        assert (step.episode_frames.shape, step.episode_frames.dtype) == ((B,), np.int32)
        assert not step.done.any()
        assert np.isnan(step.episode_return).all()
        assert (step.episode_frames == 0).all()
    for i in range(B):
        pose = level.pose(i)
        assert -180 <= pose.yaw < 180
        assert abs(pose.pitch) <= 87.89
        assert all(math.isfinite(v) for v in pose)
    level.close()


def test_frames_show_something_and_differ_between_environments(case):
    level = make(*case)
    frames = level.reset()
    assert frames.std(axis=(1, 2, 3)).min() > 5
    assert not np.array_equal(frames[0], frames[1])
    level.close()


def test_rewards_are_those_of_the_events_only(case):
    backend, name = case
    level = make(backend, name, num_envs=16, width=8, height=8, action_repeat=1)
    rng = np.random.default_rng(1)
    allowed = {0, 1, 2, 10, 11} if "nav_maze" in name else {0, 1, 2}  # two objects can be in reach at once
    lasertag = name.startswith("lt_")
    allowed = {-1, 0, 1} if lasertag else allowed
    seen = set()
    for _ in range(600):
        actions = random_actions(rng, 16)
        actions[:, 3] = 1
        actions[:, :2] //= 8
        seen |= set(level.step(actions).reward.tolist())
    assert seen <= allowed
    assert 1 in seen or lasertag  # tags are rare
    level.close()


@pytest.mark.parametrize("repeat", [1, 4, 7])
def test_episodes_end_by_time_to_the_frame_and_begin_again(case, repeat):
    backend, name = case
    level = make(backend, name, action_repeat=repeat, episode_seconds=0.5)
    assert level.episode_frames == 30
    rng = np.random.default_rng(2)
    steps = math.ceil(30 / repeat)
    for _ in range(2):
        total = np.zeros(B)
        for k in range(steps):
            step = level.step(random_actions(rng))
            total += step.reward
            assert step.done.all() == (k == steps - 1)
        assert (step.episode_frames == 30).all()
        assert np.array_equal(step.episode_return, total)
    level.close()


def test_the_frame_after_the_end_is_the_first_of_the_next_episode(case):
    backend, name = case
    level = make(backend, name, episode_seconds=0.5)
    idle, moving = np.zeros((B, 7), np.int32), np.full((B, 7), 1, np.int32)
    others = make(backend, name, episode_seconds=0.5)
    for k in range(8):  # the next episode does not depend on what was done in the last one
        ours, theirs = level.step(idle), others.step(moving)
        assert np.array_equal(ours.observation, theirs.observation) == (k == 7)
    assert ours.done.all()
    for i in range(B):
        assert level.pose(i) == others.pose(i)
        picture = level.render(i, W, H)
        assert np.array_equal(picture.transpose(2, 0, 1), ours.observation[i])
    level.close()
    others.close()


def play(level: levels.Level, rng: np.random.Generator, steps: int) -> list[np.ndarray]:
    record = []
    for _ in range(steps):
        step = level.step(random_actions(rng, level.num_envs))
        record += [step.observation.copy(), step.reward, step.done, step.episode_return, step.episode_frames]
    return record


def test_a_seed_decides_everything(case):
    backend, name = case
    plays = []
    for seed in (3, 3, 4):
        level = make(backend, name, seed=seed, episode_seconds=0.5)
        plays.append([level.reset().copy(), *play(level, np.random.default_rng(0), 25)])
        level.close()
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(plays[0], plays[1]))
    assert not np.array_equal(plays[0][0], plays[2][0])


def test_an_environment_plays_the_same_whatever_the_batch_and_the_others_do(case):
    backend, name = case
    alone = make(backend, name, num_envs=1, episode_seconds=0.5)
    together = make(backend, name, num_envs=5, episode_seconds=0.5)
    rng = np.random.default_rng(5)
    for _ in range(25):
        actions = random_actions(rng, 5)
        one, five = alone.step(actions[:1].copy()), together.step(actions)
        for a, b in zip(one, five):
            assert np.array_equal(a[:1], b[:1], equal_nan=True)
    alone.close()
    together.close()


def test_reset_begins_the_first_episode_again(case):
    backend, name = case
    level = make(backend, name, episode_seconds=0.5)
    first = level.reset().copy()
    play(level, np.random.default_rng(0), 20)
    assert np.array_equal(level.reset(), first)
    level.close()


def test_a_saved_state_continues_exactly(case):
    backend, name = case
    level = make(backend, name, episode_seconds=1.0)
    play(level, np.random.default_rng(0), 11)
    state = level.state_dict()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    expected = play(level, np.random.default_rng(1), 25)
    for other in (level, make(backend, name, episode_seconds=1.0)):
        other.load_state_dict(state)
        again = play(other, np.random.default_rng(1), 25)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(again, expected))
        other.close()


def test_a_state_of_another_level_is_refused(case):
    backend, name = case
    state = make(backend, name).state_dict()
    with pytest.raises(ValueError, match="seed 7"):
        make(backend, name, seed=8).load_state_dict(state)
    with pytest.raises(ValueError, match="shape"):
        make(backend, name, num_envs=B + 1).load_state_dict(state)
    with pytest.raises(ValueError, match="not a state"):
        make(backend, name).load_state_dict({"x": np.zeros(1)})


BAD = [
    (np.zeros((B, 7), np.int64), "int32"),
    (np.zeros((B, 7), np.float32), "int32"),
    ([[0] * 7] * B, "int32"),
    (np.zeros((B + 1, 7), np.int32), "shape"),
    (np.zeros((B, 6), np.int32), "shape"),
    (np.zeros(7, np.int32), "shape"),
]
for _k in range(7):
    for _value in (ACTION_LOW[_k] - 1, ACTION_HIGH[_k] + 1):
        _actions = np.zeros((B, 7), np.int32)
        _actions[1, _k] = _value
        BAD.append((_actions, f"action {_value} of environment 1"))


def test_bad_actions_raise_before_anything_moves(case):
    level = make(*case)
    before, poses = level.state_dict(), [level.pose(i) for i in range(B)]
    for actions, message in BAD:
        with pytest.raises(ValueError, match=message):
            level.step(actions)
    assert all(np.array_equal(value, before[name]) for name, value in level.state_dict().items())
    assert poses == [level.pose(i) for i in range(B)]
    level.close()


def test_set_pose_moves_one_agent_and_its_picture(case):
    level = make(*case)
    before, others = level.reset().copy(), level.pose(1)
    x, y = level.pose(0)[:2]
    level.set_pose(0, x + 3, y - 2, 270.0)
    pose = level.pose(0)
    assert (pose.x, pose.y, pose.yaw, pose.pitch) == (x + 3, y - 2, -90.0, 0.0)
    assert level.pose(1) == others
    assert not np.array_equal(level.render(0, W, H).transpose(2, 0, 1), before[0])
    for bad in ((-1.0, y), (x, 1e6), (math.nan, y)):
        with pytest.raises(ValueError, match="outside the map"):
            level.set_pose(0, *bad, 0.0)
    for i in (-1, B):
        with pytest.raises(ValueError, match="no environment"):
            level.pose(i)
    level.close()


def test_pictures_of_any_size(case):
    level = make(*case)
    picture = level.render(1, 160, 120)
    assert (picture.shape, picture.dtype) == ((120, 160, 3), np.uint8)
    plan = level.map_image(1, 64)
    assert plan.dtype == np.uint8
    assert plan.ndim == 3
    assert plan.shape[2] == 3
    assert max(plan.shape[:2]) == 64
    assert plan.std() > 5
    level.close()


def test_unknown_names_say_what_is_known():
    with pytest.raises(ValueError, match=r"unknown level 'nav_maze'; levels: nav_maze_static_01, "):
        levels.make("nav_maze")
    with pytest.raises(ValueError, match=r"unknown backend 'doom'; backends: auto, minilab"):
        levels.make("nav_maze_static_01", "doom")
    with pytest.raises(ValueError, match=r"unknown setting 'gravity' of minilab; settings: .*threads"):
        levels.make("nav_maze_static_01", "minilab", gravity=1)
    assert levels.resolve_backend("auto") in levels.BACKENDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"action_repeat": 0}, "action_repeat is 0"),
        ({"width": 4}, "4 x 72"),
        ({"height": 0}, "96 x 0"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**63}, "seed"),
        ({"threads": 0}, "threads is 0"),
        ({"episode_seconds": 0}, "episode_seconds is 0"),
        ({"episode_seconds": -3.0}, "episode_seconds is -3.0"),
    ],
)
def test_arguments_outside_their_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        levels.make("nav_maze_static_01", "minilab", **arguments)
