"""DeepMind Lab itself: one `deepmind_lab.Lab` a worker process, batched behind the `Level` contract.

A Lab is not thread-safe and there can be only one in a process. Frames come through shared memory that has no name, so
nothing of it is left behind whatever happens. A worker that dies is replaced; its episode is cut.
"""

from __future__ import annotations

import mmap
import sys
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmlib import caches
from mmlib.errors import WorkersDied
from mmlib.levels import dmlab_found
from mmlib.levels.base import (
    FRAMES_PER_SECOND,
    LAB_ACTIONS,
    Interface,
    Pose,
    Step,
    Unsupported,
    check_actions,
    check_arguments,
    check_index,
)
from mmlib.levels.bookkeeping import CountedLevel
from mmlib.levels.dmlab_process import Worker, WorkerDied, WorkerRefused
from mmlib.levels.dmlab_worker import memory_size, views
from mmlib.levels.table import SPECS

MAX_DEATHS, WITHIN_SECONDS = 5, 60.0  # of one worker, before the run is stopped
SCRIPTS = {  # by this project's name of a level: DeepMind Lab's name of its script
    "explore_object_locations_small": "contributed/dmlab30/explore_object_locations_small",
    **{name: name for name in ("nav_maze_static_01", "nav_maze_static_02", "lt_horseshoe_color", "lt_chasm")},
}
LEVELS = {name: SPECS[name].info for name in SCRIPTS}
SETTINGS = {"lt_horseshoe_color": {"botCount": 6}}  # appendix E's; the released level has 4


def check(name: str) -> None:
    """Raises ValueError unless `name` is a level of DeepMind Lab and a Lab can be made here."""
    if name not in LEVELS:
        what = f"{name!r} is a miniature, which only minilab has" if name in SPECS else f"unknown level {name!r}"
        raise ValueError(f"{what}; levels of dmlab: {', '.join(LEVELS)}")
    if (why := dmlab_found.problem()) is not None:
        raise ValueError(f"backend dmlab cannot be used: {why}; or use backend minilab")


def interface(name: str, width: int, height: int) -> Interface:
    """What an agent must know of a level of DeepMind Lab; raises as `check` does."""
    check(name)
    return Interface(LEVELS[name], (3, height, width), LAB_ACTIONS)


def cache_directory() -> Path:
    """Where the compiled maps of generated levels are kept."""
    return caches.directory() / "dmlab-maps"


class DMLab(CountedLevel):
    """A level of DeepMind Lab, see `mmlib.levels.base.Level`.

    Environment i's episode e is `reset` with a seed made of (seed, i, e). `cut_episodes` counts workers that died.

    Args:
      name: a key of `LEVELS`.
      num_envs: B, and as many processes.
      action_repeat: frames of a level step; DeepMind Lab holds the action and renders the last frame only.
      renderer: "software" or "hardware".
      level_cache: keep the compiled maps of generated levels in `cache_directory()`.
      **settings: DeepMind Lab's own for this level, for instance `botCount=2` or `minimalUI=True`; passed as strings.
      Others: see `mmlib.levels.make`.

    Raises:
      ValueError: an argument outside its range, or a setting that DeepMind Lab refuses, by name.
      RuntimeError: a worker cannot start.
    """

    backend = "dmlab"

    def __init__(
        self,
        name: str,
        num_envs: int = 1,
        seed: int = 0,
        action_repeat: int = 4,
        width: int = 96,
        height: int = 72,
        *,
        first_env: int = 0,
        episode_seconds: float | None = None,
        staggered: bool = False,
        renderer: str = "software",
        level_cache: bool = True,
        **settings: Any,
    ):
        check(name)
        check_arguments(num_envs, seed, action_repeat, width, height, episode_seconds, first_env)
        settings = {**SETTINGS.get(name, {}), **settings}
        _check_settings(renderer, settings)
        seconds = SPECS[name].seconds if episode_seconds is None else episode_seconds
        frames = round(seconds * FRAMES_PER_SECOND)
        super().__init__(name, num_envs, seed, action_repeat, width, height, first_env, staggered, frames)
        self._settings = {k: _text(v) for k, v in settings.items()}
        self.cut_episodes = 0
        self._deaths: list[deque[float]] = [deque(maxlen=MAX_DEATHS) for _ in range(num_envs)]
        in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self._memory = tempfile.TemporaryFile(dir=in_memory)  # noqa: SIM115 - lives as long as the level
        self._memory.truncate(memory_size(num_envs, height, width))
        self._seen, self._poses = views(mmap.mmap(self._memory.fileno(), 0), num_envs, height, width)
        config = {"width": width, "height": height, "fps": FRAMES_PER_SECOND, "episodeLengthSeconds": seconds}
        self._setup = {
            "script": SCRIPTS[name],
            "config": {k: _text(v) for k, v in config.items()} | self._settings,
            "renderer": renderer,
            "cache": str(cache_directory()) if level_cache else None,
            "memory": self._memory.fileno(),
            "shape": (num_envs, height, width),
        }
        self._workers: list[Worker] = []
        self._stop = weakref.finalize(self, _stop, self._workers)  # also when the interpreter exits
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        """Starts the workers: the first alone, to hear what DeepMind Lab refuses, then the others at once."""
        for some in (range(1), range(1, self.num_envs)):
            self._workers += [Worker({**self._setup, "index": i}) for i in some]
            for i in some:
                try:
                    self._workers[i].receive()
                except WorkerRefused as refusal:
                    raise self._refused(str(refusal)) from None
                except WorkerDied as death:
                    self._replace(i, death)
        self.reset()

    def _refused(self, message: str) -> Exception:
        """The error for a Lab that could not be made."""
        if not self._settings:
            return RuntimeError(f"DeepMind Lab cannot make {self.name}: {message}")
        named = [k for k in self._settings if k in message] or list(self._settings)
        what = ", ".join(f"{k} = {self._settings[k]!r}" for k in named)
        return ValueError(f"DeepMind Lab refuses {what} of {self.name}: {message}")

    def _replace(self, i: int, death: WorkerDied) -> None:
        """A new worker in place of one that died, until one comes up. Raises WorkersDied when too many die."""
        while True:
            self._workers[i].stop()
            self.cut_episodes += 1
            deaths, now = self._deaths[i], time.monotonic()
            deaths.append(now)
            print(f"mmlib: worker {i} of {self.name} died ({death}); its episode is cut", file=sys.stderr, flush=True)
            if len(deaths) == MAX_DEATHS and now - deaths[0] <= WITHIN_SECONDS:
                raise WorkersDied(
                    f"worker {i} of {self.name} died {MAX_DEATHS} times within {WITHIN_SECONDS:.0f} s: {death}"
                )
            self._workers[i] = Worker({**self._setup, "index": i})
            try:
                self._workers[i].receive()
                return
            except (WorkerDied, WorkerRefused) as error:
                death = WorkerDied(str(error))

    def _begin(self, which: Iterable[int]) -> None:
        """Begins the current episode of those environments."""
        indices = list(which)
        for i in indices:
            self._workers[i].send("reset", self.seed_of(i))
        died = []
        for i in indices:
            try:
                self._workers[i].receive()
            except WorkerDied as death:
                self._replace(i, death)
                self._number[i] += 1
                died.append(i)
        if died:
            self._begin(died)

    def reset(self) -> NDArray[np.uint8]:
        """See `Level.reset`."""
        self._check_open()
        return super().reset()

    def step(self, actions: NDArray[np.int32]) -> Step:
        """See `Level.step`. Raises WorkersDied when a worker dies again and again."""
        check_actions(actions, self.num_envs)
        self._check_open()
        step, planned = self._nothing(), []
        for i, worker in enumerate(self._workers):
            left = self.frames_to_cut(i)
            cut = left is not None and left <= self.action_repeat
            frames = left if left is not None and cut else self.action_repeat
            planned.append((frames, cut))
            worker.send("step", actions[i].tolist(), frames, self.seed_of(i, ahead=1), cut)
        for i, (frames, cut) in enumerate(planned):
            try:
                step.reward[i], ended = self._workers[i].receive()
            except WorkerDied as death:
                self._replace(i, death)
                self._finish(step, i, cut=True)
                self._begin([i])
                continue
            if ended:  # the engine does not play, nor count, what is left of the step
                frames = min(frames, max(1, self.episode_frames - int(self._frames[i])))
            self._count(i, float(step.reward[i]), frames)
            if ended or cut:
                self._finish(step, i, cut=not ended)
        return step

    def _check_open(self) -> None:
        if not self._stop.alive:
            raise RuntimeError(f"{self.name} is closed")

    def pose(self, i: int) -> Pose:
        """See `Level.pose`: as of the last observation."""
        check_index(i, self.num_envs)
        x, y, z, pitch, yaw, _ = self._poses[i].tolist()
        return Pose(x, y, z, (yaw + 180.0) % 360.0 - 180.0, pitch)

    def render(self, i: int, width: int, height: int) -> NDArray[np.uint8]:
        """The observation, `[height, width, 3]`; Unsupported for any other size."""
        check_index(i, self.num_envs)
        if (width, height) != (self.width, self.height):
            raise Unsupported(
                f"DeepMind Lab draws in the size that the level was made with, {self.width} x {self.height}, "
                f"not {width} x {height}"
            )
        return np.ascontiguousarray(self._seen[i].transpose(1, 2, 0))

    def close(self) -> None:
        """See `Level.close`."""
        self._stop()


def _stop(workers: list[Worker]) -> None:
    """Ends all workers, at once."""
    for worker in workers:
        worker.hang_up()
    for worker in workers:
        worker.stop()


def _text(value: Any) -> str:
    """A setting as DeepMind Lab takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_settings(renderer: str, settings: dict[str, Any]) -> None:
    """Raises ValueError, naming it, for a setting that is not to be made."""
    if renderer not in ("software", "hardware"):
        raise ValueError(f"unknown renderer {renderer!r}; renderers: software, hardware")
    for setting, instead in (("fps", "the contract's 60"), ("episodeLengthSeconds", "episode_seconds")):
        if setting in settings:
            raise ValueError(f"{setting} cannot be set; use {instead}")
