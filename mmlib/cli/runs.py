"""Commands about runs on disk: `mmlib runs`, `pack` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from mmlib.cli.common import AsJson, Results, UsageError, print_table


def runs(
    words: Annotated[list[str] | None, typer.Argument(help="Only runs with all of these in a column.")] = None,
    results: Results = Path("results"),
    returns: Annotated[bool, typer.Option("--returns", help="Of finished ones: mean returns by eighths.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs on disk: how far each is, its last return, and what is wrong with broken ones.

    With --returns, of those that are done: mean return in each eighth of the run, the last fifth's as a share of the
    best fifth's ("kept"), explained variance of the baseline and entropy in the last fifth.

    \b
    Examples:
      mmlib runs
      mmlib runs quick mm done
      mmlib runs killed --json
      mmlib runs step small --returns
    """
    from mmlib.analysis import tables
    from mmlib.experiments import run_table
    from mmlib.runs.reader import Run

    every = run_table.runs_table(results)
    table = run_table.filtered(every, " ".join(words or ()))
    if words and len(every) and not len(table) and not as_json:
        known = {name: ", ".join(every[name].dropna().unique()) for name in ("preset", "method", "state")}
        its = "; ".join(f"{name}s: {values}" for name, values in known.items())
        raise UsageError(f"of {len(every)} runs none has all of {', '.join(words)}; {its}")
    if returns:
        table = tables.course(map(Run, table[table["state"] == "done"]["directory"]))
    if as_json:
        print(table.to_json(orient="records", indent=2, force_ascii=False))
        return
    if returns:
        print(table.to_string(index=False, float_format="{:.3g}".format, na_rep="–"))
        return
    numbers = {"frames": "{:,.0f}", "last_return": "{:.2f}"}
    texts = {name: table[name].map(form.format, na_action="ignore") for name, form in numbers.items()}
    columns = [*run_table.NAMES, "frames", "state", "last_return"]
    cells = table.assign(**texts)[columns].fillna("").rename(columns={"last_return": "last return"})
    print_table(list(cells), cells.to_numpy(), right=("frames", "last return"))
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
    from mmlib.runs.reader import Run
    from mmlib.runs.writer import compress

    before = after = 0
    for path in runs:
        found = sorted(config.parent for config in path.rglob("config.json"))
        if not found:
            raise UsageError(f"{path} holds no run, nor does a directory below it")
        for directory in found:
            run = Run(directory, path)
            large, small = compress(directory) if run.done else (0, 0)
            what = f"{decimal(large)} to {decimal(small)}" if large else "nothing to do"
            print(f"{directory}: {what if run.done else f'skipped, {run.broken or run.state}'}", flush=True)
            before, after = before + large, after + small
    print(f"{decimal(before)} to {decimal(after)} in all")


def export(
    run: Annotated[Path, typer.Argument(help="The directory of a run.")],
    tensorboard: Annotated[Path, typer.Option("--tensorboard", metavar="DIR", help="Where to put the event files.")],
) -> None:
    """Write a run's records as TensorBoard's event files.

    \b
    Examples:
      mmlib export results/quick/figure3/.../mm/seed1 --tensorboard events/mm
      tensorboard --logdir events
    """
    from mmlib.runs import tensorboard as events
    from mmlib.runs.reader import Run

    written = events.export(Run(run), tensorboard)
    print(f"{written:,} scalars in {tensorboard}")
