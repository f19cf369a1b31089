"""Progress for people: lines that work in notebooks, papermill and logs alike, and a bar at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from mmlib.experiments.jobs import Progress, seconds_left
from mmlib.runs.status import RunStatus


class LineReport:
    """A `report` that prints lines: for notebooks, papermill and logs alike.

    One line for each run that starts or ends, and now and then one with the state of all that are running;
    these grow rarer as time goes on.

    Args:
      at_once: runs at once, for the time left.
      seconds: shortest time between two lines of progress.
    """

    def __init__(self, at_once: int, seconds: float = 15.0) -> None:
        self.at_once, self.seconds = at_once, seconds
        self.started = self.last = time.monotonic()
        self.states: dict[Path, str] = {}

    def __call__(self, everything: list[Progress]) -> None:
        for progress in everything:
            where = progress.job.directory
            if self.states.get(where, "waiting") != progress.state:
                self.states[where] = progress.state
                self._print(f"{progress.job.name}: {_event(progress)}")
        now = time.monotonic()
        running = [p for p in everything if p.state == "running" and p.status.frames]
        if running and now - self.last >= max(self.seconds, 0.05 * (now - self.started)):
            self.last = now
            left = seconds_left(everything, self.at_once)
            about = "" if left is None else f" | about {clock(left)} left"
            self._print(" | ".join(f"{each.job.name}: {', '.join(said(each.status))}" for each in running) + about)

    def _print(self, text: str) -> None:
        print(f"[{clock(time.monotonic() - self.started)}] {text}", flush=True)


def said(status: RunStatus) -> list[str]:
    """A run's frames, mean return and speed in words."""
    parts = [amount(status.frames, status.total_frames)]
    if status.last_return is not None:
        parts.append(f"return {status.last_return:.2f}")
    if status.agent_steps_per_second is not None:
        parts.append(f"{status.agent_steps_per_second:,.0f} agent steps/s")
    return parts


def _event(progress: Progress) -> str:
    if progress.state == "done":
        return ", ".join([*said(progress.status), "done"])
    return {"running": "started", "loaded": "on disk", "failed": f"FAILED: {progress.status.reason}"}[progress.state]


def amount(frames: int, total: int) -> str:
    """Environment frames done, of how many."""
    if total < 1_000_000:
        return f"{frames:,} of {total:,} frames"
    return f"{frames / 1e6:.2f} of {total / 1e6:.2f} M frames"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class TrainingReport(Bar):
    """A `report` for `loop.train` in this process: a bar at a terminal, else a line a record.

    Use as a context manager.  total_frames: environment frames of each member in the whole run.
    """

    def __init__(self, total_frames: int) -> None:
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        super().__init__(*columns, console=Console(), disable=not sys.stdout.isatty())
        self.total_frames = total_frames
        self.bars: dict[str, TaskID] = {}

    def of(self, name: str) -> Callable[[dict[str, Any]], None]:
        """The `report` of one of several runs side by side, with a bar of its own."""
        return partial(self, name=name)

    def __call__(self, row: dict[str, Any], name: str = "") -> None:
        value = "" if row["return"] is None else f", return {row['return']:.2f}"
        speed = f", {row['agent_steps_per_second']:,.0f} agent steps/s"
        text = (f"{name}: " if name else "") + amount(row["frames"], self.total_frames) + value + speed
        if name not in self.bars:
            self.bars[name] = self.add_task(text, total=self.total_frames)
        self.update(self.bars[name], completed=row["frames"], description=text)
        if self.disable:
            print(text, flush=True)
