"""`mmlib claims` and `premises`: what the paper says, and what its experiments need, against what is in results/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmlib.cli.common import AsJson, Results, UsageError, print_json, print_table, read_seeds

Preset = Annotated[str | None, typer.Option(help="This preset's (or campaign's) runs only; else all but smoke's.")]
Seeds = Annotated[str | None, typer.Option(help="Seeds that count, for instance 0,1,2 or 0-2; else all from 1.")]


def claims(
    preset: Preset = None, seeds: Seeds = None, results: Results = Path("results"), as_json: AsJson = False
) -> None:
    """Test the paper's twelve claims on the runs that there are: effect, 95 % interval, verdict.

    \b
    Examples:
      mmlib claims
      mmlib claims --preset quick --json
    """
    from mmlib.analysis import claims as tests

    findings = tests.evaluate(results, preset, _asked(preset, seeds, results))
    if as_json:
        print_json(tests.rows(findings))
        return
    table = tests.table(findings).drop(columns="measured")
    print_table(tuple(table), table.to_numpy())


def premises(
    preset: Preset = None, seeds: Seeds = None, results: Results = Path("results"), as_json: AsJson = False
) -> None:
    """Say on which levels the paper's premises hold, by plain agents alone: Small faster than Big early and lower at
    the end, FF than LSTM likewise, the plain multitask agent uneven over its levels.

    \b
    Examples:
      mmlib premises
      mmlib premises --preset quick --json
    """
    from mmlib.analysis import claims as tests
    from mmlib.analysis.conditions import on_disk
    from mmlib.analysis.premises import PREMISE_RUNS, evaluate

    found = evaluate(on_disk(results, None, preset, _asked(preset, seeds, results)))
    if as_json:
        print_json([{**p._asdict(), "verdict": p.verdict, "parts": tests.rows(p.parts)} for p in found])
        return
    decided = [premise for premise in found if premise.verdict != tests.TOO_FEW]
    for where in dict.fromkeys(premise.where for premise in decided):
        print(where)
        rows = [(p.curriculum, p.level, p.verdict, part) for p in decided if p.where == where for part in p.parts]
        columns = ("curriculum", "level", "premise", "part", "", "effect [95 %]", "runs")
        print_table(
            columns, [(*row, part.claim.says, part.verdict, part.effect, str(part.evidence.n)) for *row, part in rows]
        )
    few = len(found) - len(decided)
    if few:
        print(f"{few} more with fewer than {PREMISE_RUNS} runs of each: --json has them")


def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="A Markdown file.")] = Path("docs/report.md"),
    preset: Preset = None,
    seeds: Seeds = None,
    results: Results = Path("results"),
) -> None:
    """Write the report: each claim in the paper's words, beside what was measured, its picture, its verdict and the
    command that makes its runs again. Nothing is trained.

    \b
    Examples:
      mmlib report
      mmlib report --preset quick -o report.md
    """
    from mmlib.figures import report as reports

    counted = _asked(preset, seeds, results)
    try:
        reports.write(output, results, preset, counted)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    print(f"{output}, its pictures in {output.with_suffix('')}")


def _asked(preset: str | None, seeds: str | None, results: Path) -> list[int] | None:
    """The seeds that were asked for. Raises UsageError or ExperimentError if there are no such results or preset."""
    from mmlib.experiments.design import check_read

    if not results.is_dir():
        raise UsageError(f"there are no results in {results}; name their root with --results")
    if preset is not None:
        check_read(preset, results)
    return read_seeds(seeds)
