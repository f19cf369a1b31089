"""The agents that a run's checkpoint holds: their population, and one member of it at play.

Shape letters: P population, K constituents.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmlib.alternatives import simplex
from mmlib.config import RunConfig
from mmlib.errors import ResultsError
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters
from mmlib.method.mixture import mixture_weights
from mmlib.runs.reader import Run, asked_for
from mmlib.training import checkpoint
from mmlib.training.actors import Actor
from mmlib.training.fitting import check, level_of
from mmlib.training.shard import make_agent, part_of


@dataclass(frozen=True)
class Trained:
    """A population as it was at a checkpoint, on the CPU."""

    config: RunConfig
    file: Path  # the checkpoint
    checksum: str  # its SHA-256, in hexadecimal
    agent: MixMatchAgent
    hyper: Hyperparameters  # [P] each, in force then
    agent_steps: int  # of each member

    def alone(self, member: int) -> MixMatchAgent:
        """A population of one, with the member's weights. Raises ResultsError if there is no such member."""
        if not 0 <= member < self.config.population:
            raise ResultsError(f"there is no member {member}; members: 0 … {self.config.population - 1}")
        return part_of(self.agent, self.config, range(member, member + 1))


def load(directory: Path, name: str | None = None) -> Trained:
    """The population in a run's newest whole checkpoint, or in the file `name` of `checkpoint.names`.

    Nothing of the run is executed: a level of Gymnasium whose name has a module in front is refused unless that module
    has been imported already.

    Raises:
      ResultsError: no run is there, or it has no checkpoint, or its level would execute a module.
      CheckpointError: the checkpoint is damaged, of another version, or not of this run.
      ConfigError: the configuration was written by another version.
    """
    values = Run(directory).config
    _check_harmless(values)
    config = check(asked_for({**values, "device": "cpu"}))
    given = None if name is None else (directory / name, checkpoint.read(directory / name))
    found = given or next(checkpoint.candidates(directory), None)
    if found is None:
        raise ResultsError(
            f"the run {directory} has no checkpoint ({checkpoint.FILE} is not committed); make it again: "
            f"mmlib train --config {directory / 'config.json'} --directory ANOTHER"
        )
    file, saved = found
    agent = make_agent(config)
    try:
        loop = saved["loop"]
        agent.load_state_dict(loop["learner"]["agent"])
        steps = sum(actor["steps"] for actor in loop["actors"][: len(config.levels)]) * config.num_envs
        adapted = None if loop["population"] is None else loop["population"]["hyper"]
        last = max(0, steps - config.steps_per_iteration)  # where the last iteration began
        hyper = Hyperparameters.in_force(config, agent.spec, last, adapted)
        hyper.entropy_cost.expand(config.population)  # as many as there are members
        hyper.alpha = agent.alpha_in_force(hyper.alpha).detach()
    except checkpoint.WRONG_SHAPE as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise checkpoint.CheckpointError(
            f"the checkpoint of {directory} does not fit its config.json: {what}"
        ) from error
    return Trained(config, file, saved["checksum"], agent, hyper, steps)


def _check_harmless(values: Mapping[str, Any]) -> None:
    """Raises ResultsError if making the run's agent would import a module that the run's configuration names."""
    module = values["level"].rpartition(":")[0]
    if values.get("backend") == "gymnasium" and module and module not in sys.modules:
        raise ResultsError(
            f"the run's level {values['level']!r} is made by the Python module {module}, which loading would execute; "
            "import that module first if you trust it"
        )


@dataclass(frozen=True)
class Subject:
    """One member of a run's population as it was at a checkpoint, acting on one of the run's levels."""

    directory: Path
    checkpoint: str  # the file's name
    checksum: str  # the checkpoint's SHA-256, in hexadecimal
    member: int
    members: int  # P of the run
    task: int  # the level's place in the run's list
    config: RunConfig  # as the run's, with a population of 1, on the backend that was played
    agent: MixMatchAgent  # P = 1
    alpha: float  # in force at the checkpoint
    acting_weights: tuple[float, ...]  # [K], of the policy that acted in training then
    agent_steps: int  # of the member until then

    @property
    def level(self) -> str:
        """The level's name."""
        return self.config.levels[self.task]

    @property
    def constituents(self) -> int:
        """K on this level."""
        return len(self.agent.spec.active(self.task))

    def weights(self, alpha: float) -> tuple[float, ...]:
        """[K], of alpha in [0, 1] (`mixture.mixture_weights`)."""
        return tuple(mixture_weights(torch.tensor([alpha], dtype=torch.float64), self.constituents)[0].tolist())


def open_subject(directory: str | Path, name: str | None = None, member: int = 0, task: int = 0) -> Subject:
    """Takes a member out of a run's checkpoint.

    Args:
      directory: of the run.
      name: of the checkpoint, of `checkpoint.names`; None is the newest that is whole.
      member, task: numbers from 0; the task is the level's place in the run's list.

    Raises:
      ValueError (ResultsError, CheckpointError, ConfigError): no run, no checkpoint, a damaged one, one of another
        version, or no such member or level.
    """
    directory = Path(directory)
    population = load(directory, name)
    agent = population.alone(member)
    if not 0 <= task < len(population.config.levels):
        named = ", ".join(population.config.levels)
        raise ResultsError(f"{directory} has no level {task}; its levels, numbered from 0: {named}")
    backend = str(Run(directory).config.get("backend_in_force", population.config.backend))
    return Subject(
        directory=directory,
        checkpoint=population.file.name,
        checksum=population.checksum,
        member=member,
        members=population.config.population,
        task=task,
        config=population.config.model_copy(update={"population": 1, "pbt": None, "backend": backend}),
        agent=agent,
        alpha=simplex.row(population.hyper, member)["alpha"],
        acting_weights=tuple(agent.control_weights(population.hyper.alpha[[member]].double())[0].tolist()),
        agent_steps=population.agent_steps,
    )


def play(subject: Subject, num_envs: int = 1, seed: int = 0) -> Actor:
    """The subject at play in N = `num_envs` environments; environment i of a seed is the same whatever N is.

    Args:
      seed: of the level and of the action sampling.

    Raises:
      ResultsError: the level cannot be made here.
    """
    config = subject.config
    try:
        level = level_of(config, subject.task, num_envs, seed)
    except (ValueError, OSError, RuntimeError) as error:
        raise ResultsError(f"{subject.level} cannot be played here: {error}") from error
    return Actor(level, subject.agent, unroll=1, reward_clip=config.reward_clip, seed=seed, task=subject.task)
