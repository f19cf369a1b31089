"""Levels by name: `make("nav_maze_static_01", num_envs=32)`, whatever engine is behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmlib.errors import say_once, suggestion
from mmlib.levels import dmlab, dmlab_found
from mmlib.levels.base import LAB_ACTIONS, Interface, Level, LevelInfo, Step, Unsupported
from mmlib.levels.table import SPECS, check_settings

__all__ = [
    "BACKENDS",
    "LEVELS",
    "Level",
    "Step",
    "Unsupported",
    "check_settings",
    "interface",
    "make",
    "resolve_backend",
]

LEVELS: dict[str, LevelInfo] = {name: spec.info for name, spec in SPECS.items()}
BACKENDS = ("auto", "dmlab", "gymnasium", "minilab")


def resolve_backend(backend: str, name: str, *others: str) -> str:
    """The backend in force for these levels; "auto" is dmlab if it has all and a Lab can be made, else minilab.

    Where `deepmind_lab` is installed and cannot be used, standard error says so, once.

    Raises:
      ValueError: unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; backends: {', '.join(BACKENDS)}")
    if backend != "auto":
        return backend
    if not all(each in dmlab.LEVELS for each in (name, *others)):
        return "minilab"
    why = dmlab_found.problem()
    if why is not None and dmlab_found.installed():
        say_once(f"backend auto is minilab: {why}")
    return "dmlab" if why is None else "minilab"


def interface(name: str, backend: str = "auto", width: int = 96, height: int = 72, **settings: Any) -> Interface:
    """What an agent must know of a level before it is made: observation, actions, length of an episode.

    Of backend gymnasium these may depend on the `settings` of `make`.

    Raises:
      ValueError: an unknown backend, a level that it does not have, or a backend that is not installed.
    """
    chosen = resolve_backend(backend, name)
    if chosen == "gymnasium":
        from mmlib.levels import foreign  # late: Gymnasium

        return foreign.interface(name, width, height, **settings)
    if chosen == "dmlab":
        return dmlab.interface(name, width, height)
    if name not in LEVELS:
        foreign_id = "; an environment of Gymnasium needs the backend gymnasium" if re.search(r"-v\d+$", name) else ""
        raise ValueError(f"unknown level {name!r}; levels: {', '.join(LEVELS)}{suggestion(name, LEVELS)}{foreign_id}")
    return Interface(LEVELS[name], (3, height, width), LAB_ACTIONS)


def make(
    name: str,
    backend: str = "auto",
    num_envs: int = 1,
    seed: int | Sequence[int] = 0,
    action_repeat: int = 4,
    width: int = 96,
    height: int = 72,
    first_env: int = 0,
    **settings: Any,
) -> Level:
    """Makes a batch of environments.

    Args:
      name: a key of `LEVELS`; for backend gymnasium, the id of an environment.
      backend: one of `BACKENDS`.
      num_envs: B, environments in the batch.
      seed: decides everything random; environment i of a seed is the same whatever the batch is. minilab alone takes
        several, for equal parts of the batch.
      action_repeat: frames that a step holds its action for.
      width: of the observation, pixels.
      height: of the observation, pixels.
      first_env: which of its seed's environments the batch begins with, for a batch that is one part of many.
      **settings: the backend's own. All: `staggered` (each environment's first episode is cut at a random frame, so
        that episodes do not end all at once; default False). minilab and dmlab: `episode_seconds` (length of an
        episode in place of the level's own). minilab: `threads` (worker threads, default 1), and of
        lasertag levels `bot_count` (0 to 6) and `skill` of the bots (1 to 5). dmlab: `renderer`,
        `level_cache` and DeepMind Lab's settings of the level. gymnasium: the arguments of `gymnasium.make`.

    Raises:
      ValueError: an unknown level, backend or setting, or an argument outside its range; names the choices.
    """
    chosen = resolve_backend(backend, name)
    if chosen != "minilab":
        if isinstance(seed, Sequence):
            raise ValueError(f"backend {chosen} takes one seed a batch, not {list(seed)}; minilab takes several")
        if chosen == "dmlab":
            return dmlab.DMLab(name, num_envs, seed, action_repeat, width, height, first_env=first_env, **settings)
        from mmlib.levels import foreign  # late: Gymnasium

        return foreign.GymnasiumLevel(name, num_envs, seed, action_repeat, width, height, first_env, **settings)
    interface(name, chosen)  # knows the level, or names the choices
    check_settings(name, settings)
    from mmlib.levels.minilab import engine  # late: importing it loads the compiled kernels

    return engine.MiniLab(name, num_envs, seed, action_repeat, width, height, first_env=first_env, **settings)
