"""MiniLab as Gymnasium environments, and Gymnasium environments as levels, beyond the contract."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mmlib.levels.gymnasium as outward
from mmlib import levels
from mmlib.config import ConfigError, make_config
from mmlib.levels import foreign
from mmlib.method.fitting import check
from mmlib.runs.reader import Run
from mmlib.spaces import BIG_756, SMALL
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
    small = SMALL.labels.index("look right + forward")
    big = BIG_756.unravel(BIG_756.vectors.tolist().index(vector.tolist()))
    seen = []
    for actions, action in (("small", small), ("big756", big), ("dmlab", vector)):
        env = gymnasium.make(ID, actions=actions, **SMALL_FRAMES)
        first, _ = env.reset(seed=5)
        frames = [env.step(action)[0] for _ in range(5)]
        assert not np.array_equal(first, frames[0])
        seen.append(frames)
        env.close()
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2])


def test_a_batch_resets_in_the_same_step_and_keeps_the_last_frame():
    single = gymnasium.make(ID, episode_seconds=0.5, **SMALL_FRAMES).unwrapped
    envs = gymnasium.make_vec(ID, num_envs=3, episode_seconds=0.5, render_mode="rgb_array", **SMALL_FRAMES)
    assert envs.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.SAME_STEP
    seen, _ = envs.reset(seed=1)
    alone, _ = single.reset(seed=1)
    assert seen.shape == (3, 24, 32, 3) and np.array_equal(seen[0], alone)
    for k in range(8):
        seen, reward, terminated, truncated, infos = envs.step(np.zeros(3, np.int64))
        alone, reward_alone, _, over, _ = single.step(0)
        assert reward[0] == reward_alone and not terminated.any()
        assert truncated.all() == over == (k == 7)
    assert infos["_final_obs"].all() and np.array_equal(infos["final_obs"][0], alone)
    assert not np.array_equal(seen[0], alone)
    assert seen in envs.observation_space and len(envs.render()) == 3
    assert envs.render()[0].shape == (240, 320, 3)
    again, _ = envs.reset(seed=1)
    other, _ = envs.reset()
    assert not np.array_equal(again, other)
    envs.close()
    single.close()


def test_bad_arguments_name_the_choices():
    with pytest.raises(ValueError, match="unknown encoding of actions 'all'; encodings: small, big756, dmlab"):
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
        levels.check("Pendulum-v1", "gymnasium")
    foreign.declare("Pendulum-v1", groups={"torque": (-2.0, 0.0, 2.0)}, small={"left": (-2.0,), "right": (2.0,)})
    spaces = levels.interface("Pendulum-v1", "gymnasium").spaces
    assert spaces["big"].labels == ("-2.0", "0.0", "2.0") and spaces["small"].vectors.tolist() == [[0], [2]]
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
        levels.check("Pendulum-v1", "gymnasium")


def test_observations_that_no_agent_can_take_are_refused():
    gymnasium.register("Numbers-v0", entry_point=lambda: Numbers())
    with pytest.raises(ValueError, match=r"Numbers-v0 has observations Discrete\(16\); a level needs an image"):
        levels.check("Numbers-v0", "gymnasium")


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


def test_the_last_episode_of_an_interrupted_run_is_not_counted(declared):
    config = make_config(dict(level="CartPole-v1", backend="gymnasium", method="big756", num_envs=2, unroll=5))
    loop = TrainingLoop(config)
    loop.iterate()
    saved = loop.state_dict()
    loop.close()
    other = TrainingLoop(config)
    other.load_state_dict(saved)
    assert other.actors[0].first.all() and other.agent_steps == 10
    assert np.array_equal(other.actors[0].observation[0].numpy(), other.actors[0].level._seen)
    other.close()
