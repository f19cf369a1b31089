"""The one contract of levels, over every backend and level.

dmlab runs DeepMind Lab where `deepmind_lab` can be imported, else a strict stand-in for that module.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mmlib import levels
from mmlib.levels import dmlab_found

FAKE_DMLAB = Path(__file__).parent / "fake_dmlab"
SQUARES = "contract_env:Squares-v0"  # pictures, two components of actions, ends by time only
CASES = [
    *(("minilab", name) for name in levels.LEVELS),
    ("dmlab", "nav_maze_static_01"),
    ("gymnasium", SQUARES),
    ("gymnasium", "CartPole-v1"),  # vectors; ends when the pole falls
]
TIMED = [case for case in CASES if case[1] != "CartPole-v1"]  # episodes end by time only
MINILAB = [case for case in CASES if case[0] == "minilab"]  # what only this backend can do
OTHERS = [case for case in CASES if case[0] != "minilab"]
B, W, H = 3, 32, 24
ALIKE = 8  # of 255, in the mean; pictures of different episodes are several times as far apart


def over(cases):
    """Runs a test over these pairs of a backend and a level."""
    return pytest.mark.parametrize("case", cases, ids=["-".join(case) for case in cases], indirect=True)


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request, monkeypatch, tmp_path):
    if request.param[0] == "dmlab":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        if dmlab_found.problem() is not None:
            monkeypatch.syspath_prepend(str(FAKE_DMLAB))
    return request.param


def make(backend: str, name: str, **arguments) -> levels.Level:
    if backend == "gymnasium" and "episode_seconds" in arguments:  # a frame is a step of the environment
        arguments["max_episode_steps"] = round(60 * arguments.pop("episode_seconds"))
    return levels.make(name, backend, **{"num_envs": B, "width": W, "height": H, "seed": 7, **arguments})


def random_actions(level: levels.Level, rng: np.random.Generator) -> np.ndarray:
    bounds = levels.interface(level.name, level.backend).actions
    return rng.integers(bounds.low, bounds.high + 1, (level.num_envs, len(bounds.names))).astype(np.int32)


def idle_and_moving(level: levels.Level) -> tuple[np.ndarray, np.ndarray]:
    """Two different actions of every environment."""
    size = len(levels.interface(level.name, level.backend).actions.names)
    return np.zeros((level.num_envs, size), np.int32), np.ones((level.num_envs, size), np.int32)


def alike(case, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pictures of one moment of an episode are the same.

    In DeepMind Lab, episodes after the first in a process depend a little on what was played before, so there they are
    compared with a tolerance.
    """
    if case[0] == "dmlab":
        return bool(np.abs(one.astype(int) - other).mean() < ALIKE)
    return np.array_equal(one, other)


def test_the_registry_describes_every_level(case):
    backend, name = case
    declared = levels.interface(name, backend, W, H)
    info = declared.info
    assert info.name == name
    assert info.miniature == name.endswith("_mini")
    assert info.description
    level = make(backend, name)
    assert isinstance(level, levels.Level)
    assert (level.name, level.backend, level.num_envs) == (name, backend, B)
    assert (level.width, level.height, level.action_repeat) == (W, H, 4)
    assert level.episode_frames == info.episode_frames
    assert level.reset().shape == (B, *declared.observation_shape)
    level.close()


def test_shapes_types_and_ranges(case):
    level, rng = make(*case), np.random.default_rng(0)
    shape = (B, 4) if case[1] == "CartPole-v1" else (B, 3, H, W)
    kind = np.float32 if case[1] == "CartPole-v1" else np.uint8
    frames = level.reset()
    assert (frames.shape, frames.dtype) == (shape, kind)
    for _ in range(20):
        step = level.step(random_actions(level, rng))
        assert (step.observation.shape, step.observation.dtype) == (shape, kind)
        assert (step.reward.shape, step.reward.dtype) == ((B,), np.float32)
        assert (step.done.shape, step.done.dtype) == ((B,), np.bool_)
        assert (step.episode_return.shape, step.episode_return.dtype) == ((B,), np.float32)
        assert (step.episode_frames.shape, step.episode_frames.dtype) == ((B,), np.int32)
        assert not step.done.any() or case not in TIMED
        assert np.array_equal(np.isnan(step.episode_return), ~step.done)
        assert np.array_equal(step.episode_frames == 0, ~step.done)
    level.close()


def test_frames_show_something_and_differ_between_environments(case):
    level = make(*case)
    frames = level.reset()
    if frames.dtype == np.uint8:
        assert frames.std(axis=(1, 2, 3)).min() > 5
    assert not np.array_equal(frames[0], frames[1])
    level.close()


def test_rewards_are_those_of_the_events_only(case):
    backend, name = case
    level = make(backend, name, num_envs=16 if backend == "minilab" else 4, width=8, height=8, action_repeat=1)
    rng = np.random.default_rng(1)
    allowed = {0, 1, 2, 10, 11} if "nav_maze" in name else {0, 1, 2}  # two objects can be in reach at once
    lasertag = name.startswith("lt_")
    allowed = {-1, 0, 1} if lasertag else allowed
    seen = set()
    for _ in range(600):
        actions = random_actions(level, rng)
        if backend != "gymnasium":
            actions[:, 3] = 1
            actions[:, :2] //= 8
        seen |= set(level.step(actions).reward.tolist())
    assert seen <= allowed
    assert 1 in seen or lasertag  # tags are rare
    level.close()


@pytest.mark.parametrize("repeat", [1, 4, 7])
@over(TIMED)
def test_episodes_end_by_time_to_the_frame_and_begin_again(case, repeat):
    backend, name = case
    level = make(backend, name, action_repeat=repeat, episode_seconds=0.5)
    assert level.episode_frames == 30
    rng = np.random.default_rng(2)
    steps = math.ceil(30 / repeat)
    for _ in range(2):
        total = np.zeros(B)
        for k in range(steps):
            step = level.step(random_actions(level, rng))
            total += step.reward
            assert step.done.all() == (k == steps - 1)
        assert (step.episode_frames == 30).all()
        assert np.array_equal(step.episode_return, total)
    level.close()


@over(TIMED)
def test_the_frame_after_the_end_is_the_first_of_the_next_episode(case):
    backend, name = case
    level, others = (make(backend, name, episode_seconds=0.5) for _ in range(2))
    idle, moving = idle_and_moving(level)
    for k in range(8):  # the next episode does not depend on what was done in the last one
        ours, theirs = level.step(idle), others.step(moving)
        assert alike(case, ours.observation, theirs.observation) == (k == 7)
    assert ours.done.all()
    for i in range(B):
        if backend != "gymnasium":
            assert level.pose(i) == pytest.approx(others.pose(i), abs=2.0 if backend == "dmlab" else 0)
            assert np.array_equal(level.render(i, W, H).transpose(2, 0, 1), ours.observation[i])
    level.close()
    others.close()


@over(TIMED)
def test_staggered_cuts_the_first_episodes_and_no_others(case):
    backend, name = case
    level = make(backend, name, num_envs=6, episode_seconds=1.0, staggered=True, action_repeat=1)
    rng, ends = np.random.default_rng(0), [[] for _ in range(6)]
    for k in range(150):
        step = level.step(random_actions(level, rng))
        for i in np.flatnonzero(step.done):
            ends[i].append((k + 1, float(step.episode_return[i]), int(step.episode_frames[i])))
    level.close()
    firsts = [first for (first, _, _), *_ in ends]
    assert len(set(firsts)) > 2
    for (first, value, length), (second, counted, whole), *_ in ends:
        assert math.isnan(value) and 0 < length == first < 60
        assert not math.isnan(counted) and whole == 60 == second - first


def play(level: levels.Level, rng: np.random.Generator, steps: int) -> list[np.ndarray]:
    record = []
    for _ in range(steps):
        step = level.step(random_actions(level, rng))
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
        actions = random_actions(together, rng)
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
    assert alike(case, level.reset(), first)
    level.close()


@over(MINILAB)
def test_a_saved_state_continues_exactly(case):
    backend, name = case
    level = make(backend, name, episode_seconds=1.0)
    play(level, np.random.default_rng(0), 11)
    state = level.state_dict()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    expected = play(level, np.random.default_rng(1), 25)
    for other in (level, make(backend, name, episode_seconds=1.0)):
        assert other.load_state_dict(state) is None
        again = play(other, np.random.default_rng(1), 25)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(again, expected))
        other.close()


@over(OTHERS)
def test_a_saved_state_goes_on_with_the_next_episodes(case):
    backend, name = case
    level = make(backend, name, episode_seconds=0.5)
    first = level.reset().copy()
    for _ in range(8):
        second = level.step(idle_and_moving(level)[0]).observation.copy()  # of Squares and dmlab, an episode's first
    state = level.state_dict()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    other = make(backend, name, episode_seconds=0.5)
    begun = other.load_state_dict(state).copy()
    assert not alike(case, begun, first) and not alike(case, begun, second)
    expected = play(other, np.random.default_rng(1), 12)
    assert alike(case, level.load_state_dict(state), begun)
    again = play(level, np.random.default_rng(1), 12)
    exact = (2, 4) if backend == "dmlab" else range(5)  # where episodes end
    assert all(np.array_equal(again[k], expected[k], equal_nan=True) for k in range(60) if k % 5 in exact)
    level.close()
    other.close()


def test_a_state_of_another_level_is_refused(case):
    backend, name = case
    same, other_seed, larger = make(backend, name), make(backend, name, seed=8), make(backend, name, num_envs=B + 1)
    state = same.state_dict()
    with pytest.raises(ValueError, match="seed 7"):
        other_seed.load_state_dict(state)
    with pytest.raises(ValueError, match="shape"):
        larger.load_state_dict(state)
    with pytest.raises(ValueError, match="not a state"):
        same.load_state_dict({"x": np.zeros(1)})
    for level in (same, other_seed, larger):
        level.close()


BAD = [
    (np.zeros((B, 7), np.int64), "int32"),
    (np.zeros((B, 7), np.float32), "int32"),
    ([[0] * 7] * B, "int32"),
    (np.zeros((B + 1, 7), np.int32), "shape"),
    (np.zeros((B, 6), np.int32), "shape"),
    (np.zeros(7, np.int32), "shape"),
]


def test_bad_actions_raise_before_anything_moves(case):
    level = make(*case)
    before, seen = level.state_dict(), level.reset().copy()
    bounds = levels.interface(*reversed(case)).actions
    bad = list(BAD)
    for k in range(len(bounds.names)):
        for value in (bounds.low[k] - 1, bounds.high[k] + 1):
            actions = np.zeros((B, len(bounds.names)), np.int32)
            actions[1, k] = value
            bad.append((actions, f"action {value} of environment 1"))
    for actions, message in bad:
        with pytest.raises(ValueError, match=message):
            level.step(actions)
    assert all(np.array_equal(value, before[name]) for name, value in level.state_dict().items())
    idle = idle_and_moving(level)[0]
    after = level.step(idle).observation.copy()
    level.reset()
    assert alike(case, level.step(idle).observation, after)
    assert alike(case, level.reset(), seen)
    level.close()


def test_poses_are_poses(case):
    backend, name = case
    level = make(backend, name)
    if backend == "gymnasium":
        with pytest.raises(levels.Unsupported, match="no pose"):
            level.pose(0)
    else:
        play(level, np.random.default_rng(0), 20)
        for i in range(B):
            pose = level.pose(i)
            assert -180 <= pose.yaw < 180
            assert abs(pose.pitch) <= (87.890625 if backend == "dmlab" else 87.89)
            assert all(math.isfinite(v) for v in pose)
        for i in (-1, B):
            with pytest.raises(ValueError, match="no environment"):
                level.pose(i)
    level.close()


@over(MINILAB)
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
    level.close()


@over(MINILAB)
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
