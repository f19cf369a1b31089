"""Sweeps of one setting: runs that are alike but for its value, and what they return early and at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd

from mmlib.analysis import stats
from mmlib.analysis.conditions import Condition, in_force
from mmlib.analysis.curves import EARLY, END, mean_returns

PARTS = {"early": EARLY, "at the end": END}
VALUES = 3  # fewer distinct values are no sweep
PLACE = ["method", "level"]
COLUMNS = [*PLACE, "value", "part", "runs", "mean", "low", "high", "unroll"]


def sweep(setting: str, conditions: Iterable[Condition]) -> pd.DataFrame:
    """Mean returns by the value of a setting of `RunConfig`, with 95 % intervals (Student's t).

    A row is a method, level, value and part of the run. The runs of a method on a level differ in the setting and
    their seed alone; where there are several such groups, the first with the most values is taken. Runs of several
    levels are left out.
    """
    returns = [
        (run.method, level, value, rest, part, mean_returns(run, share)[level], condition.settings["unroll"])
        for condition in conditions
        for value in [condition.settings.get(setting)]
        for rest in [json.dumps({**condition.settings, setting: None}, sort_keys=True, default=str)]
        for level, methods in condition.runs.items()
        for run in (run for runs in methods.values() for run in runs)
        if "+" not in level and setting in in_force(run.config)  # it plays a part there
        for part, share in PARTS.items()
    ]
    table = pd.DataFrame(returns, columns=[*PLACE, "value", "rest", "part", "return", "unroll"])
    rows = []
    for _, there in table.groupby(PLACE):
        values = there.groupby("rest", sort=False)["value"].nunique()
        if values.max() >= VALUES:
            alike = there[there["rest"] == values.idxmax()]
            for group, runs in alike.groupby([*PLACE, "value", "part"]):
                interval = stats.mean_interval(runs["return"])
                rows.append((*group, len(runs), *interval, runs["unroll"].iloc[0]))
    return pd.DataFrame(rows, columns=COLUMNS)
