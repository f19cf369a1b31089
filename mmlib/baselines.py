"""Scores that need no learning: the random policy of each action space, measured by running the level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmlib import levels
from mmlib.results import check_writable, replace_text
from mmlib.spaces import ActionSpace, get_space

NUM_ENVS = 16
FRAME = {"width": 32, "height": 24}  # nobody looks at the frames


class RandomScore(NamedTuple):
    """The random policy's mean episode return, its standard error, and the number of episodes."""

    mean: float
    standard_error: float
    episodes: int


def random_return(
    level: str,
    space: ActionSpace,
    episodes: int = 128,
    seed: int = 0,
    backend: str = "auto",
    action_repeat: int = 4,
) -> RandomScore:
    """Plays whole episodes with joint actions drawn uniformly from `space`.

    Args:
      level: a level's name.
      space: the action space; every joint action is equally likely.
      episodes: at least this many are played, a multiple of the batch of 16 environments.
      seed: of the level and of the actions.
    """
    env = levels.make(level, backend, num_envs=NUM_ENVS, seed=seed, action_repeat=action_repeat, **FRAME)
    generator, returns = np.random.default_rng(seed), list[float]()
    env.reset()
    try:
        while len(returns) < episodes:
            actions = generator.integers(space.num_actions, size=NUM_ENVS)
            step = env.step(space.encode(actions))
            returns.extend(step.episode_return[step.done].tolist())
    finally:
        env.close()
    error = float(np.std(returns, ddof=1) / np.sqrt(len(returns)))
    return RandomScore(float(np.mean(returns)), error, len(returns))


def random_scores(
    results: str | Path, level: str, spaces: tuple[str, ...] = ("small", "big756"), backend: str = "auto"
) -> dict[str, RandomScore]:
    """The random policy's score in each of `spaces`, from `<results>/baselines/<level>.json`.

    What is missing there is measured (seconds to a minute) and added, with how it was made.
    Raises ResultsError if it cannot be written.
    """
    path = Path(results) / "baselines" / f"{level}.json"
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    in_force = levels.resolve_backend(backend, level)
    scores = recorded.setdefault(in_force, {})
    missing = [name for name in spaces if name not in scores]
    if missing:
        check_writable(path.parent)
    for name in missing:
        score = random_return(level, get_space(name), backend=in_force)
        scores[name] = {
            "made_by": f"mmlib.baselines.random_return: uniform actions of {name}, action repeat 4, seed 0",
            **score._asdict(),
        }
        replace_text(path, json.dumps(recorded, indent=2) + "\n")
    return {name: RandomScore(*(scores[name][part] for part in RandomScore._fields)) for name in spaces}
