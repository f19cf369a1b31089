"""One DeepMind Lab in a process of its own: run as a script by `dmlab_process.py`, it imports nothing of mmlib.

It is told what to make, then what to play, through a connection, and writes frames and poses into memory that it
shares with its parent. It ends when the connection does, so it never outlives its parent by more than a step; signals
that ask a process to end are its parent's to handle, which started it with them blocked.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

OBSERVATIONS = ["RGB", "DEBUG.POS.TRANS", "DEBUG.POS.ROT"]
STILL, SETTLING_FRAMES = np.zeros(7, np.intc), 4


class LevelCache:
    """Compiled maps of generated levels, shared between processes: DeepMind Lab's `level_cache` interface."""

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)

    def _path(self, key: str) -> Path:
        return self.directory / f"{hashlib.sha256(key.encode()).hexdigest()}.pk3"

    def fetch(self, key: str, pk3_path: str) -> bool:
        """Copies the map of that key to `pk3_path`; False if there is none."""
        try:
            shutil.copyfile(self._path(key), pk3_path)
        except OSError:
            return False
        return True

    def write(self, key: str, pk3_path: str) -> None:
        """Keeps the map at `pk3_path`; readers see the whole of it or nothing."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.directory) as part:
                os.replace(shutil.copy(pk3_path, part), self._path(key))
        except OSError as error:  # a cache that cannot be written is slow, not wrong
            print(f"level cache {self.directory}: {error}", file=sys.stderr)


class Player:
    """The Lab of environment `index` and its part of the shared memory."""

    def __init__(self, setup: dict[str, Any]):
        import deepmind_lab

        memory = mmap.mmap(setup["memory"], 0)
        frames, poses = views(memory, *setup["shape"])
        self.frame, self.pose = frames[setup["index"]], poses[setup["index"]]
        cache = {} if setup["cache"] is None else {"level_cache": LevelCache(setup["cache"])}
        self.lab = deepmind_lab.Lab(
            setup["script"],
            OBSERVATIONS,
            config=setup["config"],
            renderer=setup["renderer"],
            temp_folder=setup["temp_folder"],
            **cache,
        )
        self.played = False

    def reset(self, seed: int) -> None:
        """Begins the episode of that seed."""
        self._begin(seed)
        self._see()

    def _begin(self, seed: int) -> None:
        """Resets the Lab, so that its first picture is of this episode.

        After a reset the engine sometimes shows the previous episode for one frame, but not after four frames without
        action: the episode that it may show is this one, begun once already.
        """
        self.lab.reset(seed=seed)
        if self.played:
            self.lab.step(STILL, num_steps=SETTLING_FRAMES)
            self.lab.reset(seed=seed)
        self.played = True

    def step(self, action: list[int], frames: int, next_seed: int, cut: bool) -> tuple[float, bool]:
        """Holds an action; after the episode's end, or if it is to be cut here, begins the next one.

        Returns:
          the reward of those frames, and whether the episode ended by itself.
        """
        reward = self.lab.step(np.array(action, np.intc), num_steps=frames)
        ended = not self.lab.is_running()
        if ended or cut:
            self._begin(next_seed)
        self._see()
        return float(reward), ended

    def _see(self) -> None:
        seen = self.lab.observations()
        self.frame[:] = seen["RGB"]
        self.pose[:3], self.pose[3:] = seen["DEBUG.POS.TRANS"], seen["DEBUG.POS.ROT"]


def views(memory: mmap.mmap, num_envs: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 `[B, 3, H, W]` and poses float64 `[B, 6]` (position, then pitch, yaw, roll) in shared memory."""
    poses = np.frombuffer(memory, np.float64, num_envs * 6).reshape(num_envs, 6)
    frames = np.frombuffer(memory, np.uint8, num_envs * 3 * height * width, offset=poses.nbytes)
    return frames.reshape(num_envs, 3, height, width), poses


def memory_size(num_envs: int, height: int, width: int) -> int:
    """Bytes of the memory that `views` divides."""
    return num_envs * (6 * 8 + 3 * height * width)


def serve(connection: Connection) -> None:
    """Makes a Player of the first message, then answers calls of it until the connection ends."""
    try:
        setup = connection.recv()
    except (EOFError, ConnectionError):
        return
    try:
        answer(connection, setup)
    finally:
        shutil.rmtree(setup["temp_folder"], ignore_errors=True)  # its parent may not be there to do it


def answer(connection: Connection, setup: dict[str, Any]) -> None:
    """What `serve` does with the setup."""
    try:
        player = Player(setup)
    except Exception as error:
        connection.send(("refused", f"{type(error).__name__}: {error}"))
        return
    connection.send(("ready", None))
    while True:
        try:
            method, *arguments = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(("done", getattr(player, method)(*arguments)))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[-1])))
