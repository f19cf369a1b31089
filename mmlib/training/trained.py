"""The agents that a run's checkpoint holds, ready to act."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlib.config import RunConfig
from mmlib.errors import ResultsError
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters
from mmlib.runs.reader import Run, asked_for
from mmlib.training import checkpoint
from mmlib.training.fitting import check
from mmlib.training.shard import make_agent, part_of


@dataclass(frozen=True)
class Trained:
    """A population as it was at a checkpoint, on the CPU."""

    config: RunConfig
    agent: MixMatchAgent
    hyper: Hyperparameters  # [P] each, in force then
    agent_steps: int  # of each member

    def alone(self, member: int) -> MixMatchAgent:
        """A population of one, with the member's weights. Raises ResultsError if there is no such member."""
        if not 0 <= member < self.config.population:
            raise ResultsError(f"there is no member {member}; members: 0 … {self.config.population - 1}")
        return part_of(self.agent, self.config, range(member, member + 1))


def checkpoint_names(directory: Path) -> list[str]:
    """The checkpoint files of a run, the newest first."""
    return [name for name in (checkpoint.FILE, checkpoint.PREVIOUS) if (directory / name).exists()]


def load(directory: Path, name: str | None = None) -> Trained:
    """The population in a run's newest whole checkpoint, or in the file `name` of `checkpoint_names`.

    Nothing of the run is executed: a level of Gymnasium whose name has a module in front is refused unless that module
    has been imported already.

    Raises:
      ResultsError: no run is there, or it has no checkpoint, or its level would execute a module (see below).
      CheckpointError: the checkpoint is damaged, of another version, or not of this run.
      ConfigError: the configuration was written by another version.
    """
    values = Run(directory).config
    _check_harmless(values)
    config = check(asked_for({**values, "device": "cpu"}))
    saved = checkpoint.load(directory) if name is None else checkpoint.read(directory / name)
    if saved is None:
        raise ResultsError(
            f"the run {directory} has no checkpoint ({checkpoint.FILE} is not committed); make it again: "
            f"mmlib train --config {directory / 'config.json'} --directory ANOTHER"
        )
    agent = make_agent(config)
    try:
        loop = saved["loop"]
        agent.load_state_dict(loop["learner"]["agent"])
        steps = sum(actor["steps"] for actor in loop["actors"][: len(config.levels)]) * config.num_envs
        adapted = None if loop["population"] is None else loop["population"]["hyper"]
        last = max(0, steps - config.steps_per_iteration)  # where the last iteration began
        hyper = Hyperparameters.in_force(config, agent.spec, last, adapted)
        hyper.alpha.expand(config.population)  # as many as there are members
    except checkpoint.WRONG_SHAPE as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise checkpoint.CheckpointError(
            f"the checkpoint of {directory} does not fit its config.json: {what}"
        ) from error
    return Trained(config, agent, hyper, steps)


def _check_harmless(values: Mapping[str, Any]) -> None:
    """Raises ResultsError if making the run's agent would import a module that the run's configuration names."""
    module = values["level"].rpartition(":")[0]
    if values.get("backend") == "gymnasium" and module and module not in sys.modules:
        raise ResultsError(
            f"the run's level {values['level']!r} is made by the Python module {module}, which loading would execute; "
            "import that module first if you trust it"
        )
