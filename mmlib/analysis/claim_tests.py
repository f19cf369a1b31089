"""The tests of the paper's claims that need runs: from a condition to an `Effect`, by the rules of claims.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.stats

from mmlib.analysis import stats
from mmlib.analysis.aggregate import END, returns_in, total_frames
from mmlib.analysis.baselines import PUBLISHED
from mmlib.analysis.baselines import read as read_scores
from mmlib.analysis.comparisons import FAILS, HOLDS, MIN_RUNS, OPEN, WHEN, Comparison, judge, judge_difference, reason
from mmlib.analysis.conditions import Condition
from mmlib.analysis.stats import Floats, Interval
from mmlib.method.methods import METHODS
from mmlib.runs.lineage import best_member, trajectory
from mmlib.runs.reader import Run, file_name

LEVEL_RUNS = 2  # of each method on a level, for the level to be used where another has as many
SWITCHED, SWING = 0.9, 0.25  # alpha "is about 1"; a fall of alpha from its greatest so far (stated choices)
START = (0.0, 0.05)  # the share of a run that "at first" means, for entropies


@dataclass(frozen=True)
class Effect:
    """What was measured about a claim, and what that says."""

    estimate: float
    low: float
    high: float
    unit: str
    n: int  # runs, problems, seeds or cases, as the sentence says
    verdict: str
    sentence: str
    interval: str  # how it was made
    runs: tuple[str, ...] = ()  # directories and files that it comes from


# --- Returns of two methods ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """Two methods' returns in a share of the run, in one unit, by level."""

    first: list[Floats]
    second: list[Floats]
    unit: str
    runs: tuple[str, ...]

    @property
    def enough(self) -> bool:
        return bool(self.first) and min(sum(map(len, group)) for group in (self.first, self.second)) >= MIN_RUNS

    @property
    def difference(self) -> Interval:
        return stats.stratified_difference(self.first, self.second)

    @property
    def reference(self) -> float:
        """Mean over levels of the second's."""
        return float(np.mean([group.mean() for group in self.second]))


def compare(condition: Condition, first: str, second: str, share: tuple[float, float]) -> Compared | None:
    """The levels on which both methods have runs; those with `LEVEL_RUNS` of each if any has. None: no level."""
    rows = {}
    for level in condition.runs:
        groups = [condition.of(level, method) for method in (first, second)]
        values = [returns_in(group, share) for group in groups]
        if all(len(value) for value in values):
            rows[level] = (values, groups)
    used = [level for level in rows if min(map(len, rows[level][0])) >= LEVEL_RUNS] or list(rows)
    if not used:
        return None
    scales, unit = _scales(condition, used)
    first_, second_ = ([(rows[level][0][i] - scales[level][0]) / scales[level][1] for level in used] for i in (0, 1))
    runs = tuple(str(run.directory) for level in used for group in rows[level][1] for run in group)
    return Compared(first_, second_, unit, runs)


def _scales(condition: Condition, levels: Sequence[str]) -> tuple[dict[str, tuple[float, float]], str]:
    """Zero and length of each level's scale, and the unit's name."""
    if len(levels) == 1:
        return {levels[0]: (0.0, 1.0)}, "return"
    known = {level: reference_scores(condition, level) for level in levels}
    if all(known.values()):
        return {level: (pair[0], pair[1] - pair[0]) for level, pair in known.items() if pair}, "normalised score"
    best = {}
    for level in levels:
        ends = [returns_in(group, END) for group in condition.runs[level].values()]
        best[level] = (0.0, max([abs(float(end.mean())) for end in ends if len(end)] or [1.0]) or 1.0)
    return best, "share of the best"


def reference_scores(condition: Condition, level: str) -> tuple[float, float] | None:
    """The returns that count as 0 and as 1: published, or those of results/baselines (`baselines.Scale`), or None."""
    published = PUBLISHED.get((condition.config.get("backend_in_force", "minilab"), level))
    if published is not None:
        return published.zero, published.one
    path = condition.results / "baselines" / f"{file_name(level)}.json"
    scores = read_scores(path).get(condition.config.get("backend_in_force", "minilab"), {})
    pair = [scores.get(name, {}).get("mean") for name in ("small", "expert")]
    return (pair[0], pair[1]) if None not in pair and pair[1] > pair[0] else None


def returns(claim: Comparison) -> Callable[[Condition], Effect | None]:
    """The test of a claim about two methods' returns."""

    def test(condition: Condition) -> Effect | None:
        """The comparison on the runs of a condition; None if it has none of them."""
        data = compare(condition, claim.first, claim.second, claim.share)
        if data is None:
            return None
        gap = data.difference
        verdict = judge_difference(claim.relation, gap, data.reference, data.enough)
        means = [float(np.mean([group.mean() for group in groups])) for groups in (data.first, data.second)]
        counts = [sum(map(len, groups)) for groups in (data.first, data.second)]
        sentence = f"{WHEN[claim.share]}: " + " against ".join(
            f"{METHODS[method].label} {mean:.3g} ({counted(count, 'run')})"
            for method, mean, count in zip((claim.first, claim.second), means, counts, strict=True)
        )
        if abs(means[1]) > 1e-9:
            sentence += f", {100 * gap.mean / abs(means[1]):+.0f} %"
        sentence += reason(verdict, data.enough)
        return Effect(*gap, data.unit, sum(counts), verdict, sentence, "Welch's t, stratified by level", data.runs)

    return test


def every(claims: Sequence[Comparison], condition: Condition) -> Effect | None:
    """The smallest lead of several claims of the kind ">"; they hold together if every one of them does."""
    effects = [effect for claim in claims if (effect := returns(claim)(condition)) is not None]
    if not effects:
        return None
    verdicts = [effect.verdict for effect in effects]
    verdict = FAILS if FAILS in verdicts else HOLDS if verdicts == [HOLDS] * len(claims) else OPEN
    least = min(effects, key=lambda effect: effect.estimate if np.isnan(effect.low) else effect.low)
    runs = tuple(dict.fromkeys(run for effect in effects for run in effect.runs))
    sentence = f"{least.sentence}; the least lead of {len(effects)} of {len(claims)} methods"
    return replace(least, verdict=verdict, sentence=sentence, runs=runs)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# --- One number a run: alpha, entropy, tasks -------------------------------------------------------------------------


def per_run(
    condition: Condition, method: str, measure: Callable[[Run], float]
) -> tuple[list[Floats], tuple[str, ...], list[str]]:
    """A number of each run of a method, by level, the runs' directories, and the levels."""
    levels = [level for level in condition.runs if condition.of(level, method)]
    strata = [np.array([measure(run) for run in condition.of(level, method)]) for level in levels]
    runs = tuple(str(run.directory) for level in levels for run in condition.of(level, method))
    return strata, runs, levels


def switch_time(run: Run) -> float:
    """The share of the run after which alpha of the best member's ancestry is first at `SWITCHED`; 1 if it never is."""
    line = trajectory(run, best_member(run), "alpha")
    there = np.flatnonzero(line.values >= SWITCHED)
    return float(line.frames[there[0]] / total_frames(run)) if len(there) else 1.0


def alpha_switches_early(condition: Condition) -> Effect | None:
    """Claim 4, action spaces: alpha is about 1 before half of the run."""
    strata, runs, _ = per_run(condition, "mm", switch_time)
    if not strata:
        return None
    time, n = stats.stratified_mean(strata), sum(map(len, strata))
    verdict = judge(Interval(-time.mean, -time.high, -time.low), -0.5, n >= MIN_RUNS)
    sentence = (
        f"α of the best member's ancestry first ≥ {SWITCHED} after this share of the run, {counted(n, 'population')}"
    )
    return Effect(*time, "share of the run", n, verdict, sentence, "Student's t, stratified by level", runs)


def lasertag_switches_late(condition: Condition) -> Effect | None:
    """Claim 4, cores: alpha reaches about 1 later on lasertag levels than on the others."""
    strata, runs, levels = per_run(condition, "mm_ff_lstm", switch_time)
    tags = [values for level, values in zip(levels, strata, strict=True) if level.startswith("lt_")]
    others = [values for level, values in zip(levels, strata, strict=True) if not level.startswith("lt_")]
    if not tags or not others:
        return None
    late, early = np.concatenate(tags), np.concatenate(others)
    gap = stats.difference_interval(late, early)
    enough = min(len(late), len(early)) >= MIN_RUNS
    verdict = judge(gap, 0.0, enough)
    sentence = f"α ≥ {SWITCHED} after {late.mean():.2f} of the run on lasertag, {early.mean():.2f} elsewhere"
    sentence += reason(verdict, enough)
    return Effect(*gap, "share of the run", len(late) + len(early), verdict, sentence, "Welch's t", runs)


def alpha_falls_back(method: str, condition: Condition) -> Effect | None:
    """Claim 4: non-monotone alpha occurs: it falls by `SWING` or more from its greatest value so far."""

    def falls(run: Run) -> float:
        values = trajectory(run, best_member(run), "alpha").values
        return float((np.maximum.accumulate(values) - values).max() >= SWING)

    strata, runs, _ = per_run(condition, method, falls)
    if not strata:
        return None
    found = np.concatenate(strata)
    share = share_interval(int(found.sum()), len(found))
    verdict = OPEN if len(found) < MIN_RUNS else HOLDS if found.any() else FAILS if share.high < SWING else OPEN
    sentence = f"{int(found.sum())} of {counted(len(found), 'population')}: α falls by ≥ {SWING} on the way"
    sentence += reason(verdict, len(found) >= MIN_RUNS)
    return Effect(*share, "share of runs", len(found), verdict, sentence, "Clopper and Pearson's", runs)


def share_interval(count: int, n: int) -> Interval:
    limits = scipy.stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    return Interval(count / n, float(limits.low), float(limits.high))


def entropy_grows(condition: Condition) -> Effect | None:
    """Claim 5: the collision entropy of the mixture at the end, less that at first."""

    def growth(run: Run) -> float:
        table, total = run.metrics(), total_frames(run)
        frames, values = table["frames"].to_numpy(float), table["collision_entropy"].to_numpy(float)
        first = values[(frames <= max(START[1] * total, frames.min()))]
        return float(values[frames > END[0] * total].mean() - first.mean())

    strata, runs, _ = per_run(condition, "mm", growth)
    if not strata:
        return None
    rise, n = stats.stratified_mean(strata), sum(map(len, strata))
    verdict = judge(rise, 0.0, n >= MIN_RUNS)
    sentence = f"collision entropy of π_mm, last fifth less first twentieth of the run, {counted(n, 'run')}"
    sentence += reason(verdict, n >= MIN_RUNS)
    return Effect(*rise, "nats", n, verdict, sentence, "Student's t, stratified by level", runs)


def tasks(
    target_alone: bool, pick: Callable[[dict[str, float]], float], what: str, sign: int = 1
) -> Callable[[Condition], Effect | None]:
    """Claim 9: a number of a multitask run's levels at the end, M&M's less the baseline's.

    Args:
      target_alone: whether M&M's episodes are those of the central policy alone, not of the mixture.
      pick: from each level's scaled return to the number compared.
      sign: -1 for the baseline's less M&M's.
    """
    methods = ("mm_multitask", "multitask")

    def test(condition: Condition) -> Effect | None:
        """The difference on the first level whose runs recorded every task; None if there is none."""
        for level in condition.runs:
            groups = [condition.of(level, method) for method in methods]
            means = [[_by_task(run, target_alone and run.method == methods[0]) for run in group] for group in groups]
            names = level.split("+")
            if not all(means) or any(set(row) != set(names) for rows in means for row in rows):
                continue
            scales, unit = _task_scales(condition, names, [row for rows in means for row in rows])
            first, second = (
                np.array([pick({t: (row[t] - scales[t][0]) / scales[t][1] for t in names}) for row in rows])
                for rows in means
            )
            gap = stats.difference_interval(sign * first, sign * second)
            enough = min(len(first), len(second)) >= MIN_RUNS
            verdict = judge(gap, 0.0, enough)
            sentence = f"{what}: M&M {first.mean():.3g} ({counted(len(first), 'run')})"
            sentence += f" against multitask {second.mean():.3g} ({counted(len(second), 'run')})"
            sentence += reason(verdict, enough)
            runs = tuple(str(run.directory) for group in groups for run in group)
            return Effect(*gap, unit, len(first) + len(second), verdict, sentence, "Welch's t", runs)
        return None

    return test


def least(scaled: dict[str, float]) -> float:
    """The smallest over the levels."""
    return min(scaled.values())


def navigation(scaled: dict[str, float]) -> float:
    """Mean over the levels that are not lasertag."""
    return float(np.mean([value for level, value in scaled.items() if not level.startswith("lt_")]))


def _by_task(run: Run, target_alone: bool) -> dict[str, float]:
    """Mean return on each level of a multitask run at its end."""
    table = run.evaluations() if target_alone else run.episodes()
    if not len(table) or "level" not in table:
        return {}
    late = table[table["frames"] > END[0] * total_frames(run)]
    return {str(level): float(value) for level, value in late.groupby("level")["return"].mean().items()}


def _task_scales(
    condition: Condition, names: Sequence[str], rows: Iterable[dict[str, float]]
) -> tuple[dict[str, tuple[float, float]], str]:
    known = {name: reference_scores(condition, name) for name in names}
    if all(known.values()):
        return {name: (pair[0], pair[1] - pair[0]) for name, pair in known.items() if pair}, "normalised score"
    listed = list(rows)
    return {name: (0.0, max(abs(row[name]) for row in listed) or 1.0) for name in names}, "share of the best"
