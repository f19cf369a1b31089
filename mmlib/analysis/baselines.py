"""Scores that need no learning, and the normalised score that they define.

Three policies are measured by running a level: `small` and `big756` draw every joint action of that space with
equal probability, `expert` is scripted and sees the whole state (`mmlib.levels.minilab.experts`). A normalised
score is 0 for random play in Small and 1 for the expert. Stated choice: one zero a level for all methods, so that
their order is the same before and after normalising; Small's, because it is what an untrained agent of the
curriculum's first policy scores. DeepMind Lab's explore_object_locations_small has a published human score, and
the random score published with it, in place of both; its other levels have neither an expert nor published scores,
and 1 is there the best of the runs that are compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmlib import levels
from mmlib.errors import ResultsError
from mmlib.levels import Level
from mmlib.runs.owner import check_writable
from mmlib.runs.reader import OF_THE_MACHINE, file_name
from mmlib.runs.records import replace_file
from mmlib.runs.untrusted import read_object
from mmlib.spaces import SPACES

NUM_ENVS = 16
EPISODES = 128
LAB_ENVS = 4  # DeepMind Lab's are processes
LAB_BUDGET = 200_000  # agent steps of each policy: minutes, where 128 episodes of lasertag are an hour
ACTION_REPEAT = 4
FRAME = {"width": 32, "height": 24}  # nobody looks at the frames
POLICIES = ("small", "big756", "expert")  # in the committed table
SHIPPED = Path(__file__).parents[1] / "baselines"  # the committed scores, part of the package

Act = Callable[[Level], NDArray[np.int32]]


class Score(NamedTuple):
    """A policy's mean episode return, its standard error, and the number of episodes."""

    mean: float
    standard_error: float
    episodes: int


class Scale(NamedTuple):
    """The episode returns that count as 0 and as 1, and what they are the returns of, for people."""

    zero: float
    one: float
    meaning: str

    @property
    def absolute(self) -> bool:
        """Whether it is the same whatever runs are compared."""
        return self.meaning == EXPERT or self in PUBLISHED.values()

    def normalise(self, returns: ArrayLike) -> NDArray[np.float64]:
        """Episode returns (or means of them) of any shape on this scale: (return - zero) / (one - zero)."""
        return (np.asarray(returns, np.float64) - self.zero) / (self.one - self.zero)


PUBLISHED = {
    ("dmlab", "explore_object_locations_small"): Scale(3.575, 74.45, "0 random, 1 human, as published"),
}
EXPERT = "0 random, 1 expert"


def make_policy(name: str, num_envs: int, seed: int) -> Act:
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
    space, generator = SPACES[name], np.random.default_rng(seed)
    return lambda level: space.encode(generator.integers(space.num_actions, size=num_envs))


def _expert(level: Level) -> NDArray[np.int32]:
    from mmlib.levels.minilab.engine import MiniLab
    from mmlib.levels.minilab.experts import expert

    if not isinstance(level, MiniLab):
        raise ResultsError(f"the scripted expert plays minilab's levels only, not {level.name} of {level.backend}")
    return expert(level)


def affordable(level: str, backend: str) -> int:
    """Episodes that are measured unless told otherwise: 128, of DeepMind Lab at most what `LAB_BUDGET` holds.

    At least two, which a standard error needs; whole batches are played, so a few more may be.
    """
    if backend != "dmlab":
        return EPISODES
    steps = math.ceil(levels.interface(level, backend).info.episode_frames / ACTION_REPEAT)
    return min(EPISODES, max(2, LAB_BUDGET // steps))


def measure(level: str, policy: str, episodes: int, backend: str) -> Score:
    """Plays whole episodes; those that were cut do not count.

    Args:
      level: a level's name.
      policy: see `make_policy`.
      episodes: at least this many are played, a multiple of the batch of 16 environments (4 of DeepMind Lab).
      backend: the one in force.

    Raises:
      ResultsError: see `make_policy`.
    """
    num_envs = LAB_ENVS if backend == "dmlab" else NUM_ENVS
    act, returns = make_policy(policy, num_envs, seed=0), list[float]()
    env = levels.make(level, backend, num_envs=num_envs, seed=0, action_repeat=ACTION_REPEAT, **FRAME)
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
    episodes: int | None = None,
    again: bool = False,
) -> dict[str, Score]:
    """The scores of `policies` on a level, from `<results>/baselines/<level>.json` or, if not there, of the package.

    What is missing in both, or was made from fewer `episodes` (by default what is `affordable`), is measured (seconds
    to minutes) and added with how it was made; `again` measures everything.

    Raises ResultsError if it cannot be written.
    """
    path = Path(results) / "baselines" / f"{file_name(level)}.json"
    recorded = recorded_scores(results, level)
    in_force = levels.resolve_backend(backend, level)
    table = recorded.setdefault(in_force, {})
    episodes = affordable(level, in_force) if episodes is None else episodes
    missing = [name for name in policies if again or table.get(name, {}).get("episodes", 0) < episodes]
    if missing:
        check_writable(path.parent)
    for name in missing:
        score = measure(level, name, episodes, in_force)
        how = "the scripted expert" if name == "expert" else f"uniform actions of {name}"
        table[name] = {
            "made_by": f"mmlib.analysis.baselines.measure: {how}, action repeat {ACTION_REPEAT}, seed 0",
            **score._asdict(),
        }
        replace_file(path, json.dumps(recorded, indent=2) + "\n")
    return {name: Score(*(table[name][part] for part in Score._fields)) for name in policies}


def recorded_scores(results: str | Path, level: str) -> dict[str, Any]:
    """What is known of a level, backend -> policy -> what `measure` gave: the package's, and over it the results'.

    Raises ResultsError if a file holds something else.
    """
    shipped, own = (read(folder / f"{file_name(level)}.json") for folder in (SHIPPED, Path(results) / "baselines"))
    return {backend: shipped.get(backend, {}) | own.get(backend, {}) for backend in {**shipped, **own}}


def read(path: Path) -> dict[str, Any]:
    """A file of scores; {} if there is none. Raises ResultsError if it holds something else."""
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


def apply_to(settings: Mapping[str, Any]) -> bool:
    """Whether scores are of what runs with these settings play: the level as it comes, at the same action repeat."""
    own = settings["level_settings"].keys() - OF_THE_MACHINE - {"renderer"}
    return not own and settings["action_repeat"] == ACTION_REPEAT


def scale(
    results: str | Path,
    level: str,
    backend: str,
    settings: Mapping[str, Any],
    best: float | None = None,
    measured: bool = True,
) -> Scale:
    """What is 0 and what is 1 on a level: a published pair if there is one, else what is on record.

    Where there is no expert's score, 1 is the best of the runs that are compared; 0 is 0 where random play's is not
    known.

    Args:
      backend: the one in force.
      settings: of the runs; no score counts that does not `apply_to` them.
      best: the highest return of those runs, see `curves.best_ends`. None, or one no better than random play: 1 is a
        reward of 1 above random play.
      measured: whether what is not on record is measured first (see `scores`).
    """
    applicable = apply_to(settings)
    if applicable and (backend, level) in PUBLISHED:
        return PUBLISHED[backend, level]
    if applicable and measured:
        scores(results, level, ("small", "expert") if backend == "minilab" else ("small",), backend)
    table = recorded_scores(results, level).get(backend, {}) if applicable else {}
    zero, one = (table.get(name, {}).get("mean") for name in ("small", "expert"))
    if zero is not None and one is not None and one > zero:
        return Scale(zero, one, EXPERT)
    below = "no reward" if zero is None else "random"
    zero = zero or 0.0
    if best is not None and best > zero:
        return Scale(zero, best, f"0 {below}, 1 the best run here")
    return Scale(zero, zero + 1.0, f"reward above {below}, of which no run here has any")


def meaning(scales: Mapping[str, Scale]) -> str:
    """What 0 and 1 mean on these levels, for people."""
    return "; ".join(dict.fromkeys(scale.meaning for scale in scales.values()))
