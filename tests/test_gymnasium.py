"""MiniLab as Gymnasium environments, and Gymnasium environments as levels, beyond the contract."""

from __future__ import annotations

import copy
import gc
import hashlib
import os
import pickle
import signal
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import mmlib.levels.gymnasium as outward
from mmlib import levels
from mmlib.config import ConfigError, make_config
from mmlib.levels import foreign
from mmlib.runs.reader import Run, find_runs, run_directory
from mmlib.spaces import BIG_756, SMALL
from mmlib.training import trained
from mmlib.training.fitting import check, specification
from mmlib.training.loop import TrainingLoop, train

ID = "MiniLab/nav_maze_static_01_mini-v0"
SMALL_FRAMES = {"width": 32, "height": 24}
SQUARES = "contract_env:Squares-v0"


@pytest.mark.parametrize("actions", list(outward.ACTIONS))
def test_gymnasium_accepts_the_environment(actions):
    env = gymnasium.make(ID, actions=actions, render_mode="rgb_array", **SMALL_FRAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_every_level_is_registered():
    registered = {name for name in gymnasium.registry if name.startswith("MiniLab/")}
    assert registered == {f"MiniLab/{name}-v0" for name in levels.LEVELS}
    assert gymnasium.spec(ID).to_json()


def test_the_encodings_mean_the_same():
    """look right + forward, said in three ways, shows the same frames."""
    vector = np.array([20, 0, 0, 1, 0, 0, 0])
    small = SMALL.group_labels[0].index("look right + forward")
    big = BIG_756.unravel(BIG_756.encode(np.arange(756)).tolist().index(vector.tolist()))
    seen = []
    for actions, action in (("small", small), ("big756", big), ("dmlab", vector)):
        env = gymnasium.make(ID, actions=actions, **SMALL_FRAMES)
        first, _ = env.reset(seed=5)
        frames = [env.step(action)[0] for _ in range(5)]
        assert not np.array_equal(first, frames[0])
        seen.append(frames)
        env.close()
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2])


def as_sync(mode, num_envs=3, **settings):
    """The batch in one engine, and Gymnasium's own batch of the single environment."""
    settings = {"episode_seconds": 0.5, **SMALL_FRAMES, **settings}
    ours = gymnasium.make_vec(ID, num_envs=num_envs, autoreset_mode=mode, **settings)
    theirs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make(ID, **settings).unwrapped] * num_envs, autoreset_mode=mode
    )
    return ours, theirs


def assert_same(ours, theirs):
    """Two answers of reset or step: arrays and infos."""
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            a, b = ([np.asarray(d[k]).tolist() for k in sorted(d) if k != "final_obs"] for d in (a, b))
            assert a == b
        else:
            assert np.array_equal(a, b) and a.dtype == b.dtype
    one, two = (answer[-1].get("final_obs", []) for answer in (ours, theirs))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_plays_what_gymnasiums_own_batch_of_the_environment_does(mode, threads):
    ours, theirs = as_sync(mode, threads=threads)
    assert ours.metadata["autoreset_mode"] == mode
    rng = np.random.default_rng(0)
    assert_same(ours.reset(seed=3), theirs.reset(seed=3))
    masks = ([True, False, True], [False, True, False])
    ended = np.zeros(3, int)
    for k in range(40):
        actions = rng.integers(0, 9, 3)
        played = [envs.step(actions) for envs in (ours, theirs)]
        assert_same(*played)
        ended += played[0][3]
        if k in (3, 29):  # so that the environments do not end together
            some = {"options": {"reset_mask": np.array(masks[k == 29])}, "seed": [None, 8, 9]}
            assert_same(ours.reset(**some), theirs.reset(seed=[None, 8, 9], options=dict(some["options"])))
        elif mode is AutoresetMode.DISABLED and played[0][3].any():
            assert_same(*(e.reset(options={"reset_mask": played[0][3].copy()}) for e in (ours, theirs)))
    assert (ended >= 3).all()
    assert_same(ours.reset(), theirs.reset())
    assert_same(ours.reset(seed=[5, 5, 6]), theirs.reset(seed=[5, 5, 6]))
    ours.close()
    theirs.close()


def test_lasertag_in_a_batch_plays_what_it_does_alone():
    settings = dict(num_envs=2, width=16, height=16, episode_seconds=0.3)
    name = "MiniLab/lt_horseshoe_color_mini-v0"
    ours = gymnasium.make_vec(name, **settings)
    theirs = gymnasium.make_vec(name, vectorization_mode="sync", **settings)
    assert_same(ours.reset(seed=[4, 1]), theirs.reset(seed=[4, 1]))
    for k in range(12):
        assert_same(ours.step(np.array([3, k % 9])), theirs.step(np.array([3, k % 9])))
    ours.close()
    theirs.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_gymnasiums_wrappers_take_the_batch_as_they_take_its_own(mode):
    told = []
    for envs in as_sync(mode, num_envs=2):
        envs = wrappers.vector.RecordEpisodeStatistics(envs)
        if mode is AutoresetMode.NEXT_STEP:  # the only one that it takes
            envs = wrappers.vector.NormalizeObservation(envs)
        envs.reset(seed=0)
        infos = [envs.step(np.zeros(2, np.int64))[-1] for _ in range(18)]
        told.append({k: info["episode"]["l"].tolist() for k, info in enumerate(infos) if "episode" in info})
        envs.close()
    assert told[0] == told[1] and told[0][7] == [8, 8]
    assert list(told[0]) == ([7, 16] if mode is AutoresetMode.NEXT_STEP else [7, 15])  # with a step for the reset


@pytest.mark.parametrize("vector", [False, True])
def test_the_picture_at_the_end_is_of_the_episode_that_ended(vector):
    """Of two that play the same, one ends after 8 steps; its last picture is the other's."""
    seen = []
    for seconds in (32 / 60, 5.0):
        settings = dict(render_mode="rgb_array", episode_seconds=seconds, **SMALL_FRAMES)
        if vector:
            env = gymnasium.make_vec(ID, num_envs=1, **settings)
            env.reset(seed=2)
            ends = [env.step(np.array([3]))[3][0] for _ in range(8)]
            seen.append(env.render()[0])
        else:
            env = wrappers.RenderCollection(gymnasium.make(ID, **settings))
            env.reset(seed=2)
            ends = [env.step(3)[3] for _ in range(8)]
            seen.append(env.render()[-1])
        assert ends == [False] * 7 + [seconds < 5]
        assert seen[-1].shape == (240, 320, 3)
        env.close()
    assert np.array_equal(*seen)


def test_environments_share_no_random_generator():
    one, two = (gymnasium.make(ID, **SMALL_FRAMES) for _ in range(2))
    vectors = [gymnasium.make_vec(ID, num_envs=2, **SMALL_FRAMES) for _ in range(2)]
    for a, b in ((one.action_space, two.action_space), *((v.single_action_space, one.action_space) for v in vectors)):
        a.seed(1)
        expected = [a.sample() for _ in range(5)]
        a.seed(1)
        b.seed(2)
        assert [a.sample() for _ in range(5)] == expected
    assert vectors[0].single_action_space is not vectors[1].single_action_space
    assert one.observation_space is not two.observation_space
    for env in (one, two, *vectors):
        env.close()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("batch", [False, True])
def test_a_copy_goes_on_where_it_was_taken(copied, batch):
    make = (lambda **k: gymnasium.make_vec(ID, num_envs=3, **k)) if batch else (lambda **k: gymnasium.make(ID, **k))
    env = make(threads=2, episode_seconds=0.5, **SMALL_FRAMES)
    env.reset(seed=1)
    action = np.array([3, 4, 5]) if batch else 3
    env.step(action)
    other = copied(env)
    for _ in range(4):
        assert np.array_equal(env.step(action)[0], other.step(action)[0])
    env.close()
    other.step(action)
    other.close()


def test_a_fork_has_threads_of_its_own():
    envs = gymnasium.make_vec(ID, num_envs=2, threads=2, **SMALL_FRAMES)
    envs.reset(seed=1)
    actions = np.array([3, 4])
    envs.step(actions)  # its threads exist
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends the child should it hang
        os.write(writing, hashlib.sha256(envs.step(actions)[0]).digest())
        envs.close()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert told == hashlib.sha256(envs.step(actions)[0]).digest()
    envs.close()


def test_an_episode_that_is_over_has_to_be_reset():
    env = gymnasium.make(ID, episode_seconds=0.1, **SMALL_FRAMES).unwrapped
    envs = gymnasium.make_vec(ID, num_envs=2, episode_seconds=0.1, autoreset_mode="Disabled", **SMALL_FRAMES)
    with pytest.raises(ResetNeeded):
        env.step(0)
    with pytest.raises(ResetNeeded, match=r"\[0, 1\]"):
        envs.step([0, 0])
    env.reset(seed=0)
    envs.reset(seed=0)
    for _ in range(2):
        over, overs = env.step(0)[3], envs.step([0, 0])[3]
    assert over and overs.all()
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step(0)
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded, match=r"\[1\]"):
        envs.step([0, 0])
    env.close()
    envs.close()


BAD_MASKS = [[True, False], np.array([True]), np.array([1, 0]), np.array([False, False])]


@pytest.mark.parametrize("mask", BAD_MASKS, ids=str)
def test_masks_that_are_none_are_refused(mask):
    envs = gymnasium.make_vec(ID, num_envs=2, **SMALL_FRAMES)
    with pytest.raises(ValueError, match=r"reset_mask is .*; it has to be a bool array of shape \(2,\)"):
        envs.reset(options={"reset_mask": mask})
    envs.close()


def test_options_and_seeds_that_it_does_not_know_are_refused():
    env, envs = gymnasium.make(ID, **SMALL_FRAMES), gymnasium.make_vec(ID, num_envs=2, **SMALL_FRAMES)
    with pytest.raises(ValueError, match="unknown option 'map' of reset; options: none"):
        env.reset(options={"map": 1})
    with pytest.raises(ValueError, match="unknown option 'map' of reset; options: reset_mask"):
        envs.reset(options={"map": 1})
    with pytest.raises(ValueError, match="3 seeds for 2 environments"):
        envs.reset(seed=[1, 2, 3])
    env.close()
    envs.close()


@pytest.mark.parametrize("actions", list(outward.ACTIONS))
@pytest.mark.parametrize("batch", [False, True])
def test_actions_outside_their_space_move_nothing(actions, batch):
    env = gymnasium.make_vec(ID, num_envs=2, actions=actions, **SMALL_FRAMES)
    env = env if batch else gymnasium.make(ID, actions=actions, **SMALL_FRAMES).unwrapped
    env.reset(seed=0)
    good = np.asarray(env.action_space.sample())
    untouched = copy.deepcopy(env)
    for bad, message in (
        (good + 0.5, "is of type float64"),
        (good.astype(np.float32), "is of type float32"),
        (np.full_like(good, 600), "is not in"),
        (np.full_like(good, -600), "is not in"),
        (np.stack([good, good, good]), "is not in"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(bad)
    assert np.array_equal(env.step(good.astype(np.int32))[0], untouched.step(good)[0])
    env.close()
    untouched.close()


def test_a_constructor_that_fails_leaves_nothing_behind(monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: ignored.append(str(told.exc_value)))
    for bad in ({"actions": "all"}, {"autoreset_mode": "never"}, {"gravity": 1}):
        with pytest.raises(ValueError, match="unknown"):
            outward.MiniLabVectorEnv("nav_maze_static_01_mini", 2, **bad)
        with pytest.raises(ValueError, match="unknown"):
            gymnasium.make_vec(ID, num_envs=2, **bad)
        gc.collect()
    assert ignored == []


def test_counting_from_zero_is_dmlabs_encoding_shifted():
    frames = []
    for actions, action in (("dmlab", [20, 0, 0, 1, 0, 0, 0]), ("dmlab_from_zero", [532, 512, 1, 2, 0, 0, 0])):
        env = gymnasium.make(ID, actions=actions, **SMALL_FRAMES)
        env.reset(seed=5)
        frames.append(env.step(np.array(action))[0])
        assert (actions == "dmlab") == bool(env.action_space.start.any())
        env.close()
    assert np.array_equal(*frames)


def test_bad_arguments_name_the_choices():
    with pytest.raises(
        ValueError, match="unknown encoding of actions 'all'; encodings: small, big756, dmlab, dmlab_from_zero"
    ):
        gymnasium.make(ID, actions="all")
    with pytest.raises(ValueError, match="unknown setting 'gravity' of minilab"):
        gymnasium.make_vec(ID, num_envs=2, gravity=1)
    env = gymnasium.make(ID, **SMALL_FRAMES).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 9 is not in Discrete"):
        env.step(9)
    env.close()


def test_an_episode_that_ends_before_time_has_a_return():
    level = levels.make("CartPole-v1", "gymnasium", num_envs=3, action_repeat=3)
    right = np.ones((3, 1), np.int32)
    total, ended = np.zeros(3), 0
    for _ in range(20):
        step = level.step(right)
        total += step.reward
        assert np.array_equal(step.episode_return[step.done], total[step.done])
        assert np.array_equal(step.episode_frames[step.done], total[step.done])  # a reward of 1 a frame
        ended += step.done.sum()
        total[step.done] = 0
    level.close()
    assert ended >= 6


def test_what_gymnasium_cannot_do_says_so():
    level = levels.make(SQUARES, "gymnasium")
    for call in (lambda: level.map_image(0, 64), lambda: level.render(0, 32, 24)):
        with pytest.raises(levels.Unsupported):
            call()
    level.close()


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(foreign, "DECLARED", {})


def test_groups_of_discrete_actions_are_the_environments_own(declared):
    assert foreign.interface("CartPole-v1", 96, 72).actions.high.tolist() == [1]
    board = foreign.interface(SQUARES, 32, 24)
    assert board.spaces["big"].group_sizes == (3, 3) and set(board.spaces) == {"big"}
    assert board.spaces["big"].group_labels == (("-1", "0", "1"),) * 2
    assert board.observation_shape == (3, 24, 32) and board.info.episode_frames == 3600


def test_continuous_actions_need_a_declaration(declared):
    with pytest.raises(ValueError, match=r"Pendulum-v1 has continuous actions .* declare the values of its 1 groups"):
        levels.interface("Pendulum-v1", "gymnasium")
    foreign.declare("Pendulum-v1", groups={"torque": (-2.0, 0.0, 2.0)}, small={"left": (-2.0,), "right": (2.0,)})
    spaces = levels.interface("Pendulum-v1", "gymnasium").spaces
    assert [spaces["big"].label(a) for a in range(3)] == ["-2.0", "0.0", "2.0"] and spaces[
        "small"
    ].vectors.tolist() == [[0], [2]]
    level = levels.make("Pendulum-v1", "gymnasium", num_envs=2)
    assert level.step(np.array([[0], [2]], np.int32)).observation.shape == (2, 3)
    level.close()


@pytest.mark.parametrize(
    ("groups", "small", "message"),
    [
        ({"torque": (-3.0, 3.0)}, None, r"action \(-3.0,\) of Pendulum-v1 is not in Box"),
        ({"a": (0.0,), "b": (0.0,)}, None, "actions of 1 components; 2 groups are declared"),
        ({"torque": np.linspace(-2, 2, 5000).tolist()}, None, "more than 4096 joint actions"),
        ({"torque": (-2.0, 2.0)}, {"stay": (0.0,)}, "the small space of Pendulum-v1 has actions that are not"),
    ],
)
def test_declarations_that_do_not_fit_are_refused(declared, groups, small, message):
    foreign.declare("Pendulum-v1", groups=groups, small=small)
    with pytest.raises(ValueError, match=message):
        levels.interface("Pendulum-v1", "gymnasium")


def test_observations_that_no_agent_can_take_are_refused():
    gymnasium.register("Numbers-v0", entry_point=lambda: Numbers())
    with pytest.raises(ValueError, match=r"Numbers-v0 has observations Discrete\(16\); a level needs an image"):
        levels.interface("Numbers-v0", "gymnasium")


class Numbers(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Discrete(16), gymnasium.spaces.Discrete(2)


def test_pictures_are_resampled_by_area():
    picture = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6, 1) * 10
    half = foreign.resample(picture, 3, 2)
    assert half[..., 0].tolist() == [[35, 55, 75], [155, 175, 195]]  # means of 2 x 2
    assert (half == half[..., :1]).all() and half.shape == (2, 3, 3)
    assert foreign.resample(np.full((5, 7, 3), 200, np.uint8), 16, 9).tolist() == np.full((9, 16, 3), 200).tolist()


def test_methods_that_need_a_small_space_are_refused_without_one(declared):
    with pytest.raises(ConfigError, match=r"'mm' needs a small action space, which this level .*; without: .*big756"):
        check(make_config({"level": "CartPole-v1", "backend": "gymnasium", "method": "mm"}))


def test_a_declaration_may_have_a_module_in_front(declared):
    foreign.declare("contract_env:Arms-v0", small={"none": (0,), "best": (1,)})
    assert levels.interface("contract_env:Arms-v0", "gymnasium").spaces["small"].num_actions == 2


def test_an_agent_has_the_actions_that_its_settings_give_the_level(declared):
    config = make_config(
        dict(level="contract_env:Arms-v0", backend="gymnasium", method="big756", level_settings={"arms": 6})
    )
    assert specification(config).space.num_actions == 6
    assert specification(config.model_copy(update={"level_settings": {}})).space.num_actions == 2


def test_numpys_integers_are_seeds():
    for env, seeds in ((gymnasium.make(ID), np.int64(3)), (gymnasium.make_vec(ID, 2), np.array([3, 4]))):
        other = copy.deepcopy(env)
        first, _ = env.reset(seed=seeds)
        again, _ = other.reset(seed=seeds.tolist())
        assert np.array_equal(first, again)
        env.close()
        other.close()


def test_a_run_takes_one_level_of_gymnasium():
    values = {"level": "CartPole-v1+CartPole-v1", "backend": "gymnasium", "method": "multitask"}
    with pytest.raises(ConfigError, match="backend gymnasium takes one level a run, not 2"):
        check(make_config(values))


@pytest.mark.parametrize(("level", "method"), [("CartPole-v1", "big756"), ("CartPole-v1", "mm_three"), (SQUARES, "mm")])
def test_agents_train_on_what_was_not_made_for_them(declared, tmp_path, level, method):
    foreign.declare("CartPole-v1", small={"left": (0,), "right": (1,)})
    foreign.declare("Squares-v0", small={"right": (0, 1), "down": (1, 0)}, max_episode_steps=50)
    values = dict(level=level, backend="gymnasium", method=method, num_envs=2, unroll=20, width=32, height=24)
    values |= dict(conv1=(4, 2), action_repeat=2, alpha=[[0, 0.0], [160, 1.0]], checkpoint_every=120)
    train(make_config({**values, "agent_steps": 120}), tmp_path)
    train(make_config({**values, "agent_steps": 240}), tmp_path)  # on from the checkpoint, with new episodes
    run = Run(tmp_path)
    assert run.done and run.config["backend_in_force"] == "gymnasium"
    assert len(run.episodes()) >= 2 and (run.metrics().grad_norm > 0).all()


TOYS = """
import gymnasium
from contract_env import Squares

from mmlib.levels.foreign import declare

for name in ("Toy-v1", "Lab/Toy-v1"):
    gymnasium.register(name, entry_point=Squares, max_episode_steps=20)
    declare(name, small={"right": (0, 1), "down": (1, 0)})
"""


@pytest.fixture
def toys(declared, tmp_path, monkeypatch):
    """A package with environments of its own, deep in it, as a user has them."""
    (tmp_path / "mypkg" / "envs").mkdir(parents=True)
    (tmp_path / "mypkg" / "envs" / "toy.py").write_text(TOYS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("Toy-v1", "Lab/Toy-v1"):
        gymnasium.registry.pop(name, None)
    for name in ("mypkg", "mypkg.envs", "mypkg.envs.toy"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["mypkg.envs.toy:Toy-v1", "mypkg.envs.toy:Lab/Toy-v1"])
@pytest.mark.parametrize("method", ["mm", "big756"])
def test_a_level_may_have_any_name_that_gymnasium_takes(toys, tmp_path, name, method):
    values = dict(level=name, backend="gymnasium", method=method, num_envs=2, unroll=5, width=32, height=24)
    directory = run_directory(tmp_path / "results", "smoke", "runs", name, method, 0)
    train(make_config({**values, "conv1": (4, 2), "agent_steps": 20}), directory)
    (found,) = find_runs(tmp_path / "results", level=name)
    assert found.done and found.config["level"] == name
    assert trained.load(directory).agent_steps == 20


def test_the_last_episode_of_an_interrupted_run_is_not_counted(declared):
    config = make_config(dict(level="CartPole-v1", backend="gymnasium", method="big756", num_envs=2, unroll=5))
    loop = TrainingLoop(config)
    loop.iterate()
    saved = loop.state_dict()
    loop.close()
    other = TrainingLoop(config)
    other.load_state_dict(saved)
    assert other.fleet.shard.actors[0].first.all() and other.agent_steps == 10
    assert np.array_equal(other.fleet.shard.actors[0].observation[0].numpy(), other.fleet.shard.actors[0].level._seen)
    other.close()
