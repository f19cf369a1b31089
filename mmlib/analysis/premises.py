"""Where the paper's experiments have something to show: the premises of its curricula, by plain agents alone.

A curriculum over agents has something to show on a level only if an easy agent is fast there and ends low, and a hard
one is not, at the budget and settings in question. That is checked on plain agents, never on Mix & Match, level by
level. A premise of two parts holds if both do, and does not if one does not. Levels are compared with one another by
normalised scores only, so that of the multitask agent needs an expert's score for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from mmlib.analysis import evidence as ev
from mmlib.analysis.claims import FAILS, HOLDS, TOO_FEW, UNDECIDED, Claim, Finding, tested
from mmlib.analysis.conditions import Condition

PREMISE_RUNS = 5  # of each plain agent, for a verdict
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
        """Of all parts together."""
        verdicts = {part.verdict for part in self.parts}
        return next((verdict for verdict in (FAILS, TOO_FEW, UNDECIDED) if verdict in verdicts), HOLDS)


def evaluate(conditions: Iterable[Condition]) -> list[Premise]:
    """The premises on every level and in every condition (of `on_disk`) that has runs of both agents.

    Conditions may share plain agents, whom a setting of Mix & Match does not concern: the same runs are judged once.
    """
    places = sorted(((level, each) for each in conditions for level in each.runs), key=lambda place: place[0])
    found: dict[tuple, Premise] = {}
    for curriculum, claims in PREMISES.items():
        for level, condition in places:
            here = replace(condition, runs={level: condition.runs[level]})
            parts = tuple(part for claim in claims if (part := tested(claim, here, PREMISE_RUNS)))
            if len(parts) == len(claims) and all(part.evidence.unit != ev.RELATIVE for part in parts):
                same = (curriculum, level, *(part.evidence.runs for part in parts))
                found.setdefault(same, Premise(curriculum, level, condition.label, parts))
    return list(found.values())
