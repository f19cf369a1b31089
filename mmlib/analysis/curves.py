"""From runs on disk to what a figure shows: learning curves, and mean returns in a part of a run.

Curves are one long table, a row a run and point: `line` (a method, or "<method>/target" for the target policy played
alone), `level`, `seed`, `x`, `y`. A line has a point where every run of it has one, so that a mean is over the same
seeds everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.runs.reader import Run

Runs = Mapping[str, Sequence[Run]]  # by method
Share = tuple[float, float]

EARLY, END, WHOLE = (0.0, 0.25), (0.8, 1.0), (0.0, 1.0)  # shares of a run: "early", "at the end" (stated choice), all
COLUMNS = ["line", "level", "seed", "x", "y"]


def total_frames(run: Run) -> int:
    """Environment frames of each member in the whole run, as far as it got."""
    recorded = run.metrics()["frames"]
    return int(recorded.max()) if len(recorded) else run.config["agent_steps"] * run.config["action_repeat"]


def begins(run: Run) -> int:
    """Environment frames after which a run's curve begins: those of its teacher's run, where there is one here."""
    return 0 if (teacher := run.teacher) is None else total_frames(teacher)


def by_level(run: Run, record: str = "episodes") -> dict[str, pd.DataFrame]:
    """A run's episodes, or "evaluations", of each of its levels."""
    table: pd.DataFrame = getattr(run, record)()
    names = run.config["level"].split("+")
    if len(names) == 1:
        return {names[0]: table}
    return {name: table[table["level"] == name] if "level" in table else table.iloc[:0] for name in names}


def by_parts(run: Run, parts: int) -> stats.Floats:
    """Mean return of the episodes that ended in each of `parts` equal parts of a run, all members' and levels'; NaN
    where none ended."""
    episodes, edges = run.episodes(), np.linspace(0, total_frames(run), parts + 1)
    return stats.learning_curve(episodes["frames"], episodes["return"], edges)


def mean_returns(run: Run, share: Share, record: str = "episodes") -> dict[str, float]:
    """Mean return on each level of the episodes that ended in a share of the run; none where no episode did."""
    edges = np.array(share) * total_frames(run)
    tables = by_level(run, record)
    values = {name: float(stats.learning_curve(t["frames"], t["return"], edges)[0]) for name, t in tables.items()}
    return {name: value for name, value in values.items() if not np.isnan(value)}


def best_ends(levels: Mapping[str, Runs]) -> dict[str, float]:
    """The highest mean return at the end of any run on each level, those of a multitask run among them."""
    best: dict[str, float] = {}
    for run in (run for runs in levels.values() for group in runs.values() for run in group):
        for level, value in mean_returns(run, END).items():
            best[level] = max(value, best.get(level, value))
    return best


def learning(runs: Runs, points: int = 40) -> pd.DataFrame:
    """The learning curves of each method's runs: x is environment frames at the right edge of a bin, y mean return.

    All lines of a level share one grid of at most `points` bins; a population's members count together. Agents of
    several levels have a curve on each, and those that mix one of their target alone, if it was played. The curve of a
    run that is taught begins where its teacher's run ends.
    """
    tables: dict[str, list[tuple[str, Run, pd.DataFrame]]] = {}  # by level
    for method, group in runs.items():
        for run in group:
            for name, episodes in by_level(run).items():
                tables.setdefault(name, []).append((method, run, episodes))
            several = len(run.config["level"].split("+")) > 1 and not METHODS[method].single
            for name, alone in by_level(run, "evaluations").items() if several else ():
                tables.setdefault(name, []).append((f"{method}/target", run, alone))
    longest = max((begins(run) + total_frames(run) for group in runs.values() for run in group), default=0)
    rows = []
    for level, listed in tables.items():
        edges = stats.frame_edges(longest, points, [episodes["frames"].to_numpy() for _, _, episodes in listed])
        for line, run, episodes in listed:
            rows.append(_curve(line, level, run, begins(run) + episodes["frames"], episodes["return"], edges))
    return _complete(rows, ["line", "level", "x"])


def normalised(
    levels: Mapping[str, Runs], normalise: Callable[[str, stats.Floats], stats.Floats], points: int = 20
) -> pd.DataFrame:
    """Figures 4 and 7: the curves of methods that have runs on every level; x is the share of the run in percent.

    Args:
      levels: the runs of each level.
      normalise: from a level's name and returns to normalised returns, which are y.
      points: bins.
    """
    everywhere = [m for m in METHODS if levels and all(runs.get(m) for runs in levels.values())]
    edges, rows = np.linspace(0, 100, points + 1), []
    for level, runs in levels.items():
        for method in everywhere:
            for run in runs[method]:
                episodes = run.episodes()
                returns = normalise(level, episodes["return"].to_numpy(dtype=float))
                rows.append(_curve(method, level, run, 100 * episodes["frames"] / total_frames(run), returns, edges))
    return _complete(rows, ["line", "x"])


def _curve(line: str, level: str, run: Run, x: ArrayLike, returns: ArrayLike, edges: NDArray) -> pd.DataFrame:
    y = stats.learning_curve(x, returns, edges)
    return pd.DataFrame({"line": line, "level": level, "seed": run.seed, "x": edges[1:], "y": y})


def _complete(rows: Sequence[pd.DataFrame], point: list[str]) -> pd.DataFrame:
    """The rows as one table, without the points at which a run of the line has none."""
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(rows, ignore_index=True)
    there = table["y"].notna().groupby([table[name] for name in point]).transform("all")
    return table[there].reset_index(drop=True)
