"""`python -m tools.calibration`: compare MiniLab with what was measured on DeepMind Lab."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mmlib.cli.common import UsageError, bad_input
from mmlib.experiments.design import repository_root
from tools.calibration import table

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    level: Annotated[str | None, typer.Option(help="See `mmlib levels`; else all.")] = None,
    episodes: Annotated[int, typer.Option(min=2, help="Of each sample.")] = table.EPISODES,
    seed: Annotated[int, typer.Option()] = 0,
    write: Annotated[bool, typer.Option("--write", help="Put the table into docs/minilab.md.")] = False,
) -> None:
    """Compare MiniLab with what was measured on DeepMind Lab.

    \b
    Examples:
      python -m tools.calibration --level nav_maze_static_01
      python -m tools.calibration --write
    """
    with bad_input():
        targets = table.choose(level)
        page = repository_root() / "docs" / "minilab.md"
        if write and level:
            raise UsageError("--write writes the whole table; leave out --level")
        if write:
            table.check_page(page)
    started, rows = time.monotonic(), []
    for measured in table.calibrate(targets, episodes, seed):
        rows.append(table.row(measured))
        name, quantity, *rest = rows[-1]
        print(f"{name:<32}{quantity:<46}" + "".join(f"{cell:>20}" for cell in rest), flush=True)
    print(f"{len(rows)} quantities, {episodes} episodes each, {time.monotonic() - started:.0f} s")
    if write:
        table.write(page, rows)
        print(f"written to {page}")


if __name__ == "__main__":
    app()
