"""Statistics of learning curves: pure functions on arrays.

Shape letters: S seeds (independent runs), G points of a curve, E episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and the bounds of its interval (NaN bounds: there is no interval)."""

    mean: float
    low: float
    high: float


class Curve(NamedTuple):
    """A learning curve: environment frames, mean over seeds, and its interval, each float [G]."""

    frames: Floats
    mean: Floats
    low: Floats
    high: Floats


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


def mean_curve(curves: ArrayLike, edges: ArrayLike, *, confidence: float = 0.95, seed: int = 0) -> Curve:
    """The mean over seeds of curves `[S, G]` with its bootstrap interval, at the right edges of the bins.

    A point exists only where every seed has one, so that the mean is over the same seeds everywhere.
    With one seed there is no interval: its bounds are NaN.
    """
    values, right = np.asarray(curves, float), np.asarray(edges, float)[1:]
    complete = ~np.isnan(values).any(axis=0)
    values = values[:, complete]
    low, high = bootstrap_interval([values], confidence=confidence, seed=seed)
    return Curve(right[complete], values.mean(axis=0), low, high)


def bootstrap_interval(
    strata: Sequence[ArrayLike],
    statistic: Callable[[Floats], Floats] = lambda values: values.mean(axis=0),
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Percentile interval of the mean over strata of `statistic`, by a stratified bootstrap over seeds.

    Seeds are drawn with replacement within each stratum (for instance a level), never across, as in "Deep
    Reinforcement Learning at the Edge of the Statistical Precipice" by Agarwal et al. (2021). The interval
    cannot leave the range of the seeds' values, so with three seeds it is little more than that range.

    Args:
      strata: arrays `[S_i, ...]`, each with its own number of seeds.
      statistic: from `[S_i, ...]` to `[...]`.
      confidence: between 0 and 1.
      resamples: number of bootstrap samples.
      seed: of the resampling; the same seed gives the same interval.

    Returns:
      low and high, each `[...]`; NaN if a stratum has fewer than two seeds.
    """
    arrays = [np.asarray(stratum, float) for stratum in strata]
    shape = arrays[0].shape[1:]
    if min(len(array) for array in arrays) < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    generator = np.random.default_rng(seed)
    samples = np.zeros((resamples, *shape))
    for array in arrays:
        drawn = generator.integers(len(array), size=(resamples, len(array)))
        samples += np.stack([statistic(array[rows]) for rows in drawn]) / len(arrays)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(samples, [tail, 1.0 - tail], axis=0)
    return low, high


def iqm(values: ArrayLike) -> Floats:
    """Interquartile mean over the first axis: the mean of the middle half, `[S, ...]` to `[...]`.

    A quarter of the values, rounded down, is left out at each end, as scipy.stats.trim_mean does at 0.25.
    """
    ordered = np.sort(np.asarray(values, float), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(axis=0)


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Mean of one number a seed, `[S]`, with Student's t interval (stated choice for tables).

    With the few seeds of a run on one machine the bootstrap's interval is too narrow and this one is not.
    """
    numbers = np.asarray(values, float)
    mean = float(numbers.mean())
    if len(numbers) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(scipy.stats.sem(numbers) * scipy.stats.t.ppf(0.5 + confidence / 2.0, len(numbers) - 1))
    return Interval(mean, mean - half, mean + half)


def stratified_mean(strata: Sequence[ArrayLike], *, confidence: float = 0.95) -> Interval:
    """Mean over strata (levels) of their means, each `[S_i]`, with Student's t interval.

    The strata are fixed, their seeds are drawn; the freedom is Welch's and Satterthwaite's. NaN bounds if a stratum
    has fewer than two values.
    """
    arrays = [np.asarray(stratum, float) for stratum in strata]
    mean = float(np.mean([array.mean() for array in arrays]))
    return _welch(mean, [(array, 1.0 / len(arrays)) for array in arrays], confidence)


def stratified_difference(
    first: Sequence[ArrayLike], second: Sequence[ArrayLike], *, confidence: float = 0.95
) -> Interval:
    """Mean over strata of mean(first) - mean(second), with the interval of `stratified_mean`.

    With one stratum it is `difference_interval`.
    """
    ones, twos = ([np.asarray(stratum, float) for stratum in strata] for strata in (first, second))
    mean = float(np.mean([one.mean() - two.mean() for one, two in zip(ones, twos, strict=True)]))
    return _welch(mean, [(array, 1.0 / len(ones)) for array in (*ones, *twos)], confidence)


def _welch(mean: float, parts: Sequence[tuple[Floats, float]], confidence: float) -> Interval:
    """The t interval of a weighted sum of independent means: (values, weight) of each."""
    if min(len(values) for values, _ in parts) < 2:
        return Interval(mean, float("nan"), float("nan"))
    variances = [weight**2 * values.var(ddof=1) / len(values) for values, weight in parts]
    total = float(sum(variances))
    if total == 0.0:
        return Interval(mean, mean, mean)
    freedom = total**2 / sum(v**2 / (len(values) - 1) for v, (values, _) in zip(variances, parts))
    half = float(np.sqrt(total) * scipy.stats.t.ppf(0.5 + confidence / 2.0, freedom))
    return Interval(mean, mean - half, mean + half)


def difference_interval(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Mean of `first` `[S_1]` minus mean of `second` `[S_2]` with Welch's t interval (two seeds of each)."""
    return stratified_difference([first], [second], confidence=confidence)


def mean_return_between(frames: ArrayLike, returns: ArrayLike, start: float, stop: float) -> float:
    """Mean return of the episodes that ended in (start, stop] environment frames; NaN if none did."""
    return float(learning_curve(frames, returns, [start, stop])[0])
