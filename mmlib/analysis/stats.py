"""Statistics of learning curves and of a few independent runs: pure functions on arrays.

Shape letters: S seeds (independent runs), G points of a curve, E episodes, R resamples. A group of runs is given as
strata, usually the levels: one array `[..., S_i]` each, seeds last, and a stratum's mean counts as much as another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Strata = Sequence[ArrayLike]

CONFIDENCE = 0.95  # of all intervals


class Interval(NamedTuple):
    """An estimate and the bounds of its interval (NaN bounds: there is no interval)."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """The estimate with its bounds, if there are any, each as `spec` says (without one: 3 digits)."""
        mean, low, high = (format(float(part), spec or ".3g") for part in self)
        return mean if np.isnan(self.low) else f"{mean} [{low}, {high}]"


def frame_edges(total_frames: int, points: int, frames: Sequence[ArrayLike] = ()) -> Floats:
    """Edges `[G+1]` of at most `points` equal bins from 0 to `total_frames` environment frames.

    Episodes of a batch of environments end together, so a bin narrower than the gap between two such moments
    may be empty: with `frames` (one array of episode ends a run) the bins are made wide enough.
    Raises ValueError if total_frames or points is not positive.
    """
    if total_frames <= 0 or points <= 0:
        raise ValueError(f"total_frames and points must be positive, not {total_frames} and {points}")
    gaps = [np.diff(np.unique([0, *np.asarray(ends).ravel()])).max() for ends in frames if np.size(ends)]
    if gaps:
        points = min(points, max(1, int(total_frames / max(gaps))))
    return np.linspace(0.0, total_frames, points + 1, dtype=np.float64)


def learning_curve(frames: ArrayLike, returns: ArrayLike, edges: ArrayLike) -> Floats:
    """Mean return of the episodes that ended in each bin, `[G]`; NaN where none ended.

    Args:
      frames: `[E]` environment frames at the end of each episode.
      returns: `[E]` unclipped episode returns.
      edges: `[G+1]` increasing; bin g is (edges[g], edges[g+1]].
    """
    ends, values, edges = np.asarray(frames, float), np.asarray(returns, float), np.asarray(edges, float)
    if ends.shape != values.shape or ends.ndim != 1:
        raise ValueError(f"frames {ends.shape} and returns {values.shape} must be [E] of one length")
    bins = np.searchsorted(edges, ends, side="left") - 1  # [E]
    inside = (bins >= 0) & (bins < len(edges) - 1)
    sums = np.bincount(bins[inside], values[inside], len(edges) - 1)
    counts = np.bincount(bins[inside], minlength=len(edges) - 1)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


# --- Student's and Welch's t ------------------------------------------------------------------------------------------


def mean_interval(*strata: ArrayLike) -> Interval:
    """Mean over strata of the means of one number a seed, each `[S_i]`, with Student's t interval.

    Stated choice for tables and verdicts: with the few seeds of a run on one machine a bootstrap's interval is too
    narrow, and this one is not. The strata are fixed, their seeds are drawn; the freedom is Welch's and
    Satterthwaite's. NaN bounds if a stratum has fewer than two values.
    """
    return difference_interval(strata, ())


def difference_interval(first: Strata, second: Strata) -> Interval:
    """`mean_interval`'s mean of `first` less that of `second`, with Welch's t interval."""
    parts = [(np.asarray(values, float), 1.0 / len(first)) for values in first]
    parts += [(np.asarray(values, float), -1.0 / len(second)) for values in second]
    mean = float(sum(weight * values.mean() for values, weight in parts))
    if min(len(values) for values, _ in parts) < 2:
        return Interval(mean, float("nan"), float("nan"))
    variances = [weight**2 * values.var(ddof=1) / len(values) for values, weight in parts]
    total = float(sum(variances))
    if total == 0.0:
        return Interval(mean, mean, mean)
    freedom = total**2 / sum(v**2 / (len(values) - 1) for v, (values, _) in zip(variances, parts))
    half = float(np.sqrt(total) * scipy.stats.t.ppf(0.5 + CONFIDENCE / 2.0, freedom))
    return Interval(mean, mean - half, mean + half)


def share_interval(count: int, n: int) -> Interval:
    """The share `count` of `n` with the exact binomial interval of Clopper and Pearson."""
    limits = scipy.stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="exact")
    return Interval(count / n, float(limits.low), float(limits.high))


# --- "Deep Reinforcement Learning at the Edge of the Statistical Precipice", Agarwal et al. (2021) -------------------


def bootstrap(
    statistic: Callable[[list[Floats]], Floats], strata: Strata, *, resamples: int = 2000
) -> tuple[Floats, Floats]:
    """Percentile interval of a statistic by a stratified bootstrap: seeds are drawn within each stratum, never across.

    It cannot leave the range of the seeds' values, so with three seeds it is little more than that range.

    Args:
      statistic: from arrays `[..., S_i]` to `[...]`.
      strata: of all groups that the statistic takes, `[..., S_i]`, each with its own number of seeds.
      resamples: R; the same draws each time, so the same values have the same interval.

    Returns:
      low and high, each `[...]`; NaN if a stratum has fewer than two seeds.
    """
    arrays = [np.asarray(stratum, float) for stratum in strata]
    if min(array.shape[-1] for array in arrays) < 2:
        nothing = np.full(arrays[0].shape[:-1], np.nan)
        return nothing, nothing
    generator = np.random.default_rng(0)
    drawn = [array[..., generator.integers(n, size=(resamples, n))] for array in arrays if (n := array.shape[-1])]
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(statistic(drawn), [tail, 1.0 - tail], axis=-1)
    return low, high


def mean_of_means(strata: Strata) -> Floats:
    """The mean over strata `[..., S_i]` of their means over seeds, `[...]`."""
    return np.mean([np.asarray(stratum, float).mean(axis=-1) for stratum in strata], axis=0)


def iqm(strata: Strata) -> Floats:
    """Interquartile mean over all seeds of all strata, `[..., S_i]` to `[...]`: a quarter, rounded down, is left out at
    each end."""
    middle: Floats = scipy.stats.trim_mean(np.concatenate(strata, axis=-1), 0.25, axis=-1)
    return middle


def iqm_difference(first: Strata, second: Strata) -> Interval:
    """`iqm` of `first` less that of `second`, strata `[S_i]`, with its stratified bootstrap interval."""
    return _bootstrapped(lambda strata: iqm(strata[: len(first)]) - iqm(strata[len(first) :]), (*first, *second))


def improvement(first: Strata, second: Strata) -> Interval:
    """The probability that a run of `first` is above one of `second`, averaged over strata; ties count as a half.

    Strata `[S_i]`, the same ones in both. The interval is a stratified bootstrap's.
    """

    def better(strata: list[Floats]) -> Floats:
        pairs = zip(strata[: len(first)], strata[len(first) :], strict=True)
        gaps = [a[..., :, None] - b[..., None, :] for a, b in pairs]
        return np.mean([((gap > 0) + 0.5 * (gap == 0)).mean(axis=(-1, -2)) for gap in gaps], axis=0)

    return _bootstrapped(better, (*first, *second))


def _bootstrapped(statistic: Callable[[list[Floats]], Floats], strata: Strata) -> Interval:
    """A statistic with its bootstrap interval."""
    arrays = [np.asarray(values, float) for values in strata]
    low, high = bootstrap(statistic, arrays)
    return Interval(float(statistic(arrays)), float(low), float(high))
