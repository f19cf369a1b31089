"""One member of a run at a checkpoint, taken out of its population: found, opened, and put to play.

Shape letter: K constituents. P is 1 throughout.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from mmlib import levels
from mmlib.alternatives.methods import METHODS
from mmlib.config import RunConfig
from mmlib.errors import ResultsError
from mmlib.experiments.run_table import runs_table
from mmlib.method.agent import MixMatchAgent
from mmlib.method.mixture import mixture_weights
from mmlib.runs.reader import Run
from mmlib.training import trained
from mmlib.training.actors import Actor


class Choice(NamedTuple):
    """A run that was found: what it is called, where it is, and in a few words why it cannot be inspected."""

    label: str
    directory: Path
    problem: str  # "" for none
    single: bool  # it has one policy: nothing to mix


def find_choices(root: str | Path) -> list[Choice]:
    """The runs at or below `root`: first those with a mixture to inspect, last those that cannot be inspected.

    Raises:
      ResultsError: there is no such directory, or no run in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise ResultsError(f"there is no directory {root}; give a run's directory, or one that holds runs")
    found = []
    for row in runs_table(root).to_dict("records"):
        directory, method = Path(row["directory"]), row["method"]
        label = " / ".join(directory.relative_to(root).parts) or directory.name
        problem = "broken" if row["state"] == "broken" else "" if row["checkpoint"] == "yes" else "no checkpoint"
        found.append(Choice(label, directory, problem, method in METHODS and METHODS[method].single))
    if not found:
        raise ResultsError(f"{root} holds no run; `mmlib train` makes one")
    return sorted(found, key=lambda choice: (bool(choice.problem), choice.single))


@dataclass(frozen=True)
class Subject:
    """One member of a run's population as it was at a checkpoint, acting on one of the run's levels."""

    directory: Path
    checkpoint: str  # the file's name
    checksum: str  # SHA-256 of the file, in hexadecimal
    member: int
    members: int  # P of the run
    task: int  # the level's place in the run's list
    config: RunConfig  # as the run's, with a population of 1
    agent: MixMatchAgent  # P = 1
    alpha: float  # in force at the checkpoint
    agent_steps: int  # of the member until then

    @property
    def level(self) -> str:
        """The level's name."""
        return self.config.levels[self.task]

    @property
    def constituents(self) -> int:
        """K on this level."""
        return len(self.agent.spec.active(self.task))

    @property
    def acting_weights(self) -> tuple[float, ...]:
        """[K], of the policy that acted in training at the checkpoint."""
        return tuple(self.agent.control_weights(torch.tensor([self.alpha], dtype=torch.float64))[0].tolist())

    def weights(self, alpha: float) -> tuple[float, ...]:
        """[K], of alpha in [0, 1] (`mixture.mixture_weights`)."""
        return tuple(mixture_weights(torch.tensor([alpha], dtype=torch.float64), self.constituents)[0].tolist())


def open_subject(directory: str | Path, checkpoint: str | None = None, member: int = 0, task: int = 0) -> Subject:
    """Takes a member out of a run's checkpoint.

    Args:
      directory: of the run.
      checkpoint: a name of `trained.checkpoint_names`; None is the newest.
      member, task: numbers from 0; the task is the level's place in the run's list.

    Raises:
      ValueError (ResultsError, CheckpointError, ConfigError): no run, no checkpoint, a damaged one, one of another
        version, or no such member or level.
    """
    directory = Path(directory)
    names = trained.checkpoint_names(directory)
    name = checkpoint or (names[0] if names else None)
    population = trained.load(directory, name)
    agent = population.alone(member)
    assert name is not None
    if not 0 <= task < len(population.config.levels):
        named = ", ".join(population.config.levels)
        raise ResultsError(f"{directory} has no level {task}; its levels, numbered from 0: {named}")
    return Subject(
        directory=directory,
        checkpoint=name,
        checksum=hashlib.sha256((directory / name).read_bytes()).hexdigest(),
        member=member,
        members=population.config.population,
        task=task,
        config=population.config.model_copy(update={"population": 1, "pbt": None}),
        agent=agent,
        alpha=float(population.hyper.alpha[member]),
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
    backend = str(Run(subject.directory).config.get("backend_in_force", config.backend))
    size = (config.action_repeat, config.width, config.height)
    try:
        level = levels.make(subject.level, backend, num_envs, seed, *size)
    except (ValueError, OSError, RuntimeError) as error:
        raise ResultsError(f"{subject.level} cannot be played here: {error}") from error
    return Actor(level, subject.agent, unroll=1, reward_clip=config.reward_clip, seed=seed, task=subject.task)
