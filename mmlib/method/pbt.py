"""Population based training: readiness, exploit and explore as functions of a population's state (appendix B).

Nothing here trains or copies anything: `decide` says what is to happen, and the loop does it. Where the paper is
silent, a copy takes the donor's window of returns along, so that nobody is compared by returns of weights that are gone
(stated choice), and a member that copied counts its 300 episodes anew, as one that did not.
Shape letters: P population.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.stats

from mmlib.config import PBTConfig

Hyper = dict[str, float]  # learning_rate, entropy_cost, alpha


@dataclass
class PopulationState:
    """What decisions depend on; hyperparameters are the ones in force."""

    hyper: list[Hyper]  # [P]
    windows: list[list[list[float]]]  # [P][levels][<= window], each level's last returns, oldest first
    episodes: list[int]  # [P], trained on since the last decision
    decisions: int = 0  # so far: with the seed it decides all random draws of the next one
    seed: int = 0

    @classmethod
    def start(cls, config: PBTConfig, population: int, seed: int, num_levels: int = 1) -> PopulationState:
        """A fresh population: each hyperparameter log-uniform in its range."""
        random = np.random.default_rng([seed, 0])
        hyper = [{name: log_uniform(random, getattr(config, name)) for name in HYPER} for _ in range(population)]
        return cls(hyper, [[[] for _ in range(num_levels)] for _ in range(population)], [0] * population, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for a checkpoint."""
        return asdict(self)


HYPER = ("learning_rate", "entropy_cost", "alpha")


@dataclass(frozen=True)
class Decision:
    """What happens to one member that is ready: a row of decisions.jsonl, but for its frames."""

    member: int
    opponent: int
    mean: float  # of the member's window
    opponent_mean: float
    p: float  # of the one-sided T-test that the opponent is better; NaN if there is too little to test
    copied: bool
    explored: bool
    old: Hyper
    new: Hyper

    def as_row(self, frames: int) -> dict[str, Any]:
        """The row, stamped with the member's environment frames."""
        return {"frames": frames, **asdict(self)}


def log_uniform(random: np.random.Generator, limits: Sequence[float]) -> float:
    """One number, log-uniform between two limits."""
    low, high = np.log(limits)
    return float(np.exp(random.uniform(low, high)))


def observe(
    state: PopulationState, config: PBTConfig, trained: Iterable[int], returns: Iterable[tuple[int, int, float]]
) -> None:
    """Takes finished episodes.

    Args:
      trained: the member of each episode that was trained on; they make a member ready.
      returns: (member, level, return) of the episodes that are compared: the same ones, or those of the target alone
        where it is evaluated (appendix B.2). The last `window` of each level are kept.
    """
    for member in trained:
        state.episodes[member] += 1
    for member, level, value in returns:
        window = state.windows[member][level]
        window.append(value)
        del window[: -config.window]


def ready(state: PopulationState, config: PBTConfig) -> list[int]:
    """The members that trained on `ready` episodes or more since their last decision."""
    return [member for member, episodes in enumerate(state.episodes) if episodes >= config.ready]


def scores(windows: Sequence[Sequence[float]], window: int) -> np.ndarray:
    """What is compared, `[window]`: the k-th last return, the mean over levels (stated choice); empty if too few."""
    if min(len(returns) for returns in windows) < window:
        return np.empty(0)
    return np.mean([returns[-window:] for returns in windows], axis=0)


def better(opponent: np.ndarray, member: np.ndarray) -> float:
    """p value of Welch's one-sided T-test that the opponent's mean is higher (the paper says "T-test").

    NaN if either has fewer than two returns. Returns that do not vary at all decide by their means alone.
    """
    if min(len(opponent), len(member)) < 2:
        return float("nan")
    if np.ptp(opponent) == 0 and np.ptp(member) == 0:
        return 0.0 if opponent[0] > member[0] else 1.0
    return float(scipy.stats.ttest_ind(opponent, member, equal_var=False, alternative="greater").pvalue)


def decide(state: PopulationState, config: PBTConfig, member: int, stopped: Collection[int] = frozenset()) -> Decision:
    """Exploit and explore for a member that is ready; changes nothing.

    Exploit: a random other member; if the T-test says it is better with p below `p_value`, its weights, optimiser
    state and hyperparameters are copied. Explore, with `explore_probability`: learning rate and entropy cost are
    multiplied by one of `factors` each, alpha moves by `alpha_step` up or down within [0, 1].
    Members that have `stopped` (their loss was not finite) are nobody's opponents, and copy whomever they meet.
    """
    random = np.random.default_rng([state.seed, 1, state.decisions])
    others = [other for other in range(len(state.hyper)) if other != member and other not in stopped]
    if not others:
        return _stay(state, member)
    opponent = int(random.choice(others))
    mine, theirs = (scores(state.windows[m], config.window) for m in (member, opponent))
    p = better(theirs, mine)
    copied = p < config.p_value or member in stopped
    old = state.hyper[member]
    start = state.hyper[opponent] if copied else old
    explored = bool(random.random() < config.explore_probability)
    return Decision(
        member,
        opponent,
        float(mine.mean()) if len(mine) else float("nan"),
        float(theirs.mean()) if len(theirs) else float("nan"),
        p,
        copied,
        explored,
        dict(old),
        explore(start, config, random) if explored else dict(start),
    )


def _stay(state: PopulationState, member: int) -> Decision:
    """The decision of a member that has nobody to meet."""
    nan, old = float("nan"), state.hyper[member]
    return Decision(member, member, nan, nan, nan, False, False, dict(old), dict(old))


def explore(hyper: Mapping[str, float], config: PBTConfig, random: np.random.Generator) -> Hyper:
    """Perturbed hyperparameters."""
    factors = random.choice(config.factors, size=2)
    step = config.alpha_step * random.choice([-1.0, 1.0])
    return {
        "learning_rate": float(hyper["learning_rate"] * factors[0]),
        "entropy_cost": float(hyper["entropy_cost"] * factors[1]),
        "alpha": float(np.clip(hyper["alpha"] + step, 0.0, 1.0)),
    }


def apply(state: PopulationState, decision: Decision) -> None:
    """Books a decision: the member's new hyperparameters, and the donor's window if it copied."""
    member = decision.member
    state.hyper[member] = dict(decision.new)
    state.episodes[member] = 0
    if decision.copied:
        state.windows[member] = [list(returns) for returns in state.windows[decision.opponent]]
    state.decisions += 1
