"""A stand-in for the Python module of DeepMind Lab, as strict as its interface (facts of commit b1db91a).

What is not defined there is an error here: actions outside their range, a reset without a seed, a second Lab in a
process. The world is an open plane with apples; the picture depends on the episode and the pose. What was measured of
the engine and is not as one would have it is here too:

- After a reset the picture is sometimes still the previous episode's, for one frame: always of the second episode of a
  process, and of every seventh after it, but not where the last four frames had no action.
- Episodes after the first of a process depend a little on what was played before: the same seed has the same spawn, but
  not exactly the same pose and picture.
- Without temp_folder it works in dmlab_temp_folder_*, which is left behind if the process is killed; one that it is
  given must be there, and is not removed.

FAKE_DMLAB_DIES=N makes every Lab end its process at frame N of an episode, with last words.
FAKE_DMLAB_FAILS=TEXT makes it refuse every level with that text.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile

import numpy as np

LEVELS = {
    "contributed/dmlab30/explore_object_locations_small": 90,
    "nav_maze_static_01": 60,
    "nav_maze_static_02": 150,
    "lt_horseshoe_color": 600,
    "lt_chasm": 600,
}
BOTS = ("lt_horseshoe_color", "lt_chasm")
BOUNDS = np.array([(-512, 512), (-512, 512), (-1, 1), (-1, 1), (0, 1), (0, 1), (0, 1)])
SIDE, REACH, APPLES = 1000.0, 40.0, 150
PITCH_LIMIT = 87.890625
SETTLED = 4  # frames without action


class Lab:
    alive = 0

    def __init__(
        self,
        level,
        observations,
        config={},  # noqa: B006
        renderer="software",
        level_cache=None,
        temp_folder="",
    ):
        if "FAKE_DMLAB_FAILS" in os.environ:
            raise RuntimeError(os.environ["FAKE_DMLAB_FAILS"])
        if not isinstance(level, str) or type(observations) is not list or type(config) is not dict:
            raise TypeError("Lab(level: str, observations: list, config: dict)")
        if not all(isinstance(text, str) for pair in config.items() for text in pair):
            raise TypeError("bad argument type for built-in operation")
        if renderer not in ("software", "hardware"):
            raise RuntimeError(f'Failed to set renderer must be "hardware" or "software" actual "{renderer}"!')
        if level not in LEVELS:
            raise RuntimeError(f"Invalid levelName flag '{level}' - \"level not found\"")
        if Lab.alive:
            raise RuntimeError("a second Lab in one process")
        known = {"width", "height", "fps", "episodeLengthSeconds", "minimalUI", "allowHoldOutLevels", "logLevel"}
        known |= {"botCount", "skill"} if level in BOTS else set()
        for name, value in config.items():
            if name not in known:
                raise RuntimeError(f'Failed to init environment - "Invalid setting: "{name}" = "{value}""')
        assert config["fps"] == "60"
        self.width, self.height = int(config["width"]), int(config["height"])
        self.total = round(float(config.get("episodeLengthSeconds", LEVELS[level])) * 60)
        makers = {"RGB": self._rgb, "RGB_INTERLEAVED": lambda: self._rgb().transpose(1, 2, 0)}
        makers["DEBUG.POS.TRANS"] = lambda: np.array([*self.position, 25.12])
        makers["DEBUG.POS.ROT"] = lambda: np.array([self.pitch, self.yaw, 0.0])
        for name in observations:
            if name not in makers:
                raise ValueError(f"Unknown observation '{name}'.")
        self.makers = {name: makers[name] for name in observations}
        self.level, self.cache, self.running = level, level_cache, False
        self.episodes = self.played = self.still = 0
        self.shown = self.stale = None
        self.owns_folder = not temp_folder
        self.folder = temp_folder or tempfile.mkdtemp(prefix="dmlab_temp_folder_")
        os.mkdir(os.path.join(self.folder, "baselab"))
        self.dies = int(os.environ.get("FAKE_DMLAB_DIES", 0))
        Lab.alive += 1
        _say(f"I am DeepMind Lab, and I print: {level}\n")

    def reset(self, episode=-1, seed=None):
        if type(seed) is not int:
            raise ValueError(f"'seed' must be int or None, was '{type(seed).__name__}'.")
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed {seed} is no C int")
        if "explore" in self.level:
            self._map(f"map of {seed}")
        rng = np.random.default_rng(seed)
        self.position = rng.uniform(0, SIDE, 2)
        self.yaw, self.pitch, self.frames, self.running = rng.uniform(-180, 180), 0.0, 0, True
        self.apples = rng.uniform(0, SIDE, (APPLES, 2))
        coarse = rng.integers(0, 250, (3, 8, 8), dtype=np.uint8)
        self.art = coarse.repeat(8, 1).repeat(8, 2)
        self.stale = None
        if self.episodes:
            self.position += 0.01 * (self.played % 7)
            self.art += np.uint8(self.played % 5)
            if self.still < SETTLED and (self.episodes == 1 or self.episodes % 7 == 0):
                self.stale = self.shown
        self.episodes += 1
        return True

    def _map(self, key):
        with tempfile.TemporaryDirectory(dir=self.folder) as directory:
            path = os.path.join(directory, "map.pk3")
            if self.cache is None or not self.cache.fetch(key, path):
                _say(f"compiling {key}\n")
                with open(path, "w") as file:
                    file.write(key)
                if self.cache is not None:
                    self.cache.write(key, path)
            with open(path) as file:
                assert file.read() == key

    def step(self, action, num_steps=1):
        if not self.running:
            raise RuntimeError("Environment in wrong status to advance.")
        if not isinstance(action, np.ndarray) or type(num_steps) is not int or num_steps < 1:
            raise TypeError("step(action: numpy.ndarray, num_steps: int)")
        if action.shape != (7,):
            raise ValueError("action must have shape (7)")
        if action.dtype != np.intc:
            raise ValueError("action must have dtype np.intc")
        if ((action < BOUNDS[:, 0]) | (action > BOUNDS[:, 1])).any():
            raise ValueError(f"{action} is outside the action's specification")
        return float(sum(self._frame(action) for _ in range(num_steps)))

    def _frame(self, action):
        if not self.running:
            return 0
        self.frames += 1
        self.played += 1
        self.still = 0 if action.any() else self.still + 1
        self.stale = None
        if self.frames == self.dies:
            os.write(2, b"********************\nERROR: Hunk_Alloc failed\n")
            os._exit(3)
        self.yaw = (self.yaw - 0.1056 * float(action[0]) + 180) % 360 - 180
        self.pitch = min(PITCH_LIMIT, max(-PITCH_LIMIT, self.pitch + 0.1056 * float(action[1])))
        angle = math.radians(self.yaw)
        forward, right = float(action[3]), float(action[2])
        move = (
            forward * math.cos(angle) + right * math.sin(angle),
            forward * math.sin(angle) - right * math.cos(angle),
        )
        self.position = np.clip(self.position + 5.12 * np.array(move), 0, SIDE)
        taken = np.abs(self.apples - self.position).max(axis=1) < REACH
        if self.frames > 1:  # those at the spawn are not there
            reward = float(taken.any())
        else:
            reward = 0.0
        self.apples = self.apples[~taken]
        self.running = self.frames < self.total
        return reward

    def is_running(self):
        return self.running

    def observations(self):
        if not self.running:
            raise RuntimeError("Environment in wrong status for call to observations()")
        return {name: make() for name, make in self.makers.items()}

    def _rgb(self):
        rows = (np.arange(self.height) * 64 // self.height + int(self.pitch)) % 64
        columns = (np.arange(self.width) * 64 // self.width + int(self.yaw) + int(self.position.sum())) % 64
        if self.stale is None:
            self.shown = self.art[:, rows[:, None], columns[None, :]]
        return (self.shown if self.stale is None else self.stale).copy()

    def close(self):
        Lab.alive -= 1
        if self.owns_folder:
            shutil.rmtree(self.folder)


def _say(text):
    """As the engine does: on C's standard output, past Python's."""
    os.write(1, text.encode())
