"""The course of runs: mean returns by parts, whether a run kept what it had reached, what its baseline explains."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmlib.analysis import stats
from mmlib.analysis.curves import END, total_frames
from mmlib.experiments.run_table import NAMES
from mmlib.runs.reader import Run

PARTS, KEPT_PARTS = 8, 5  # eighths of a run in tables; "kept" compares fifths


def by_parts(run: Run, parts: int = PARTS) -> NDArray[np.float64]:
    """Mean return of the episodes that ended in each of `parts` equal parts of a run, all members' and levels'; NaN
    where none ended."""
    episodes = run.episodes()
    edges = np.linspace(0, total_frames(run), parts + 1)
    return stats.learning_curve(episodes["frames"], episodes["return"], edges)


def kept(run: Run) -> float:
    """The mean return of a run's last fifth as a share of that of its best fifth."""
    fifths = by_parts(run, KEPT_PARTS)
    return float(fifths[-1] / np.nanmax(fifths))


def table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run: where it lies, returns by eighths, `kept`, and explained variance and entropy at the end."""
    rows = []
    for run in runs:
        metrics = run.metrics()
        last = metrics[metrics["frames"] > END[0] * total_frames(run)]
        names = dict(zip(NAMES, run.directory.parts[-len(NAMES) : -1]))
        rows.append(
            {**names, "seed": run.seed}
            | {str(part + 1): value for part, value in enumerate(by_parts(run))}
            | {"kept": kept(run)}
            | last.reindex(columns=["explained_variance", "entropy"]).mean().to_dict()
        )
    return pd.DataFrame(rows)
