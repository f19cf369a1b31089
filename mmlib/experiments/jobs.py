"""Runs of a plan as processes of one thread a stage, a few at a time, watched through their records.

Training never happens in the process that draws: each run is made by `python -m mmlib train`, alone or beside others
that differ in their seed alone, goes on from its checkpoint, and leaves everything in its own directory, so that a plan
can be stopped and started again. A run ends, with a checkpoint, when the process that started it has gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmlib.alternatives.methods import ALTERNATIVES, METHODS, OWN
from mmlib.config import ConfigError, RunConfig
from mmlib.experiments.design import ExperimentError, Job, finished
from mmlib.method.methods import PAPER_METHODS
from mmlib.numerics.threads import allowed, cores
from mmlib.runs.owner import check_writable
from mmlib.runs.status import RunStatus
from mmlib.training.fitting import check_together, definition
from mmlib.training.signals import PARENT

LOG = "log.txt"  # what a process printed, beside the records of its first run
TOGETHER = "MMLIB_TOGETHER"  # environment variable: how many runs one process makes at most
GRACE = 30.0  # seconds that a run that is stopped gets for its checkpoint, beyond its iterations


@dataclass
class Progress:
    """How one run of a plan is: waiting, running, done, failed, or loaded (it was on disk before)."""

    job: Job
    status: RunStatus = field(default_factory=lambda: RunStatus("waiting"))
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    log: Path = field(default=Path(LOG), repr=False)  # of that process
    log_begins: int = field(default=0, repr=False)  # bytes of the log that are of former processes
    cores: frozenset[int] = field(default=frozenset(), repr=False)  # of that process; none means all

    @property
    def state(self) -> str:
        return self.status.state


Report = Callable[[list[Progress]], None]


def default_jobs(jobs: Sequence[Job]) -> int:
    """How many runs this machine carries at once: a core each, two with lag 1; on a GPU one, with all cores."""
    if _on_gpu(jobs):
        return 1
    return max(1, cores() // max((1 + job.config.lag for job in jobs), default=1))


def run(
    plan: list[Job],
    jobs: int | None = None,
    report: Report | None = None,
    poll_seconds: float = 1.0,
    together: int | None = None,
) -> list[Progress]:
    """Makes the runs of a plan that are not on disk yet, in at most `jobs` processes at once.

    Processes on a GPU, which play their environments on all cores that they may use, get a part of the cores each.
    A run that fails does not stop the others. An interrupt (Ctrl-C) stops all of them; they go on from their
    checkpoints the next time.

    Args:
      plan: from `design.plan`.
      jobs: processes at once; None means `default_jobs`.
      together: runs that differ in their seed alone which one process makes at most, side by side (`training.stack`);
        None means what the environment variable `TOGETHER` says, or one.
      report: called about every `poll_seconds` with the progress of every run, and at the end.

    Returns:
      how each run ended: "loaded", "done", or "failed" with its reason.

    Raises:
      ResultsError: a directory cannot be written.  ExperimentError: see `check_elsewhere`.  ValueError: jobs or
      together is less than 1.
    """
    everything = [Progress(job, RunStatus("loaded" if finished(job) else "waiting")) for job in plan]
    at_once = default_jobs(plan) if jobs is None else jobs
    together = int(os.environ.get(TOGETHER, 1)) if together is None else together
    for name, value in (("jobs", at_once), ("together", together)):
        if value < 1:
            raise ValueError(f"{name} is {value}; at least 1 run at a time is needed")
    waiting = [progress for progress in everything if progress.state == "waiting"]
    _check_places(progress.job for progress in waiting)
    _tell(report, everything)
    parts = _parts(at_once) if _on_gpu(plan) else [frozenset[int]()] * at_once
    running: list[Progress] = []
    try:
        while waiting or running:
            _fill(running, waiting, parts, together)
            for progress in running:
                _look(progress)
            running = [progress for progress in running if progress.state == "running"]
            _tell(report, everything)
            if running:
                time.sleep(poll_seconds)
    finally:
        _stop(running)
    return everything


def _check_places(jobs: Iterable[Job]) -> None:
    """Raises ResultsError or ExperimentError unless processes of their own can make and write these runs."""
    different = {}
    for job in jobs:
        check_writable(job.directory)
        different[job.config.level, job.config.method] = job.config
    for config in different.values():
        check_elsewhere(config)


def _on_gpu(jobs: Iterable[Job]) -> bool:
    return any(job.config.device != "cpu" for job in jobs)


def _parts(number: int) -> list[frozenset[int]]:
    """The cores that this process may use, divided; none, which means all, for each if they are too few."""
    mine = allowed()
    each = len(mine) // number
    return [frozenset(mine[part * each : (part + 1) * each]) for part in range(number)]


def _fill(running: list[Progress], waiting: list[Progress], parts: Sequence[frozenset[int]], together: int) -> None:
    """Starts what waits and can begin, until there is a process for each part of the cores."""
    while len(busy := {progress.process: progress.cores for progress in running}) < len(parts):
        if not (chosen := _next(waiting, running, together)):
            return
        free = list(parts)
        for taken in busy.values():
            free.remove(taken)
        log = chosen[0].job.directory / LOG
        begins = printed(log)
        process = launch([progress.job for progress in chosen], cores=free[0])
        for progress in chosen:
            progress.process, progress.log, progress.log_begins = process, log, begins
            progress.cores = free[0]
            progress.status = RunStatus("running")
            waiting.remove(progress)
        running += chosen


def _next(waiting: list[Progress], running: list[Progress], together: int) -> list[Progress]:
    """The first run whose teacher is not being made here, and up to so many in all that can be beside it.

    Where every run waits for a teacher: none while there is something to wait for.
    """
    unfinished = {progress.job.directory for progress in (*waiting, *running)}
    ready = [progress for progress in waiting if progress.job.teacher not in unfinished]
    chosen = ready[:1] or ([] if running else waiting[:1])
    for other in ready[1:]:
        if len(chosen) == together:
            break
        with contextlib.suppress(ConfigError):  # they cannot be side by side
            check_together([each.job.config for each in (*chosen, other)])
            chosen.append(other)
    return chosen


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
    failed = [f"{progress.job.name}: {progress.status.reason}" for progress in everything if progress.state == "failed"]
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


def command(jobs: Sequence[Job]) -> list[str]:
    """The command that makes runs, side by side if there are several; it reads the configurations from its input."""
    places = [part for job in jobs for part in ("--directory", str(job.directory))]
    return [sys.executable, "-u", "-m", "mmlib", "train", "--config", "-", *places]


def launch(jobs: Sequence[Job], detached: bool = False, cores: frozenset[int] = frozenset()) -> subprocess.Popen[bytes]:
    """Starts the process of runs, on some `cores` or all; `detached` from this one, it outlives it.

    What it prints goes into the `LOG` of the first.
    """
    first = jobs[0]
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    single = dict.fromkeys(threads, "1") if first.config.device == "cpu" else {}  # on a GPU it has the cores to itself
    parent = {PARENT: "" if detached else str(os.getpid())}  # one that is not detached ends with this process
    with (first.directory / LOG).open("ab") as log:
        process = subprocess.Popen(
            command(jobs),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **single, **parent},
            start_new_session=True,  # else Ctrl-C at a terminal reaches it twice, and the second ends it at once
        )
    if cores:
        with contextlib.suppress(ProcessLookupError):  # it died
            os.sched_setaffinity(process.pid, cores)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died before it read; its exit status says so
        process.stdin.write(f"[{','.join(job.config.model_dump_json() for job in jobs)}]".encode())
        process.stdin.close()
    return process


_TRIAL = """
import sys
from mmlib.alternatives.methods import METHODS
from mmlib.config import ConfigError, RunConfig
from mmlib.training.fitting import check, definition
try:
    config = check(RunConfig.model_validate_json(sys.stdin.buffer.read()))
except ConfigError as error:
    sys.exit(str(error))
print(definition(METHODS[config.method]))
"""


def check_elsewhere(config: RunConfig) -> None:
    """Raises ExperimentError if a new process cannot make the level, or would make another agent: what is registered,
    declared or entered in a table in this one alone."""
    spec = METHODS[config.method]
    if config.backend != "gymnasium" and spec is (PAPER_METHODS | ALTERNATIVES).get(config.method):
        return
    trial = [sys.executable, "-c", _TRIAL]
    tried = subprocess.run(trial, input=config.model_dump_json(), capture_output=True, text=True)
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]
        problem = last.partition(";")[0]  # without the choices there
    elif tried.stdout.strip() != definition(spec):
        problem = f"method {config.method!r} is another agent there"
    else:
        return
    raise ExperimentError(
        f"{config.method} on level {config.level!r} cannot be trained in a process of its own, in which this is done: "
        f"{problem}; what this process alone has registered, declared or entered in a table goes into a module that "
        f"{OWN} names (of Gymnasium's levels that module can also name the level module:id)"
    )


def _look(progress: Progress) -> None:
    """Brings a running run's progress up to date from its process and its records."""
    assert progress.process is not None
    code = progress.process.poll()  # before the records, which are complete once it has ended
    now = RunStatus.read(progress.job.directory, progress.job.config)
    if code is None:
        progress.status = replace(now, state="running", reason="")
    elif code == 0 or (now.state == "done" and now.frames >= now.total_frames):  # it has ended beside one that failed
        progress.status = replace(now, state="done", reason="")
    else:
        reason = why_it_ended(progress.log, code, progress.job.directory, progress.log_begins)
        progress.status = replace(now, state="failed", reason=reason)


def printed(log: Path) -> int:
    """How many bytes processes have printed into a log so far."""
    return log.stat().st_size if log.exists() else 0


def why_it_ended(log: Path, code: int, directory: Path, begins: int) -> str:
    """Why the run in `directory` ended with its process and `code`: the signal, or the last line printed about it.

    begins: bytes of the log that are of former processes.
    """
    if code < 0:
        name = signal.Signals(-code).name
        return f"ended by signal {name}" + (", as by a system that is out of memory" if name == "SIGKILL" else "")
    lines = log.read_bytes()[begins:].decode(errors="replace").strip().splitlines()
    if code == 2:  # it never began: it may be that another process makes this run, and prints into the same file
        lines = [line for line in lines if line.startswith("mmlib: ")] or lines
    elif code == 1:  # it may have ended by itself, beside others
        lines = [line for line in lines if line.startswith(f"mmlib: {directory}: ")] or lines
    return f"{lines[-1] if lines else f'exit code {code}'} (see {log})"


def _stop(running: list[Progress]) -> None:
    """Ends what is running: asked once, so that it writes a checkpoint, and by force if it does not leave."""
    processes = {progress.process for progress in running if progress.process is not None}
    patience = GRACE + 2 * max(map(_seconds_an_iteration, running), default=0.0)  # one, and what lag 1 has yet to learn
    for stop in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.poll() is None:
                process.send_signal(stop)
        deadline = time.monotonic() + patience
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(0.05)


def _seconds_an_iteration(progress: Progress) -> float:
    """By the run's last row of timing; 0 before its first."""
    config, speed = progress.job.config, progress.status.agent_steps_per_second
    return config.steps_per_iteration * config.population / speed if speed else 0.0
