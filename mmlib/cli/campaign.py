"""`mmlib campaign`: the runs of a file, made, counted, collected."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmlib.cli.common import Device, Results, Together, UsageError, fail

if TYPE_CHECKING:
    from mmlib.experiments.campaign import Campaign
    from mmlib.experiments.design import Job


def campaign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A campaign file, for instance campaigns/step.yaml.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes at once; on a GPU they divide the cores.")] = 2,
    together: Together = 1,
    device: Device = None,
    status: Annotated[bool, typer.Option("--status", help="Say what is done and left; start nothing.")] = False,
    collect: Annotated[
        Path | None, typer.Option(metavar="RESULTS", help="Copy the finished runs from there; start nothing.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Make a campaign's runs that are not on disk yet, in the order of its file.

    An interrupt stops it; the same command goes on from there. The records of finished runs are compressed at its end.
    It may run in a checkout of its own, whose finished runs --collect brings here, if one code has made all of a level,
    on one kind of device.

    \b
    Examples:
      mmlib campaign campaigns/step.yaml --workers 2
      mmlib campaign campaigns/step.yaml --workers 4 --together 8 --device cuda
      mmlib campaign campaigns/step.yaml --status
      mmlib campaign campaigns/step.yaml --collect ../queue/results
    """
    from mmlib.experiments import campaign as campaigns

    wanted = campaigns.read(file)
    if device is not None:
        wanted = wanted.model_copy(update={"settings": {**wanted.settings, "device": device}})
    plan = campaigns.plan(wanted, results)
    if collect is None and (warning := campaigns.other_code(plan)):
        print(f"mmlib: {warning}", file=sys.stderr)
    refused = 0 if collect is None else _collect(wanted, plan, collect)
    if collect is None and not status:
        _make(plan, workers, together)
    _status(wanted, plan, workers, together, results)
    if refused:
        fail(f"{refused} runs were not collected", code=1)


def _make(plan: list[Job], workers: int, together: int) -> None:
    """Makes the runs of a plan that are missing; those that are finished by its end, whatever that is, are packed."""
    from mmlib.experiments import jobs
    from mmlib.experiments.design import finished
    from mmlib.experiments.reports import LineReport
    from mmlib.runs.writer import compress

    try:
        report = LineReport(workers, seconds=120.0)
        jobs.check(jobs.run(plan, workers, report, poll_seconds=5.0, together=together))
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from the last checkpoints", code=130)
    except jobs.RunError as error:
        fail(str(error), code=1)
    finally:
        for job in filter(finished, plan):
            compress(job.directory)


def _collect(wanted: Campaign, plan: list[Job], source: Path) -> int:
    """Copies a plan's finished runs from the results in `source` and says which; how many were refused."""
    from mmlib.experiments import campaign as campaigns

    if not source.is_dir():
        raise UsageError(f"there are no results in {source}")
    collected, refused = campaigns.collect(plan, campaigns.plan(wanted, source))
    print("\n".join([*(f"collected {job.name}" for job in collected), *refused]))
    return len(refused)


def _status(wanted: Campaign, plan: list[Job], workers: int, together: int, results: Path) -> None:
    """Prints how far a campaign is, and which of the paper's claims its runs decide already."""
    from mmlib.analysis import claims as tests
    from mmlib.experiments.campaign import status

    print(status(plan, workers, together))
    found = [f for f in tests.evaluate(results, wanted.name) if f.evidence.runs and f.verdict != tests.TOO_FEW]
    print("\n".join(f"claim {f.claim.number}, {f.place}: {f.verdict}" for f in found) or "no claim is decided yet")
