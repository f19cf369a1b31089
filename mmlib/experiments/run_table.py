"""The runs on disk: as a table, which `mmlib runs` prints and `RunBrowser` shows, and as the inspector's choices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmlib.alternatives.methods import METHODS
from mmlib.errors import ResultsError
from mmlib.runs.reader import Run, config_differences, natural_order
from mmlib.runs.status import RunStatus
from mmlib.training import checkpoint

NAMES = ("preset", "figure", "level", "method", "seed")  # of the directories between the root and a run's records
COLUMNS = (*NAMES, "frames", "total_frames", "state", "last_return", "checkpoint", "reason", "directory")


def runs_table(root: str | Path = "results") -> pd.DataFrame:
    """One row a run below `root`, in order of their names; `COLUMNS`.

    frames: environment frames of each member so far, of total_frames.  state: done, running, stopped (asked to),
    failed, killed (it says that it is running, and nothing is), broken (it cannot be read; `reason` says why).
    preset, figure: those of the run's directory, or, where it lies elsewhere, its path below `root` and nothing.
    last_return: mean of the last `status.LAST` episodes.  checkpoint: whether there is one to go on from.

    Raises ResultsError if `root` is no directory.
    """
    if not Path(root).is_dir():
        raise ResultsError(f"there are no results in {root}; name another directory")
    rows = [_row(directory, Path(root)) for directory in run_directories(root)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"last_return": float})  # also where there is none at all


def run_directories(root: str | Path) -> list[Path]:
    """Where there is a run, or what is left of one, at or below `root`, in order of their names."""
    patterns = ("config.json", "state.json", "metrics.jsonl*", "episodes.jsonl*")
    found = {path.parent for pattern in patterns for path in Path(root).rglob(pattern)}
    return sorted(found, key=natural_order)


def _row(directory: Path, root: Path) -> dict[str, Any]:
    parts = directory.relative_to(root).parts if directory != root else ()
    row: dict[str, Any] = dict(zip(NAMES, parts))
    if len(parts) != len(NAMES):  # put elsewhere, where its path tells it from others
        row = {"preset": "/".join(parts) or directory.name}
    row["seed"] = str(row.get("seed", "")).removeprefix("seed")
    row |= {"directory": str(directory), "checkpoint": "yes" if checkpoint.names(directory) else "none"}
    status = RunStatus.read(directory)
    if (run := status.run) is None:
        return row | {"state": "broken", "reason": status.reason or "its config.json cannot be read: there is none"}
    row |= {"level": run.config["level"], "method": run.method, "seed": str(run.seed)}
    told = ("state", "reason", "frames", "total_frames", "last_return")
    return row | {name: getattr(status, name) for name in told}


class Choice(NamedTuple):
    """A run for the inspector: what it is called, where it is, and in a few words why it cannot be inspected."""

    label: str
    directory: Path
    problem: str  # "" for none
    single: bool  # it has one policy: nothing to mix


def find_choices(root: str | Path) -> list[Choice]:
    """The runs at or below `root`: first those with a mixture to inspect, last those that cannot be inspected.

    Raises:
      ResultsError: there is no such directory, or no run in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise ResultsError(f"there is no directory {root}; give a run's directory, or one that holds runs")
    found = []
    for directory in run_directories(root):
        label = " / ".join(directory.relative_to(root).parts) or directory.name
        run = Run(directory, root)
        problem = "broken" if run.broken else "" if checkpoint.names(directory) else "no checkpoint"
        found.append(Choice(label, directory, problem, run.method in METHODS and METHODS[run.method].single))
    if not found:
        raise ResultsError(f"{root} holds no run; `mmlib train` makes one")
    return sorted(found, key=lambda choice: (bool(choice.problem), choice.single))


def filtered(table: pd.DataFrame, text: str) -> pd.DataFrame:
    """The rows that contain every word of `text`, in any column, whatever the case."""
    rows = (" ".join(map(str, row)).lower() for row in table.itertuples(index=False))
    return table[np.array([all(word in row for word in text.lower().split()) for row in rows], bool)]


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ, their length among them."""
    first, *others = (run.config for run in runs)
    names = {name for config in others for name in config_differences(first, config)}
    if any(config.get("agent_steps") != first.get("agent_steps") for config in others):
        names.add("agent_steps")
    return sorted(names)


def settings(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a setting, one column a run by its directory: of one run all settings, of several those that differ."""
    rows = differing(runs) if len(runs) > 1 else list(runs[0].config)
    values = {str(run.directory): [run.config.get(name) for name in rows] for run in runs}
    return pd.DataFrame({"setting": rows, **values})
