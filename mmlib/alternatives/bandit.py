"""Alpha moved by an adversarial bandit: Exp3.S (Auer, Cesa-Bianchi, Freund and Schapire 2002, section 8) with three
arms, which take a step from alpha, leave it alone, or add a step.

Every member has a bandit of its own. Its round is `window` fresh episodes of each level, of the target alone where it
is evaluated (the clock is that of `method.pbt`: `observe`, `full`, `scores`). At a round's end the arm that began it is
paid for the slope of the return, the round's mean less that of the round before, and the next arm is drawn.

Stated choices. A round begins anew with every arm, the one that leaves alpha alone too: returns rise as an agent
learns, and arms can be compared only if each is given the same time. The episodes that a run begins with count for
nothing, since they may be cut (`staggered`). The reward is the rank of the slope among the last `MEMORY` of the
member: it is in [0, 1] whatever returns are, and forgets how steep the beginning was. (Graves et al. 2017 choose tasks
by Exp3.S, and rescale progress by quantiles of its history.) An arm that would leave [0, 1] stays at its end.

A round takes L (1 + window / N) agent steps of each of N environments, with episodes of L: at preset quick, of 32 with
450, there are 41 rounds in 1.2 M agent steps and 20 in 0.6 M. `window` and `step` are such that alpha can go from 0.05
to 1 in half of the latter, ten rounds. `share` (Auer et al.'s alpha) and `gamma` are theirs for T = 41 rounds and an
arm that is best throughout (S = 1): 1 / T, and the root of K (S ln(K T) + e) / ((e - 1) T).

Shape letters: P population, K arms.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from mmlib.config import BanditConfig
from mmlib.method.agent import FIRST_ALPHA
from mmlib.method.pbt import PopulationState, full, scores

ARMS = (-1, 0, 1)  # in steps of alpha
MEMORY = 10  # slopes of a member that a new one is ranked among


@dataclass
class BanditState(PopulationState):
    """A population's state, whose one hyperparameter is alpha, and each member's bandit."""

    log_weights: list[list[float]] = field(default_factory=list)  # [P][K], the greatest 0
    arms: list[int] = field(default_factory=list)  # [P], drawn last, of ARMS
    means: list[list[float]] = field(default_factory=list)  # [P][<= MEMORY + 1], of the last rounds, oldest first


@dataclass(frozen=True)
class Round:
    """The end of a member's round, and what it does then: a row of rounds.jsonl, but for its frames."""

    member: int
    mean: float  # of the round's returns
    reward: float | None  # of the arm that began it; None of the first, which no arm began
    log_weights: list[float]  # [K], with the reward in them
    probabilities: list[float]  # [K], of the draw
    arm: int  # drawn, of ARMS
    old: float  # alpha
    new: float
    record: ClassVar = "rounds"
    donor: ClassVar = None

    def as_row(self, frames: int, frames_a_step: int) -> dict[str, Any]:
        """The row, stamped with the member's environment frames."""
        return {"frames": frames, **asdict(self)}


def start(population: int, seed: int, num_levels: int = 1) -> BanditState:
    """Bandits to which all arms are alike."""
    members = range(population)
    return BanditState(
        hyper=[{"alpha": FIRST_ALPHA} for _ in members],
        windows=[[[] for _ in range(num_levels)] for _ in members],
        episodes=[0] * population,
        changed=[1] * population,  # what began at 0 is not fresh
        seed=seed,
        log_weights=[[0.0] * len(ARMS) for _ in members],
        arms=[0] * population,
        means=[[] for _ in members],
    )


def ready(state: BanditState, config: BanditConfig) -> list[int]:
    """The members whose round is at its end."""
    return [member for member in range(len(state.hyper)) if full(state, config, member)]


def decide(state: BanditState, config: BanditConfig, member: int, stopped: Collection[int] = ()) -> Round:
    """What a member that is ready does; changes nothing. Members that have `stopped` go on like the others."""
    random = np.random.default_rng([state.seed, 1, state.decisions])
    log_weights, reward = np.array(state.log_weights[member]), None
    mean = float(scores(state, config, member).mean())
    if before := state.means[member]:
        *earlier, slope = np.diff([*before, mean])
        reward, arm = rank(slope, earlier), ARMS.index(state.arms[member])
        log_weights = exp3s(log_weights, arm, reward, gamma=config.gamma, share=config.share)
    chances = probabilities(log_weights, config.gamma)
    drawn = ARMS[random.choice(len(ARMS), p=chances)]
    old = state.hyper[member]["alpha"]
    new = float(np.clip(old + drawn * config.step, 0.0, 1.0))
    return Round(member, mean, reward, log_weights.tolist(), chances.tolist(), drawn, old, new)


def apply(state: BanditState, decision: Round, now: int) -> None:
    """Books a decision at time `now`, when a new round begins."""
    member = decision.member
    state.means[member] = [*state.means[member], decision.mean][-MEMORY - 1 :]
    state.log_weights[member], state.arms[member] = decision.log_weights, decision.arm
    state.hyper[member] = {"alpha": decision.new}
    state.windows[member] = [[] for _ in state.windows[member]]
    state.episodes[member], state.changed[member] = 0, now
    state.decisions += 1


def rank(slope: float, earlier: Sequence[float]) -> float:
    """The share of `earlier` slopes that one exceeds, those that equal it counting half; 1/2 if there are none."""
    return float(np.mean(np.sign(slope - np.array(earlier)) + 1) / 2) if earlier else 0.5


def probabilities(log_weights: np.ndarray, gamma: float) -> np.ndarray:
    """p_i = (1 - gamma) w_i / sum_j w_j + gamma / K, `[K]`."""
    weights = np.exp(log_weights - log_weights.max())
    return (1 - gamma) * weights / weights.sum() + gamma / len(weights)


def exp3s(log_weights: np.ndarray, arm: int, reward: float, *, gamma: float, share: float) -> np.ndarray:
    """The weights after a round of Exp3.S, as logarithms `[K]`; all less the greatest, which changes no probability.

        w_j <- w_j exp(gamma x_j / K) + (e share / K) sum_i w_i,    x_j = reward / p_j of the arm drawn, 0 of others

    Args:
      log_weights: `[K]`, of which the arm was drawn.
      arm: its place.
      reward: in [0, 1].
    """
    gained = log_weights.copy()
    gained[arm] += gamma / len(gained) * reward / probabilities(log_weights, gamma)[arm]
    given = 1.0 + np.log(share / len(gained)) + np.logaddexp.reduce(log_weights)
    after = np.logaddexp(gained, given)
    return after - after.max()
