"""Scores that need no learning, and the normalised score that they define.

Three policies are measured by running a level: `small` and `big756` draw every joint action of that space with
equal probability, `expert` is scripted and sees the whole state (`mmlib.levels.minilab.experts`). A normalised
score is 0 for random play in Small and 1 for the expert. Stated choice: one zero a level for all methods, so that
their order is the same before and after normalising; Small's, because it is what an untrained agent of the
curriculum's first policy scores. DeepMind Lab's explore_object_locations_small has a published human score, and
the random score published with it, in place of both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmlib import levels
from mmlib.errors import ResultsError
from mmlib.levels import Level
from mmlib.runs.records import replace_text
from mmlib.runs.untrusted import read_object
from mmlib.runs.writer import check_writable
from mmlib.spaces import SPACES, get_space

NUM_ENVS = 16
EPISODES = 128
FRAME = {"width": 32, "height": 24}  # nobody looks at the frames
POLICIES = ("small", "big756", "expert")  # in the committed table

Act = Callable[[Level], NDArray[np.int32]]


class Score(NamedTuple):
    """A policy's mean episode return, its standard error, and the number of episodes."""

    mean: float
    standard_error: float
    episodes: int


class Scale(NamedTuple):
    """The episode returns that count as 0 and as 1, and what they are the returns of."""

    zero: float
    one: float
    meaning: str


PUBLISHED = {
    ("dmlab", "explore_object_locations_small"): Scale(3.575, 74.45, "random play and human, as published"),
}


def make_policy(name: str, num_envs: int, seed: int = 0) -> Act:
    """A policy of this module: from a level to the next actions, `[num_envs, 7]`.

    Args:
      name: an action space (uniform over its joint actions), or "expert".
      num_envs: B of the levels it will play.
      seed: of the drawn actions.

    Raises:
      ResultsError: no such policy, or (when it acts) the expert on a level that is not MiniLab's.
    """
    if name == "expert":
        return _expert
    if name not in SPACES:
        raise ResultsError(f"unknown policy {name!r}; policies: {', '.join(SPACES)}, expert")
    space, generator = get_space(name), np.random.default_rng(seed)
    return lambda level: space.encode(generator.integers(space.num_actions, size=num_envs))


def _expert(level: Level) -> NDArray[np.int32]:
    from mmlib.levels.minilab.engine import MiniLab
    from mmlib.levels.minilab.experts import expert

    if not isinstance(level, MiniLab):
        raise ResultsError(f"the scripted expert plays minilab's levels only, not {level.name} of {level.backend}")
    return expert(level)


def measure(
    level: str, policy: str, episodes: int = EPISODES, seed: int = 0, backend: str = "auto", action_repeat: int = 4
) -> Score:
    """Plays whole episodes; those that were cut do not count.

    Args:
      level: a level's name.
      policy: see `make_policy`.
      episodes: at least this many are played, a multiple of the batch of 16 environments.
      seed: of the level and of the actions.

    Raises:
      ResultsError: see `make_policy`.
    """
    act, returns = make_policy(policy, NUM_ENVS, seed), list[float]()
    env = levels.make(level, backend, num_envs=NUM_ENVS, seed=seed, action_repeat=action_repeat, **FRAME)
    env.reset()
    try:
        while len(returns) < episodes:
            step = env.step(act(env))
            returns.extend(step.episode_return[step.done & ~np.isnan(step.episode_return)].tolist())
    finally:
        env.close()
    error = float(np.std(returns, ddof=1) / np.sqrt(len(returns)))
    return Score(float(np.mean(returns)), error, len(returns))


def scores(
    results: str | Path,
    level: str,
    policies: Sequence[str] = POLICIES,
    backend: str = "auto",
    episodes: int = EPISODES,
    again: bool = False,
) -> dict[str, Score]:
    """The scores of `policies` on a level, from `<results>/baselines/<level>.json`.

    What is missing there, or was made from fewer episodes, is measured (seconds to minutes) and added with how it
    was made; `again` measures everything. Raises ResultsError if it cannot be written.
    """
    path = Path(results) / "baselines" / f"{level}.json"
    recorded = read(path)
    in_force = levels.resolve_backend(backend, level)
    table = recorded.setdefault(in_force, {})
    missing = [name for name in policies if again or table.get(name, {}).get("episodes", 0) < episodes]
    if missing:
        check_writable(path.parent)
    for name in missing:
        score = measure(level, name, episodes, backend=in_force)
        how = "the scripted expert" if name == "expert" else f"uniform actions of {name}"
        table[name] = {
            "made_by": f"mmlib.analysis.baselines.measure: {how}, action repeat 4, seed 0",
            **score._asdict(),
        }
        replace_text(path, json.dumps(recorded, indent=2) + "\n")
    return {name: Score(*(table[name][part] for part in Score._fields)) for name in policies}


def read(path: Path) -> dict[str, Any]:
    """A file of scores, backend -> policy -> what `measure` gave; {} if there is none.

    Raises ResultsError if it holds something else.
    """
    try:
        recorded = read_object(path)
        for table in recorded.values():
            for score in table.values():
                if not all(math.isfinite(score.get(part, 0)) for part in Score._fields):
                    raise ValueError("a score is not finite")
        return recorded
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, OverflowError) as error:
        raise ResultsError(f"{path} holds no scores ({error}); delete it to measure them again") from error


def random_scores(
    results: str | Path, level: str, spaces: Sequence[str] = ("small", "big756"), backend: str = "auto"
) -> dict[str, Score]:
    """The random policy's score in each of `spaces`; see `scores`."""
    return scores(results, level, spaces, backend)


def scale(results: str | Path, level: str, backend: str = "auto") -> Scale:
    """What is 0 and what is 1 on a level: a published pair if there is one, else measured (see `scores`).

    Raises ResultsError if the backend has no scripted expert and no published scores for the level.
    """
    in_force = levels.resolve_backend(backend, level)
    if (in_force, level) in PUBLISHED:
        return PUBLISHED[in_force, level]
    if in_force != "minilab":
        known = ", ".join(f"{name} on {where}" for where, name in PUBLISHED)
        raise ResultsError(f"there is no normalised score for {level} on {in_force}; there is for minilab and {known}")
    measured = scores(results, level, ("small", "expert"), in_force)
    return Scale(measured["small"].mean, measured["expert"].mean, "random play in Small and the scripted expert")


def normalised_score(returns: ArrayLike, scale: Scale) -> NDArray[np.float64]:
    """Episode returns (or means of them) of any shape on a level's `Scale`: (return - zero) / (one - zero)."""
    return (np.asarray(returns, np.float64) - scale.zero) / (scale.one - scale.zero)
