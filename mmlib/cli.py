"""The command line: `mmlib train`, `mmlib figure`, `mmlib levels`, `mmlib presets`, `mmlib bench`.

Bad input ends with one sentence on standard error and exit code 2, before any work; a run that fails later
ends with exit code 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # commands import what they need, so that --help is quick
    from mmlib.config import RunConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

PRESET_HELP = "smoke, quick, laptop, workstation or paper: see `mmlib presets`."
SET_HELP = "A setting in place of the preset's, as NAME=VALUE; may be given many times."

Preset = Annotated[str, typer.Option("--preset", help=PRESET_HELP)]
Settings = Annotated[list[str] | None, typer.Option("--set", "-p", metavar="NAME=VALUE", help=SET_HELP)]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda.")]
Results = Annotated[Path, typer.Option("--results", help="The root of the results.")]


def main() -> None:
    """The entry point of the `mmlib` command."""
    app()


@app.callback()
def mmlib() -> None:
    """Mix & Match agent curricula for reinforcement learning: train agents and make the paper's figures."""


@app.command()
def train(
    level: Annotated[str | None, typer.Option(help="See `mmlib levels`; else the preset's first.")] = None,
    method: Annotated[str, typer.Option(help="small, big756, mm, mm_masked_kl or mm_shared_head.")] = "mm",
    preset: Preset = "quick",
    seed: Annotated[int, typer.Option()] = 0,
    settings: Settings = None,
    device: Device = None,
    results: Results = Path("results"),
    directory: Annotated[Path | None, typer.Option(help="Put the run here, not among the results.")] = None,
    config: Annotated[
        str | None, typer.Option(help="A config.json (- for standard input) in place of all of the above.")
    ] = None,
) -> None:
    """Train one run, or go on with it from its last checkpoint.

    \b
    Examples:
      mmlib train --level explore_object_locations_small_mini --method mm
      mmlib train --method small --preset laptop --seed 3
      mmlib train --method mm -p agent_steps=100000 -p learning_rate=3e-4
      mmlib train --config seed1/config.json --directory /tmp/again
    """
    from mmlib.results import check_writable

    with bad_input():
        if config is None:
            chosen, place = _preset_run(preset, level, method, seed, read_settings(settings, device), results)
            where = directory or place
        elif directory is None:
            raise UsageError("--config needs --directory, where to put the run")
        else:
            chosen, where = read_config(config), directory
        check_writable(where)
    from mmlib.levels import resolve_backend
    from mmlib.reports import TrainingReport
    from mmlib.training import train as run_training

    backend = resolve_backend(chosen.backend, chosen.level)
    print(f"{chosen.method} on {chosen.level} ({backend}), seed {chosen.seed}; records in {where}", flush=True)
    with bad_input(), TrainingReport(chosen.frames) as report:
        run_training(chosen, where, report)


def _preset_run(
    preset: str, level: str | None, method: str, seed: int, settings: dict[str, Any], results: Path
) -> tuple[RunConfig, Path]:
    """The configuration of a single run at a preset, and its place in the results."""
    from mmlib import experiments
    from mmlib.results import run_directory

    at = experiments.choose("preset", preset, experiments.PRESETS)
    chosen = experiments.configure(at, level or at.levels[0], method, seed, settings)
    return chosen, run_directory(results, preset, "runs", chosen.level, method, seed)


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="The figure's number in the paper: 3.")],
    preset: Preset = "quick",
    level: Annotated[list[str] | None, typer.Option(help="In place of the preset's levels.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="In place of the preset's methods.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Comma-separated, in place of the preset's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at once; else what the cores carry.")] = None,
    settings: Settings = None,
    device: Device = None,
    results: Results = Path("results"),
) -> None:
    """Make a figure of the paper: train the runs that are missing, and execute its notebook.

    \b
    Examples:
      mmlib figure 3
      mmlib figure 3 --preset smoke
      mmlib figure 3 --seeds 1,2,3 --jobs 2
      mmlib figure 3 --preset laptop --level nav_maze_static_01
      mmlib figure 3 -p entropy_cost=0.001 --results /tmp/results
    """
    from mmlib import experiments
    from mmlib.notebooks import execute, outputs, shortest
    from mmlib.results import check_writable

    with bad_input():
        if jobs is not None and jobs < 1:
            raise UsageError(f"--jobs {jobs}: at least 1 run at a time is needed")
        overrides = read_settings(settings, device)
        plan = experiments.plan(name, preset, level, method, read_seeds(seeds), overrides, results)
        root = experiments.repository_root()
        notebook = root / "notebooks" / experiments.FIGURES[name].notebook
        if not notebook.exists():
            raise UsageError(f"there is no {notebook}; run this in a checkout of the repository")
        check_writable(results)
    for each in dict.fromkeys(job.config.level for job in plan):
        here = [job for job in plan if job.config.level == each]
        parameters = {
            "level": each,
            "preset": preset,
            "methods": list(dict.fromkeys(job.config.method for job in here)),
            "seeds": list(dict.fromkeys(job.config.seed for job in here)),
            "results": shortest(results, root),
            "jobs": jobs or 0,
            "overrides": overrides,
        }
        where = experiments.figure_directory(results, preset, name, each)
        try:
            error = execute(notebook, where / "notebook.ipynb", parameters)
        except KeyboardInterrupt:
            fail("interrupted; the same command goes on from the last checkpoints", code=130)
        print("\n".join(outputs(where, plan)), flush=True)
        if error is not None:
            fail(f"{where / 'notebook.ipynb'} stopped with {error}", code=1)


@app.command()
def levels() -> None:
    """List the levels."""
    from mmlib.levels import LEVELS

    table = Table(box=None, pad_edge=False)
    table.add_column("level", no_wrap=True)
    table.add_column("")
    for info in LEVELS.values():
        kind = "miniature; " if info.miniature else ""
        table.add_row(info.name, f"{kind}{info.episode_frames:,} frames an episode; {info.description}")
    Console().print(table)


@app.command()
def presets() -> None:
    """List the presets, from seconds to the paper's scale."""
    from mmlib.experiments import PRESETS

    table = Table(box=None, pad_edge=False)
    table.add_column("preset", no_wrap=True)
    table.add_column("")
    for preset in PRESETS.values():
        levels = ", ".join(preset.levels)
        table.add_row(preset.name, f"{preset.description}; {preset.settings['agent_steps']:,} agent steps of {levels}")
    Console().print(table)


@app.command()
def bench(
    level: Annotated[str, typer.Option()] = "explore_object_locations_small",
    width: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 96,
    height: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 72,
    method: Annotated[str, typer.Option()] = "mm",
    num_envs: Annotated[int, typer.Option(help="Environments of the agent.")] = 32,
    unroll: Annotated[int, typer.Option(help="Agent steps of a trajectory.")] = 100,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seconds: Annotated[float, typer.Option(help="For each part.")] = 10.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure agent steps a second: engine, acting, learner, whole loop, and shares of the measured ceilings.

    \b
    Examples:
      mmlib bench
      mmlib bench --level nav_maze_static_01 --dtype bfloat16 --json
    """
    from mmlib import bench as benchmark

    with bad_input():
        result = benchmark.run(level, width, height, method, num_envs, unroll, dtype, seconds, device)
    print(json.dumps(result, indent=2) if as_json else benchmark.format(result))


class UsageError(ValueError):
    """An argument that cannot be used; the message says what is allowed."""


@contextmanager
def bad_input() -> Iterator[None]:
    """Turns errors that the user can cause into their sentence and exit code 2."""
    from mmlib.config import ConfigError
    from mmlib.experiments import ExperimentError
    from mmlib.results import ResultsError

    try:
        yield
    except (UsageError, ConfigError, ExperimentError, ResultsError) as error:
        fail(str(error), code=2)


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with a message on standard error."""
    print(f"mmlib: {message}", file=sys.stderr)
    raise typer.Exit(code)


def read_settings(settings: list[str] | None, device: str | None = None) -> dict[str, Any]:
    """`NAME=VALUE` arguments as a dict; values are JSON where they can be read as such, else text."""
    read: dict[str, Any] = {} if device is None else {"device": device}
    for text in settings or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"setting {text!r} is not of the form NAME=VALUE, for instance learning_rate=0.001")
        try:
            read[name] = json.loads(value)
        except json.JSONDecodeError:
            read[name] = value
    return read


def read_seeds(text: str | None) -> list[int] | None:
    """Comma-separated seeds as integers."""
    if text is None:
        return None
    parts = text.replace(" ", "").split(",")
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"seeds {text!r} are not comma-separated whole numbers, for instance 1,2,3")
    return [int(part) for part in parts]


def read_config(path: str) -> RunConfig:
    """A configuration from a JSON file (a run's config.json will do) or from standard input ("-")."""
    from mmlib.config import make_config
    from mmlib.results import RECORDED_FACTS

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        values = json.loads(text)
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"the configuration {path} is not a JSON object")
    return make_config({name: value for name, value in values.items() if name not in RECORDED_FACTS})
