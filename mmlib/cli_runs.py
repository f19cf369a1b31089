"""Commands about runs on disk: `mmlib pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(pack)


def pack(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of runs, or above runs.")],
    undo: Annotated[bool, typer.Option("--undo", help="Unpack.")] = False,
) -> None:
    """Compress the records of finished runs, which stay readable; a packed run cannot be trained on.

    \b
    Examples:
      mmlib pack results/population
      mmlib pack results/quick/figure3/.../mm/seed1 results/quick/figure3/.../mm/seed2
      mmlib pack --undo results/quick/figure3/.../mm/seed1
    """
    from mmlib import packing
    from mmlib.cli import bad_input

    before = after = 0
    with bad_input():
        for path in runs:
            for done in packing.unpack(path) if undo else packing.pack(path):
                what = f"skipped, {done.skipped}" if done.skipped else f"{_size(done.before)} to {_size(done.after)}"
                print(f"{done.directory}: {what if done.skipped or done.before else 'nothing to do'}", flush=True)
                before, after = before + done.before, after + done.after
    print(f"{_size(before)} to {_size(after)} in all")


def _size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
