"""Gymnasium environments for the tests: one with images and two action components, one whose actions are a setting."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces

HEIGHT, WIDTH = 20, 32


class Squares(gymnasium.Env):
    """A cursor on a board of squares; a bright one is worth 1, once. It ends by time only."""

    def __init__(self):
        self.observation_space = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        self.action_space = spaces.MultiDiscrete([3, 3], start=[-1, -1])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.board = self.np_random.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
        self.at = self.np_random.integers(0, (HEIGHT, WIDTH))
        return self._see(), {}

    def step(self, action):
        self.at = (self.at + action) % (HEIGHT, WIDTH)
        reward = float(self.board[tuple(self.at)] > 200)
        self.board[tuple(self.at)] = 0
        return self._see(), reward, False, False, {}

    def _see(self):
        picture = np.repeat(self.board[..., None], 3, axis=2)
        picture[tuple(self.at)] = (255, 0, 0)
        return picture


class Arms(gymnasium.Env):
    """A bandit with as many arms as it is asked for; each pays its number."""

    def __init__(self, arms=2):
        self.observation_space = spaces.Box(0, 1, (1,), np.float32)
        self.action_space = spaces.Discrete(arms)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), float(action), False, False, {}


gymnasium.register("Arms-v0", entry_point="contract_env:Arms", max_episode_steps=10)
gymnasium.register("Squares-v0", entry_point="contract_env:Squares", max_episode_steps=3600)
