"""Commands about levels themselves: `mmlib baselines` and `mmlib video`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmlib.cli.common import AsJson, Results, UsageError, bad_input, print_json


def baselines(
    level: Annotated[str | None, typer.Option(help="See `mmlib levels`; else all.")] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Of each policy, at least; else 128, of dmlab what 200,000 agent steps hold.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto or a backend of `mmlib levels`.")] = "auto",
    again: Annotated[bool, typer.Option("--again", help="Measure also what is on record.")] = False,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Measure the reference scores that are missing: random play in Small and in Big, and the scripted expert.

    \b
    Examples:
      mmlib baselines
      mmlib baselines --level nav_maze_static_02 --again
      mmlib baselines --level nav_maze_static_01 --json
    """
    from mmlib.analysis import baselines as scores
    from mmlib.levels import LEVELS, dmlab, interface, resolve_backend

    with bad_input(ValueError):
        interface(level or next(iter(LEVELS)), backend)
    if episodes is not None and episodes < 2:
        raise UsageError(f"--episodes {episodes}: a standard error needs at least 2")
    measured = {}
    if not as_json:
        print(f"{'level':<36}" + "".join(f"{name:>18}" for name in scores.POLICIES), flush=True)
    for name in [level] if level else dmlab.LEVELS if backend == "dmlab" else LEVELS:
        scripted = resolve_backend(backend, name) == "minilab"
        policies = scores.POLICIES if scripted else ("small", "big756")
        row = scores.scores(results, name, policies, backend, episodes, again)
        measured[name] = {policy: score._asdict() for policy, score in row.items()}
        if as_json:
            continue
        cells = (f"{score.mean:.2f} ± {score.standard_error:.2f}" for score in row.values())
        print(f"{name:<36}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    if as_json:
        print_json(measured)


def video(
    level: Annotated[str, typer.Argument(help="See `mmlib levels`.")],
    policy: Annotated[str, typer.Option(help="random, expert, or the directory of a run.")] = "expert",
    backend: Annotated[str, typer.Option(help="auto, dmlab or minilab; a run has its own.")] = "auto",
    output: Annotated[Path, typer.Option("--output", "-o", help="An .mp4 file.")] = Path("video.mp4"),
    seconds: Annotated[float, typer.Option(help="Of play.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, max=2**53)] = 0,
) -> None:
    """Film a level as its agent sees it, beside the map where the backend draws maps.

    \b
    Examples:
      mmlib video nav_maze_static_01 -o expert.mp4
      mmlib video explore_object_locations_small_mini --policy random -o random.mp4
      mmlib video nav_maze_static_01 --policy results/quick/runs/nav_maze_static_01/mm/seed0 -o run.mp4
    """
    from mmlib.figures import video as film

    score = film.record(level, policy, output, seconds, seed, backend)
    print(f"{seconds:g} s of {policy} on {level}, reward {score:g}: {output}")
