"""From runs on disk to what a figure shows: learning curves by method, and tables of returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from mmlib.analysis import stats
from mmlib.method.methods import METHODS
from mmlib.runs.reader import Run

Runs = Mapping[str, Sequence[Run]]

EARLY, END = (0.0, 0.25), (0.8, 1.0)  # shares of the run that "early" and "at the end" mean (stated choice)


def curves(runs: Runs, points: int = 40) -> dict[str, stats.Curve]:
    """The learning curve of each method that has runs: mean return of the episodes that ended in each bin.

    All methods share one grid of at most `points` bins of environment frames; a population's members count
    together. Intervals are over seeds.
    """
    tables = {method: [run.episodes() for run in group] for method, group in runs.items() if group}
    longest = max((total_frames(run) for group in runs.values() for run in group), default=0)
    return curves_of(tables, longest, points)


def curves_of(tables: Mapping[str, Sequence[pd.DataFrame]], total: int, points: int = 40) -> dict[str, stats.Curve]:
    """The learning curve of each group of episode tables (one a run), to `total` environment frames."""
    tables = {name: group for name, group in tables.items() if group and all(len(table) for table in group)}
    if not tables:
        return {}
    edges = stats.frame_edges(total, points, [t["frames"].to_numpy() for group in tables.values() for t in group])
    return {
        name: stats.mean_curve([stats.learning_curve(t["frames"], t["return"], edges) for t in group], edges)
        for name, group in tables.items()
    }


def by_level(run: Run, record: str = "episodes") -> dict[str, pd.DataFrame]:
    """A multitask run's episodes (or "evaluations") of each level."""
    table: pd.DataFrame = getattr(run, record)()
    names = run.config["level"].split("+")
    return {name: table[table["level"] == name] if "level" in table else table.iloc[:0] for name in names}


def multitask_curves(runs: Runs) -> dict[str, dict[str, stats.Curve]]:
    """Figure 9: curves by level, then by line: each method's acting policy, and M&M's central policy alone."""
    lines: dict[str, list[dict[str, pd.DataFrame]]] = {}
    for method, group in runs.items():
        if group:
            lines[method] = [by_level(run) for run in group]
        if group and not METHODS[method].single:
            lines[f"{method}/target"] = [by_level(run, "evaluations") for run in group]
    total = max((total_frames(run) for group in runs.values() for run in group), default=0)
    names = list(dict.fromkeys(name for tables in lines.values() for table in tables for name in table))
    return {
        name: curves_of({line: [table[name] for table in tables] for line, tables in lines.items()}, total)
        for name in names
    }


def multitask_table(runs: Runs, normalise: Callable[[str, stats.Floats], stats.Floats]) -> pd.DataFrame:
    """One row a run and policy: normalised return on each level at the end, and the lowest of them."""
    rows = []
    for method, group in runs.items():
        for run in group:
            for record, label in (("episodes", ""), ("evaluations", ", target alone")):
                tables, total = by_level(run, record), total_frames(run)
                if not all(len(table) for table in tables.values()):
                    continue
                values = {
                    name: float(normalise(name, np.array(_mean_between(table, END, total))))
                    for name, table in tables.items()
                }
                row = {"method": METHODS[method].label + label, "seed": run.seed}
                rows.append({**row, "lowest": min(values.values()), **values})
    return pd.DataFrame(rows, columns=None if rows else ["method", "seed", "lowest"])


def _mean_between(table: pd.DataFrame, share: tuple[float, float], total: int) -> float:
    return stats.mean_return_between(table["frames"], table["return"], share[0] * total, share[1] * total)


def growth_table(levels: Mapping[str, Runs], method: str, column: str, share: float = 0.1) -> pd.DataFrame:
    """One row a run of `method`: a metric's mean (over members) in the first and last `share` of the run."""
    rows = []
    for level, runs in levels.items():
        for run in runs.get(method, ()):
            metrics, total = run.metrics(), total_frames(run)
            early = metrics[metrics["frames"] <= share * total][column].mean()
            late = metrics[metrics["frames"] > (1 - share) * total][column].mean()
            rows.append({"level": level, "seed": run.seed, "first tenth": early, "last tenth": late})
            rows[-1]["grows"] = "yes" if late > early else "no"
    return pd.DataFrame(rows, columns=["level", "seed", "first tenth", "last tenth", "grows"])


def normalised_curves(
    levels: Mapping[str, Runs], normalise: Callable[[str, stats.Floats], stats.Floats], points: int = 20
) -> dict[str, stats.Curve]:
    """Figures 4 and 7: normalised return averaged over levels, each level counting alike, for methods on every level.

    The x axis is the share of the run, in percent. Intervals: stratified bootstrap, seeds within levels.

    Args:
      levels: the runs of each level.
      normalise: from a level's name and returns to normalised returns.
    """
    strata: dict[str, list[np.ndarray]] = {}
    edges = np.linspace(0, 100, points + 1)
    for name, runs in levels.items():
        for method, group in runs.items():
            rows = []
            for run in group:
                episodes, total = run.episodes(), total_frames(run)
                returns = normalise(name, episodes["return"].to_numpy(dtype=float))
                rows.append(stats.learning_curve(100 * episodes["frames"] / total, returns, edges))
            if rows:
                strata.setdefault(method, []).append(np.stack(rows))
    return {m: _average(rows, edges) for m, rows in strata.items() if len(rows) == len(levels)}


def _average(strata: list[np.ndarray], edges: np.ndarray) -> stats.Curve:
    """The mean over levels of curves `[S_i, G]`, where every run has a point."""
    complete = ~np.any([np.isnan(rows).any(axis=0) for rows in strata], axis=0)
    kept = [rows[:, complete] for rows in strata]
    low, high = stats.bootstrap_interval(kept)
    return stats.Curve(edges[1:][complete], np.mean([rows.mean(axis=0) for rows in kept], axis=0), low, high)


def total_frames(run: Run) -> int:
    """Environment frames of each member in the whole run, as far as it got."""
    recorded = run.metrics()["frames"]
    return int(recorded.max()) if len(recorded) else run.config["agent_steps"] * run.config["action_repeat"]


def returns_in(runs: Sequence[Run], share: tuple[float, float]) -> np.ndarray:
    """Mean return of each run's episodes that ended in a share of each run, `[S]` (of those with any)."""
    values = []
    for run in runs:
        values.append(_mean_between(run.episodes(), share, total_frames(run)))
    array = np.asarray(values, dtype=float)
    return array[~np.isnan(array)]


def best_end(curves: Mapping[str, stats.Curve]) -> float | None:
    """The highest mean return of a method in the last fifth of its curve; None if there are no curves."""
    ends = [curve.mean[curve.frames > END[0] * curve.frames[-1]].mean() for curve in curves.values() if len(curve.mean)]
    return float(max(ends)) if ends else None


def summary_of_runs(runs: Runs, last: int = 100) -> pd.DataFrame:
    """One row a run: its length, episodes, mean return of the `last` episodes, time, speed and directory."""
    rows = []
    for method, group in runs.items():
        for run in group:
            episodes, timing = run.episodes(), run.timing()
            rows.append(
                {
                    "method": METHODS[method].label,
                    "seed": run.seed,
                    "frames": total_frames(run),
                    "episodes": len(episodes),
                    f"mean of the last {last}": episodes["return"].tail(last).mean(),
                    "minutes": _seconds(timing["seconds"]) / 60 if len(timing) else None,
                    "agent steps/s": timing["agent_steps_per_second"].median(),
                    "records": str(run.directory),
                }
            )
    return pd.DataFrame(rows)


def _seconds(recorded: pd.Series) -> float:
    """Seconds that a run took in all: each process of one that was interrupted counted from 0."""
    return float(recorded[(recorded.shift(-1) < recorded) | recorded.shift(-1).isna()].sum())
