"""A figure's runs: planned, checked, found again.

`plan` turns names into runs and checks all of them before any work; `mmlib.experiments.jobs.run` makes those that are
missing. Results lie under `<results>/<preset>/<figure>/<level>/`; a run that several figures draw, under the first.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mmlib.alternatives.methods import METHODS, own_methods, teacher_of
from mmlib.config import RunConfig, make_config
from mmlib.errors import UserError, suggestion
from mmlib.experiments.presets import DRAWN_WITH, FIGURES, MINIATURE, PRESETS, FigureSpec, Preset
from mmlib.runs import reader
from mmlib.runs.lineage import AlphaSchedule
from mmlib.runs.reader import asked_for, check_inside, check_same_run, file_name, run_directory, seen_from, sibling
from mmlib.training.fitting import as_recorded, check, check_entry, idle


class ExperimentError(UserError):
    """A figure that cannot be planned; the message names the value, the choices and what to do."""


class Job(NamedTuple):
    """One run of a plan: what to run, and the directory of its records."""

    config: RunConfig
    directory: Path
    group: str = ""  # what tells it from others of its method and seed, where there are any

    @property
    def teacher(self) -> Path | None:
        """The run that has to be finished before this one."""
        return None if self.config.teacher is None else seen_from(self.directory, self.config.teacher)

    @property
    def name(self) -> str:
        """For people: the group, if there is one, the method and the seed."""
        return f"{self.group} {self.config.method} seed {self.config.seed}".strip()


Value = TypeVar("Value")


def choose(kind: str, name: str, choices: Mapping[str, Value]) -> Value:
    """`choices[name]`. Raises ExperimentError that names the kind of thing, the value and the choices."""
    if name not in choices:
        raise ExperimentError(f"unknown {kind} {name!r}; {kind}s: {', '.join(choices)}{suggestion(name, choices)}")
    return choices[name]


def figure_named(name: str) -> FigureSpec:
    """The figure of a name, or the one that it is drawn with. Raises ExperimentError."""
    return choose("figure", DRAWN_WITH.get(name, name), FIGURES)


def preset_named(name: str, settings: Mapping[str, Any] | None = None) -> Preset:
    """The preset of a name, with the full levels if `settings` ask for dmlab, which has no miniatures.

    Raises ExperimentError.
    """
    preset = choose("preset", name, PRESETS)
    full = (settings or {}).get("backend") == "dmlab"
    return replace(preset, miniature=False, level=preset.level.removesuffix(MINIATURE)) if full else preset


def check_read(preset: str, results: Path) -> None:
    """Raises ExperimentError unless that is a preset, or a campaign or whatever else has a folder among the results."""
    there = results.iterdir() if results.is_dir() else ()
    choose("preset", preset, {**PRESETS, **{path.name: path for path in there if path.is_dir()}})


def plan(
    figure: str,
    preset: str,
    levels: Iterable[str] | None = None,
    methods: Iterable[str] | None = None,
    seeds: Iterable[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    results: str | Path = "results",
) -> list[Job]:
    """The runs of a figure, seed by seed and method by method, checked before any work.

    Args:
      figure: a key of `FIGURES`.
      preset: a key of `PRESETS`; None or nothing for `levels`, `methods` and `seeds` means the preset's.
      settings: of `RunConfig`, that replace the preset's, for every run.
      results: the root of the results.

    Raises:
      ExperimentError: an unknown name.
      ResultsError: a directory that holds a run of another configuration or something unreadable, or links that lead
        out of `results`.
      ConfigError: a setting that is unknown or out of its range.
    """
    chosen_figure, chosen = figure_named(figure), preset_named(preset, settings)
    here = _levels(chosen_figure, chosen, levels)
    wanted = tuple(methods or ()) or chosen.methods(chosen_figure)
    known = dict.fromkeys([*chosen_figure.known, *sorted(own_methods())])
    for method in wanted:
        if method not in known:
            its = ", ".join(known)
            raise ExperimentError(
                f"figure {figure} has no method {method!r}; its methods: {its}{suggestion(method, known)}"
            )
    jobs = [
        Job(
            configure(chosen, level, method, seed, _of_method(method, settings), chosen_figure),
            run_directory(results, preset, _home(chosen_figure, chosen, method), level, method, seed),
        )
        for level in here
        for seed in tuple(seeds or ()) or chosen.seeds
        for method in wanted
    ]
    for job in jobs:
        check_inside(job.directory, Path(results))
        check_same_run(job.directory, as_recorded(job.config))
    return jobs


def _home(figure: FigureSpec, preset: Preset, method: str) -> str:
    """The folder of a method's runs: of the first figure that makes the same ones, so that figures share them."""
    having = (each for each in FIGURES.values() if method in each.known)
    alike = (each.directory for each in having if preset.of_figure(each) == preset.of_figure(figure))
    return next(alike, figure.directory)


def _of_method(method: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a figure that concern a method: not all mix, have policies to tie, or a teacher."""
    given = dict(settings or {})
    without = {*idle(method, given), *(() if teacher_of(METHODS[method]) else ("teacher",))}
    return {name: value for name, value in given.items() if name not in without}


def _check_in_force(config: RunConfig, settings: Mapping[str, Any]) -> None:
    """Raises ExperimentError if one of the settings given would be recorded and play no part."""
    why = idle(config.method, config.model_dump())
    for adapted in config.pbt.adapt if config.pbt else ():
        why.setdefault(adapted, f"population based training adapts it; it starts within pbt.{adapted}")
    for name in settings:
        if name in why:
            raise ExperimentError(f"setting {name!r} plays no part: {why[name]}; leave it")


def _levels(figure: FigureSpec, preset: Preset, names: Iterable[str] | None) -> tuple[str, ...]:
    """The named levels, all of the preset's size for "all", the preset's choice for none; the figure must have them."""
    wanted = tuple(names or ())
    if wanted == ("all",):
        return figure.level_names(preset.miniature)
    has = (*figure.level_names(False), *figure.level_names(True))
    for name in wanted:
        if name not in has:
            its = f"its levels: {', '.join(has)}, or all{suggestion(name, has)}"
            raise ExperimentError(f"figure {figure.name} has no level {name!r}; {its}")
    return wanted or preset.levels(figure)


def default_level(preset: Preset, method: str) -> str:
    """The level that a preset trains `method` on unless told otherwise: the first of the first figure that has it."""
    figures = [figure for figure in FIGURES.values() if method in figure.known] or list(FIGURES.values())
    return preset.levels(figures[0])[0]


def configure(
    preset: Preset,
    level: str,
    method: str,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    figure: FigureSpec | None = None,
) -> RunConfig:
    """The configuration of one run at a preset. Raises ExperimentError, ResultsError or ConfigError, as `plan` does.

    lambda is the method's (appendix C) and alpha the preset's schedule, unless `settings` has them or alpha is adapted
    by population based training. An alpha that names a run, or a file of `mmlib schedule`, is the one recorded there. A
    method's teacher is from the run beside this one of the same seed.
    """
    spec, settings = choose("method", method, METHODS), settings or {}
    check_entry(method)
    for name in ("level", "method", "seed"):
        if name in settings:
            raise ExperimentError(f"{name!r} cannot be overridden; give it as {name} itself")
    given: dict[str, Any] = {"transfer_cost": spec.transfer_weight, **preset.settings}
    if figure is not None:
        given |= preset.of_figure(figure)
    if teacher := teacher_of(spec):
        given["teacher"] = sibling(teacher.method, seed)
    values = _changed({**given, "level": level, "method": method, "seed": seed}, settings)
    config = check(make_config(values))  # checks every setting before the schedule is made from them
    _check_in_force(config, settings)
    adapted = config.pbt is not None and "alpha" in config.pbt.adapt
    if spec.mixes and not adapted and "alpha" not in settings:
        knots = [(int(share * config.agent_steps), alpha) for share, alpha in preset.alpha]
        config = make_config({**values, "alpha": knots})
    return config


def configure_again(recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """A recorded configuration with other settings, its level, method and seed among them. Raises as `configure`."""
    config = check(asked_for(_changed(recorded, settings)))
    _check_in_force(config, settings)
    return config


def _changed(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values with settings in their place, which may be a part of pbt, or name where an alpha is recorded."""
    new = {**values, **settings}
    if isinstance(alpha := settings.get("alpha"), str):
        method = str(new.get("method"))
        choose("method", method, METHODS)
        new["alpha"] = AlphaSchedule.load(Path(alpha)).knots_for(method)
    if isinstance(part := settings.get("pbt"), Mapping):
        new["pbt"] = {**(values.get("pbt") or {}), **part}
    return new


def finished(job: Job) -> bool:
    """Whether the job's run is on disk, done, and as long as was asked for."""
    return reader.finished(job.directory, job.config.agent_steps)


def describe(jobs: Iterable[Job]) -> str:
    """A plan in a few lines of text: its runs, their length, and the settings in force that all of them share."""
    configs = [job.config.model_dump(mode="json") for job in jobs]
    seeds: dict[str, list[str]] = {}
    for config in configs:
        seeds.setdefault(config["method"], []).append(str(config["seed"]))
    methods: dict[str, list[str]] = {}
    for method, own in seeds.items():
        its = [*dict.fromkeys(own)]
        methods.setdefault(f"seed{'s' * (len(its) > 1)} {', '.join(its)}", []).append(method)
    first = configs[0]
    frames = first["agent_steps"] * first["action_repeat"]
    without = set.intersection(*(set(idle(config["method"], config)) for config in configs))
    said = [name for name, value in first.items() if value is not None and name not in without]
    shared = [f"{name} {first[name]}" for name in said if all(config[name] == first[name] for config in configs)]
    lines = (
        "runs: " + "; ".join(f"{', '.join(names)}, {numbers}" for numbers, names in methods.items()),
        f"length: {first['agent_steps']:,} agent steps ({frames:,} environment frames) of each member",
        "shared settings: " + "; ".join(shared),
    )
    return "\n".join(part for line in lines for part in textwrap.wrap(line, 100, break_on_hyphens=False))


def figure_directory(results: str | Path, preset: str, figure: str, level: str) -> Path:
    """Where a figure's picture, table and executed notebook are put."""
    return Path(results) / preset / figure_named(figure).directory / file_name(level)


def repository_root() -> Path:
    """The nearest directory at or above the working directory that holds the notebooks; without one the latter, so that
    the notebooks work from anywhere."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        if any((directory / "notebooks" / figure.notebook).exists() for figure in FIGURES.values()):
            return directory
    return here
