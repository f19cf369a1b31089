"""The paper's twelve claims as a table, and one evaluator: evidence (evidence.py), one rule of a verdict, tables.

The rule: with fewer than `MIN_RUNS` runs of each method, or without an interval, there is "not enough data"; one seed
is never enough, though its effect is shown. "Holds": all of the 95 % interval is on the claim's side of its bound;
"does not hold": all is on the other; else the claim is "undecided". That something occurs holds if it was seen once.
Beside t intervals, effects of two methods have the difference of interquartile means and the probability of improvement
with stratified bootstrap intervals (Agarwal et al. 2021), which decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import evidence as ev
from mmlib.analysis.conditions import Condition, on_disk
from mmlib.analysis.evidence import END_RETURN, Evidence, Measure
from mmlib.analysis.stats import Interval
from mmlib.method.methods import CONTROL_METHODS
from mmlib.runs.records import as_plain

HOLDS, FAILS, UNDECIDED, TOO_FEW = "holds", "does not hold", "undecided", "not enough data"
MARGIN = 0.05  # "as fast", "as high", "no better": within this share of the other method's return (stated choice)
ALIKE = 0.1  # "dynamics like": mean returns of whole runs within this share (stated choice)
RARE = 0.1  # what occurs in less than this share of runs does not occur (stated choice)
RELATIONS = {
    ">": "the effect is above the claim's bound",
    "<": "below it",
    ">=": "above it, or within `MARGIN` of the second method's mean",
    "~": "within `ALIKE` of the second method's mean, on either side",
    "occurs": "it was seen in a run",
    "never": "it was seen in none",
}
THEORY = "theory"  # in place of a figure: tested on measurements, not on runs


@dataclass(frozen=True)
class Claim:
    """A claim: `measure` of `first`, less that of `second` if there is one, `relation` `bound`."""

    number: str
    says: str
    figure: str  # whose runs test it, or `THEORY`
    relation: str
    first: str = ""
    second: str = ""
    measure: Measure = END_RETURN
    bound: float = 0.0
    pbt_only: bool = False  # claims about alpha: a schedule made by hand says nothing
    lasertag_apart: bool = False  # the first's runs are of lasertag levels, the second's of the others
    facts: Callable[[Path], Evidence | None] | None = None  # of the measurements in a folder, for `THEORY`

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"unknown relation {self.relation!r}; relations: {', '.join(RELATIONS)}")
        if unknown := {self.first, self.second} - {"", *METHODS}:
            raise ValueError(f"claim {self.number}: unknown method {unknown.pop()!r}; methods: {', '.join(METHODS)}")


@dataclass(frozen=True)
class Finding:
    """A claim tested in one condition."""

    claim: Claim
    where: str  # preset and condition
    evidence: Evidence
    verdict: str
    condition: Condition | None = field(default=None, repr=False, compare=False)  # whose runs; None of measurements

    @property
    def place(self) -> str:
        """Preset, condition and levels."""
        return ": ".join(part for part in (self.where, ", ".join(self.evidence.levels)) if part)

    @property
    def measured(self) -> str:
        """What was measured, in a sentence."""
        said, found = self.evidence.sentence, self.evidence
        if found.enough and found.improvement and found.iqm and np.isfinite(found.improvement.low):
            chance = Interval(*(100 * part for part in found.improvement))
            said += f"; interquartile means differ by {found.iqm}, the first is above in {chance} %"
        if self.verdict == UNDECIDED:
            return f"{said}; the interval holds {' or '.join(f'{bound:.3g}' for bound in self.bounds)}"
        if self.verdict == TOO_FEW and found.runs:
            few = "too few runs of each" if self.claim.figure != THEORY else "too few cases"
            return f"{said}; {'a single run on a level gives no interval' if found.enough else few}"
        return said

    @property
    def bounds(self) -> list[float]:
        """Where the claim's side ends: of the effect's unit."""
        if self.claim.relation == "occurs":
            return [RARE]
        found = limits(self.claim.relation, self.evidence.reference, self.claim.bound)
        return [bound for bound in found if np.isfinite(bound)]

    @property
    def effect(self) -> str:
        """The estimate with its interval and unit; nothing if nothing was measured."""
        return "" if np.isnan(self.evidence.effect.mean) else f"{self.evidence.effect} {self.evidence.unit}"


def judge(relation: str, effect: Interval, *, reference: float = 0.0, bound: float = 0.0, enough: bool = True) -> str:
    """The verdict on an effect (see the module's text and `RELATIONS`).

    reference: the second method's mean return, of which the margins are shares.
    """
    if not enough or np.isnan(effect.low):
        return TOO_FEW
    if relation == "never":
        return FAILS if effect.mean > 0 else HOLDS
    if relation == "occurs":
        return HOLDS if effect.mean > 0 else FAILS if effect.high < RARE else UNDECIDED
    least, most = limits(relation, reference, bound)
    if effect.high < least or effect.low > most:
        return FAILS
    return HOLDS if least < effect.low and effect.high < most else UNDECIDED


def limits(relation: str, reference: float, bound: float) -> tuple[float, float]:
    """Between which numbers an effect is on the claim's side (arguments as `judge`)."""
    allowed = {">=": MARGIN, "~": ALIKE}.get(relation, 0.0) * abs(reference)
    least = bound - allowed if relation in (">", ">=", "~") else -np.inf
    return least, bound + allowed if relation in ("<", "~") else np.inf


# --- Testing ----------------------------------------------------------------------------------------------------------


def evaluate(results: str | Path, preset: str | None = None, seeds: Collection[int] | None = None) -> list[Finding]:
    """Each of the paper's claims in every condition on disk; one finding without data where there is none.

    A claim is about the runs of its figure, and about those of other arms with the paper's lambda if it names an agent
    that mixes: what else such an arm changes (how |S| is counted, say) is another condition.

    Args:
      results: the root of the results.
      preset: one preset's runs; None: all but smoke's, at which nothing is learned.
      seeds: of the runs that count; None: all from 1, which leaves out seed 0, made to try things.
    """
    root = Path(results)
    figures = dict.fromkeys(claim.figure for claim in CLAIMS if claim.figure != THEORY)
    found = {figure: on_disk(root, figure, preset, seeds) for figure in figures}
    arms = on_disk(root, None, preset, seeds)
    folders = [path for path in sorted(root.glob(f"theory/{preset or '*'}")) if preset or path.name != "smoke"]
    asked = "of seeds from 1" if seeds is None else f"of seeds {', '.join(map(str, sorted(seeds)))}"
    findings = []
    for claim in CLAIMS:
        places: Sequence[Condition | Path] = folders
        if claim.figure != THEORY:
            places = [*found[claim.figure], *_arms(claim, found[claim.figure], arms)]
        by_runs = {f.evidence.runs: f for place in reversed(places) if (f := tested(claim, place))}
        findings += [*reversed(by_runs.values())] or [_nothing(claim, f"there is no run {asked} for it")]
    return findings


def _arms(claim: Claim, own: Sequence[Condition], others: Iterable[Condition]) -> list[Condition]:
    """Of other arms' conditions those with the claim's agents that mix and the paper's lambda, but for the figure's."""
    mixing = [method for method in (claim.first, claim.second) if method and not METHODS[method].single]
    papers = {METHODS[method].transfer_weight for method in mixing}

    def has_them(condition: Condition) -> bool:
        return all(any(condition.of(level, method) for level in condition.runs) for method in mixing)

    known = [each.settings.items() for each in own if has_them(each)]
    return [
        each
        for each in others
        if has_them(each)
        and papers == {each.settings.get("transfer_cost")}
        and not any(settings <= each.settings.items() for settings in known)
    ]


def findings_of(place: Condition | Path, figure: str = THEORY) -> list[Finding]:
    """The claims of a figure ("controls" included) on one condition's runs, or those of section 3 and the appendices on
    the measurements in a folder; without data where there is none."""
    listed = [claim for claim in (*CLAIMS, *CONTROLS) if claim.figure == figure]
    return [tested(claim, place) or _nothing(claim, "there is nothing for it here") for claim in listed]


def tested(claim: Claim, place: Condition | Path, least: int = ev.MIN_RUNS) -> Finding | None:
    """A claim on one condition's runs, or on the measurements in a folder; None where there is nothing for it.

    least: so many runs of each method are enough for a verdict.
    """
    if isinstance(place, Path):
        found, where = claim.facts(place) if claim.facts else None, place.name
    elif claim.pbt_only and not place.adapts_alpha:
        return None
    else:
        found = ev.of_runs(place, claim.measure, claim.first, claim.second, claim.lasertag_apart, least)
        where = place.label
    if found is None:
        return None
    verdict = found.verdict or judge(
        claim.relation, found.effect, reference=found.reference, bound=claim.bound, enough=found.enough
    )
    return Finding(claim, where, found, verdict, None if isinstance(place, Path) else place)


def _nothing(claim: Claim, why: str) -> Finding:
    nan = float("nan")
    return Finding(claim, "", Evidence(Interval(nan, nan, nan), "", 0, False, why, "", ()), TOO_FEW)


# --- The table --------------------------------------------------------------------------------------------------------

ACTION, CORE, TASKS = "3", "6", "9"  # the figures

CLAIMS = (
    Claim("1a", "Small learns faster than Big early", ACTION, ">", "small", "big756", ev.EARLY_RETURN),
    Claim("1b", "Small ends lower than Big", ACTION, ">", "big756", "small"),
    Claim("2a", "M&M learns as fast as Small", ACTION, ">=", "mm", "small", ev.EARLY_RETURN),
    Claim("2b", "M&M ends at least as high as Big", ACTION, ">=", "mm", "big756"),
    Claim("3a", "Masked KL is no better than M&M", ACTION, ">=", "mm", "mm_masked_kl"),
    Claim("3b", "Shared Head is no better than M&M", ACTION, ">=", "mm", "mm_shared_head"),
    Claim(
        *("4a", "α moves to ≈ 1 early (action spaces)", ACTION, "<", "mm"),
        measure=ev.SWITCH_TIME,
        bound=0.5,
        pbt_only=True,
    ),
    Claim(
        *("4b", "α moves to ≈ 1 late on lasertag (cores)", CORE, ">", "mm_ff_lstm", "mm_ff_lstm"),
        measure=ev.SWITCH_TIME,
        pbt_only=True,
        lasertag_apart=True,
    ),
    Claim(
        "4c",
        "(not in the paper) non-monotone α occurs (action spaces)",
        ACTION,
        "occurs",
        "mm",
        measure=ev.FALLS_BACK,
        pbt_only=True,
    ),
    Claim("4d", "Non-monotone α occurs (cores)", CORE, "occurs", "mm_ff_lstm", measure=ev.FALLS_BACK, pbt_only=True),
    Claim("5", "The collision entropy grows", ACTION, ">", "mm", measure=ev.ENTROPY_GROWTH),
    Claim("6a", "M&M ends higher than LSTM (about +20 %)", CORE, ">", "mm_ff_lstm", "lstm"),
    Claim("6b", "M&M is not as fast as FF", CORE, ">", "ff", "mm_ff_lstm", ev.EARLY_RETURN),
    Claim("7a", "FF+LSTM has dynamics like M&M", CORE, "~", "ff_lstm", "mm_ff_lstm", ev.WHOLE_RETURN),
    Claim("7b", "FF+LSTM is slower than FF", CORE, ">", "ff", "ff_lstm", ev.EARLY_RETURN),
    *(
        Claim(f"8{letter}", f"LSTM&LSTM {how} {METHODS[other].label}", CORE, ">", other, "mm_lstm_lstm", measure)
        for letters, how, measure in (
            ("abcd", "ends lower than", END_RETURN),
            ("efgh", "is slower than", ev.EARLY_RETURN),
        )
        for letter, other in zip(letters, ("ff", "lstm", "ff_lstm", "mm_ff_lstm"))
    ),
    Claim("9a", "M&M raises the minimum over tasks", TASKS, ">", "mm_multitask", "multitask", ev.LOWEST_TASK),
    Claim("9b", "π_mt alone raises it too", TASKS, ">", "mm_multitask", "multitask", ev.LOWEST_ALONE),
    Claim("9c", "M&M gives up a little on navigation", TASKS, ">", "multitask", "mm_multitask", ev.NAVIGATION),
    Claim("10a", "Explicit mixing has the lower variance (enumerated)", THEORY, ">", facts=ev.mixing_enumerated),
    Claim("10b", "Explicit mixing has the lower variance (network)", THEORY, ">", facts=ev.mixing_network),
    *(
        Claim(f"11{letter}", says, THEORY, "<", bound=1.0, facts=partial(ev.remark_1, kind=kind))  # percent (a choice)
        for letter, says, kind in (
            ("a", "Distilling on π_mm's samples: KL → 0 (linear)", "linear"),
            ("b", "Distilling on π_mm's samples: KL → 0 (deep)", "deep"),
            ("c", "… with the paper's factorised π₂", "deep, factorised"),
        )
    ),
    Claim("12", "ℓ_mm ≥ ℓ̂_mm (appendix G)", THEORY, "never", facts=ev.inequality),
)
# Not the paper's: what the control would say if the part that it lacks made no difference.
CONTROLS = tuple(
    Claim(
        f"{letter}{part}",
        f"(not in the paper) as {how} as M&M: {METHODS[other].label}",
        *("controls", ">=", other, "mm", measure),
    )
    for letter, other in zip("abcdefg", CONTROL_METHODS)
    for part, how, measure in (("1", "fast", ev.EARLY_RETURN), ("2", "high", END_RETURN))
)


# --- Reports ----------------------------------------------------------------------------------------------------------


def rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as JSON objects; numbers that are not there are None."""
    listed = []
    for finding in findings:
        found, names = finding.evidence, ("estimate", "low", "high")
        more = {"iqm_difference": found.iqm, "probability_of_improvement": found.improvement}
        row = {
            "claim": finding.claim.number,
            "says": finding.claim.says,
            "where": finding.where,
            "levels": found.levels,
            **dict(zip(names, found.effect)),
            "unit": found.unit,
            "n": found.n,
            "verdict": finding.verdict,
            "sentence": finding.measured,
            "interval": found.interval,
            **{name: dict(zip(names, value)) if value else None for name, value in more.items()},
            "runs": found.runs,
        }
        listed.append(as_plain(row))
    return listed


def table(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row a finding, in words."""
    columns = ["claim", "verdict", "the paper says", "where", "effect [95 %]", "measured"]
    cells = [(f.claim.number, f.verdict, f.claim.says, f.place, f.effect, f.measured) for f in findings]
    return pd.DataFrame(cells, columns=columns)
