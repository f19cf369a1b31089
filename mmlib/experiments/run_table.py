"""The runs on disk as a table: what `mmlib runs` prints and `RunBrowser` shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mmlib.errors import ResultsError
from mmlib.runs.liveness import state_now
from mmlib.runs.reader import Run, config_differences, natural_order
from mmlib.runs.records import RECORDS, read_rows
from mmlib.training.checkpoint import FILE, PREVIOUS

NAMES = ("preset", "figure", "level", "method", "seed")  # of the directories between the root and a run's records
COLUMNS = (*NAMES, "frames", "total_frames", "state", "last_return", "checkpoint", "reason", "directory")
LAST = 100  # episodes in a run's last return


def runs_table(root: str | Path = "results", last: int = LAST) -> pd.DataFrame:
    """One row a run below `root`, in order of their names; `COLUMNS`.

    frames: environment frames of each member so far, of total_frames.  state: done, running, stopped (asked to),
    failed, killed (it says that it is running, and nothing is), broken (it cannot be read; `reason` says why).
    last_return: mean of the last `last` episodes.  checkpoint: whether there is one to go on from.

    Raises ResultsError if `root` is no directory.
    """
    if not Path(root).is_dir():
        raise ResultsError(f"there are no results in {root}; name another directory")
    patterns = ("config.json", "state.json", *(f"{name}.jsonl*" for name in ("metrics", "episodes")))
    found = {path.parent for pattern in patterns for path in Path(root).rglob(pattern)}
    rows = [_row(directory, Path(root), last) for directory in sorted(found, key=natural_order)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(directory: Path, root: Path, last: int) -> dict[str, Any]:
    parts = directory.relative_to(root).parts if directory != root else ()
    row: dict[str, Any] = {"directory": str(directory), "state": "broken", "checkpoint": "none", "reason": ""}
    row |= dict(zip(reversed(NAMES), reversed(parts)))
    row["seed"] = str(row.get("seed", directory.name)).removeprefix("seed")
    if any((directory / name).exists() for name in (FILE, PREVIOUS)):
        row["checkpoint"] = "yes"
    try:
        run = Run(directory)
        values = run.config
        row |= {"level": values["level"], "method": run.method, "seed": str(run.seed)}
        row["total_frames"] = int(values["agent_steps"]) * int(values.get("action_repeat", 4))
        row["frames"] = max((int(each["frames"]) for each in read_rows(directory, "timing", last=1)), default=0)
        returns = [each["return"] for each in read_rows(directory, "episodes", last=last)]
        row["last_return"] = sum(returns) / len(returns) if returns else None
        for name in RECORDS:
            read_rows(directory, name, last=1)
        return row | {"state": state_now(run), "reason": str(run.facts.get("reason", ""))}
    except ResultsError as error:
        return row | {"reason": str(error)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return row | {"reason": f"not as mmlib writes it: {type(error).__name__}: {error}"}


def filtered(table: pd.DataFrame, text: str = "", columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The rows that contain every word of `text` (in any column, whatever the case) and equal each of `columns`."""
    kept = table
    for name, value in (columns or {}).items():
        kept = kept[kept[name].astype(str) == value]
    for word in text.lower().split():
        texts = [" ".join(str(cell) for cell in row).lower() for row in kept.itertuples(index=False)]
        kept = kept[pd.Series([word in text for text in texts], index=kept.index, dtype=bool)]
    return kept


def differences(one: Run, two: Run) -> pd.DataFrame:
    """One row a setting in which two runs differ."""
    names = config_differences(one.config, two.config)
    lengths = [n for n in ("agent_steps",) if one.config.get(n) != two.config.get(n)]
    rows = [{"setting": n, "first": one.config.get(n), "second": two.config.get(n)} for n in (*names, *lengths)]
    return pd.DataFrame(rows, columns=["setting", "first", "second"])


def settings(run: Run) -> pd.DataFrame:
    """One row a setting of the run's configuration."""
    return pd.DataFrame([{"setting": name, "value": value} for name, value in run.config.items()])
