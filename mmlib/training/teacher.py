"""What a student learns from: a policy of a finished run (see `alternatives.methods.Teacher`)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from mmlib.alternatives.methods import teacher_of
from mmlib.config import ConfigError, RunConfig
from mmlib.errors import ResultsError, UserError
from mmlib.method.agent import MixMatchAgent
from mmlib.method.methods import Constituent
from mmlib.runs.lineage import best_member
from mmlib.runs.reader import Run, seen_from, sibling
from mmlib.training import checkpoint
from mmlib.training.shard import make_agent, names_of
from mmlib.training.trained import load


def weights(config: RunConfig, directory: Path) -> dict[str, Tensor]:
    """The teacher's parameters `[1, ...]` by their names in the run's agent; none if the method has no teacher.

    They are those of the first constituent of the run that the configuration names, of its best member.

    Args:
      directory: of the run that is taught, from which the other is seen.

    Raises:
      ConfigError: that run cannot teach this one; it names the run, why, and those that could.
    """
    if config.teacher is None:
        return {}
    student = make_agent(config)
    teacher, where = teacher_of(student.spec), seen_from(directory, config.teacher)
    assert teacher is not None, "`fitting.check` refuses the setting where the method has none"
    try:
        if not (where / "config.json").exists():
            raise ResultsError(f"there is no run in {where}")
        if not (run := Run(where)).done:
            raise ResultsError(f"the run {where} is not finished but {run.state}")
        trained = load(where)
        theirs = trained.agent.spec.constituents[0]
        said, wanted = _words(trained.config, trained.agent, theirs), _words(config, student, teacher)
        if said != wanted:
            raise ResultsError(f"the first policy of {where} is {said}, where {config.method!r} is taught by {wanted}")
        taught = trained.alone(best_member(run) if trained.config.population > 1 else 0)
    except UserError as error:
        raise ConfigError(f"teacher = {config.teacher!r}: {error}; {_choices(directory, teacher.method)}") from error
    pairs = zip(names_of(student, teacher), names_of(taught, theirs), strict=True)
    return {mine: taught.get_parameter(its).detach() for mine, its in pairs}


def _words(config: RunConfig, agent: MixMatchAgent, policy: Constituent) -> str:
    """What two policies have alike if one's weights are the other's: the inputs, the kinds of modules, the actions."""
    cores = "+".join(core.split("/")[0] for core in policy.cores)
    torso = next(iter(agent.torsos[policy.torso].parameters()))
    frames = f"{config.width}x{config.height} frames (conv1 {tuple(config.conv1)}, {list(torso.shape[1:])})"
    return f"{policy.space.name} in {agent.space.name}, {cores}, {frames}"


def _choices(directory: Path, method: str) -> str:
    """The runs beside a run that could teach it, or how to make one."""
    beside = seen_from(directory, sibling(method, 0)).parent
    found = [path.parent for path in sorted(beside.glob("seed*/config.json")) if checkpoint.names(path.parent)]
    names = [path.name for path in found if Run(path, beside).done]  # one that cannot be read is not
    if not names:
        return f"there is no finished run of {method!r} with a checkpoint beside it: mmlib train --method {method}"
    return f"finished runs of {method!r} beside it, with a checkpoint: {', '.join(names)}"
