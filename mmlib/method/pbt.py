"""Population based training: readiness, exploit and explore as functions of a population's state
(appendix B).

Nothing here trains or copies anything: `decide` says what is to happen, and the loop does it.

The clock. A member changes when it copies another or when its hyperparameters move; an episode is
*fresh* if it began when its member had changed for the last time, so that nothing else has played
in it. Fresh episodes alone make a member ready and are compared (stated choice; the paper says
"every 300 episodes" and "the last 30"). After a change the window of returns is empty, of a copy
too: the donor's returns are the donor's. A decision that changes nothing leaves the window alone,
and the count of episodes begins anew after every decision. Who has no full window is nobody's
donor. Times are agent steps of an environment, as in `actors.Episode`. Shape letters: P population.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from mmlib.config import HYPER, BanditConfig, PBTConfig
from mmlib.method.methods import AgentSpec
from mmlib.method.trajectory import Episode

Hyper = dict[str, float]  # those of `HYPER` that are adapted
TIMES = ("began", "opponent_began", "changed", "opponent_changed")  # fields of `Decision`


@dataclass
class PopulationState:
    """What decisions depend on; hyperparameters are the ones in force."""

    hyper: list[Hyper]  # [P]
    # [P][levels][<= window], (began, return) of each level's last fresh episodes, oldest end first
    windows: list[list[list[tuple[int, float]]]]
    episodes: list[int]  # [P], fresh ones trained on since the last decision
    changed: list[int]  # [P], when each member changed last
    decisions: int = 0  # so far: with the seed it decides all random draws of the next one
    seed: int = 0

    @classmethod
    def start(
        cls,
        config: PBTConfig,
        population: int,
        seed: int,
        num_levels: int = 1,
        adapted: Sequence[str] = HYPER,
    ) -> PopulationState:
        """A fresh population: each adapted hyperparameter log-uniform in its range."""
        random = np.random.default_rng([seed, 0])
        members = range(population)
        return cls(
            hyper=[
                {name: log_uniform(random, getattr(config, name)) for name in adapted}
                for _ in members
            ],
            windows=[[[] for _ in range(num_levels)] for _ in members],
            episodes=[0] * population,
            changed=[0] * population,
            seed=seed,
        )


def adapted(config: PBTConfig, spec: AgentSpec) -> tuple[str, ...]:
    """The hyperparameters that are adapted: those asked for that play a part in how it learns."""
    idle = {"alpha": not spec.mixes, "entropy_cost": spec.learner != "vtrace"}
    return tuple(name for name in HYPER if name in config.adapt and not idle.get(name))


@dataclass(frozen=True)
class Decision:
    """What happens to one member that is ready: a row of decisions.jsonl, but for its frames."""

    member: int
    opponent: int  # the member itself if there was nobody to meet
    mean: float  # of the member's window; NaN if it is not full
    opponent_mean: float
    p: float  # of the one-sided T-test that the opponent is better; NaN: too little to test
    copied: bool
    explored: bool
    episodes: int  # in the member's window, of all levels; compared if both windows are full
    opponent_episodes: int
    began: int | None  # when the first of them began; None if there are none
    opponent_began: int | None
    changed: int  # when the member had changed last
    opponent_changed: int
    old: Hyper
    new: Hyper
    record: ClassVar = "decisions"  # where its row goes

    @property
    def donor(self) -> int | None:
        """Whom the member copies, if it does."""
        return self.opponent if self.copied else None

    @property
    def changes(self) -> bool:
        """Whether the member is another one afterwards."""
        return self.copied or self.new != self.old

    def as_row(self, frames: int, frames_a_step: int) -> dict[str, Any]:
        """The row, stamped with the member's environment frames; all its times are in them."""
        row = {"frames": frames, **asdict(self)}
        return row | {name: row[name] and row[name] * frames_a_step for name in TIMES}


def log_uniform(random: np.random.Generator, limits: Sequence[float]) -> float:
    """One number, log-uniform between two limits."""
    low, high = np.log(limits)
    return float(np.exp(random.uniform(low, high)))


def observe(
    state: PopulationState,
    config: PBTConfig | BanditConfig,
    trained: Iterable[Episode],
    compared: Iterable[Episode],
) -> None:
    """Takes finished episodes, of which only the fresh ones count.

    Args:
      trained: that were trained on; they make a member ready.
      compared: the same ones, or those of the target alone where it is evaluated (appendix B.2).
        The last `window` of each level are kept.
    """
    for e in trained:
        state.episodes[e.member] += e.began >= state.changed[e.member]
    for e in compared:
        if e.began >= state.changed[e.member]:
            window = state.windows[e.member][e.task]
            window.append((e.began, e.episode_return))
            del window[: -config.window]


def ready(state: PopulationState, config: PBTConfig) -> list[int]:
    """The members that trained on `ready` fresh episodes or more since their last decision."""
    return [member for member, episodes in enumerate(state.episodes) if episodes >= config.ready]


def full(state: PopulationState, config: PBTConfig | BanditConfig, member: int) -> bool:
    """Whether a member has as many fresh returns of each level as are compared."""
    return min(len(window) for window in state.windows[member]) >= config.window


def scores(state: PopulationState, config: PBTConfig | BanditConfig, member: int) -> np.ndarray:
    """What is compared, `[window]` or none: k-th last returns, mean over levels (stated choice)."""
    if not full(state, config, member):
        return np.empty(0)
    return np.mean([[value for _, value in window] for window in state.windows[member]], axis=0)


def p_better(opponent: np.ndarray, member: np.ndarray) -> float:
    """p value of Welch's one-sided T-test that the opponent's mean is higher (the paper says
    "T-test").

    NaN if either has fewer than two returns. Returns that do not vary at all decide by their means
    alone.
    """
    if min(len(opponent), len(member)) < 2:
        return float("nan")
    if np.ptp(opponent) == 0 and np.ptp(member) == 0:
        return 0.0 if opponent[0] > member[0] else 1.0
    import scipy.stats  # late: it takes half a second, and single agents do without

    test = scipy.stats.ttest_ind(opponent, member, equal_var=False, alternative="greater")
    return float(test.pvalue)


def decide(
    state: PopulationState, config: PBTConfig, member: int, stopped: Collection[int] = frozenset()
) -> Decision:
    """Exploit and explore for a member that is ready; changes nothing.

    Exploit: a random other member with a full window; if the T-test says it is better with p below
    `p_value`, its weights, optimiser state and hyperparameters are copied. Explore, with
    `explore_probability`: see `explore`. Members that have `stopped` (their loss was not finite)
    are nobody's opponents, and copy whomever they meet, who needs no window for that.
    """
    random = np.random.default_rng([state.seed, 1, state.decisions])
    everybody = range(len(state.hyper))
    healthy = [other for other in everybody if other != member and other not in stopped]
    met = [other for other in healthy if member in stopped or full(state, config, other)]
    opponent = int(random.choice(met)) if met else member
    mine, theirs = scores(state, config, member), scores(state, config, opponent)
    p = p_better(theirs, mine) if met else float("nan")
    copied = bool(met) and (p < config.p_value or member in stopped)
    start = state.hyper[opponent] if copied else state.hyper[member]
    explored = bool(random.random() < config.explore_probability)
    return Decision(
        member=member,
        opponent=opponent,
        p=p,
        copied=copied,
        explored=explored,
        old=dict(state.hyper[member]),
        new=explore(start, config, random) if explored else dict(start),
        **_side(state, mine, member),
        **{f"opponent_{name}": value for name, value in _side(state, theirs, opponent).items()},
    )


def _side(state: PopulationState, compared: np.ndarray, member: int) -> dict[str, Any]:
    """What a decision says of a member: its window, and when it changed last."""
    begins = [began for window in state.windows[member] for began, _ in window]
    return {
        "mean": float(compared.mean()) if len(compared) else float("nan"),
        "episodes": len(begins),
        "began": min(begins, default=None),
        "changed": state.changed[member],
    }


def explore(hyper: Mapping[str, float], config: PBTConfig, random: np.random.Generator) -> Hyper:
    """Perturbed hyperparameters.

    Learning rate and entropy cost are multiplied by one of `factors` each, alpha moves by
    `alpha_step` up or down within [0, 1]; those that are not adapted are not there.
    """
    scaled = [name for name in hyper if name != "alpha"]
    new = {name: float(hyper[name] * random.choice(config.factors)) for name in scaled}
    if "alpha" in hyper:
        step = config.alpha_step * random.choice([-1.0, 1.0])
        new["alpha"] = float(np.clip(hyper["alpha"] + step, 0.0, 1.0))
    return new


def apply(state: PopulationState, decision: Decision, now: int) -> None:
    """Books a decision at time `now`: new hyperparameters, a window begun anew if it changed."""
    member = decision.member
    state.hyper[member] = dict(decision.new)
    state.episodes[member] = 0
    if decision.changes:
        state.changed[member] = now
        state.windows[member] = [[] for _ in state.windows[member]]
    state.decisions += 1
