"""Ancestry in a population: what the weights that a member ends with have lived through (appendix B); and its alpha, as
a schedule that can be saved and replayed.

A member that copies another continues that one's history. So the trajectory of a hyperparameter, of alpha above all
(figures 5 and 8), is read backwards: from a final member to its donor at each copy, down to the start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from mmlib.alternatives.methods import METHODS
from mmlib.config import Knot
from mmlib.errors import ResultsError
from mmlib.runs.reader import Run
from mmlib.runs.records import replace_file, why
from mmlib.runs.untrusted import read_object

Knots = tuple[Knot, ...]


class Segment(NamedTuple):
    """A part of a history, in (start, stop] environment frames of a member."""

    start: int
    stop: int
    member: int


def ancestry(run: Run, member: int) -> list[Segment]:
    """The segments of a final member's history, oldest first; one of its own if it never copied."""
    return _walk(run, run.decisions(), member)[0]


def _walk(run: Run, decisions: pd.DataFrame, member: int) -> tuple[list[Segment], list[int]]:
    """The segments, and the rows of the decisions that made the member's hyperparameters, oldest first."""
    segments, rows = list[Segment](), list[int]()
    metrics = run.metrics()
    stop, now = int(metrics["frames"].max()) if len(metrics) else 0, member
    columns = [decisions[name].tolist() for name in ("frames", "member", "opponent", "copied")]
    for row, (frames, decided, opponent, copied) in reversed([*enumerate(zip(*columns))]):
        if decided != now:
            continue
        rows.append(row)
        if copied:
            segments.append(Segment(frames, stop, now))
            stop, now = frames, opponent
    segments.append(Segment(0, stop, now))
    return segments[::-1], rows[::-1]


def history(run: Run, member: int, name: str) -> pd.Series:
    """A hyperparameter along a final member's ancestry, by environment frames from 0: constant from each to the next.

    Args:
      run: one with or without PBT; without, or if PBT leaves it alone, the member's own recorded values.
      member: a member at the end.
      name: learning_rate, entropy_cost or alpha.

    Raises:
      ValueError: unknown member.
    """
    metrics = run.metrics()
    if member not in set(metrics["member"]):
        raise ValueError(f"{run.directory} has no member {member}; members: {sorted(set(metrics['member']))}")
    decisions = run.decisions()
    adapted = len(decisions) > 0 and all(_has(hyper, name) for side in ("old", "new") for hyper in decisions[side])
    if run.config.get("pbt") is None or not adapted:
        own = metrics[metrics["member"] == member]
        return pd.Series([own[name].iloc[0], *own[name]], [0, *own["frames"]], dtype=float)
    segments, rows = _walk(run, decisions, member)
    first, lived = segments[0].member, decisions.iloc[rows]
    found = decisions[decisions["member"] == first]["old"]  # by its first decision, else what its first record has
    start = _value(found.iloc[0], name) if len(found) else metrics[metrics["member"] == first].iloc[0][name]
    values = [start, *(_value(new, name) for new in lived["new"])]
    return pd.Series(values, [0, *lived["frames"]], dtype=float)


def _has(hyper: Mapping[str, float], name: str) -> bool:
    return name in hyper or (name == "alpha" and "weight_1" in hyper)


def _value(hyper: Mapping[str, float], name: str) -> float:
    """One of a decision's hyperparameters; alpha of weights is their mean place in the chain, as in the metrics."""
    if name in hyper:
        return hyper[name]
    weights = [value for each, value in hyper.items() if each.startswith("weight_")]
    return float(np.dot(weights, np.linspace(0.0, 1.0, len(weights))))


def best_member(run: Run) -> int:
    """The member with the highest mean return of its last 30 episodes; 0 if no episode ended."""
    episodes = run.episodes()
    if not len(episodes):
        return 0
    last = episodes.groupby("member").tail(30).groupby("member")["return"].mean()
    return int(last.index[int(last.argmax())])


class AlphaSchedule(BaseModel):
    """An alpha trajectory that can be saved, plotted, and replayed by a fresh agent of the same action space; without
    PBT it takes a hand-made one's place."""

    model_config = ConfigDict(frozen=True)

    knots: Knots = Field(min_length=1, description="(agent steps, alpha), for `RunConfig.alpha`")
    method: str = Field(description="that it was recorded from")
    space: str = Field(description="the method's action space")
    source: str = Field(description="the run and member")

    @classmethod
    def recorded(cls, run: Run, member: int | None = None) -> AlphaSchedule:
        """alpha along the ancestry of a final member of `run`, the best by default.

        Each change becomes two knots one agent step apart. Raises ResultsError if the run has no such schedule.
        """
        if run.method not in METHODS:
            raise ResultsError(f"{run.directory} is of method {run.method!r}, which this mmlib does not have")
        if not len(run.metrics()):
            raise ResultsError(f"{run.directory} has recorded no alpha yet")
        if "weight_1" in run.metrics():
            raise ResultsError(f"{run.directory} moved weights on their simplex, which one alpha cannot replay")
        member = best_member(run) if member is None else member
        line, repeat = history(run, member, "alpha"), run.config.get("action_repeat", 4)
        if not np.isfinite(line).all():
            raise ResultsError(f"{run.directory} has no alpha in some of its records")
        knots = [(0, round(line.iloc[0], 6))]
        for frames, value in zip(line.index[1:], line.iloc[1:]):
            step, alpha = int(frames) // repeat, round(value, 6)
            if alpha != knots[-1][1] and step > knots[-1][0]:
                if step - 1 > knots[-1][0]:
                    knots.append((step - 1, knots[-1][1]))
                knots.append((step, alpha))
        space, source = METHODS[run.method].space.name, f"{run.directory} member {member}"
        return cls(knots=tuple(knots), method=run.method, space=space, source=source)

    def save(self, path: Path) -> None:
        """Writes the schedule as JSON."""
        replace_file(path, json.dumps(self.model_dump()) + "\n")

    @classmethod
    def load(cls, path: Path) -> AlphaSchedule:
        """Of a file that `save` wrote, or of the best member of a run's directory. Raises ResultsError."""
        if path.is_dir():
            return cls.recorded(Run(path))
        try:
            return cls.model_validate(read_object(path))
        except (OSError, ValueError) as error:
            raise ResultsError(f"{path} is no recorded alpha schedule: {why(error)}") from error

    def knots_for(self, method: str) -> Knots:
        """The knots, for a run of `method`. Raises ResultsError unless it mixes policies of the same space."""
        spec = METHODS[method]
        if not spec.mixes:
            raise ResultsError(f"method {method!r} has no alpha to replay a schedule with")
        if spec.space.name != self.space:
            raise ResultsError(
                f"the schedule of {self.source} belongs to action space {self.space}, method {method!r} to "
                f"{spec.space.name}"
            )
        return self.knots
