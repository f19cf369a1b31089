"""The agents that a run's checkpoint holds, ready to act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmlib import checkpoint
from mmlib.agent import MixMatchAgent
from mmlib.config import RunConfig, make_config
from mmlib.learner import Hyperparameters
from mmlib.results import RECORDED_FACTS, ResultsError, Run
from mmlib.training import make_agent


@dataclass(frozen=True)
class Trained:
    """A population as it was at a checkpoint, on the CPU."""

    config: RunConfig
    agent: MixMatchAgent
    hyper: Hyperparameters  # [P] each, in force then
    agent_steps: int  # of each member


def checkpoint_names(directory: Path) -> list[str]:
    """The checkpoint files of a run, the newest first."""
    return [name for name in (checkpoint.FILE, checkpoint.PREVIOUS) if (directory / name).exists()]


def load(directory: Path, name: str | None = None) -> Trained:
    """The population in a run's newest whole checkpoint, or in the file `name` of `checkpoint_names`.

    Raises:
      ResultsError: no run is there, or it has no checkpoint.
      CheckpointError: the checkpoint is damaged or of another version.
      ConfigError: the configuration was written by another version.
    """
    values = Run(directory).config
    config = make_config({k: v for k, v in values.items() if k not in RECORDED_FACTS} | {"device": "cpu"})
    saved = checkpoint.load(directory) if name is None else checkpoint.read(directory / name)
    if saved is None:
        raise ResultsError(
            f"the run {directory} has no checkpoint ({checkpoint.FILE} is not committed); make it again: "
            f"mmlib train --config {directory / 'config.json'} --directory ANOTHER"
        )
    loop = saved["loop"]
    agent = make_agent(config)
    agent.load_state_dict(loop["learner"]["agent"])
    steps = sum(actor["steps"] for actor in loop["actors"][: len(config.levels)]) * config.num_envs
    return Trained(config, agent, Hyperparameters(**loop["hyper"]), steps)
