"""The paper's twelve claims, each tested on whatever is in results/: an effect, its 95 % interval, a verdict.

A claim is a function from a condition (runs of one configuration, conditions.py) or from the measurements of the theory
notebook to an `Effect`. The rules, the same for all of them:
- The unit is a run: a single agent, or a population, whose members are not independent and count together.
- A verdict needs `MIN_RUNS` runs of each method, and a level is used if it has `LEVEL_RUNS` of each. One seed is never
  enough: the effect is shown, and the verdict is "not enough data".
- Intervals of means and differences are Student's and Welch's t, stratified by level: with the few runs of one machine
  a bootstrap's are too narrow. Shares have the exact binomial interval of Clopper and Pearson; the gradients' variance
  ratio has a bootstrap over environments.
- "holds": all of the interval is on the claim's side of its bound; "does not hold": all is on the other side; else
  "not enough data".
- On one level returns are plain. Over several they are normalised, (return - random) / (expert - random), or, where a
  level has no expert's score, divided by the level's best mean return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmlib.analysis import stats
from mmlib.analysis.claim_tests import (
    Effect,
    alpha_falls_back,
    alpha_switches_early,
    entropy_grows,
    every,
    lasertag_switches_late,
    least,
    navigation,
    returns,
    share_interval,
    tasks,
)
from mmlib.analysis.comparisons import ACTION, CORE, FAILS, HOLDS, LSTM_LSTM, MIN_RUNS, OPEN, Comparison, judge
from mmlib.analysis.conditions import conditions
from mmlib.analysis.stats import Interval
from mmlib.runs.records import as_plain


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the figure whose runs test it ("theory": measurements), and the test."""

    number: str
    says: str
    figure: str
    test: Callable[[Any], Effect | None]  # of a Condition, or of a theory directory; None: it has nothing to say
    pbt_only: bool = False  # claims about alpha: a schedule made by hand says nothing


@dataclass(frozen=True)
class Finding:
    """A claim tested in one condition."""

    claim: Claim
    where: str  # preset and condition
    levels: tuple[str, ...]
    effect: Effect


def evaluate(results: str | Path, preset: str | None = None) -> list[Finding]:
    """Every claim in every condition that has runs for it; one finding without data where there is none.

    preset: one preset's runs; None: all but smoke's, at which nothing is learned.
    """
    root, findings = Path(results), list[Finding]()
    known = {claim.figure for claim in CLAIMS if claim.figure != "theory"}
    found = {figure: conditions(root, figure, preset) for figure in known}
    folders: list[Path] = sorted(root.glob(f"theory/{preset or '*'}"))
    for claim in CLAIMS:
        tested, seen = list[Finding](), set[tuple[str, ...]]()
        if claim.figure == "theory":
            here = [folder for folder in folders if preset or folder.name != "smoke"]
            made = [(folder.name, tuple[str, ...](), claim.test(folder)) for folder in here]
        else:
            usable = [c for c in found[claim.figure] if c.pbt or not claim.pbt_only]
            made = [(c.label, tuple(c.runs), claim.test(c)) for c in usable]
        for where, levels, effect in made:
            if effect is not None and effect.runs not in seen:
                seen.add(effect.runs)
                used = tuple(level for level in levels if any(f"/{level}/" in f"{run}/" for run in effect.runs))
                tested.append(Finding(claim, where, used, effect))
        findings += tested or [Finding(claim, "", (), _nothing("there is no run or measurement for it"))]
    return findings


def _nothing(why: str, runs: Sequence[str] = ()) -> Effect:
    nan = float("nan")
    return Effect(nan, nan, nan, "", 0, OPEN, why, "", tuple(runs))


# --- Claims of section 3 and the appendices, from the measurements of the theory notebook -----------------------------

REMARK_SHARE = 0.01  # KL(pi_1 || pi_2) "is 0" below this share of where it began (stated choice)
CASES = 1000  # random pairs of policies that a verdict on the inequality needs


def _facts(path: Path) -> Any:
    from mmlib.theory.facts import read as read_facts  # late: torch

    return read_facts(path)["facts"] if path.exists() else None


def mixing_enumerated(folder: Path) -> Effect | None:
    """Claim 10 where every trajectory can be written down; the mean over alpha of each random problem's ratio."""
    facts = _facts(folder / "mixing_enumerated.json")
    if facts is None:
        return None
    more = 100 * (np.mean(facts["ratios"], axis=0) - 1)
    gain, n = stats.mean_interval(more), len(more)
    same = facts["largest_difference_of_means"] < 1e-9
    verdict = judge(gain, 0.0, n >= MIN_RUNS) if same else FAILS
    sentence = f"variance of sampled mixing, mean over α, {n} enumerated problems; the means differ by at most "
    sentence += f"{facts['largest_difference_of_means']:.0e}"
    source = (str(folder / "mixing_enumerated.json"),)
    return Effect(*gain, "% more", n, verdict, sentence, "Student's t over problems", source)


def mixing_network(folder: Path) -> Effect | None:
    """Claim 10 for the agents' network: the agent and alpha with the smallest lower end."""
    paths = sorted(folder.glob("network_*.json"))
    rows = [(facts["label"], facts["level"], row) for facts in map(_facts, paths) for row in facts["rows"]]
    if not rows:
        return None
    label, level, least = min(rows, key=lambda row: row[2]["low"])
    ratios = [row["ratio"] for _, _, row in rows]
    verdict = HOLDS if least["low"] > 1 else FAILS if max(row["high"] for _, _, row in rows) < 1 else OPEN
    sentence = f"variance of sampled over explicit mixing on {level}: {min(ratios):.4g} … {max(ratios):.4g}; least "
    sentence += f"for {label} at α = {least['alpha']:g} ({least['trajectories']} trajectories), on the left"
    interval = "bootstrap over environments; never below 0 by construction"
    more, low, high = (100 * (least[part] - 1) for part in ("ratio", "low", "high"))
    return Effect(more, low, high, "% more", least["trajectories"], verdict, sentence, interval, tuple(map(str, paths)))


def remark_1(kind: str, folder: Path) -> Effect | None:
    """Claim 11: KL(pi_1 || pi_2) after the last update as a share of where it began."""
    facts = _facts(folder / "remark_1.json")
    if facts is None:
        return None
    curve = facts["curves"][kind]
    left = 100 * np.divide(curve["kl"][-1], curve["kl"][0])
    share = stats.mean_interval(left)
    verdict = judge(Interval(-share.mean, -share.high, -share.low), -100 * REMARK_SHARE, len(left) >= MIN_RUNS)
    sentence = f"{kind} π₂: KL(π₁ ‖ π₂) from {np.mean(curve['kl'][0]):.3g} to {np.mean(curve['kl'][-1]):.2g} nats in "
    sentence += f"{curve['updates'][-1]} updates, {len(left)} seeds"
    if kind.endswith("factorised"):
        sentence += f"; the least that a product can reach is {np.mean(curve['floor']):.3g}"
    source = (str(folder / "remark_1.json"),)
    return Effect(*share, "% of the first KL", len(left), verdict, sentence, "Student's t over seeds", source)


def inequality(folder: Path) -> Effect | None:
    """Claim 12: how often appendix G's inequality is violated by random policies, both sides exact."""
    facts = _facts(folder / "appendix_g.json")
    if facts is None:
        return None
    families = facts["families"].values()
    cases, violations = (sum(family[part] for family in families) for part in ("cases", "violations"))
    verdict = FAILS if violations else HOLDS if cases >= CASES else OPEN
    false = sum(family["printed_line_false"] for family in families)
    sentence = (
        f"{violations} of {cases} pairs of policies and α violate ℓ ≥ ℓ̂ (it is proved); the appendix's last line, "
    )
    sentence += f"as printed, is false in {false} of them"
    share, source = share_interval(violations, cases), (str(folder / "appendix_g.json"),)
    return Effect(*share, "share of cases", cases, verdict, sentence, "Clopper and Pearson's", source)


# --- The table -------------------------------------------------------------------------------------------------------

_LEAST = "smallest over the tasks"


def _compared(figure: str, comparisons: Iterable[Comparison]) -> tuple[Claim, ...]:
    return tuple(Claim(claim.number, claim.says, figure, returns(claim)) for claim in comparisons)


CLAIMS = (
    *_compared("figure3", ACTION),
    Claim("4a", "α moves to ≈ 1 early (action spaces)", "figure3", alpha_switches_early, pbt_only=True),
    Claim("4b", "α moves to ≈ 1 late on lasertag (cores)", "figure6", lasertag_switches_late, pbt_only=True),
    Claim("4c", "Non-monotone α occurs (action spaces)", "figure3", partial(alpha_falls_back, "mm"), pbt_only=True),
    Claim("4d", "Non-monotone α occurs (cores)", "figure6", partial(alpha_falls_back, "mm_ff_lstm"), pbt_only=True),
    Claim("5", "The collision entropy grows", "figure3", entropy_grows),
    *_compared("figure6", CORE),
    Claim("8", "LSTM&LSTM is worse than every other", "figure6", partial(every, LSTM_LSTM)),
    Claim("9a", "M&M raises the minimum over tasks", "figure9", tasks(False, least, f"{_LEAST}, mixture")),
    Claim("9b", "π_mt alone raises it too", "figure9", tasks(True, least, f"{_LEAST}, π_mt alone")),
    Claim("9c", "M&M gives up a little on navigation", "figure9", tasks(False, navigation, "navigation", -1)),
    Claim("10a", "Explicit mixing has the lower variance (enumerated)", "theory", mixing_enumerated),
    Claim("10b", "Explicit mixing has the lower variance (network)", "theory", mixing_network),
    Claim("11a", "Distilling on π_mm's samples: KL → 0 (linear)", "theory", partial(remark_1, "linear")),
    Claim("11b", "Distilling on π_mm's samples: KL → 0 (deep)", "theory", partial(remark_1, "deep")),
    Claim("11c", "… with the paper's factorised π₂", "theory", partial(remark_1, "deep, factorised")),
    Claim("12", "ℓ_mm ≥ ℓ̂_mm (appendix G)", "theory", inequality),
)


def rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as JSON objects; numbers that are not there are None."""
    return [
        {
            "claim": f.claim.number,
            "says": f.claim.says,
            "where": f.where,
            "levels": list(f.levels),
            **{name: as_plain(value) for name, value in asdict(f.effect).items()},
        }
        for f in findings
    ]


def table(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row a finding, in words."""
    columns = ("claim", "the paper says", "where", "effect [95 %]", "measured", "verdict")
    return pd.DataFrame(
        [
            (f.claim.number, f.claim.says, place(f), effect_text(f.effect), f.effect.sentence, f.effect.verdict)
            for f in findings
        ],
        columns=list(columns),
    )


def place(finding: Finding) -> str:
    """Preset, condition and levels."""
    return ": ".join(part for part in (finding.where, ", ".join(finding.levels)) if part)


def effect_text(effect: Effect) -> str:
    """The estimate with its interval and unit; nothing if nothing was measured."""
    if np.isnan(effect.estimate):
        return ""
    interval = "" if np.isnan(effect.low) else f" [{effect.low:.3g}, {effect.high:.3g}]"
    return f"{effect.estimate:.3g}{interval} {effect.unit}"
