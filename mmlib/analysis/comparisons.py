"""Claims about two methods' returns: what they say, one rule for a verdict on them, and a table for one level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmlib.analysis import stats
from mmlib.analysis.aggregate import EARLY, END, Runs, returns_in
from mmlib.analysis.stats import Interval
from mmlib.method.methods import CONTROL_METHODS, METHODS

HOLDS, FAILS, OPEN = "holds", "does not hold", "not enough data"
MIN_RUNS = 3  # fewer than this many of each method: no verdict
MARGIN = 0.05  # "as fast", "as high", "no better": within this share of the other method's return (stated choice)
ALIKE = 0.1  # "dynamics like": mean returns of whole runs within this share (stated choice)
WHOLE = (0.0, 1.0)
WHEN = {EARLY: "early", END: "at the end", WHOLE: "over the whole run"}


@dataclass(frozen=True)
class Comparison:
    """A claim about two methods' mean returns in a share of the run: `first` `relation` `second`."""

    number: str
    says: str
    first: str
    relation: str  # ">"; ">=", within `MARGIN` of the second's; "~", within `ALIKE` of it
    second: str
    share: tuple[float, float]


ACTION = (
    Comparison("1a", "Small learns faster than Big early", "small", ">", "big756", EARLY),
    Comparison("1b", "Small ends lower than Big", "big756", ">", "small", END),
    Comparison("2a", "M&M learns as fast as Small", "mm", ">=", "small", EARLY),
    Comparison("2b", "M&M ends at least as high as Big", "mm", ">=", "big756", END),
    Comparison("3a", "Masked KL is no better than M&M", "mm", ">=", "mm_masked_kl", END),
    Comparison("3b", "Shared Head is no better than M&M", "mm", ">=", "mm_shared_head", END),
)
CORE = (
    Comparison("6a", "M&M ends higher than LSTM (about +20 %)", "mm_ff_lstm", ">", "lstm", END),
    Comparison("6b", "M&M is not as fast as FF", "ff", ">", "mm_ff_lstm", EARLY),
    Comparison("7a", "FF+LSTM has dynamics like M&M", "ff_lstm", "~", "mm_ff_lstm", WHOLE),
    Comparison("7b", "FF+LSTM is slower than FF", "ff", ">", "ff_lstm", EARLY),
)
LSTM_LSTM = tuple(  # claim 8 has four parts
    Comparison(f"8{letter}", f"LSTM&LSTM ends lower than {METHODS[other].label}", other, ">", "mm_lstm_lstm", END)
    for letter, other in zip("abcd", ("ff", "lstm", "ff_lstm", "mm_ff_lstm"))
)
# Not the paper's: what the control would say if the part that it lacks made no difference.
CONTROLS = tuple(
    Comparison(
        f"{letter}{part}", f"(not in the paper) as {how} as M&M: {METHODS[other].label}", other, ">=", "mm", share
    )
    for letter, other in zip("abcdefg", CONTROL_METHODS)
    for part, how, share in (("1", "fast", EARLY), ("2", "high", END))
)
COMPARISONS = {"3": ACTION, "6": CORE + LSTM_LSTM, "controls": CONTROLS}  # by figure


def judge(interval: Interval, bound: float, enough: bool) -> str:
    """The verdict on "greater than `bound`": all of the interval must lie on one side of it."""
    if not enough or np.isnan(interval.low):
        return OPEN
    return HOLDS if interval.low > bound else FAILS if interval.high < bound else OPEN


def judge_difference(relation: str, difference: Interval, reference: float, enough: bool) -> str:
    """The verdict on `first` `relation` `second`.

    Args:
      difference: of mean returns, the first's less the second's, with its 95 % interval.
      reference: the second's mean return.
      enough: whether there are enough runs for a verdict.

    Raises ValueError for an unknown relation.
    """
    if relation == ">":
        return judge(difference, 0.0, enough)
    if relation == ">=":
        return judge(difference, -MARGIN * abs(reference), enough)
    if relation != "~":
        raise ValueError(f"unknown relation {relation!r}; relations: >, >=, ~")
    margin = ALIKE * abs(reference)
    above = judge(difference, -margin, enough)
    below = judge(Interval(-difference.mean, -difference.high, -difference.low), -margin, enough)
    return FAILS if FAILS in (above, below) else HOLDS if above == below == HOLDS else OPEN


def reason(verdict: str, enough: bool) -> str:
    """Why a verdict is open, to end a sentence with."""
    if verdict != OPEN:
        return ""
    return "; the interval contains the bound" if enough else f"; fewer than {MIN_RUNS} runs of each"


def table(runs: Runs, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """One row a comparison on one level: what the paper says, returns with 95 % intervals over runs, a verdict."""
    columns = ["claim", "the paper says", "measured", "difference", "verdict"]
    return pd.DataFrame([_row(comparison, runs) for comparison in comparisons], columns=columns)


def _row(claim: Comparison, runs: Runs) -> list[str]:
    first, second = (returns_in(runs.get(method, ()), claim.share) for method in (claim.first, claim.second))
    measured = f"{WHEN[claim.share]}: " + " against ".join(
        f"{METHODS[method].label} {_number(returns, bool(runs.get(method)))}"
        for method, returns in ((claim.first, first), (claim.second, second))
    )
    if not len(first) or not len(second):
        return [claim.number, claim.says, measured, "", OPEN]
    difference = stats.difference_interval(first, second)
    enough = min(len(first), len(second)) >= MIN_RUNS
    verdict = judge_difference(claim.relation, difference, float(second.mean()), enough)
    return [claim.number, claim.says, measured + reason(verdict, enough), _interval(difference), verdict]


def _number(returns: np.ndarray, ran: bool) -> str:
    if not len(returns):
        return "(no episode ended)" if ran else "(no run)"
    if len(returns) == 1:
        return f"{returns[0]:.2f} (1 run)"
    return f"{_interval(stats.mean_interval(returns))} ({len(returns)} runs)"


def _interval(interval: Interval) -> str:
    if np.isnan(interval.low):
        return f"{interval.mean:.2f}"
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
