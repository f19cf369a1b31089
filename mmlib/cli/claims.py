"""`mmlib claims`: the paper's claims against what is in results/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(claims)


def claims(
    preset: Annotated[str | None, typer.Option(help="This preset's runs only; else all but smoke's.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds that count, for instance 0,1,2; else all from 1.")] = None,
    results: Annotated[Path, typer.Option("--results", help="The root of the results.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, the runs of each claim included.")] = False,
) -> None:
    """Test the paper's twelve claims on the runs that there are: effect, 95 % interval, verdict.

    \b
    Examples:
      mmlib claims
      mmlib claims --preset quick --json
    """
    from mmlib.analysis import claims as tests
    from mmlib.cli.common import UsageError, bad_input, print_json, print_table, read_seeds
    from mmlib.experiments.design import PRESETS, choose

    with bad_input():
        if preset is not None:
            choose("preset", preset, PRESETS)
        if not results.is_dir():
            raise UsageError(f"there are no results in {results}; name their root with --results")
        findings = tests.evaluate(results, preset, read_seeds(seeds))
    if as_json:
        print_json(tests.rows(findings))
        return
    columns = ("", "verdict", "the paper says", "where", "effect [95 %]")
    print_table(columns, [(f.claim.number, f.verdict, f.claim.says, f.place, f.effect) for f in findings])
