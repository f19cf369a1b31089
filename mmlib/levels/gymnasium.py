"""MiniLab's levels as Gymnasium environments, for anybody's agent; importing this module registers them.

    import gymnasium, mmlib.levels.gymnasium
    gymnasium.register_envs(mmlib.levels.gymnasium)  # does nothing, but keeps linters from dropping the import

    env = gymnasium.make("MiniLab/nav_maze_static_01-v0", render_mode="rgb_array")
    envs = gymnasium.make_vec("MiniLab/nav_maze_static_01-v0", num_envs=16, actions="big756")

`mmlib.levels.foreign` is the other way round: Gymnasium environments as levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mmlib import levels
from mmlib.levels.base import FRAMES_PER_SECOND, LAB_ACTIONS
from mmlib.spaces import BIG_756, SMALL

NAMESPACE = "MiniLab"
RENDER_SIZE = (320, 240)


class Encoding(NamedTuple):
    """How an action is written."""

    space: Callable[[], spaces.Discrete | spaces.MultiDiscrete]  # a new one: each has a random generator of its own
    vectors: Callable[[NDArray[Any]], NDArray[np.int32]]  # DeepMind Lab's integers [B, 7] of a batch of actions


_LOWEST = LAB_ACTIONS.low.astype(np.int64)
_SIZES = LAB_ACTIONS.high - _LOWEST + 1

ACTIONS: dict[str, Encoding] = {
    "small": Encoding(lambda: spaces.Discrete(SMALL.num_actions), SMALL.encode),
    "big756": Encoding(
        lambda: spaces.MultiDiscrete(list(BIG_756.group_sizes)), lambda actions: BIG_756.encode(BIG_756.ravel(actions))
    ),
    "dmlab": Encoding(lambda: spaces.MultiDiscrete(_SIZES, start=_LOWEST), lambda actions: actions.astype(np.int32)),
    "dmlab_from_zero": Encoding(
        lambda: spaces.MultiDiscrete(_SIZES), lambda actions: (actions + _LOWEST).astype(np.int32)
    ),
}
"""Encodings of an action: the nine joint actions of `mmlib.spaces.SMALL`; the six groups of `BIG_756`; DeepMind Lab's
seven integers themselves; the same counted from their lower bounds, for libraries that know no other start than 0."""


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
        self._alone = MiniLabVectorEnv(level, 1, actions, render_mode, AutoresetMode.DISABLED, **settings)
        self.metadata = {name: self._alone.metadata[name] for name in self.metadata}
        self.render_mode = render_mode
        self.action_space = self._alone.single_action_space
        self.observation_space = self._alone.single_observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins the first episode of a seed, or the next one: its observation and an empty dict.

        Raises:
          ValueError: there are options; it has none.
        """
        _check_options(options, ())
        seed = None if seed is None else int(seed)  # NumPy's will do
        super().reset(seed=seed)
        return self._alone.reset(seed=seed)[0][0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays action_repeat frames.

        Raises:
          ValueError: the action is not in the action space; nothing has moved then.
          ResetNeeded: the episode is over, or none has begun.
        """
        if self._alone.over[0]:
            raise ResetNeeded("the episode is over, or none has begun: call reset()")
        frames, reward, _, over, _ = self._alone.play(self._alone.vectors(action, self.action_space).reshape(1, -1))
        return frames[0], float(reward[0]), False, bool(over[0]), {}

    def render(self) -> Any:
        """What the agent sees, uint8 `[240, 320, 3]`; None without a render mode."""
        pictures = self._alone.render()
        return None if pictures is None else pictures[0]

    def close(self) -> None:
        """Releases the level."""
        self._alone.close()


class MiniLabVectorEnv(VectorEnv):
    """A batch of MiniLab environments in one engine, which plays what a `SyncVectorEnv` of `MiniLabEnv` does.

    Args:
      autoreset_mode: when an episode that ended is followed by the next: in the next step, whose action is then
        ignored (NEXT_STEP, Gymnasium's default); in the same one, with the last observation in `infos["final_obs"]`
        (SAME_STEP); or by `reset` with a `reset_mask` (DISABLED).
      Others: see `MiniLabEnv`.
    """

    metadata = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        level: str,
        num_envs: int = 1,
        actions: str = "small",
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **settings: Any,
    ):
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        if actions not in ACTIONS:
            raise ValueError(f"unknown encoding of actions {actions!r}; encodings: {', '.join(ACTIONS)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"unknown render_mode {render_mode!r}; modes: None, rgb_array")
        self._level: Any = levels.make(level, "minilab", num_envs, **settings)
        self._encoding, self.render_mode, self.num_envs = actions, render_mode, num_envs
        rate = FRAMES_PER_SECOND // self._level.action_repeat
        self.metadata = {**self.metadata, "render_fps": rate, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = ACTIONS[actions].space()
        self.single_observation_space = spaces.Box(0, 255, (self._level.height, self._level.width, 3), np.uint8)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._begun = np.zeros(num_envs, np.bool_)  # reset once, at least
        self.over = np.ones(num_envs, np.bool_)  # no episode is under way

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins the first episode of a seed, or the next one, everywhere or where a mask says.

        Args:
          seed: s for the seeds s, s + 1, ... of the environments; or one for each, None for its next episode.
          options: {"reset_mask": bool [num_envs]} for the environments to reset.

        Returns:
          all observations, and an empty dict.

        Raises:
          ValueError: a number of seeds other than num_envs, an unknown option, or a mask of another kind.
        """
        which = _reset_mask(options, self.num_envs)
        if seed is None or isinstance(seed, int | np.integer):
            seed = None if seed is None else int(seed)
            super().reset(seed=seed)
            seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        else:
            seeds = [None if each is None else int(each) for each in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"there are {len(seeds)} seeds for {self.num_envs} environments")
        return interleaved(self._begin(which, seeds)), {}

    def _begin(self, which: NDArray[np.bool_], seeds: Sequence[int | None] | None = None) -> NDArray[np.uint8]:
        """Begins the next episode of environments, or the first of their seeds; all frames `[B, 3, H, W]`."""
        seeds = seeds or [None] * self.num_envs
        fresh = [i for i in np.flatnonzero(which).tolist() if seeds[i] is not None or not self._begun[i]]
        level_seeds = {i: int(seeding.np_random(seeds[i])[0].integers(2**62)) for i in fresh}
        self._begun[which], self.over[which] = True, False
        return self._level.begin(which, level_seeds)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Plays action_repeat frames in every environment whose episode is not over.

        Raises:
          ValueError: the actions are not in the action space; nothing has moved then.
          ResetNeeded: an environment was never reset, or is over and autoreset is disabled.
        """
        waits = self.over if self.autoreset_mode is AutoresetMode.DISABLED else ~self._begun
        if waits.any():
            raise ResetNeeded(f"the environments {np.flatnonzero(waits).tolist()} have no episode: call reset()")
        return self.play(self.vectors(actions, self.action_space))

    def vectors(self, actions: Any, space: spaces.Space) -> NDArray[np.int32]:
        """DeepMind Lab's integers `[B, 7]` of actions that have to be in `space`; raises ValueError."""
        values = np.asarray(actions)
        if values.dtype.kind not in "iu":
            raise ValueError(f"action {actions!r} is of type {values.dtype}; {space} has integers")
        single = isinstance(space, spaces.Discrete)
        if not space.contains(int(values) if single and values.shape == () else values.astype(np.int64)):
            raise ValueError(f"action {actions!r} is not in {space}")
        return ACTIONS[self._encoding].vectors(values.astype(np.int64))

    def play(self, vectors: NDArray[np.int32]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """`step` with DeepMind Lab's integers `[B, 7]`."""
        going_on = ~self.over
        if not going_on.all():
            self._begin(~going_on)
        step = self._level.play(vectors, going_on)
        self.over = step.done.copy()
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and step.done.any():
            last = interleaved(step.observation)
            for i in np.flatnonzero(step.done):
                infos = self._add_info(infos, {"final_obs": last[i], "final_info": {}}, i)
            self._begin(step.done)
        terminated = np.zeros(self.num_envs, np.bool_)
        return interleaved(step.observation), step.reward.astype(np.float64), terminated, step.done, infos

    def render(self) -> tuple[Any, ...] | None:
        """What each agent sees, uint8 `[240, 320, 3]` each; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self._level.render(i, *RENDER_SIZE) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Releases the level."""
        if hasattr(self, "_level"):  # not if the constructor failed
            self._level.close()


def interleaved(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A new array `[B, H, W, 3]` of planar frames `[B, 3, H, W]`."""
    return np.ascontiguousarray(frames.transpose(0, 2, 3, 1))


def _autoreset_mode(name: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(name)
    except ValueError:
        modes = ", ".join(f"{mode.name} ({mode.value!r})" for mode in AutoresetMode)
        raise ValueError(f"unknown autoreset_mode {name!r}; modes: {modes}") from None


def _check_options(options: dict[str, Any] | None, known: tuple[str, ...]) -> None:
    for name in options or {}:
        if name not in known:
            raise ValueError(f"unknown option {name!r} of reset; options: {', '.join(known) or 'none'}")


def _reset_mask(options: dict[str, Any] | None, num_envs: int) -> NDArray[np.bool_]:
    """Which environments a reset's options name: all without a mask."""
    _check_options(options, ("reset_mask",))
    mask = (options or {}).get("reset_mask", np.ones(num_envs, np.bool_))
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise ValueError(f"reset_mask is {mask!r}; it has to be a bool array of shape ({num_envs},) with a True")
    return mask


for _name in levels.LEVELS:
    gymnasium.register(
        id=f"{NAMESPACE}/{_name}-v0",
        entry_point="mmlib.levels.gymnasium:MiniLabEnv",
        vector_entry_point="mmlib.levels.gymnasium:MiniLabVectorEnv",
        kwargs={"level": _name},
    )
