"""Commands about levels themselves: `mmlib baselines`, `mmlib calibrate`, `mmlib video`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Level = Annotated[str | None, typer.Option(help="See `mmlib levels`; else all.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    commands: tuple[Callable[..., None], ...] = (baselines, calibrate, video)
    for command in commands:
        app.command()(command)


@contextmanager
def _usage_error(kind: type[ValueError]) -> Iterator[None]:
    """Turns an error that a user can cause into a `UsageError`."""
    from mmlib.cli import UsageError

    try:
        yield
    except kind as error:
        raise UsageError(str(error)) from error


def baselines(
    level: Level = None,
    episodes: Annotated[int, typer.Option(help="Of each policy, at least.")] = 128,
    backend: Annotated[str, typer.Option(help="auto or a backend of `mmlib levels`.")] = "auto",
    again: Annotated[bool, typer.Option("--again", help="Measure also what is on record.")] = False,
    results: Annotated[Path, typer.Option(help="The root of the results.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, once all is measured.")] = False,
) -> None:
    """Measure the reference scores that are missing: random play in Small and in Big, and the scripted expert.

    \b
    Examples:
      mmlib baselines
      mmlib baselines --level nav_maze_static_02 --again
      mmlib baselines --level nav_maze_static_01 --json
    """
    from mmlib import baselines as scores
    from mmlib.cli import UsageError, bad_input
    from mmlib.levels import LEVELS, check, resolve_backend

    with bad_input():
        with _usage_error(ValueError):
            check(level or next(iter(LEVELS)), backend)
        if episodes < 2:
            raise UsageError(f"--episodes {episodes}: a standard error needs at least 2")
        measured = {}
        if not as_json:
            print(f"{'level':<36}" + "".join(f"{name:>18}" for name in scores.POLICIES), flush=True)
        for name in [level] if level else LEVELS:
            scripted = resolve_backend(backend, name) == "minilab"
            policies = scores.POLICIES if scripted else ("small", "big756")
            row = scores.scores(results, name, policies, backend, episodes, again)
            measured[name] = {policy: score._asdict() for policy, score in row.items()}
            if as_json:
                continue
            cells = (f"{score.mean:.2f} ± {score.standard_error:.2f}" for score in row.values())
            print(f"{name:<36}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    if as_json:
        print(json.dumps(measured, indent=2))


def calibrate(
    level: Level = None,
    episodes: Annotated[int, typer.Option(help="Of each sample.")] = 128,
    seed: Annotated[int, typer.Option()] = 0,
    write: Annotated[bool, typer.Option("--write", help="Put the table into docs/minilab.md.")] = False,
) -> None:
    """Compare MiniLab with what was measured on DeepMind Lab.

    \b
    Examples:
      mmlib calibrate --level nav_maze_static_01
      mmlib calibrate --write
    """
    from mmlib import calibration
    from mmlib.cli import UsageError, bad_input
    from mmlib.experiments import repository_root

    with bad_input(), _usage_error(calibration.CalibrationError):
        targets = calibration.choose(level)
        page = repository_root() / "docs" / "minilab.md"
        if write and level:
            raise UsageError("--write writes the whole table; leave out --level")
        calibration.check_episodes(episodes)
        if write:
            calibration.check_page(page)
    started, rows = time.monotonic(), []
    for measured in calibration.calibrate(targets, episodes, seed):
        rows.append(calibration.row(measured))
        name, quantity, *rest = rows[-1]
        print(f"{name:<32}{quantity:<46}" + "".join(f"{cell:>20}" for cell in rest), flush=True)
    print(f"{len(rows)} quantities, {episodes} episodes each, {time.monotonic() - started:.0f} s")
    if write:
        calibration.write(page, rows)
        print(f"written to {page}")


def video(
    level: Annotated[str, typer.Argument(help="See `mmlib levels`.")],
    policy: Annotated[str, typer.Option(help="random, expert, or the directory of a run.")] = "expert",
    output: Annotated[Path, typer.Option("--output", "-o", help="An .mp4 file.")] = Path("video.mp4"),
    seconds: Annotated[float, typer.Option(help="Of play.")] = 30.0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Film a level as its agent sees it, beside the map.

    \b
    Examples:
      mmlib video nav_maze_static_01 -o expert.mp4
      mmlib video explore_object_locations_small_mini --policy random -o random.mp4
      mmlib video nav_maze_static_01 --policy results/quick/runs/nav_maze_static_01/mm/seed0 -o run.mp4
    """
    from mmlib import video as film
    from mmlib.cli import bad_input

    with bad_input(), _usage_error(film.VideoError):
        score = film.record(level, policy, output, seconds, seed)
    print(f"{seconds:g} s of {policy} on {level}, reward {score:g}: {output}")
