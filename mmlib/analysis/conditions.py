"""Which runs may be compared: one rule, for figures and for claims.

A condition is a set of settings. A run is of it if every setting that plays a part in what the run learns, its length
included, has the condition's value; so the runs of a method on a level differ in their seed alone, and methods are
compared at the same settings. Lambda and what ties policies concern only agents of several policies, alpha's schedule
only those that mix and are not adapted by population based training. Which seeds count is asked for, and never
whatever lies on disk: without a word, claims use those from 1, the numbers of committed runs, and leave out seed 0,
which a preset of one seed makes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmlib.alternatives.methods import ALTERNATIVES, METHODS
from mmlib.experiments.design import Job, figure_named
from mmlib.runs.reader import NOT_COMPARED, Run, comparable, find_runs
from mmlib.training.fitting import as_recorded, definition, idle

VARIED = frozenset({"level", "method", "agent", "seed", "teacher"})  # a teacher is a run of the same seed


@dataclass(frozen=True)
class Condition:
    """Runs of one condition, by level and method, in order of their seeds."""

    results: Path
    label: str
    settings: Mapping[str, Any]
    runs: Mapping[str, Mapping[str, list[Run]]]  # [level][method]
    left_out: tuple[str, ...] = ()  # runs that were asked for and are not among them, and why

    @property
    def adapts_alpha(self) -> bool:
        """Whether population based training moved alpha, rather than a schedule made by hand."""
        return "alpha" in (self.settings.get("pbt") or {}).get("adapt", ())

    @property
    def unit(self) -> str:
        """What a run of one seed is."""
        return "population" if self.settings.get("pbt") else "seed"

    @property
    def handover(self) -> tuple[int, int] | None:
        """The frames between which a schedule made by hand moves alpha; None if none does."""
        knots = self.settings.get("alpha") or ()
        moves = [(before[0], after[0]) for before, after in pairwise(knots) if before[1] != after[1]]
        repeat = self.settings["action_repeat"]
        return (moves[0][0] * repeat, moves[-1][1] * repeat) if moves else None

    @property
    def backend(self) -> str:
        """The backend of the levels that were played."""
        return str(self.settings.get("backend_in_force", "minilab"))

    def of(self, level: str, method: str) -> list[Run]:
        """The runs of a method on a level; none if there are none."""
        return self.runs.get(level, {}).get(method, [])


def in_force(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that play a part in what a run learns, but for its level, method and seed."""
    settings = {n: v for n, v in comparable(config).items() if n not in (NOT_COMPARED - {"agent_steps"}) | VARIED}
    if settings.get("transfer_cost") is None:
        settings["transfer_cost"] = METHODS[config["method"]].transfer_weight
    without = idle(config["method"], settings)
    return {name: value for name, value in settings.items() if name not in without}


def on_disk(
    results: str | Path, figure: str | None = None, preset: str | None = None, seeds: Collection[int] | None = None
) -> list[Condition]:
    """The conditions of the finished runs under `results` of the paper's methods and yours, which claims are about.

    A run of an agent that has been changed since is of none; one that was made before runs said what their agent was is
    taken to be of the agent that there is.

    Args:
      figure: of whose runs, for instance "3"; None: whatever they were made for.
      preset: or None for all but smoke, at which nothing is learned.
      seeds: of the runs that count; None: all from 1.
    """
    root, wanted = Path(results), figure and figure_named(figure).directory
    by_preset: dict[str, list[Run]] = {}
    agents = {name: definition(spec) for name, spec in METHODS.items() if name not in ALTERNATIVES}
    for run in find_runs(root, preset, wanted):
        name = run.directory.relative_to(root).parts[0]
        as_now = run.method in agents and run.config.get("agent", agents[run.method]) == agents[run.method]
        asked = as_now and (run.seed >= 1 if seeds is None else run.seed in seeds)
        if asked and run.done and (preset or name != "smoke"):
            by_preset.setdefault(name, []).append(run)
    found = []
    for name, runs in by_preset.items():
        learned = [(run, in_force(run.config)) for run in runs]
        distinct: list[dict[str, Any]] = []
        for _, settings in sorted(learned, key=lambda pair: -len(pair[1])):  # a mixture's have a single agent's in them
            if not any(settings.items() <= other.items() for other in distinct):
                distinct.append(settings)
        for settings in distinct:
            of_it = [run for run, own in learned if own.items() <= settings.items()]
            found.append(Condition(root, _label(name, settings), settings, _by_level(of_it)))
    return _told_apart(found)


def planned(jobs: Iterable[Job], results: str | Path = "results") -> Condition:
    """The finished runs of a plan, and no others: the seeds that are made are those that are drawn.

    `left_out` says which of them are not finished, or have another length than the plan's.
    """
    settings, table, left_out = dict[str, Any](), dict[str, dict[str, list[Run]]](), list[str]()
    for job in jobs:
        group = table.setdefault(job.config.level, {}).setdefault(job.config.method, [])
        here = in_force(as_recorded(job.config))
        settings = max(settings, here, key=len)
        if not (job.directory / "config.json").exists():
            continue
        run = Run(job.directory, Path(results))
        there = in_force(run.config) if run.done else {}
        names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
        if run.broken or not run.done:
            left_out.append(run.broken or f"{run.directory}: {run.state}")
        elif names:
            odd = (f"{name} ({there.get(name)!r} there, {here.get(name)!r} here)" for name in names)
            left_out.append(f"{run.directory}: {', '.join(odd)}")
        else:
            group.append(run)
            group.sort(key=lambda run: run.seed)
    return Condition(Path(results), "", settings, table, tuple(left_out))


def _by_level(runs: Iterable[Run]) -> dict[str, dict[str, list[Run]]]:
    """Runs in order of their seeds; one that was made for two figures counts once."""
    table: dict[str, dict[str, dict[int, Run]]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        table.setdefault(run.config["level"], {}).setdefault(run.method, {}).setdefault(run.seed, run)
    return {level: {m: [*seeds.values()] for m, seeds in methods.items()} for level, methods in table.items()}


def _label(preset: str, settings: Mapping[str, Any]) -> str:
    pbt = f", PBT, populations of {settings['population']}" if settings.get("pbt") is not None else ""
    return f"{preset}{pbt}{', α by hand' if 'alpha' in settings else ''}"


def _told_apart(found: list[Condition]) -> list[Condition]:
    """The conditions with what differs added to labels that are the same on a level."""
    told = []
    for condition in found:
        others = [c for c in found if c.label == condition.label and c is not condition]
        alike = [c.settings for c in others if not c.runs.keys().isdisjoint(condition.runs)]
        names = [n for n, value in sorted(condition.settings.items()) if any(o.get(n) != value for o in alike)]
        said = ", ".join(f"{name} {json.dumps(condition.settings[name])}" for name in names)
        told.append(replace(condition, label=f"{condition.label} ({said})" if said else condition.label))
    return told
