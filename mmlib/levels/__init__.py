"""Levels by name: `make("nav_maze_static_01", num_envs=32)`, whatever engine is behind them."""

from __future__ import annotations

from typing import Any

from mmlib.levels.base import Level, LevelInfo, Pose, Step
from mmlib.levels.minilab.levels import SPECS

__all__ = ["BACKENDS", "LEVELS", "Level", "LevelInfo", "Pose", "Step", "check", "make", "resolve_backend"]

LEVELS: dict[str, LevelInfo] = {name: spec.info for name, spec in SPECS.items()}
BACKENDS = ("auto", "minilab")


def resolve_backend(backend: str = "auto") -> str:
    """The backend in force for `backend`; "auto" is minilab.

    Raises:
      ValueError: unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; backends: {', '.join(BACKENDS)}")
    return "minilab" if backend == "auto" else backend


def check(name: str, backend: str = "auto") -> None:
    """Raises ValueError, naming the choices, unless `name` is a level and `backend` a backend."""
    if name not in LEVELS:
        raise ValueError(f"unknown level {name!r}; levels: {', '.join(LEVELS)}")
    resolve_backend(backend)


def make(
    name: str,
    backend: str = "auto",
    num_envs: int = 1,
    seed: int = 0,
    action_repeat: int = 4,
    width: int = 96,
    height: int = 72,
    **settings: Any,
) -> Level:
    """Makes a batch of environments.

    Args:
      name: a key of `LEVELS`.
      backend: one of `BACKENDS`.
      num_envs: B, environments in the batch.
      seed: decides everything random; environment i of a seed is the same whatever the batch is.
      action_repeat: frames that a step holds its action for.
      width: of the observation, pixels.
      height: of the observation, pixels.
      **settings: the backend's own. minilab: `threads` (worker threads, default 1), `episode_seconds` (length of
        an episode in place of the level's own), `staggered` (each environment's first episode is cut at a random
        frame, so that episodes do not end all at once; default False); lasertag levels also `bot_count` (0 to 6) and
        `skill` of the bots (1 to 5).

    Raises:
      ValueError: an unknown level, backend or setting, or an argument outside its range; names the choices.
    """
    check(name, backend)
    from mmlib.levels.minilab import engine  # late: importing it loads the compiled kernels

    known = ", ".join(engine.SETTINGS)
    for setting in settings:
        if setting not in engine.SETTINGS:
            raise ValueError(f"unknown setting {setting!r} of minilab; settings: {known}")
    return engine.MiniLab(name, num_envs, seed, action_repeat, width, height, **settings)
