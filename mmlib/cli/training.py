"""What `mmlib train` does: makes runs, shows their progress, and says in a sentence what ended them early."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlib.cli.common import UsageError, fail

if TYPE_CHECKING:
    from mmlib.config import RunConfig
    from mmlib.experiments.design import Job
    from mmlib.training.ray_fleet import RayFleets


def preset_runs(
    preset: str, level: str | None, method: str, seeds: Sequence[int], settings: dict[str, Any], results: Path
) -> list[Job]:
    """The configurations of runs at a preset, which differ in their seed, and their places in the results."""
    from mmlib.experiments import design
    from mmlib.runs.reader import check_inside, run_directory

    at, runs = design.preset_named(preset, settings), []
    for seed in seeds:
        chosen = design.configure(at, level or design.default_level(at, method), method, seed, settings)
        place = run_directory(results, preset, "runs", chosen.level, method, seed)
        check_inside(place, results)
        runs.append(design.Job(chosen, place))
    return runs


def runs_again(path: str, settings: Mapping[str, Any], directories: Sequence[Path] | None) -> list[Job]:
    """The runs of recorded configurations (as `read_configs`), which have no place but the one that is given."""
    from mmlib.experiments.design import Job

    if not directories:
        raise UsageError("--config needs --directory, where to put the run")
    return [Job(config, directories[0]) for config in read_configs(path, settings)]


def read_configs(path: str, settings: Mapping[str, Any]) -> list[RunConfig]:
    """Configurations from a JSON file (a run's config.json will do, or a list of some) or from standard input ("-").

    settings: in place of the file's.
    """
    from mmlib.experiments.design import configure_again
    from mmlib.runs.untrusted import parse

    try:
        values = parse(sys.stdin.read() if path == "-" else Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    several = values if isinstance(values, list) and values else [values]
    if not all(isinstance(each, dict) for each in several):
        raise UsageError(f"the configuration {path} is not a JSON object, or a list of such")
    return [configure_again(each, settings) for each in several]


def put_into(runs: Sequence[Job], directories: Sequence[Path] | None, divided: bool) -> list[Job]:
    """The runs in these directories, or where they are, if all can be written.

    divided: whether --shards or --ray was given.  Raises UsageError or ResultsError.
    """
    from mmlib.runs.owner import check_writable

    if len(runs) > 1 and divided:
        raise UsageError("--seeds are side by side in this process; --shards and --ray divide one run's population")
    places = directories or [job.directory for job in runs]
    if len(places) != len(runs):
        raise UsageError(f"--directory is given {len(places)} times for a number of runs of {len(runs)}")
    for where in places:
        check_writable(where, "--directory" if directories else "--results")
    return [job._replace(directory=where) for job, where in zip(runs, places, strict=True)]


def make(runs: Sequence[Job], fleets: RayFleets | None) -> None:
    """Trains a run, or several side by side; of several, those that end early have said why by then."""
    from mmlib.errors import Stopped
    from mmlib.experiments.reports import TrainingReport
    from mmlib.runs.owner import being_written
    from mmlib.runs.reader import check_same_run, finished
    from mmlib.training import checkpoint
    from mmlib.training.fitting import as_recorded, backend_in_force, check_together, idle
    from mmlib.training.fleet import InProcess
    from mmlib.training.loop import train
    from mmlib.training.stack import train_together

    configs, places = [job.config for job in runs], [job.directory for job in runs]
    if len(runs) > 1:
        check_together(configs)
    for chosen, where in zip(configs, places, strict=True):
        if len(runs) == 1 and not being_written(where):  # of several, each that is refused is
            check_same_run(where, as_recorded(chosen))
        what = f"{chosen.method} on {chosen.level} ({backend_in_force(chosen)}), seed {chosen.seed}"
        if finished(where, chosen.agent_steps):
            what += f" is done after {chosen.agent_steps:,} agent steps"
            if checkpoint.names(where):
                what += "; more of them (-p agent_steps=N) go on from there"
        print(f"{what}; records in {where}")
        last, length = chosen.alpha[-1][0], chosen.agent_steps
        if last > length and "alpha" not in idle(chosen.method, chosen.model_dump()):
            print(f"mmlib: alpha's last knot is at {last:,} agent steps, and the run has {length:,}", file=sys.stderr)
    sys.stdout.flush()
    with _plainly(), TrainingReport(configs[0].frames) as report:
        if len(runs) == 1:
            train(configs[0], places[0], report, fleets or InProcess)
            return
        early = train_together(configs, places, [report.of(f"seed {chosen.seed}") for chosen in configs])
        if stops := [error for error in early.values() if isinstance(error, Stopped)]:
            raise stops[0]
    if early:
        fail(f"{len(early)} of {len(runs)} runs ended early: {', '.join(map(str, early))}", code=1)


@contextmanager
def _plainly() -> Iterator[None]:
    """Turns what ends a run early into its sentence and exit code."""
    from mmlib.errors import Stopped, in_plain_words

    try:
        yield
    except Stopped as stop:
        fail(f"{stop}, with a checkpoint; the same command goes on from there", code=stop.exit_code)
    except KeyboardInterrupt:  # a second one, or before there was anything to save
        fail("interrupted; the same command goes on from the last checkpoint, if there is one", code=130)
    except Exception as error:
        if (sentence := in_plain_words(error)) is None:
            raise
        fail(sentence, code=1)
