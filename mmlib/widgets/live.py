"""Live training: a run that is started from a notebook, goes on without it, and is watched through its records.

    experiment = live.Experiment(preset="quick", method="mm")
    experiment.start()      # returns at once; the run is a process of its own
    live_widget.show(experiment)  # progress, curves, stop and resume
    live_widget.show(live.attach("results/quick/live/…"))  # in another notebook, later: its directory

Nothing is asked of the process itself: whether it is alive is the lock on the run's directory, how far it is are the
records there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from mmlib.errors import EXIT_CODES, ResultsError
from mmlib.experiments import design, jobs
from mmlib.experiments.design import ExperimentError, Job
from mmlib.experiments.reports import clock, said
from mmlib.figures.run_plots import run_curves
from mmlib.runs.owner import being_written, check_writable, interrupt
from mmlib.runs.reader import Run, asked_for, check_same_run, finished, run_directory
from mmlib.runs.status import RunStatus
from mmlib.training.fitting import as_recorded, check


def words(status: RunStatus) -> str:
    """An experiment's status in a line."""
    shown = status if status.alive else replace(status, agent_steps_per_second=None, seconds_left=None)
    left = [] if shown.seconds_left is None else [f"about {clock(shown.seconds_left)} left"]
    text = ", ".join([status.state, *said(shown), *left])
    return text if status.alive or not status.reason else f"{text}; {status.reason}"


class Pulse(NamedTuple):
    """Whether a process writes a run or is about to, when its state was last written, how long its records are."""

    at_work: bool
    written: int
    sizes: tuple[int, ...]


class Experiment:
    """One run, started and watched from a notebook.

    Args:
      config: the whole configuration, as a run has recorded it; else it is made of a preset, level, method, seed and
        settings, as `mmlib train` does.
      preset: a key of `presets.PRESETS`.
      level: "" is the preset's first for the method.
      settings: of `RunConfig`, in place of the preset's.
      directory: of the run; else `<results>/<preset>/live/<level>/<method>/seed<k>/`.

    Raises:
      ConfigError, ExperimentError: an unknown name or a setting out of its range.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        preset: str = "quick",
        level: str = "",
        method: str = "mm",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        results: str | Path = "results",
        directory: str | Path | None = None,
    ) -> None:
        if config is None:
            chosen = design.preset_named(preset, settings)
            level = level or design.default_level(chosen, method)
            self.config = design.configure(chosen, level, method, seed, settings)
        else:
            self.config = asked_for(config)
        place = run_directory(results, preset, "live", self.config.level, self.config.method, self.config.seed)
        self.directory = Path(directory or place).resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping, self._before, self._log_begins = False, 0, 0

    def __repr__(self) -> str:
        return f"Experiment({str(self.directory)!r}: {words(self.status())})"

    def start(self) -> Experiment:
        """Starts the run, or goes on with it from its last checkpoint, in a process of its own; returns at once.

        Raises:
          ResultsError, ExperimentError: it is done, or a process trains it already; its directory cannot be written,
            or holds another run; or no other process can make its level.
          ConfigError: it cannot be run here, without a CUDA device for instance.
        """
        status = self.status()
        if status.alive:
            raise ExperimentError(
                f"{self.directory} is being trained already; live.attach({str(self.directory)!r}) shows it"
            )
        check(self.config)
        check_same_run(self.directory, as_recorded(self.config))
        if finished(self.directory, self.config.agent_steps):
            raise ExperimentError(f"{self.directory} is done; for more, ask for more agent_steps")
        jobs.check_elsewhere(self.config)
        check_writable(self.directory)
        self._stopping, self._before = False, self._written()
        self._log_begins = jobs.printed(self.directory / jobs.LOG)
        self._process = jobs.launch([Job(self.config, self.directory)], detached=True)
        return self

    def stop(self) -> None:
        """Asks the run to write a checkpoint and end; returns at once.

        Raises ResultsError if nothing trains it.
        """
        try:
            interrupt(self.directory)
        except ResultsError:
            if self._code() is not None or self._process is None:
                raise
            self._process.terminate()  # it has not begun to write
        self._stopping = True

    def status(self) -> RunStatus:
        """How the run is now, from its records; new, starting and stopping are among its states."""
        self._code()  # before the records, which are complete once it has ended
        now = RunStatus.read(self.directory, self.config)
        state, reason = self._told(now.state, now.reason)
        return replace(now, state=state, reason=reason)

    def pulse(self) -> Pulse:
        """What changes if anything has, read from no record."""
        at_work = being_written(self.directory) or (self._process is not None and self._code() is None)
        drawn = [path for name in ("metrics", "episodes") for path in sorted(self.directory.glob(f"{name}.jsonl*"))]
        return Pulse(at_work, self._written(), tuple(path.stat().st_size for path in drawn))

    def figure(self) -> Figure:
        """Return, entropy and α so far."""
        return run_curves(Run(self.directory) if (self.directory / "config.json").exists() else None)

    def _code(self) -> int | None:
        """The exit status of the process that was started here, if it has ended."""
        return None if self._process is None else self._process.poll()

    def _written(self) -> int:
        """When the run's state was last written, 0 if never."""
        path = self.directory / "state.json"
        return path.stat().st_mtime_ns if path.exists() else 0

    def _told(self, recorded: str, reason: str) -> tuple[str, str]:
        """State and reason, from the recorded ones and from what is known of a process that was started here."""
        code, written = self._code(), being_written(self.directory)
        begun = written or self._written() != self._before  # else it is still being loaded
        if written or (self._process is not None and code is None and not begun):
            return ("stopping" if self._stopping else "running" if begun else "starting"), ""
        if self._stopping and recorded == "stopped":
            return recorded, "stopped by you"
        if not code or recorded == "failed":
            return recorded, reason
        if self._stopping or (recorded == "stopped" and code in EXIT_CODES.values()):
            return "stopped", reason
        log = self.directory / jobs.LOG
        return "killed" if code < 0 else "failed", jobs.why_it_ended(log, code, self.directory, self._log_begins)


def attach(directory: str | Path) -> Experiment:
    """The experiment whose run is in `directory`, whoever started it, alive or not.

    Raises ResultsError if no run is there, ConfigError if another version of mmlib wrote it.
    """
    return Experiment(Run(directory).config, directory=directory)
