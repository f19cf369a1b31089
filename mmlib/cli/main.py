"""The command line: `mmlib train`, `figure` and `schedule`; the other commands are in the modules beside this one.

Bad input ends with one sentence on standard error and exit code 2, before any work; a run that fails later
ends with exit code 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmlib import caches
from mmlib.cli import campaign, claims, doctor, info, levels, runs
from mmlib.cli.common import Commands, Device, Results, Together, Unfailing, UsageError, bad_input, fail, read_seeds

if TYPE_CHECKING:  # commands import what they need, so that --help is quick
    from mmlib.experiments.notebooks import Task
    from mmlib.training.ray_fleet import RayFleets

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)

PRESET_HELP = "smoke, quick, protocol, population, laptop, workstation or paper: see `mmlib presets`."
SET_HELP = "A setting in place of the preset's, as NAME=VALUE; may be given many times."

Preset = Annotated[str, typer.Option("--preset", help=PRESET_HELP)]
Settings = Annotated[list[str] | None, typer.Option("--set", "-p", metavar="NAME=VALUE", help=SET_HELP)]
Shards = Annotated[
    str | None,
    typer.Option(envvar="MMLIB_SHARDS", help="Divide a population over cores or GPUs, with Ray: a number, or auto."),
]
Ray = Annotated[
    str | None,
    typer.Option(envvar="MMLIB_RAY", help="The Ray cluster: HOST:PORT, or auto: this machine's. See docs/scaling.md."),
]
Backend = Annotated[str | None, typer.Option("--backend", help="auto, dmlab, gymnasium or minilab.")]


def main() -> None:
    """The entry point of the `mmlib` command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # None: it is closed
        stream.reconfigure(errors="replace")  # what its encoding does not have is a question mark
        setattr(sys, name, Unfailing(stream))
    caches.settle()
    app()


@app.callback()
def mmlib() -> None:
    """Mix & Match agent curricula for reinforcement learning: train agents and make the paper's figures.

    \b
    Examples:
      mmlib doctor
      mmlib figure 3 --preset smoke
      mmlib train --method mm --help
      mmlib --install-completion
    """


@app.command()
def train(
    context: typer.Context,
    level: Annotated[str | None, typer.Option(help="See `mmlib levels`; else the preset's.")] = None,
    method: Annotated[str, typer.Option(help="See `mmlib methods`.")] = "mm",
    preset: Preset = "quick",
    seed: Annotated[int, typer.Option()] = 0,
    seeds: Annotated[str | None, typer.Option(help="Several, side by side in this process: 1,2,3 or 1-3.")] = None,
    settings: Settings = None,
    device: Device = None,
    backend: Backend = None,
    shards: Shards = None,
    ray: Ray = None,
    results: Results = Path("results"),
    directory: Annotated[
        list[Path] | None, typer.Option(help="Put the run here, not among the results; once for each of several.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="A config.json, or a list (- for standard input), in place of a preset; -p changes it."),
    ] = None,
) -> None:
    """Train a run, or several seeds side by side, or go on from the last checkpoint.

    \b
    Examples:
      mmlib train --level explore_object_locations_small_mini --method mm
      mmlib train --method small --preset laptop --seed 3
      mmlib train --method mm --seeds 1-8 --device cuda
      mmlib train --level nav_maze_static_01 --backend dmlab
      mmlib train --method mm -p agent_steps=100000 -p learning_rate=3e-4
      mmlib train --method mm -p alpha=results/population/figure3/.../mm/seed1
      mmlib train --preset population --shards auto
      mmlib train --config seed1/config.json --directory /tmp/again
      mmlib train --config seed1/config.json --directory /tmp/new -p entropy_cost=0.001 -p seed=3
    """
    from mmlib.cli import training

    given = read_settings(settings, device, backend)
    if config is not None:
        for option in ("level", "method", "preset", "seed", "seeds"):
            if (source := context.get_parameter_source(option)) and source.name == "COMMANDLINE":
                raise UsageError(f"--config has its own {option}; what is to differ is given as -p NAME=VALUE")
        runs = training.runs_again(config, given, directory)
    else:
        runs = training.preset_runs(preset, level, method, read_seeds(seeds) or [seed], given, results)
    runs = training.put_into(runs, directory, divided=bool(shards or ray))
    fleets = read_fleets(shards, ray)
    training.make(runs, fleets)


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="3 to 10, or a name, such as controls or claims; a wrong one lists all.")],
    preset: Preset = "quick",
    level: Annotated[
        list[str] | None,
        typer.Option("--level", "--levels", help="In place of the preset's: comma-separated, repeated, or all."),
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="In place of the preset's methods.")] = None,
    seeds: Annotated[str | None, typer.Option(help="1,2,3 or 1-3, in place of the preset's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes at once; else what the cores carry.")] = None,
    together: Together = 1,
    train: Annotated[bool, typer.Option(help="Make the runs that are missing, or draw what is on disk.")] = True,
    settings: Settings = None,
    device: Device = None,
    backend: Backend = None,
    shards: Shards = None,
    ray: Ray = None,
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="Put what is drawn here, not among the results.")] = None,
) -> None:
    """Make a figure: train the runs that are missing, and execute its notebook, level by level.

    A level that fails does not stop the others; what is done is not done again.

    \b
    Examples:
      mmlib figure 3
      mmlib figure 6 --levels all --preset laptop --jobs 2
      mmlib figure 3 --preset laptop --backend dmlab
      mmlib figure 3 --seeds 1,2,3 -p entropy_cost=0.001 --results /tmp/results
      mmlib figure 3 --preset laptop --seeds 1-8 --device cuda --together 8
      mmlib figure 8 --preset population --shards auto
      mmlib figure 6 --preset population --no-train --output drawn_again
    """
    from mmlib.experiments.notebooks import tasks

    names = [part for text in level or () for part in text.split(",")]
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 run at a time is needed")
    given = read_settings(settings, device, backend)
    jobs = _settle_processes(shards, ray, jobs, preset, given, together) if train else jobs
    found = tasks(name, preset, names, method, read_seeds(seeds), given, results, jobs, train, output)
    for task in found:
        try:
            task.execute()
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on from the last checkpoints", code=130)
    _say(found)


def _say(tasks: list[Task]) -> None:
    """A table of several levels, and a failure if one failed."""
    from mmlib.experiments.notebooks import table

    if len(tasks) > 1:
        print(table(tasks))
    broken = [task for task in tasks if task.error]
    if broken:
        fail("; ".join(f"{task.output} stopped with {task.error}" for task in broken), code=1)


def _settle_processes(
    shards: str | None, ray: str | None, jobs: int | None, preset: str, given: Mapping[str, Any], together: int
) -> int | None:
    """Has runs be side by side, or use Ray, wherever in a notebook they are started; how many processes at once."""
    from mmlib.experiments.design import preset_named
    from mmlib.experiments.jobs import TOGETHER

    os.environ[TOGETHER] = str(together)
    if (fleets := read_fleets(shards, ray)) is None:
        return jobs
    os.environ["MMLIB_RAY"], os.environ["MMLIB_SHARDS"] = fleets.address, str(fleets.shards)
    at = {**preset_named(preset, given).settings, **given}
    return jobs or fleets.runs_at_once(at.get("device", "cpu"), at.get("lag", 0))


@app.command()
def notebooks(directory: Annotated[Path, typer.Argument(help="Made if need be.")]) -> None:
    """Copy the notebooks behind the figures into a directory, to read, change and run them in JupyterLab.

    \b
    Examples:
      mmlib notebooks notebooks
    """
    from mmlib.experiments.notebooks import copy

    print(*copy(directory), sep="\n")


@app.command()
def schedule(
    run: Annotated[Path, typer.Argument(help="The directory of a run, with or without PBT.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A JSON file.")],
    member: Annotated[int | None, typer.Option(help="A final member; else the best.")] = None,
) -> None:
    """Save a member's alpha trajectory, along its ancestry, for `-p alpha=FILE` to replay.

    \b
    Examples:
      mmlib schedule results/population/figure3/.../mm/seed1 -o alpha.json
    """
    from mmlib.runs.lineage import AlphaSchedule
    from mmlib.runs.reader import Run

    with bad_input(ValueError):
        recorded = AlphaSchedule.recorded(Run(run), member)
        if not output.parent.is_dir():
            raise UsageError(f"there is no directory {output.parent}")
    recorded.save(output)
    print(f"{output}: {len(recorded.knots)} knots of {recorded.source}")


for _command in (
    *(info.levels, info.methods, info.presets, info.settings, doctor.doctor, levels.baselines, levels.video),
    *(claims.claims, claims.premises, claims.report, runs.runs, runs.pack, runs.export, campaign.campaign),
):
    app.command()(_command)


def read_settings(settings: list[str] | None, device: str | None = None, backend: str | None = None) -> dict[str, Any]:
    """`NAME=VALUE` arguments as a dict; values are JSON where they can be read as such, else text."""
    from mmlib.runs.untrusted import parse

    options = {"device": device, "backend": backend}
    read: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for text in settings or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"setting {text!r} is not of the form NAME=VALUE, for instance learning_rate=0.001")
        place, _, part = name.partition(".")  # pbt.ready=10 is a part of pbt
        target = read.setdefault(place, {}) if part else read
        if not isinstance(target, dict):
            raise UsageError(f"setting {text!r}: {place} was given as a whole already")
        try:
            target[part or place] = parse(value)
        except ValueError:
            target[part or place] = value
    return read


def read_fleets(shards: str | None, ray: str | None) -> RayFleets | None:
    """Where populations train: on Ray if its cluster or a number of shards is given, else (None) in the run."""
    if shards is None and ray is None:
        return None
    from mmlib.training.ray_fleet import RayFleets

    if shards is not None and shards != "auto" and (not shards.isdecimal() or int(shards) < 1):
        raise UsageError(f"--shards {shards}: a whole number from 1, or auto")
    return RayFleets(ray or "auto", "auto" if shards in (None, "auto") else int(shards))
