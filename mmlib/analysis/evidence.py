"""What was measured about a claim: an effect with its interval, from a condition's runs or the theory notebook's facts.

The rules, the same for all claims: the unit is a run, a single agent or a population, whose members are not independent
and count together. A level is used if it has `LEVEL_RUNS` runs of each method, where any has. On one level returns are
plain; over several they are normalised, (return - random) / (expert - random), with the level's best in the expert's
place where no score of one is known. Intervals of means and differences are Student's and Welch's t, stratified by
level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.analysis.baselines import Scale, scale
from mmlib.analysis.conditions import Condition
from mmlib.analysis.curves import EARLY, END, WHOLE, best_ends, mean_returns, total_frames
from mmlib.analysis.stats import Floats, Interval
from mmlib.runs.lineage import best_member, history
from mmlib.runs.reader import Run
from mmlib.theory.facts import read as read_facts

MIN_RUNS = 3  # fewer than this many of each method: no verdict
LEVEL_RUNS = 2  # of each method on a level, for the level to be used where another has as many
SWITCHED, SWING = 0.9, 0.25  # alpha "is about 1"; a fall of alpha from its greatest so far (stated choices)
START = (0.0, 0.05)  # the share of a run that "at first" means, for entropies
RETURN, SHARE = "return", "share of runs"  # units: returns have scales, shares of runs exact intervals
NORMALISED, RELATIVE = "normalised score", "share of the best"  # a return on its level's scale, where one is known


@dataclass(frozen=True)
class Evidence:
    """An effect, how it was measured and on what."""

    effect: Interval
    unit: str
    n: int  # runs, problems, seeds or cases, as the sentence says
    enough: bool  # of them for a verdict
    sentence: str
    interval: str  # how it was made
    runs: tuple[str, ...]  # directories and files that it comes from
    levels: tuple[str, ...] = ()
    reference: float = 0.0  # the second method's mean, for margins in percent
    iqm: Interval | None = None  # difference of interquartile means, of two methods on the same levels
    improvement: Interval | None = None  # probability that a run of the first is above one of the second
    verdict: str = ""  # where the effect alone does not say it


@dataclass(frozen=True)
class Measure:
    """A number of a run: from a number on each of its levels to one."""

    words: str
    of: Callable[[Run], dict[str, float]]  # nothing for a level on which there is none
    unit: str = RETURN
    pick: Callable[[Mapping[str, float]], float] = lambda values: next(iter(values.values()))


# --- Numbers of a run -------------------------------------------------------------------------------------------------


def is_lasertag(level: str) -> bool:
    """Whether a level is one of the lasertag kind, by DeepMind Lab's prefix."""
    return level.startswith("lt_")


def _navigation(values: Mapping[str, float]) -> float:
    return float(np.mean([value for level, value in values.items() if not is_lasertag(level)]))


def _target_alone(run: Run) -> dict[str, float]:
    """At the end: M&M's episodes are those of the central policy alone; a single agent's are its own."""
    return mean_returns(run, END, "episodes" if METHODS[run.method].single else "evaluations")


def _switch_time(run: Run) -> dict[str, float]:
    alpha = history(run, best_member(run), "alpha")
    there = alpha.index[alpha >= SWITCHED]
    return {run.config["level"]: float(there[0] / total_frames(run)) if len(there) else 1.0}


def _falls_back(run: Run) -> dict[str, float]:
    alpha = history(run, best_member(run), "alpha")
    return {run.config["level"]: float((alpha.cummax() - alpha).max() >= SWING)}


def _entropy_growth(run: Run) -> dict[str, float]:
    table, total = run.metrics(), total_frames(run)
    frames, values = table["frames"].to_numpy(float), table["collision_entropy"].to_numpy(float)
    known = np.isfinite(values)  # a member that diverged has none
    first = known & (frames <= max(START[1] * total, frames.min(initial=total)))
    last = known & (frames > END[0] * total)
    if not (first.any() and last.any()):
        return {}
    return {run.config["level"]: float(values[last].mean() - values[first].mean())}


_early, _end, _whole = (partial(mean_returns, share=share) for share in (EARLY, END, WHOLE))
EARLY_RETURN, END_RETURN = Measure("early", _early), Measure("at the end", _end)
WHOLE_RETURN = Measure("over the whole run", _whole)
LOWEST_TASK = Measure("smallest over the tasks, mixture", _end, pick=lambda values: min(values.values()))
LOWEST_ALONE = Measure("smallest over the tasks, π_mt alone", _target_alone, pick=LOWEST_TASK.pick)
UNEVENNESS = Measure("best less worst of the tasks", _end, pick=lambda values: float(np.ptp([*values.values()])))
NAVIGATION = Measure("navigation", _end, pick=_navigation)
SWITCH_TIME = Measure(
    f"α of the best member's ancestry first ≥ {SWITCHED} after this share", _switch_time, "share of the run"
)
FALLS_BACK = Measure(f"α falls by ≥ {SWING} on the way", _falls_back, SHARE)
ENTROPY_GROWTH = Measure("collision entropy of π_mm, last fifth less first twentieth", _entropy_growth, "nats")

# --- Runs of one method, or of two ------------------------------------------------------------------------------------

Side = dict[str, list[tuple[Run, dict[str, float]]]]  # by level: runs, each with its numbers


def of_runs(
    condition: Condition,
    measure: Measure,
    first: str,
    second: str,
    apart: bool,
    least: int,
) -> Evidence | None:
    """The evidence about a measure of `first`'s runs, or of them less `second`'s if there is one; None without runs.

    apart: whether the first's are of lasertag levels and the second's of the others, rather than both of the same.
    least: so many runs of each are enough for a verdict.
    """
    methods = [method for method in (first, second) if method]
    sides = [_side(condition, method, measure) for method in methods]
    if apart:
        kinds = ({lv: side[lv] for lv in side if is_lasertag(lv) == tag} for side, tag in zip(sides, (True, False)))
        sides = [side for kind in kinds for side in _used([kind])]
    else:
        sides = _used(sides)
    if not all(sides):
        return None
    levels = tuple(dict.fromkeys(level for side in sides for level in side))
    tasks = list(dict.fromkeys(task for level in levels for task in level.split("+")))
    scales, unit = _scales(condition, tasks) if measure.unit == RETURN and len(tasks) > 1 else ({}, measure.unit)

    def number(values: Mapping[str, float]) -> float:
        return measure.pick({t: float(scales[t].normalise(v)) if scales else v for t, v in values.items()})

    strata = [[np.array([number(values) for _, values in group]) for group in side.values()] for side in sides]
    if measure.unit == SHARE:  # pooled over levels
        strata = [[np.concatenate(side)] for side in strata]
    counts = [sum(map(len, side)) for side in strata]
    effect, interval = _interval(measure.unit, strata)
    names = ("on lasertag", "elsewhere") if apart else [METHODS[method].label for method in methods]
    of_two = second and not apart  # on the same levels
    return Evidence(
        effect,
        unit,
        sum(counts),
        min(counts) >= least,
        f"{measure.words}: {_against(names, strata, measure.unit)}",
        interval,
        tuple(str(run.directory) for level in levels for side in sides for run, _ in side.get(level, ())),
        levels,
        float(stats.mean_of_means(strata[1])) if second else 0.0,
        stats.iqm_difference(*strata) if of_two else None,
        stats.improvement(*strata) if of_two else None,
    )


def _interval(unit: str, strata: list[list[np.ndarray]]) -> tuple[stats.Interval, str]:
    """The interval of one side's numbers, or of two sides' difference, and whose it is."""
    if unit == SHARE:
        (pooled,) = strata[0]
        return stats.share_interval(int(pooled.sum()), len(pooled)), "Clopper and Pearson's"
    if len(strata) == 2:
        return stats.difference_interval(*strata), "Welch's t, stratified by level"
    return stats.mean_interval(*strata[0]), "Student's t, stratified by level"


def _side(condition: Condition, method: str, measure: Measure) -> Side:
    """The runs that have a number on each of their levels."""
    side: Side = {}
    for level in condition.runs:
        for run in condition.of(level, method):
            values = measure.of(run)
            if set(values) == set(level.split("+")):
                side.setdefault(level, []).append((run, values))
    return side


def _used(sides: Sequence[Side]) -> list[Side]:
    """The levels that all sides have; those with `LEVEL_RUNS` of each if any has."""
    common = [level for level in sides[0] if all(level in side for side in sides)]
    used = [level for level in common if all(len(side[level]) >= LEVEL_RUNS for side in sides)] or common
    return [{level: side[level] for level in used} for side in sides]


def _scales(condition: Condition, tasks: Sequence[str]) -> tuple[dict[str, Scale], str]:
    """Each level's scale, and the unit's name."""
    best, where = best_ends(condition.runs), condition.results
    scales = {
        task: scale(where, task, condition.backend, condition.settings, best.get(task), measured=False)
        for task in tasks
    }
    return scales, NORMALISED if all(s.absolute for s in scales.values()) else RELATIVE


def _against(names: Sequence[str], strata: Sequence[Sequence[Floats]], unit: str) -> str:
    means = [float(stats.mean_of_means(side)) for side in strata]
    counts = [sum(map(len, side)) for side in strata]
    said = [f"{name} {mean:.3g} ({counted(n, 'run')})" for name, mean, n in zip(names, means, counts, strict=True)]
    percent = unit == RETURN and len(means) == 2 and abs(means[1]) > 1e-9
    more = f", {100 * (means[0] - means[1]) / abs(means[1]):+.0f} %" if percent else ""
    return " against ".join(said) + more


def counted(number: int, noun: str) -> str:
    """ "3 runs", "1 run"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


# --- Section 3 and the appendices: the facts that the theory notebook measured ---------------------------------------


def _facts(path: Path) -> Any:
    return read_facts(path)["facts"] if path.exists() else None


def mixing_enumerated(folder: Path) -> Evidence | None:
    """Variance where every trajectory can be written down; the mean over alpha of each random problem's ratio."""
    path = folder / "mixing_enumerated.json"
    if (facts := _facts(path)) is None:
        return None
    more = 100 * (np.mean(facts["ratios"], axis=0) - 1)
    apart, n = facts["largest_difference_of_means"], len(more)
    sentence = f"variance of sampled mixing, mean over α, {n} enumerated problems; the means differ by at most "
    verdict = "" if apart < 1e-9 else "does not hold"  # of two estimators of different things
    effect, how = stats.mean_interval(more), "Student's t over problems"
    return Evidence(effect, "% more", n, n >= MIN_RUNS, sentence + f"{apart:.0e}", how, (str(path),), verdict=verdict)


def mixing_network(folder: Path) -> Evidence | None:
    """Variance for the agents' network: the agent and alpha with the smallest lower end."""
    paths = sorted(folder.glob("network_*.json"))
    rows = [(facts["label"], facts["level"], row) for facts in map(_facts, paths) for row in facts["rows"]]
    if not rows:
        return None
    label, level, least = min(rows, key=lambda row: row[2]["low"])
    ratios = [row["ratio"] for _, _, row in rows]
    sentence = f"variance of sampled over explicit mixing on {level}: {min(ratios):.4g} … {max(ratios):.4g}; least "
    sentence += f"for {label} at α = {least['alpha']:g} ({least['trajectories']} trajectories), on the left"
    interval = "bootstrap over environments; never below 0 by construction"
    effect = Interval(*(100 * (least[part] - 1) for part in ("ratio", "low", "high")))
    return Evidence(effect, "% more", least["trajectories"], True, sentence, interval, tuple(map(str, paths)))


def remark_1(folder: Path, kind: str) -> Evidence | None:
    """KL(pi_1 || pi_2) after the last update as a share of where it began."""
    path = folder / "remark_1.json"
    if (facts := _facts(path)) is None:
        return None
    curve = facts["curves"][kind]
    left = 100 * np.divide(curve["kl"][-1], curve["kl"][0])
    sentence = f"{kind} π₂: KL(π₁ ‖ π₂) from {np.mean(curve['kl'][0]):.3g} to {np.mean(curve['kl'][-1]):.2g} nats in "
    sentence += f"{curve['updates'][-1]} updates, {len(left)} seeds"
    if kind.endswith("factorised"):
        sentence += f"; the least that a product can reach is {np.mean(curve['floor']):.3g}"
    effect, n = stats.mean_interval(left), len(left)
    return Evidence(effect, "% of the first KL", n, n >= MIN_RUNS, sentence, "Student's t over seeds", (str(path),))


CASES = 1000  # random pairs of policies that a verdict on the inequality needs


def inequality(folder: Path) -> Evidence | None:
    """How often appendix G's inequality is violated by random policies, both sides exact."""
    path = folder / "appendix_g.json"
    if (facts := _facts(path)) is None:
        return None
    families = facts["families"].values()
    cases, violations, false = (
        sum(family[part] for family in families) for part in ("cases", "violations", "printed_line_false")
    )
    sentence = f"{violations} of {cases} pairs of policies and α violate ℓ ≥ ℓ̂ (it is proved); the appendix's last "
    sentence += f"line, as printed, is false in {false} of them"
    effect, how = stats.share_interval(violations, cases), "Clopper and Pearson's"
    return Evidence(effect, "share of cases", cases, cases >= CASES, sentence, how, (str(path),))
