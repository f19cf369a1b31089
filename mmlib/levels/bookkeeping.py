"""Which episode each environment plays, for backends whose environments keep no account of it themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.base import Pose, Step, Unsupported, check_state


class CountedLevel:
    """A level (`levels.base.Level`) whose episodes are numbered, seeded and cut here.

    A subclass begins the current episodes of some environments in `_begin`, and writes what they see into `_seen`.
    What no environment of these backends can do raises `Unsupported`.

    Args:
      episode_frames: of a whole episode; 0 if there is no time limit.
      Others: see `mmlib.levels.make`.

    Raises:
      ValueError: staggered without a time limit.
    """

    backend: str
    _seen: NDArray[Any]  # the observation

    def __init__(
        self,
        name: str,
        num_envs: int,
        seed: int,
        action_repeat: int,
        width: int,
        height: int,
        first_env: int,
        staggered: bool,
        episode_frames: int,
    ):
        if staggered and not episode_frames:
            raise ValueError("staggered = True needs a level with a time limit; this one has none")
        self.name, self.num_envs, self.action_repeat = name, num_envs, action_repeat
        self.width, self.height, self.episode_frames = width, height, episode_frames
        self._seed, self._first_env = seed, first_env
        self._number = np.zeros(num_envs, np.int64)  # of the current episode
        self._frames = np.zeros(num_envs, np.int32)  # played of it
        self._returns = np.zeros(num_envs, np.float64)  # of it so far
        self._cut = np.zeros(num_envs, np.int64)  # frame at which to cut the first episode, 0: it is played out
        if staggered:
            for i in range(num_envs):
                self._cut[i] = np.random.default_rng((seed, first_env + i, 1)).integers(1, max(2, episode_frames))

    def seed_of(self, i: int, ahead: int = 0) -> int:
        """The seed, below 2**31, of environment i's episode `ahead` of the current one."""
        entropy = (self._seed, self._first_env + i, 0, int(self._number[i]) + ahead)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)

    def frames_to_cut(self, i: int) -> int | None:
        """How many more frames environment i's episode is played before it is cut; None if it is not."""
        if self._number[i] or not self._cut[i]:
            return None
        return int(self._cut[i] - self._frames[i])

    def _begin(self, which: Iterable[int]) -> None:
        raise NotImplementedError

    def _nothing(self) -> Step:
        """A step in which nothing has happened yet."""
        reward, done = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, np.bool_)
        returns, lengths = np.full(self.num_envs, np.nan, np.float32), np.zeros(self.num_envs, np.int32)
        return Step(self._seen, reward, done, returns, lengths)

    def _count(self, i: int, reward: float, frames: int) -> None:
        """Environment i played so many frames for that reward."""
        self._returns[i] += reward
        self._frames[i] += frames

    def _finish(self, step: Step, i: int, cut: bool) -> None:
        """Ends environment i's episode in a step; its return is NaN if it was cut, its length at least a frame."""
        step.done[i], step.episode_frames[i] = True, max(1, self._frames[i])
        step.episode_return[i] = np.nan if cut else self._returns[i]
        self._number[i] += 1
        self._frames[i], self._returns[i] = 0, 0.0

    def reset(self) -> NDArray[Any]:
        """See `Level.reset`."""
        return self._begin_all(0)

    def _begin_all(self, number: NDArray[np.int64] | int) -> NDArray[Any]:
        """Begins the episodes of these numbers."""
        self._number[:], self._frames[:], self._returns[:] = number, 0, 0.0
        self._begin(range(self.num_envs))
        return self._seen

    def pose(self, i: int) -> Pose:
        """Raises Unsupported."""
        raise Unsupported(f"levels of backend {self.backend} have no pose; those of minilab and dmlab do")

    def map_image(self, i: int, pixels: int) -> NDArray[np.uint8]:
        """Raises Unsupported."""
        raise Unsupported(f"backend {self.backend} draws no maps; backend minilab does")

    def state_dict(self) -> dict[str, NDArray]:
        """The numbers of the current episodes: what happens inside one cannot be saved."""
        return {"seed": np.array(self._seed, np.int64), "episode": self._number.copy()}

    def load_state_dict(self, state: dict[str, NDArray]) -> NDArray[Any]:
        """Begins the episodes after those of `state`, see `Level.load_state_dict`.

        Raises:
          ValueError: the state is of another level, seed or number of environments.
        """
        check_state(state, self.state_dict(), self.name)
        return self._begin_all(state["episode"] + 1)
