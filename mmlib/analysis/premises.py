"""Where the paper's experiments have a premise: an easy agent that is fast and ends low, a hard one that is not.

A curriculum over agents has something to show on a level only if that holds there, at the budget and settings in
question. It is checked on plain agents alone, never on Mix & Match, with at least `RUNS` runs of each, level by level.
A premise of two parts holds if both do, and does not if one does not. Levels are compared with one another by
normalised scores only, so that of the multitask agent needs an expert's score for each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mmlib.analysis import evidence as ev
from mmlib.analysis.claims import FAILS, HOLDS, TOO_FEW, UNDECIDED, Claim, Finding, tested
from mmlib.analysis.conditions import Condition, on_disk

RUNS = 5  # of each agent, for a verdict
UNEVEN = 0.1  # "uneven": so much of the way from random play to the expert (stated choice)

PREMISES = {
    "actions": (
        Claim("early", "Small is ahead of Big in the first quarter", "3", ">", "small", "big756", ev.EARLY_RETURN),
        Claim("end", "Small ends lower than Big", "3", ">", "big756", "small"),
    ),
    "cores": (
        Claim("early", "FF is ahead of LSTM in the first quarter", "6", ">", "ff", "lstm", ev.EARLY_RETURN),
        Claim("end", "FF ends lower than LSTM", "6", ">", "lstm", "ff"),
    ),
    "multitask": (
        Claim("end", "the plain agent is uneven", "9", ">", "multitask", measure=ev.UNEVENNESS, bound=UNEVEN),
    ),
}


class Premise(NamedTuple):
    """A curriculum's premise on one level (or tuple of levels) in one condition."""

    curriculum: str
    level: str
    where: str
    parts: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """Of all parts together: one of `claims`' four."""
        verdicts = {part.verdict for part in self.parts}
        return next((verdict for verdict in (FAILS, TOO_FEW, UNDECIDED) if verdict in verdicts), HOLDS)


def check(results: str | Path, preset: str | None = None, seeds: Collection[int] | None = None) -> list[Premise]:
    """The premises on every level and in every condition that has runs of both agents (arguments as `on_disk`)."""
    found = on_disk(results, None, preset, seeds)
    return [
        Premise(curriculum, level, condition.label, parts)
        for curriculum, claims in PREMISES.items()
        for condition, level in _places(found)
        if len(parts := tuple(_parts(claims, _only(condition, level)))) == len(claims)
    ]


def _parts(claims: Iterable[Claim], place: Condition) -> Iterator[Finding]:
    for claim in claims:
        if (found := tested(claim, place, RUNS)) and found.evidence.unit != ev.RELATIVE:
            yield found


def _places(found: Collection[Condition]) -> Iterator[tuple[Condition, str]]:
    places = [(condition, level) for condition in found for level in condition.runs]
    yield from sorted(places, key=lambda place: place[1])


def _only(condition: Condition, level: str) -> Condition:
    return replace(condition, runs={level: condition.runs[level]})
