"""MiniLab's levels as Gymnasium environments, for anybody's agent; importing this module registers them.

    import gymnasium, mmlib.levels.gymnasium
    gymnasium.register_envs(mmlib.levels.gymnasium)  # does nothing, but keeps linters from dropping the import

    env = gymnasium.make("MiniLab/nav_maze_static_01-v0", render_mode="rgb_array")
    envs = gymnasium.make_vec("MiniLab/nav_maze_static_01-v0", num_envs=16, actions="big756")

`mmlib.levels.foreign` is the other way round: Gymnasium environments as levels.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mmlib import levels
from mmlib.levels.base import ACTION_HIGH, ACTION_LOW, FRAMES_PER_SECOND
from mmlib.spaces import BIG_756, SMALL

NAMESPACE = "MiniLab"
RENDER_SIZE = (320, 240)
ACTIONS: dict[str, spaces.Discrete | spaces.MultiDiscrete] = {
    "small": spaces.Discrete(SMALL.num_actions),
    "big756": spaces.MultiDiscrete(list(BIG_756.group_sizes)),
    "dmlab": spaces.MultiDiscrete(ACTION_HIGH.astype(np.int64) - ACTION_LOW + 1, start=ACTION_LOW.astype(np.int64)),
}
"""Encodings of an action: the nine joint actions of `mmlib.spaces.SMALL`; the six groups of `BIG_756`; DeepMind Lab's
seven integers themselves."""


class _Batch:
    """What the single environment and the batch have in common: a MiniLab level and its spaces.

    An observation is uint8 `[height, width, 3]`. `reset` begins new episodes of a new seed.
    """

    def __init__(self, level: str, num_envs: int, actions: str, render_mode: str | None, **settings: Any):
        if actions not in ACTIONS:
            raise ValueError(f"unknown encoding of actions {actions!r}; encodings: {', '.join(ACTIONS)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"unknown render_mode {render_mode!r}; modes: None, rgb_array")
        self.actions, self.settings = actions, {**settings, "name": level, "num_envs": num_envs, "backend": "minilab"}
        self.level: Any = self.new_level(0)  # replaced at reset; made here so that bad arguments raise here
        shape = (self.level.height, self.level.width, 3)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": FRAMES_PER_SECOND // self.level.action_repeat,
            "autoreset_mode": AutoresetMode.SAME_STEP,
        }

    def new_level(self, seed: int) -> Any:
        """A level of that seed, which keeps what ended episodes saw last."""
        level: Any = levels.make(seed=seed, **self.settings)
        level.last_frames = np.zeros((level.num_envs, 3, level.height, level.width), np.uint8)
        return level

    def reset(self, seed: int) -> NDArray[np.uint8]:
        """Begins anew with a seed; observations `[B, height, width, 3]`."""
        self.level.close()
        self.level = self.new_level(seed)
        return interleaved(self.level.reset())

    def vectors(self, actions: Any) -> NDArray[np.int32]:
        """DeepMind Lab's integers `[B, 7]` of a batch of actions."""
        if self.actions == "small":
            return SMALL.encode(actions)
        if self.actions == "big756":
            return BIG_756.encode(BIG_756.ravel(actions))
        return np.asarray(actions).astype(np.int32)

    def render(self, i: int) -> NDArray[np.uint8]:
        """Environment i as a picture for people."""
        return self.level.render(i, *RENDER_SIZE)


class MiniLabEnv(gymnasium.Env):
    """One MiniLab environment. Episodes end by time only, so they are truncated and never terminated.

    Args:
      level: a key of `mmlib.levels.LEVELS`.
      actions: a key of `ACTIONS`.
      render_mode: "rgb_array" for pictures of 320 x 240, or None.
      **settings: of `mmlib.levels.make`: action_repeat, width, height and MiniLab's own, such as episode_seconds.

    Raises:
      ValueError: an unknown level, encoding, mode or setting, or an argument outside its range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FRAMES_PER_SECOND // 4}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, level: str, actions: str = "small", render_mode: str | None = None, **settings: Any):
        self.batch = _Batch(level, 1, actions, render_mode, **settings)
        self.metadata = {k: v for k, v in self.batch.metadata.items() if k != "autoreset_mode"}
        self.render_mode = render_mode
        self.action_space, self.observation_space = ACTIONS[actions], self.batch.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode: its observation and an empty dict."""
        super().reset(seed=seed)
        return self.batch.reset(int(self.np_random.integers(2**62)))[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays action_repeat frames. Stepping on after the end plays the next episode."""
        if action not in self.action_space:
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        step = self.batch.level.step(self.batch.vectors(np.asarray(action)[None]))
        ended = bool(step.done[0])
        seen = self.batch.level.last_frames if ended else step.observation
        return interleaved(seen)[0], float(step.reward[0]), False, ended, {}

    def render(self) -> Any:
        """What the agent sees, uint8 `[240, 320, 3]`; None without a render mode."""
        return None if self.render_mode is None else self.batch.render(0)

    def close(self) -> None:
        """Releases the level."""
        self.batch.level.close()


class MiniLabVectorEnv(VectorEnv):
    """A batch of MiniLab environments in one engine, see `MiniLabEnv` for the arguments.

    Autoreset is in the same step: with a truncation comes the first observation of the next episode, and the last one
    of the old in `infos["final_obs"]`.
    """

    metadata = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self, level: str, num_envs: int = 1, actions: str = "small", render_mode: str | None = None, **settings: Any
    ):
        self.batch = _Batch(level, num_envs, actions, render_mode, **settings)
        self.metadata, self.render_mode, self.num_envs = self.batch.metadata, render_mode, num_envs
        self.single_action_space, self.single_observation_space = ACTIONS[actions], self.batch.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode everywhere: observations and an empty dict."""
        super().reset(seed=seed)
        return self.batch.reset(int(self.np_random.integers(2**62))), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Plays action_repeat frames in every environment."""
        step = self.batch.level.step(self.batch.vectors(actions))
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(step.done):
            final = interleaved(self.batch.level.last_frames[i : i + 1])[0]
            infos = self._add_info(infos, {"final_obs": final, "final_info": {}}, i)
        terminated = np.zeros(self.num_envs, np.bool_)
        return interleaved(step.observation), step.reward.astype(np.float64), terminated, step.done, infos

    def render(self) -> tuple[Any, ...] | None:
        """What each agent sees, uint8 `[240, 320, 3]` each; None without a render mode."""
        return None if self.render_mode is None else tuple(self.batch.render(i) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Releases the level."""
        self.batch.level.close()


def interleaved(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A new array `[B, H, W, 3]` of planar frames `[B, 3, H, W]`."""
    return np.ascontiguousarray(frames.transpose(0, 2, 3, 1))


for _name in levels.LEVELS:
    gymnasium.register(
        id=f"{NAMESPACE}/{_name}-v0",
        entry_point="mmlib.levels.gymnasium:MiniLabEnv",
        vector_entry_point="mmlib.levels.gymnasium:MiniLabVectorEnv",
        kwargs={"level": _name},
    )
