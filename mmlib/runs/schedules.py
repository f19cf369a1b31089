"""A schedule of alpha recorded from a run, to be saved and replayed; without PBT it takes a hand-made one's place."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mmlib.alternatives.methods import METHODS
from mmlib.errors import ResultsError
from mmlib.runs.lineage import best_member, trajectory
from mmlib.runs.reader import Run
from mmlib.runs.records import replace_file, sentence
from mmlib.runs.untrusted import read_object

Knots = tuple[tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0, le=1)]], ...]


class AlphaSchedule(BaseModel):
    """An alpha trajectory that can be saved, plotted, and replayed by a fresh agent of the same action space."""

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
        member = best_member(run) if member is None else member
        line, repeat = trajectory(run, member, "alpha"), run.config.get("action_repeat", 4)
        if not all(math.isfinite(value) for value in line.values):
            raise ResultsError(f"{run.directory} has no alpha in some of its records")
        knots = [(0, round(float(line.values[0]), 6))]
        for frames, value in zip(line.frames[1:], line.values[1:]):
            step, alpha = int(frames) // repeat, round(float(value), 6)
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
        """Reads what `save` wrote. Raises ResultsError."""
        try:
            return cls.model_validate(read_object(path))
        except (OSError, ValueError) as error:
            raise ResultsError(f"{path} is no recorded alpha schedule: {sentence(error)}") from error

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
