"""Commands about runs on disk: `mmlib runs` and `mmlib pack`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    for command in (runs, pack):
        app.command()(command)


def runs(
    words: Annotated[list[str] | None, typer.Argument(help="Only runs with all of these in a column.")] = None,
    results: Annotated[Path, typer.Option("--results", help="The root of the results.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs on disk: how far each is, its last return, and what is wrong with broken ones.

    \b
    Examples:
      mmlib runs
      mmlib runs quick mm done
      mmlib runs killed --json
    """
    from mmlib.cli.common import bad_input
    from mmlib.experiments import run_table

    with bad_input():
        table = run_table.filtered(run_table.runs_table(results), " ".join(words or ()))
    if as_json:
        print(table.to_json(orient="records", indent=2, force_ascii=False))
        return
    shown = Table(box=None, pad_edge=False)
    for name in ("preset", "figure", "level", "method", "seed", "frames", "state", "last return"):
        shown.add_column(name, justify="right" if name in ("frames", "last return") else "left", overflow="fold")
    for row in table.to_dict("records"):
        names = [str(row[name]) if row[name] == row[name] else "" for name in run_table.NAMES]
        frames = f"{row['frames']:,.0f}" if row["frames"] == row["frames"] else ""
        value = f"{row['last_return']:.2f}" if row["last_return"] == row["last_return"] else ""
        shown.add_row(*names, frames, row["state"], value)
    Console(width=None if sys.stdout.isatty() else 160).print(shown)
    for row in table[table["state"] == "broken"].to_dict("records"):
        print(f"broken: {row['directory']}: {row['reason']}")


def pack(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of runs, or above runs.")],
) -> None:
    """Compress the records of finished runs, which stay readable.

    \b
    Examples:
      mmlib pack results/population
      mmlib pack results/quick/figure3/.../mm/seed1 results/quick/figure3/.../mm/seed2
    """
    from mmlib.cli.common import UsageError, bad_input
    from mmlib.cli.doctor import size
    from mmlib.runs.writer import compress

    before = after = 0
    with bad_input():
        for path in runs:
            found = sorted(config.parent for config in path.rglob("config.json"))
            if not found:
                raise UsageError(f"{path} holds no run, nor does a directory below it")
            for done in map(compress, found):
                what = f"skipped, {done.skipped}" if done.skipped else f"{size(done.before)} to {size(done.after)}"
                print(f"{done.directory}: {what if done.skipped or done.before else 'nothing to do'}", flush=True)
                before, after = before + done.before, after + done.after
    print(f"{size(before)} to {size(after)} in all")
