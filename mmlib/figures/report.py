"""The report: each of the paper's claims in its own words, beside what was measured here, its picture and its verdict.

`write` makes one Markdown page and its pictures from what is on disk, and trains nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from string import ascii_lowercase

import pandas as pd

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import claims, premises, tables
from mmlib.analysis.claims import FAILS, HOLDS, TOO_FEW, UNDECIDED, Finding, tested
from mmlib.analysis.conditions import Condition, on_disk
from mmlib.analysis.stats import Interval
from mmlib.analysis.tables import markdown
from mmlib.experiments.presets import MINIATURE
from mmlib.figures import plots
from mmlib.figures.again import command
from mmlib.figures.report_pictures import Pictures, links, returns, row, told
from mmlib.runs.reader import comparable, find_runs
from mmlib.runs.records import replace_file

# What the paper says, by the number of the claim (Czarnecki et al. 2018, sections 3.1, 4.1 to 4.3, appendices F, G).
SENTENCES = {
    "1": "We see that the small action space leads to faster learning but hampers final performance as compared to the "
    "big action space.",
    "2": "It learns fast, and not only matches, but surpasses the final performance of the big action space.",
    "3": "Both shared Head and Masked KL approaches achieve comparable or worse performance than the original "
    "formulation.",
    "4": "The agent switches fully to the big action space early on. … The lasertag level … takes much longer to "
    "switch to the LSTM core (however it does so eventually). … [α may] go back and forth through curriculum.",
    "5": "Notice how the collision entropy … grows over time.",
    "6": "M&M applied to the transition between FF and LSTM cores does lead to a significant improvement in final "
    "performance (20% increase in human normalised performance …). It is, however no longer as fast as the FF "
    "counterpart.",
    "7": "[FF+LSTM] usually learns even slower, and has very similar learning dynamics to M&M.",
    "8": "[LSTM&LSTM] significantly underperforms all other baselines in speed and performance.",
    "9": "The M&M agent learns to play well in both challenging laser tag environments, while slightly sacrificing "
    "performance in a single navigation task. … [It] ensures a much higher minimum score.",
    "10": "For the sake of variance reduction we use explicit mixing in all experiments in this paper.",
    "11": "(Remark 1 and appendix F: minimising the loss on trajectories of the mixture drives the KL to 0.)",
    "12": "(Appendix G: the mixture's loss is an upper bound.)",
}
MEANING = {
    HOLDS: "all of the 95 % interval is on the claim's side",
    FAILS: "all of it is on the other side",
    UNDECIDED: "there are runs enough, and the interval holds both",
    TOO_FEW: "too few runs, or none",
}

MINIATURES = (
    "## What a miniature can say\n\n"
    "A miniature has the engine, the physics and the rules of the paper's level on a smaller map, and runs there are "
    "far shorter than the paper's. A verdict is about the method at that scale, with one set of hyperparameters, which "
    "was tuned on plain agents (docs/learning.md has the one exception; docs/protocol.md has the numbers). It is no "
    "verdict on the paper's own levels at the paper's length, or on ten members that live through a billion frames.\n"
)
TRIED = (
    "## Tried, and not here\n\n"
    "What was tried before the protocol and is no part of it is in docs/learning.md (steps, clipping, entropy "
    "costs, the full level, Q-learning), docs/findings.md (miniatures that lack the premise, an earlier clock of "
    "population based training) and docs/performance.md (what was measured and not kept). Energy was not "
    "measured.\n"
)


Alone = Mapping[str, Finding]  # a claim on each of a finding's levels alone


def write(path: Path, results: Path, preset: str | None = None, seeds: Collection[int] | None = None) -> None:
    """Writes the report to `path`, its pictures into the folder of its name beside it (arguments as `claims.evaluate`).

    Raises ResultsError if a record is damaged, OSError if the report cannot be written.
    """
    found = [f for f in claims.evaluate(results, preset, seeds) if f.evidence.n]
    conditions, pictures = on_disk(results, None, preset, seeds), Pictures(path)
    most = [(finding, _alone(finding)) for finding in _most(found)]
    parts = [_head(found), _in_short(most), _premises(conditions)]
    for number in dict.fromkeys([*SENTENCES, *map(_number, found)]):
        own = [finding for finding in found if _number(finding) == number]
        sentence = SENTENCES.get(number) or own[0].claim.says
        parts.append(_claim(number, sentence, own, [each for each in most if _number(each[0]) == number], pictures))
    parts += [_controls(conditions, pictures), _transfer_costs(conditions, pictures)]
    if decided := [*filter(_decided, found)]:
        drawn = pictures.link("forest", lambda: plots.forest(decided))
        parts.append(f"## All effects on returns\n\n![Effects and intervals; ticks are bounds other than 0]({drawn})\n")
    if any(level.endswith(MINIATURE) for finding in found for level in finding.evidence.levels):
        parts.append(MINIATURES)
    parts += [_hours(results, preset), TRIED]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, "\n".join(parts))


def _head(found: Sequence[Finding]) -> str:
    trained = [f.verdict for f in _most(found) if f.claim.figure != claims.THEORY]
    said = "; ".join(f"**{verdict}**: {meaning}" for verdict, meaning in MEANING.items())
    counts = ", ".join(f"{trained.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, UNDECIDED))
    return (
        "# What our runs say of the paper\n\n"
        "Made by `mmlib report` from the runs on disk: no verdict in it, and no number from a run, is entered by hand. "
        "docs/findings.md says in words what they amount to, docs/protocol.md what was fixed before the first run.\n\n"
        "A verdict is of one condition: one set of settings, whose runs differ in method, level and seed alone. "
        "Levels whose names end in `_mini` are miniatures, not the paper's. *Early* is the first quarter of a run, "
        "*the end* its last fifth. An effect is a difference of means over runs, in the claim's direction, with "
        "Welch's 95 % interval, not corrected for how many there are; over several levels, of normalised scores: 0 is "
        "random play, 1 the scripted expert. Beside it, deciding nothing: the difference of interquartile means, and "
        "how often a run of the first method is above one of the second. Curves are means over seeds, their bands 95 % "
        "bootstrap intervals.\n\n"
        f"{said}. Of what training tests, each where it has the most runs: {counts}.\n\n"
        f'"As fast", "at least as high" and "no better" allow {claims.MARGIN:.0%} of the other method\'s mean, '
        f'"dynamics like" {claims.ALIKE:.0%} on either side. That something occurs holds if it was seen once.\n\n'
        "The command under each claim makes its runs again, below `again/`. Runs that a GPU made need one, or "
        "`--device cpu`, which makes them as other draws.\n"
    )


def _in_short(most: Sequence[tuple[Finding, Alone]]) -> str:
    """A line for each claim that has a verdict, of the case with the most runs, and what each level says alone."""
    if not most:
        return "## In short\n\nNo claim has runs enough for a verdict.\n"
    parts = [
        "## In short",
        "Each claim where it has the most runs, over all levels there and on each of them alone. Where a level lacks "
        "the premise of a claim's curriculum there is nothing for the claim to show on it.",
    ]
    for place, findings in _by_place([finding for finding, _ in most]).items():
        table = claims.table(findings)[["claim", "the paper says", "verdict", "effect [95 %]"]]
        each = [alone for finding, alone in most if finding.place == place]
        levels = findings[0].evidence.levels
        for level in levels if len(levels) > 1 else ():
            here = [own.get(level) for own in each]
            table[f"{level} alone"] = [f"{alone.verdict}: {alone.effect}" if alone else "" for alone in here]
        parts += [f"**{place}**", markdown(table)]
    return "\n\n".join(parts) + "\n"


def _by_place(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    places: dict[str, list[Finding]] = {}
    for finding in findings:
        places.setdefault(finding.place, []).append(finding)
    return places


def _most(found: Sequence[Finding]) -> list[Finding]:
    """Of each claim that has a verdict, the case with the most runs."""
    most: dict[str, Finding] = {}
    for finding in filter(_decided, found):
        before = most.setdefault(finding.claim.number, finding)
        most[finding.claim.number] = max(before, finding, key=lambda f: f.evidence.n)
    return [*most.values()]


def _alone(finding: Finding) -> Alone:
    """A finding on each of its levels alone."""
    if (condition := finding.condition) is None:
        return {}
    parts = {level: replace(condition, runs={level: condition.runs[level]}) for level in finding.evidence.levels}
    return {level: alone for level, part in parts.items() if (alone := tested(finding.claim, part))}


def _conclusion(most: Sequence[tuple[Finding, Alone]]) -> str:
    """What the parts of a claim say on levels with the premise of its curriculum, and what on the others."""
    places = {finding.where: finding.condition for finding, _ in most if finding.condition}
    verdicts = {
        (where, premise.parts[0].claim.figure, premise.level): premise.verdict
        for where, condition in places.items()
        for premise in premises.evaluate([condition])
    }
    said: dict[tuple[str, str], list[str]] = {}  # by level and the premise's verdict there
    for finding, each in most:
        for level, alone in each.items():
            premise = verdicts.get((finding.where, finding.claim.figure, level), TOO_FEW)
            said.setdefault((level, premise), []).append(f"{finding.claim.number} {alone.verdict}")
    lines = [
        f"on {level} (premise: {premise}) {', '.join(told)}"
        for (level, premise), told in sorted(said.items(), key=lambda each: each[0][1] != HOLDS)
    ]
    return f"**To conclude**: {'; '.join(lines)}." if lines else ""


def _premises(conditions: Sequence[Condition]) -> str:
    decided = [p for p in premises.evaluate(conditions) if p.verdict != TOO_FEW]
    if not decided:
        return (
            f"## Premises\n\nNo level has {premises.PREMISE_RUNS} runs of the plain agents that a premise compares.\n"
        )
    cells = [
        (p.curriculum, p.level, p.where, p.verdict, "; ".join(f"{f.claim.says}: {f.effect}" for f in p.parts))
        for p in decided
    ]
    table = pd.DataFrame(cells, columns=["curriculum", "level", "condition", "premise", "effects"])
    text = "Whether an easy agent is ahead at first and lower at the end, by plain agents alone (`mmlib premises`)."
    return f"## Premises\n\n{text}\n\n{markdown(table)}\n"


def _claim(
    number: str, sentence: str, found: Sequence[Finding], most: Sequence[tuple[Finding, Alone]], pictures: Pictures
) -> str:
    """A claim's section: what was measured where it has the most runs, and the verdicts elsewhere."""
    parts = [f"## Claim {number}", f"> {sentence}"]
    if not found:
        return "\n\n".join([*parts, "Not tested: there is no run for it."]) + "\n"
    first = [finding for finding, _ in most] or found
    for place, findings in _by_place(first).items():
        table = claims.table(findings)[["claim", "verdict", "the paper says", "effect [95 %]", "measured"]]
        parts += [f"**{place}**", markdown(table)]
    others = [f for f in found if not any(f is finding for finding in first)]
    for place, findings in _by_place([*filter(_decided, others)]).items():
        said = "; ".join(f"{f.claim.number} {f.verdict}, {f.effect}" for f in findings)
        parts.append(f"Elsewhere, {place}: {said}.")
    if few := sum(not _decided(f) for f in others):
        parts.append(f"In {few} more cases there are too few runs for a verdict (`mmlib claims` has them).")
    largest = max(first, key=lambda finding: finding.evidence.n)
    if largest.condition is None:
        return "\n\n".join([*parts, f"Again: `mmlib figure theory --preset {largest.where}`"]) + "\n"
    shown = dict(chain.from_iterable(links(finding, pictures).items() for finding in first))
    parts += [_conclusion(most), pictures.under(number, shown)]
    runs = [*dict.fromkeys(run for finding in first for run in finding.evidence.runs)]
    return "\n\n".join(filter(None, [*parts, f"Again: `{command(runs)}`"])) + "\n"


def _controls(conditions: Sequence[Condition], pictures: Pictures) -> str:
    """Mix & Match without one of its parts, wherever the runs were made with the paper's lambda."""
    parts, paper = ["## Mix & Match less one of its parts"], METHODS["mm"].transfer_weight
    for place in (each for each in conditions if each.settings.get("transfer_cost") == paper):
        tests = [tested(control, place) for control in claims.CONTROLS]
        if not (found := [finding for finding in tests if finding and _decided(finding)]):
            continue
        table = claims.table(found).drop(columns=["claim", "where"]).rename(columns={"the paper says": "control"})
        table["control"] = table["control"].str.removeprefix("(not in the paper) ")
        drawn = {
            level: pictures.link(f"controls_{level}_{told(place)}", partial(returns, place, "controls", level))
            for level in dict.fromkeys(level for finding in found for level in finding.evidence.levels)
        }
        parts += [f"**{found[0].place}**", row(drawn), markdown(table)]
    if not parts[1:]:
        return f"{parts[0]}\n\nNo control has runs enough beside those of Mix & Match.\n"
    text = "A control as fast and as high as Mix & Match has not needed that part. Effects are over Mix & Match's."
    return "\n\n".join([parts[0], text, *parts[1:]]) + "\n"


def _number(finding: Finding) -> str:
    """The claim's, without the letter of its part."""
    return finding.claim.number.rstrip(ascii_lowercase)


def _decided(finding: Finding) -> bool:
    return finding.verdict != TOO_FEW


def _transfer_costs(conditions: Sequence[Condition], pictures: Pictures) -> str:
    """What lambda does, where it was swept."""
    counting = [each for each in conditions if each.settings.get("transfer_normalisation") == "trajectories"]
    table = tables.sweep("transfer_cost", counting)
    if table.empty:
        return "## λ\n\nNo method has runs at three values of λ that differ in nothing else.\n"
    drawn = pictures.link("lambda", lambda: plots.transfer_costs(table))
    unrolls = " or ".join(map(str, sorted(set(table["unroll"]))))
    texts = [f"{Interval(*bounds)}" for bounds in table[[*Interval._fields]].itertuples(index=False)]
    cells = table.rename(columns={"value": "λ"}).assign(text=texts)
    shown = cells.pivot(index=["method", "level", "λ", "runs"], columns="part", values="text")[[*tables.PARTS]]
    return (
        "## λ\n\nMean return early (first quarter) and at the end (last fifth), with 95 % intervals over seeds. λ "
        "multiplies a cost that is summed over time and divided by the number of trajectories; divided by agent steps "
        f"instead, as |S| can also be read, each λ here would be called {unrolls} (the unroll) times larger.\n\n"
        f"![λ]({drawn})\n\n{markdown(shown.reset_index())}\n"
    )


def _hours(results: Path, preset: str | None) -> str:
    """What the runs took, from their own records."""
    columns, rows = ["results", "arm", "device", "runs", "M agent steps", "hours, run by run"], []
    for run in (run for run in find_runs(results, preset) if run.done and run.method in METHODS):
        summary = tables.summary({run.method: [run]}).iloc[0]
        steps = summary["frames"] * run.config.get("population", 1) / comparable(run.config)["action_repeat"]
        folders = run.directory.relative_to(results).parts
        where = folders[0], folders[1] if len(folders) > 2 else "", run.config.get("device", "cpu")
        rows.append((*where, 1, steps / 1e6, (summary["minutes"] or 0.0) / 60))
    table = pd.DataFrame(rows, columns=columns).groupby(columns[:3], as_index=False, sort=False).sum()
    table = table.round({columns[4]: 1, columns[5]: 2})
    text = "Runs that were made side by side in one process count each with all of its time.\n\n"
    return f"## What it took\n\n{text}{markdown(table)}\n"
