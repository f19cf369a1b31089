"""Which episode each environment plays, for backends whose environments keep no account of it themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.base import check_state


class Episodes:
    """Numbers, lengths and returns of the current episodes of B environments.

    Args:
      seed: of the level, 0 <= seed < 2**63.
      num_envs: B.
      episode_frames: of a whole episode; 0 if there is no time limit.
      staggered: cut each environment's first episode at a random frame.
      first_env: see `mmlib.levels.make`.

    Raises:
      ValueError: staggered without a time limit.
    """

    def __init__(self, seed: int, num_envs: int, episode_frames: int, staggered: bool, first_env: int = 0):
        if staggered and not episode_frames:
            raise ValueError("staggered = True needs a level with a time limit; this one has none")
        self.seed, self.first_env = seed, first_env
        self.number = np.zeros(num_envs, np.int64)  # of the current episode
        self.frames = np.zeros(num_envs, np.int32)  # played of it
        self.returns = np.zeros(num_envs, np.float64)  # of it so far
        self.cut = np.zeros(num_envs, np.int64)  # frame at which to cut the first episode, 0: it is played out
        if staggered:
            for i in range(num_envs):
                self.cut[i] = np.random.default_rng((seed, first_env + i, 1)).integers(1, max(2, episode_frames))

    def seed_of(self, i: int, ahead: int = 0) -> int:
        """The seed, below 2**31, of environment i's episode `ahead` of the current one."""
        entropy = (self.seed, self.first_env + i, 0, int(self.number[i]) + ahead)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)

    def frames_to_cut(self, i: int) -> int | None:
        """How many more frames environment i's episode is played before it is cut; None if it is not."""
        if self.number[i] or not self.cut[i]:
            return None
        return int(self.cut[i] - self.frames[i])

    def add(self, i: int, reward: float, frames: int) -> None:
        """Environment i played so many frames for that reward."""
        self.returns[i] += reward
        self.frames[i] += frames

    def finish(self, i: int, cut: bool = False) -> tuple[float, int]:
        """Ends environment i's episode; returns its return (NaN if it was cut) and length, at least a frame."""
        ended = (np.nan if cut else float(self.returns[i])), max(1, int(self.frames[i]))
        self.number[i] += 1
        self.frames[i], self.returns[i] = 0, 0.0
        return ended

    def restart(self) -> None:
        """Goes back to the first episode of every environment."""
        self.number[:], self.frames[:], self.returns[:] = 0, 0, 0.0

    def state_dict(self) -> dict[str, NDArray]:
        """What decides the episodes to come."""
        return {"seed": np.array(self.seed, np.int64), "episode": self.number.copy()}

    def load_state_dict(self, state: dict[str, NDArray], level: str) -> None:
        """Goes to the episodes after those of `state`.

        Raises:
          ValueError: the state is of another level, seed or number of environments.
        """
        check_state(state, self.state_dict(), level)
        self.restart()
        self.number[:] = state["episode"] + 1
