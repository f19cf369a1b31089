"""From runs on disk to what a figure says: learning curves by method, and the paper's claims against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmlib import stats
from mmlib.methods import METHODS
from mmlib.results import Run

Runs = Mapping[str, Sequence[Run]]

MIN_SEEDS = 3  # fewer than this many seeds of each method: no verdict
MARGIN = 0.05  # "as fast", "as high", "no better": within this share of the other method's return (stated choice)
EARLY, END = (0.0, 0.25), (0.8, 1.0)  # shares of the run that "early" and "at the end" mean (stated choice)


def curves(runs: Runs, points: int = 40) -> dict[str, stats.Curve]:
    """The learning curve of each method that has runs: mean return of the episodes that ended in each bin.

    All methods share one grid of at most `points` bins of environment frames; a population's members count
    together. Intervals are over seeds.
    """
    episodes = {run: run.episodes() for group in runs.values() for run in group}
    if not episodes:
        return {}
    ends = [table["frames"].to_numpy() for table in episodes.values()]
    edges = stats.frame_edges(max(map(total_frames, episodes)), points, ends)
    return {
        method: stats.mean_curve(
            [stats.learning_curve(episodes[run]["frames"], episodes[run]["return"], edges) for run in group],
            edges,
        )
        for method, group in runs.items()
        if group
    }


def total_frames(run: Run) -> int:
    """Environment frames of each member in the whole run, as far as it got."""
    recorded = run.metrics()["frames"]
    return int(recorded.max()) if len(recorded) else run.config["agent_steps"] * run.config["action_repeat"]


def returns_in(runs: Sequence[Run], share: tuple[float, float]) -> np.ndarray:
    """Mean return of each run's episodes that ended in a share of each run, `[S]` (of those with any)."""
    values = []
    for run in runs:
        episodes, total = run.episodes(), total_frames(run)
        start, stop = share[0] * total, share[1] * total
        values.append(stats.mean_return_between(episodes["frames"], episodes["return"], start, stop))
    array = np.asarray(values, dtype=float)
    return array[~np.isnan(array)]


def runs_table(runs: Runs, last: int = 100) -> pd.DataFrame:
    """One row a run: its length, episodes, mean return of the `last` episodes, time, speed and directory."""
    rows = []
    for method, group in runs.items():
        for run in group:
            episodes, timing = run.episodes(), run.timing()
            rows.append(
                {
                    "method": METHODS[method].label,
                    "seed": run.seed,
                    "frames": total_frames(run),
                    "episodes": len(episodes),
                    f"mean of the last {last}": episodes["return"].tail(last).mean(),
                    "minutes": timing["seconds"].iloc[-1] / 60 if len(timing) else None,
                    "agent steps/s": timing["agent_steps_per_second"].median(),
                    "records": str(run.directory),
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Claim:
    """A statement about two methods' returns in a share of the run: `first` `relation` `second`."""

    number: str
    says: str
    first: str
    relation: str  # ">" or ">=", the latter within the margin
    second: str
    share: tuple[float, float]


ACTION_CLAIMS = (
    Claim("1a", "Small learns faster than Big early", "small", ">", "big756", EARLY),
    Claim("1b", "Small ends lower than Big", "big756", ">", "small", END),
    Claim("2a", "M&M learns as fast as Small", "mm", ">=", "small", EARLY),
    Claim("2b", "M&M ends at least as high as Big", "mm", ">=", "big756", END),
    Claim("3a", "Masked KL is no better than M&M", "mm", ">=", "mm_masked_kl", END),
    Claim("3b", "Shared Head is no better than M&M", "mm", ">=", "mm_shared_head", END),
)


def claims_table(runs: Runs, claims: Sequence[Claim] = ACTION_CLAIMS) -> pd.DataFrame:
    """One row a claim: what the paper says, measured returns with 95 % intervals over seeds, a verdict."""
    columns = ["claim", "the paper says", "measured", "difference", "verdict"]
    return pd.DataFrame([_row(claim, runs) for claim in claims], columns=columns)


def _row(claim: Claim, runs: Runs) -> list[str]:
    first, second = (returns_in(runs.get(method, ()), claim.share) for method in (claim.first, claim.second))
    when = f"{'early' if claim.share == EARLY else 'at the end'}: "
    values = " against ".join(
        f"{METHODS[method].label} {_number(returns, bool(runs.get(method)))}"
        for method, returns in ((claim.first, first), (claim.second, second))
    )
    if not len(first) or not len(second):
        return [claim.number, claim.says, when + values, "", "not enough data"]
    difference = stats.difference_interval(first, second)
    return [
        claim.number,
        claim.says,
        when + values,
        _interval(difference),
        verdict(claim.relation, first, second),
    ]


def verdict(relation: str, first: np.ndarray, second: np.ndarray) -> str:
    """Whether `first` `relation` `second` (returns, one a seed) holds, as far as a 95 % interval can say.

    ">": the interval of the difference lies above 0.  ">=": it lies above -`MARGIN` of the second's return.
    Raises ValueError for another relation.
    """
    if relation not in (">", ">="):
        raise ValueError(f"unknown relation {relation!r}; relations: >, >=")
    if min(len(first), len(second)) < MIN_SEEDS:
        return "not enough data"
    difference = stats.difference_interval(first, second)
    bound = 0.0 if relation == ">" else -MARGIN * abs(float(second.mean()))
    if difference.low > bound:
        return "holds here"
    return "does not hold here" if difference.high < bound else "undecided"


def _number(returns: np.ndarray, ran: bool) -> str:
    if not len(returns):
        return "(no episode ended)" if ran else "(no run)"
    if len(returns) == 1:
        return f"{returns[0]:.2f} (1 seed)"
    return f"{_interval(stats.mean_interval(returns))} ({len(returns)} seeds)"


def _interval(interval: stats.Interval) -> str:
    if np.isnan(interval.low):
        return f"{interval.mean:+.2f}" if interval.mean < 0 else f"{interval.mean:.2f}"
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
