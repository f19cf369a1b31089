"""Runs of a plan as processes of one thread a stage, a few at a time, watched through their records.

Training never happens in the process that draws: each run is `python -m mmlib train`, goes on from its
checkpoint, and leaves everything in its own directory, so that a plan can be stopped and started again. A run ends,
with a checkpoint, when the process that started it has gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmlib.config import RunConfig
from mmlib.experiments.design import ExperimentError, Job, finished
from mmlib.numerics.threads import cores
from mmlib.runs.owner import check_writable
from mmlib.runs.status import RunStatus
from mmlib.training.signals import PARENT

LOG = "log.txt"  # what a run printed, beside its records
GRACE = 30.0  # seconds that a run that is stopped gets for its iteration and its checkpoint


@dataclass
class Progress:
    """How one run of a plan is: waiting, running, done, failed, or loaded (it was on disk before)."""

    job: Job
    status: RunStatus = field(default_factory=lambda: RunStatus("waiting"))
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def state(self) -> str:
        return self.status.state


Report = Callable[[list[Progress]], None]


def default_jobs(jobs: Iterable[Job]) -> int:
    """How many runs this machine carries at once: a core each, two with lag 1; on a GPU one, with all cores."""
    jobs = list(jobs)
    if any(job.config.device != "cpu" for job in jobs):
        return 1
    return max(1, cores() // max((1 + job.config.lag for job in jobs), default=1))


def run(
    plan: list[Job], jobs: int | None = None, report: Report | None = None, poll_seconds: float = 1.0
) -> list[Progress]:
    """Makes the runs of a plan that are not on disk yet, at most `jobs` at once.

    A run that fails does not stop the others. An interrupt (Ctrl-C) stops all of them; they go on from their
    checkpoints the next time.

    Args:
      plan: from `design.plan`.
      jobs: runs at once; None means `default_jobs`.
      report: called about every `poll_seconds` with the progress of every run, and at the end.

    Returns:
      how each run ended: "loaded", "done", or "failed" with its reason.

    Raises:
      ResultsError: a directory cannot be written.  ExperimentError: see `check_elsewhere`.  ValueError: jobs is less
      than 1.
    """
    everything = [Progress(job, RunStatus("loaded" if finished(job) else "waiting")) for job in plan]
    at_once = default_jobs(plan) if jobs is None else jobs
    if at_once < 1:
        raise ValueError(f"jobs is {at_once}; at least 1 run at a time is needed")
    waiting = [progress for progress in everything if progress.state == "waiting"]
    for progress in waiting:
        check_writable(progress.job.directory)
    for config in {progress.job.config.level: progress.job.config for progress in waiting}.values():
        check_elsewhere(config)
    _tell(report, everything)
    running: list[Progress] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                if (chosen := _next(waiting, running)) is None:
                    break
                waiting.remove(chosen)
                running.append(chosen)
                _start(chosen)
            for progress in running:
                _look(progress)
            running = [progress for progress in running if progress.state == "running"]
            _tell(report, everything)
            if running:
                time.sleep(poll_seconds)
    finally:
        _stop(running)
    return everything


def _next(waiting: list[Progress], running: list[Progress]) -> Progress | None:
    """The first run whose teacher is not being made here; without one, nothing while there is something to wait for."""
    unfinished = {progress.job.directory for progress in (*waiting, *running)}
    ready = [progress for progress in waiting if progress.job.teacher not in unfinished]
    return ready[0] if ready else None if running else waiting[0]


def _tell(report: Report | None, everything: list[Progress]) -> None:
    """Reports; a display that fails ends no run."""
    try:
        if report is not None:
            report(everything)
    except Exception as error:
        logging.getLogger(__name__).warning("the display of progress failed: %r", error)


class RunError(RuntimeError):
    """Runs of a plan failed; the message names each and why."""


def check(everything: Iterable[Progress]) -> None:
    """Raises RunError if a run failed. Call it last: what the others made can be drawn before."""
    failed = [f"{progress.name}: {progress.status.reason}" for progress in everything if progress.state == "failed"]
    if failed:
        raise RunError("; ".join(failed))


def seconds_left(everything: list[Progress], at_once: int) -> float | None:
    """Estimated seconds until a plan is finished; None before the first record of a run."""
    running = [p.status for p in everything if p.state == "running"]
    rates = [status.agent_steps_per_second for status in running if status.agent_steps_per_second]
    if not rates:
        return None
    slots = [status.seconds_left or 0.0 for status in running]
    slots += [0.0] * max(0, at_once - len(slots))
    for progress in everything:
        if progress.state == "waiting":
            config = progress.job.config
            slots.sort()
            slots[0] += config.agent_steps * config.population / (sum(rates) / len(rates))
    return max(slots)


def command(job: Job) -> list[str]:
    """The command that makes a run; it reads the configuration from standard input."""
    return [sys.executable, "-u", "-m", "mmlib", "train", "--config", "-", "--directory", str(job.directory)]


def launch(job: Job, detached: bool = False) -> subprocess.Popen[bytes]:
    """Starts a run's process; `detached` from this one, it outlives it. What it prints goes into its `LOG`."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    single = dict.fromkeys(threads, "1") if job.config.device == "cpu" else {}  # one on a GPU has the cores to itself
    parent = {PARENT: "" if detached else str(os.getpid())}  # one that is not detached ends with this process
    with (job.directory / LOG).open("ab") as log:
        process = subprocess.Popen(
            command(job),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **single, **parent},
            start_new_session=True,  # else Ctrl-C at a terminal reaches it twice, and the second ends it at once
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died before it read; its exit status says so
        process.stdin.write(job.config.model_dump_json().encode())
        process.stdin.close()
    return process


_TRIAL = """
import sys
from mmlib.config import ConfigError, RunConfig
from mmlib.training.fitting import check
try:
    check(RunConfig.model_validate_json(sys.stdin.buffer.read()))
except ConfigError as error:
    sys.exit(str(error))
"""


def check_elsewhere(config: RunConfig) -> None:
    """Raises ExperimentError if a new process cannot make the level: what is registered or declared in this one."""
    if config.backend != "gymnasium":
        return
    tried = subprocess.run([sys.executable, "-c", _TRIAL], input=config.model_dump_json().encode(), capture_output=True)
    if tried.returncode:
        lines = tried.stderr.decode(errors="replace").strip().splitlines()
        raise ExperimentError(
            f"level {config.level!r} cannot be made in a process of its own, in which this is done: "
            f"{lines[-1] if lines else f'exit code {tried.returncode}'}; register it (and declare it) in a module that "
            "can be imported there, and name the level module:id"
        )


def _start(progress: Progress) -> None:
    progress.process = launch(progress.job)
    progress.status = RunStatus("running")


def _look(progress: Progress) -> None:
    """Brings a running run's progress up to date from its process and its records."""
    assert progress.process is not None
    code = progress.process.poll()  # before the records, which are complete once it has ended
    state, reason = "running" if code is None else "done" if code == 0 else "failed", ""
    if state == "failed":
        reason = why_it_ended(progress.job.directory, code or 0)
    now = RunStatus.read(progress.job.directory, progress.job.config)
    progress.status = replace(now, state=state, reason=reason)


def why_it_ended(directory: Path, code: int) -> str:
    """Why a run's process ended with `code`: the signal, or the last line that it printed."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"ended by signal {name}" + (", as by a system that is out of memory" if name == "SIGKILL" else "")
    lines = (directory / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if code == 2:  # it never began: it may be that another process makes this run, and prints into the same file
        lines = [line for line in lines if line.startswith("mmlib: ")] or lines
    return f"{lines[-1] if lines else f'exit code {code}'} (see {directory / LOG})"


def _stop(running: list[Progress]) -> None:
    """Ends what is running: asked once, so that it writes a checkpoint, and by force if it does not leave."""
    processes = [progress.process for progress in running if progress.process is not None]
    for stop in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.poll() is None:
                process.send_signal(stop)
        deadline = time.monotonic() + GRACE
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
