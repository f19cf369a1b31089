"""How a run is, read from the ends of its records: cheap enough to ask every second."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mmlib.config import SETTING_DEFAULTS, RunConfig
from mmlib.errors import ResultsError
from mmlib.runs.owner import being_written
from mmlib.runs.reader import Run
from mmlib.runs.records import RECORDS, read_rows

LAST = 100  # episodes in a run's last return


@dataclass(frozen=True)
class RunStatus:
    """How a run is. `frames` are environment frames of each member, of `total_frames`."""

    state: str  # new, running, done, stopped, failed, killed (it says "running", and nobody writes it), broken
    reason: str = ""  # that it ended, or why it cannot be read
    frames: int = 0
    total_frames: int = 0
    agent_steps_per_second: float | None = None  # of all members, at the last row of timing
    last_return: float | None = None  # mean of the last `LAST` episodes
    seconds_left: float | None = None
    run: Run | None = field(default=None, repr=False, compare=False)  # if it can be read

    @property
    def alive(self) -> bool:
        """Whether a process makes it go on (some add states of processes that have not begun to write it)."""
        return self.state in ("starting", "running", "stopping")

    @classmethod
    def read(cls, directory: Path, config: RunConfig | None = None) -> RunStatus:
        """The status of the run in `directory`; of `config`, if that is longer than what was recorded."""
        if not (directory / "config.json").exists():
            return cls("new", total_frames=0 if config is None else config.frames)
        try:
            run = Run(directory)
            rows = {name: read_rows(directory, name, last=LAST if name == "episodes" else 1) for name in RECORDS}
            state, reason = run.state, str(run.facts.get("reason", ""))
            if state == "running" and not being_written(directory):
                state = run.state.replace("running", "killed")  # it may have ended between the two looks
        except ResultsError as error:
            return cls("broken", str(error))
        settings = {**SETTING_DEFAULTS, **run.config}
        total = max(settings["agent_steps"], config.agent_steps if config else 0) * settings["action_repeat"]
        now = rows["timing"][-1] if rows["timing"] else {"frames": 0}
        speed = now.get("agent_steps_per_second")
        left = max(0, total - now["frames"]) / settings["action_repeat"] * settings["population"]
        returns = [row["return"] for row in rows["episodes"] if row["return"] is not None]
        return cls(
            state,
            reason,
            now["frames"],
            total,
            speed,
            sum(returns) / len(returns) if returns else None,
            left / speed if speed else None,
            run,
        )
