"""Which runs on disk may be compared: those of one preset and figure that have one configuration.

Methods are compared at the same settings; alpha's schedule, lambda and what ties policies concern only the agents that
mix. Runs that differ in anything else, their length included, are in different conditions and never averaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlib.config import TIES
from mmlib.method.methods import METHODS
from mmlib.runs.reader import NOT_COMPARED, Run, comparable, find_runs

OF_MIXTURES = frozenset({"alpha", "transfer_cost", *TIES})
VARIED = frozenset({"level", "method", "seed"})


@dataclass(frozen=True)
class Condition:
    """Runs at one preset and configuration, by level and method, in order of their seeds."""

    results: Path
    preset: str
    figure: str  # the directory of the figure
    label: str
    config: Mapping[str, Any]  # of the first run
    runs: Mapping[str, Mapping[str, list[Run]]]  # [level][method]

    @property
    def pbt(self) -> bool:
        """Whether the hyperparameters, alpha among them, came from population based training."""
        return self.config.get("pbt") is not None

    def of(self, level: str, method: str) -> list[Run]:
        """The runs of a method on a level; none if there are none."""
        return self.runs.get(level, {}).get(method, [])


def conditions(results: str | Path, figure: str, preset: str | None = None) -> list[Condition]:
    """The conditions of a figure's finished runs under `results`.

    Args:
      figure: the directory of the figure's runs, for instance "figure3".
      preset: or None for all but smoke, at which nothing is learned.
    """
    common: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in find_runs(results, preset, figure):
        name = run.directory.relative_to(results).parts[0]
        if run.done and run.method in METHODS and (preset or name != "smoke"):
            own = _key(run.config, OF_MIXTURES) if METHODS[run.method].mixes else ""
            common.setdefault((name, _key(run.config)), {}).setdefault(own, []).append(run)
    found = []
    for (name, _), groups in common.items():
        plain = groups.pop("", [])
        for mixing in list(groups.values()) or [[]]:
            found.append(_condition(Path(results), name, figure, [*plain, *mixing]))
    return _told_apart(found)


def _key(config: Mapping[str, Any], only: frozenset[str] | None = None) -> str:
    """A configuration's settings as text: `only` some, or all that methods of one condition share."""
    settings = comparable(config)
    left_out = (NOT_COMPARED - {"agent_steps"}) | VARIED | OF_MIXTURES
    names = [name for name in settings if (name not in left_out if only is None else name in only)]
    return json.dumps({name: settings[name] for name in sorted(names)})


def _condition(results: Path, preset: str, figure: str, runs: list[Run]) -> Condition:
    table: dict[str, dict[str, list[Run]]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        table.setdefault(run.config["level"], {}).setdefault(run.method, []).append(run)
    mixing = [run for run in runs if METHODS[run.method].mixes]
    config = comparable((mixing or runs)[0].config)
    label = preset
    if config.get("pbt") is not None:
        label += f", PBT, populations of {config['population']}"
    elif mixing:
        label += ", α by hand"
    return Condition(results, preset, figure, label, config, table)


def _told_apart(found: list[Condition]) -> list[Condition]:
    """The conditions with what differs added to labels that are the same."""
    told = []
    for condition in found:
        alike = [other for other in found if other.label == condition.label and other is not condition]
        names = sorted(
            name
            for name in condition.config
            if name not in NOT_COMPARED - {"agent_steps"} | VARIED
            and any(other.config.get(name) != condition.config[name] for other in alike)
        )
        said = ", ".join(f"{name} {json.dumps(condition.config[name])}" for name in names)
        label = f"{condition.label} ({said})" if said else condition.label
        told.append(Condition(**{**vars(condition), "label": label}))
    return told
