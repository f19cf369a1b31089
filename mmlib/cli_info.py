"""Commands that inform: `mmlib levels`, `methods`, `presets` and `bench`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    for command in (levels, methods, presets, bench):
        app.command()(command)


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


def methods() -> None:
    """List the methods: agents as data, and the figures that compare them."""
    from mmlib.methods import METHODS
    from mmlib.presets import FIGURES

    table = Table(box=None, pad_edge=False)
    for column in ("method", "label", "space", "constituents", "figures"):
        table.add_column(column, no_wrap=column == "method")
    for name, spec in METHODS.items():
        parts = ", ".join(f"{c.space.name}/{'+'.join(c.cores)}" for c in spec.constituents)
        figures = ", ".join(figure.name for figure in FIGURES.values() if name in figure.methods)
        table.add_row(name, spec.label, spec.space.name, parts, figures)
    Console().print(table)


def presets() -> None:
    """List the presets, from seconds to the paper's scale."""
    from mmlib.experiments import PRESETS

    table = Table(box=None, pad_edge=False)
    table.add_column("preset", no_wrap=True)
    table.add_column("")
    for preset in PRESETS.values():
        levels = ("all levels" if preset.all_levels else "the first level") + " of a figure"
        kind = "miniatures of " if preset.miniature else ""
        steps = preset.settings["agent_steps"]
        table.add_row(preset.name, f"{preset.description}; {steps:,} agent steps on {kind}{levels}")
    Console().print(table)


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
    from mmlib.cli import bad_input

    with bad_input():
        result = benchmark.run(level, width, height, method, num_envs, unroll, dtype, seconds, device)
    print(json.dumps(result, indent=2) if as_json else benchmark.format(result))
