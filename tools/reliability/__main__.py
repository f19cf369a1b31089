"""`python -m tools.reliability`: try the faults, write the table."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mmlib.cli.common import UsageError, bad_input, fail
from mmlib.experiments.design import repository_root
from tools.reliability import faults, kills, machine
from tools.reliability.harness import Bench, Row, Surprise, table
from tools.reliability.harness import write as write_rows

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
CHECKS: dict[str, Callable[[Bench], Row]] = {  # by name on the command line, in the order of the table
    "kills": kills.kills,
    "operations": kills.file_operations,
    "signals": kills.signals,
    "parent": kills.parent_killed,
    "leftovers": kills.leftovers,
    "checkpoint": faults.damaged_checkpoint,
    "record": faults.damaged_record,
    "disk": machine.full_disk,
    "read-only": machine.read_only,
    "writers": faults.two_writers,
    "diverging": faults.diverging,
    "worker": faults.worker_killed,
    "clock": machine.clock,
    "memory": machine.out_of_memory,
    "soak": machine.soak,
}

FAULTS = (
    *("SIGKILL", "SIGKILL between file operations", "Ctrl-C, SIGTERM, SIGHUP", "the parent is killed"),
    *("what is left behind", "damaged checkpoint", "damaged record", "full disk", "read-only results"),
    *("two processes, one directory", "NaN in one member", "a DeepMind Lab worker is killed"),
    *("clock going backwards", "out of memory", "leaks"),
)
PAGE = Path("docs") / "reliability.md"


@app.command()
def main(
    only: Annotated[str | None, typer.Option(metavar="NAMES", help="Comma-separated, in place of all.")] = None,
    kills: Annotated[int, typer.Option(help="How many kills are survived.")] = 50,
    minutes: Annotated[float, typer.Option(help="Of the soak.")] = 30.0,
    write: Annotated[bool, typer.Option("--write", help=f"Put the rows into {PAGE}.")] = False,
) -> None:
    """Try what can go wrong on small real runs: kills, damaged files, full disks, lost workers; about an hour.

    \b
    Examples:
      python -m tools.reliability --only kills,signals --kills 10
      python -m tools.reliability --write
    """
    names = list(CHECKS) if only is None else only.split(",")
    with bad_input():
        if unknown := [name for name in names if name not in CHECKS]:
            raise UsageError(f"unknown check {unknown[0]!r}; checks: {', '.join(CHECKS)}")
        page = repository_root() / PAGE
        if write and not page.exists():
            raise UsageError(f"there is no {page}; run this in a checkout of the repository")
    # What is started here inherits how SIGINT is taken, and a script's shell starts its background without it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wrong = []
    with tempfile.TemporaryDirectory(prefix="mmlib-reliability-") as folder:
        bench = Bench(Path(folder), kills, minutes)
        for name in names:
            print(f"{name} ...", flush=True)
            try:
                row = CHECKS[name](bench)
            except Surprise as error:
                wrong.append(name)
                print(f"{name}: {error}", flush=True)
                continue
            print(table([row]).splitlines()[-1], flush=True)
            if write:
                write_rows(page, [row], FAULTS)
    if wrong:
        fail(f"not as it should be: {', '.join(wrong)}", code=1)


if __name__ == "__main__":
    app()
