"""MiniLab, the embedded engine: a batch of environments behind the `Level` contract."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmlib.levels.base import (
    FRAMES_PER_SECOND,
    Pose,
    Step,
    check_actions,
    check_arguments,
    check_index,
    check_state,
)
from mmlib.levels.layouts import CELL
from mmlib.levels.minilab.lasertag.bodies import make_arena_world, make_fight, make_match_rules
from mmlib.levels.minilab.lasertag.match import begin_match, play, play_ranges
from mmlib.levels.minilab.maze.episodes import advance, advance_ranges, begin
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, EYE_ABOVE_ORIGIN, REACH_WALL, ground_below
from mmlib.levels.minilab.render.frame import render, render_ranges
from mmlib.levels.minilab.render.lasertag_art import lasertag_art
from mmlib.levels.minilab.render.mapview import map_image
from mmlib.levels.minilab.render.textures import load_art
from mmlib.levels.minilab.world import World, make_agents, make_outcome, make_rules, make_world
from mmlib.levels.table import SPECS, MazeRules, check_settings

NO_MAZE = MazeRules(0, 0, 0, 0, 0, 0, 0)
_ONE_AT_A_TIME = threading.Lock()  # levels that share Numba's threads; not every kind of these could serve two
_owner: int | None = None  # the process that they are in: one that was forked has none, and may not make any


class MiniLab:
    """A MiniLab level, see `mmlib.levels.base.Level`.

    Environment i of seed s plays the same episodes whatever `num_envs` and `threads` are, wherever it runs. The first
    level on a machine compiles the engine.

    Args:
      name: a key of `SPECS`.
      num_envs: B.
      seed: 0 <= seed < 2**63; with the environment's number it decides maps, objects, spawn points and
        looks. Several share the batch out in equal parts, each of which plays as a level of its seed would.
      action_repeat: frames of a level step.
      width: of the observation, pixels.
      height: of the observation, pixels.
      first_env: see `mmlib.levels.make`.
      threads: of `step`; they change the speed and nothing else.
      episode_seconds: length of an episode in place of the level's own; a second has 60 frames.
      staggered: see `mmlib.levels.make`.
      bot_count: bots of a lasertag level, 0 to 6, in place of the level's own number.
      skill: of the bots, 1 to 5, in place of the level's own (4; miniatures 1).

    Raises:
      ValueError: an argument outside its range, or a setting that the level does not take.
    """

    backend = "minilab"

    def __init__(
        self,
        name: str,
        num_envs: int = 1,
        seed: int | Sequence[int] = 0,
        action_repeat: int = 4,
        width: int = 96,
        height: int = 72,
        *,
        first_env: int = 0,
        threads: int = 1,
        episode_seconds: float | None = None,
        staggered: bool = False,
        bot_count: int | None = None,
        skill: float | None = None,
    ):
        seeds = np.atleast_1d(seed).tolist()
        for each in seeds:
            check_arguments(num_envs, each, action_repeat, width, height, episode_seconds, first_env, threads)
        if num_envs % len(seeds):
            raise ValueError(f"num_envs is {num_envs}; it must be a multiple of {len(seeds)}, the number of seeds")
        self.name, self.num_envs, self.seed, self.action_repeat = name, num_envs, seeds[0], action_repeat
        self.width, self.height = width, height
        check_settings(name, {"bot_count": bot_count, "skill": skill})
        spec = SPECS[name]
        self.episode_frames = round((episode_seconds or spec.seconds) * FRAMES_PER_SECOND)
        self._rules = make_rules(spec, seeds, num_envs, self.episode_frames, staggered, first_env)
        self._agents, self._outcome = make_agents(num_envs), make_outcome(num_envs)
        self._all = np.ones(num_envs, np.bool_)
        self._parts: tuple[Any, ...]  # arguments that each of the three kernels takes
        if (arena := spec.arena) is None:
            self._world, self._cell, art, self._fight = make_world(spec, num_envs), CELL, load_art(), None
            self._begin, self._advance, self._advance_ranges = begin, advance, advance_ranges
            self._parts = self._rules, spec.maze or NO_MAZE, self._world, self._agents
        else:
            self._world, self._cell, art = make_arena_world(arena, num_envs), arena.cell, lasertag_art(arena.cell)
            self._fight = make_fight(arena, num_envs)
            self._match = make_match_rules(arena, self._rules, bot_count, skill)
            self._begin, self._advance, self._advance_ranges = begin_match, play, play_ranges
            self._parts = self._match, self._world, self._agents, self._fight
        scale = CELL / self._cell  # for the renderer, where a cell always has 100 units
        self._to_view = np.array([scale, scale, scale, 1.0, 1.0])  # times a pose
        self._view = self._world._replace(floor_z=(self._world.floor_z * scale).astype(np.float32))
        self._look = spec.ceiling * scale, spec.sky, art
        self._frames: NDArray[np.uint8] = np.zeros((num_envs, 3, height, width), np.uint8)
        threads = min(threads, num_envs, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        self._bounds = np.linspace(0, num_envs, threads + 1).astype(np.int64)  # ranges of environments, a thread each
        self.reset()
        nothing = np.zeros((num_envs, 7), np.int32), action_repeat, self._all, True, 0, 0
        self._advance(*nothing, self._outcome, *self._parts)  # compiles

    def _play(self, actions: NDArray[np.int32], which: NDArray[np.bool_], go_on: bool) -> Step:
        """One level step of the environments `which`, begun anew where due to `go_on`; draws all."""
        global _owner
        check_actions(actions, self.num_envs)
        work = np.ascontiguousarray(actions), self.action_repeat, which, go_on
        if len(self._bounds) > 2 and _owner in (None, os.getpid()):
            with _ONE_AT_A_TIME:
                _owner = os.getpid()
                numba.set_num_threads(len(self._bounds) - 1)
                self._advance_ranges(*work, self._bounds, self._outcome, *self._parts)
                render_ranges(self._frames, self._agents.pose * self._to_view, self._view, *self._look, self._bounds)
        else:
            self._advance(*work, 0, self.num_envs, self._outcome, *self._parts)
            self._draw(0, self.num_envs)
        copies: list[Any] = [part.copy() for part in self._outcome]
        return Step(self._frames, *copies)

    def _draw(self, start: int, stop: int) -> None:
        """Renders the observations of environments start..stop-1."""
        render(self._frames, self._agents.pose * self._to_view, self._view, *self._look, start, stop)

    def draw_into(self, frames: NDArray[np.uint8]) -> None:
        """Observations are written into `frames` `[B, 3, H, W]` from now on, memory that a GPU can read, say."""
        frames[:] = self._frames
        self._frames = frames

    def reset(self) -> NDArray[np.uint8]:
        """See `Level.reset`."""
        self._agents.episode[:] = -1
        return self.begin(self._all)

    def step(self, actions: NDArray[np.int32]) -> Step:
        """See `Level.step`."""
        return self._play(actions, self._all, go_on=True)

    def play(self, actions: NDArray[np.int32], which: NDArray[np.bool_]) -> Step:
        """As `step`, for the environments `which` `[B]` alone, and no episode begins: what ended shows its end."""
        outcome = self._outcome
        outcome.reward[:], outcome.done[:] = 0.0, False
        outcome.episode_return[:], outcome.episode_frames[:] = np.nan, 0
        return self._play(actions, which, go_on=False)

    def begin(self, which: NDArray[np.bool_], seeds: Mapping[int, int] | None = None) -> NDArray[np.uint8]:
        """Begins the next episode of the environments `which` `[B]`, over or not; returns all observations.

        Those with a seed go on as environment 0 of a level of that seed does from its first episode.
        """
        for i, seed in (seeds or {}).items():
            self._rules.seed[i], self._rules.number[i], self._agents.episode[i] = seed, 0, -1
        for i in np.flatnonzero(which).tolist():
            self._begin(i, *self._parts)
            self._draw(i, i + 1)
        return self._frames

    @property
    def extent(self) -> tuple[float, float]:
        """Width (x) and height (y) of every environment's map, DeepMind Lab's units."""
        _, rows, columns = self._world.floor_z.shape
        return columns * self._cell, rows * self._cell

    def pose(self, i: int) -> Pose:
        """See `Level.pose`."""
        check_index(i, self.num_envs)
        x, y, eye, yaw, pitch = self._agents.pose[i].tolist()
        return Pose(x, y, eye - EYE_ABOVE_ORIGIN, yaw, pitch)

    def set_pose(self, i: int, x: float, y: float, yaw_degrees: float) -> None:
        """Puts the agent of environment i at rest on the floor at (x, y), in DeepMind Lab's units, looking level.

        Raises:
          ValueError: the body does not fit inside the map's border.
        """
        check_index(i, self.num_envs)
        for axis, value, end in zip("xy", (x, y), self.extent):
            low, high = REACH_WALL, end - REACH_WALL
            if not low <= value <= high:
                raise ValueError(f"{axis} = {value} is outside the map; allowed: {low} to {high}")
        eye = ground_below(self._world.floor_z[i], float(x), float(y), self._cell) + EYE_ABOVE_FLOOR
        self._agents.pose[i] = (x, y, eye, (yaw_degrees + 180.0) % 360.0 - 180.0, 0.0)
        self._agents.velocity[i] = 0.0
        self._agents.jump_held[i] = 0
        self._draw(i, i + 1)

    def render(self, i: int, width: int, height: int) -> NDArray[np.uint8]:
        """See `Level.render`."""
        check_index(i, self.num_envs)
        out = np.zeros((1, 3, height, width), np.uint8)
        own: list[Any] = [part[i : i + 1] for part in self._view]
        render(out, self._agents.pose[i : i + 1] * self._to_view, World(*own), *self._look, 0, 1)
        return np.stack(out[0], axis=-1)

    def map_image(self, i: int, pixels: int) -> NDArray[np.uint8]:
        """See `Level.map_image`."""
        check_index(i, self.num_envs)
        view = World(*(part[i] for part in self._view))
        return map_image(self._agents.pose[i] * self._to_view, view, self._look[-1], pixels)

    def _state(self) -> dict[str, NDArray]:
        """Everything that changes, as arrays of numbers that are written through."""
        parts: dict[str, Any] = {"world": self._world, "agents": self._agents}
        if self._fight is not None:
            parts["fight"] = self._fight._replace(body=self._fight.body["numbers"])
        return {f"{part}.{k}": v for part, arrays in parts.items() for k, v in arrays._asdict().items()}

    def state_dict(self) -> dict[str, NDArray]:
        """See `Level.state_dict`."""
        state = {name: value.copy() for name, value in self._state().items()}
        return state | {"seed": np.array(self.seed, np.int64)}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """See `Level.load_state_dict`.

        Raises:
          ValueError: the state is of another level, seed or number of environments.
        """
        mine = self._state()
        check_state(state, mine | {"seed": np.array(self.seed)}, self.name)
        for name, value in mine.items():
            value[:] = state[name]
        self._draw(0, self.num_envs)

    def close(self) -> None:
        """See `Level.close`."""
