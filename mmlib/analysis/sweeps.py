"""Sweeps of one setting: runs that are alike but for its value, and what they return early and at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from mmlib.analysis import stats
from mmlib.analysis.conditions import Condition, in_force
from mmlib.analysis.curves import EARLY, END, mean_returns
from mmlib.runs.reader import Run

PARTS = {"early": EARLY, "at the end": END}
VALUES = 3  # fewer distinct values are no sweep
COLUMNS = ["method", "level", "value", "part", "runs", "mean", "low", "high", "unroll"]


def sweep(setting: str, conditions: Iterable[Condition]) -> pd.DataFrame:
    """Mean returns by the value of a setting of `RunConfig`, with 95 % intervals (Student's t).

    A row is a method, level, value and part of the run. The runs of a method on a level differ in the setting and
    their seed alone; where there are several such groups, the first with the most values is taken. Runs of several
    levels are left out.
    """
    groups: dict[str, list[Condition]] = {}
    for condition in conditions:
        if setting in condition.settings:
            rest = {name: value for name, value in condition.settings.items() if name != setting}
            groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(condition)
    swept: dict[tuple[str, str], dict[Any, list[Run]]] = {}
    for group in groups.values():
        for place in sorted({(m, level) for c in group for level, methods in c.runs.items() for m in methods}):
            values = _by_value(setting, group, *place)
            if len(values) >= VALUES and len(values) > len(swept.get(place, ())) and "+" not in place[1]:
                swept[place] = values
    rows = [row for place, values in swept.items() for row in _rows(place, values)]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(COLUMNS[:4], ignore_index=True)


def _by_value(setting: str, group: list[Condition], method: str, level: str) -> dict[Any, list[Run]]:
    """The runs in which the setting plays a part."""
    found = {c.settings[setting]: [r for r in c.of(level, method) if setting in in_force(r.config)] for c in group}
    return {value: runs for value, runs in found.items() if runs}


def _rows(place: tuple[str, str], values: dict[Any, list[Run]]) -> list[dict[str, Any]]:
    rows = []
    for value, runs in values.items():
        for part, share in PARTS.items():
            returns = [mean_returns(run, share)[place[1]] for run in runs]
            row = (*place, value, part, len(runs), *stats.mean_interval(returns), runs[0].config["unroll"])
            rows.append(dict(zip(COLUMNS, row)))
    return rows
