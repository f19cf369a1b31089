"""Every figure as data: methods x levels x seeds, at presets that differ in scale and in nothing else.

`plan` turns names into runs and checks all of them before any work; `mmlib.jobs.run` makes those that are
missing; `collect` finds what can be drawn together. Results lie under `<results>/<preset>/<figure>/<level>/`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mmlib.config import RunConfig, make_config
from mmlib.results import Run, config_differences, run_directory


class ExperimentError(ValueError):
    """A figure that cannot be planned; the message names the value, the choices and what to do."""


@dataclass(frozen=True)
class Figure:
    """One figure of the paper: its notebook, and its methods in the order of its legend."""

    name: str
    title: str
    notebook: str
    methods: tuple[str, ...]
    main_methods: tuple[str, ...]  # without the ablations, for the presets of small machines

    @property
    def directory(self) -> str:
        return f"figure{self.name}"


@dataclass(frozen=True)
class Preset:
    """A scale at which figures are made: levels, methods, seeds, and settings of `RunConfig`."""

    name: str
    description: str
    levels: tuple[str, ...]
    settings: Mapping[str, Any]
    # Knots of (share of the run, alpha) for the methods that mix: piecewise linear, by hand.
    alpha: tuple[tuple[float, float], ...] = ((0.1, 0.0), (0.8, 1.0))
    ablations: bool = False
    seeds: tuple[int, ...] = (0,)

    def methods(self, figure: Figure) -> tuple[str, ...]:
        """The methods of `figure` that this preset runs unless told otherwise."""
        return figure.methods if self.ablations else figure.main_methods


class Job(NamedTuple):
    """One run of a plan: what to run, and the directory of its records."""

    config: RunConfig
    directory: Path


FIGURES = {
    "3": Figure(
        name="3",
        title="Action curricula",
        notebook="01_action_curricula.ipynb",
        methods=("small", "big756", "mm", "mm_masked_kl", "mm_shared_head"),
        main_methods=("small", "big756", "mm"),
    ),
}

_SMALL_FRAMES: dict[str, Any] = {"width": 48, "height": 36, "conv1": (4, 2)}
# Many small updates rather than few large ones: 160 samples each, see docs/learning.md.
_LEARNING: dict[str, Any] = {"learning_rate": 1.5e-3, "num_envs": 32, "unroll": 20, "learner_batches": 4}
# Rewards of the full levels are rarer, and so are gradients smaller: a longer step, a cheaper entropy.
_FULL_LEVELS: dict[str, Any] = {"learning_rate": 4e-3, "entropy_cost": 5e-4, "num_envs": 64, "learner_batches": 8}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="smoke",
            description="seconds: shows that everything runs; nothing is learned (48x36 frames)",
            levels=("explore_object_locations_small_mini",),
            settings=_SMALL_FRAMES
            | _LEARNING
            | {"agent_steps": 6_000, "num_envs": 4, "log_every": 600, "entropy_cost": 2e-3},
        ),
        Preset(
            name="quick",
            description="minutes on two cores: a miniature level, one seed, 48x36 frames",
            levels=("explore_object_locations_small_mini",),
            settings=_SMALL_FRAMES | _LEARNING | {"agent_steps": 600_000, "entropy_cost": 2e-3},
        ),
        Preset(
            name="laptop",
            description="an hour or two on two cores: a full level for 20 M frames, one seed, 48x36 frames",
            levels=("explore_object_locations_small",),
            settings=_SMALL_FRAMES
            | _LEARNING
            | _FULL_LEVELS
            | {"agent_steps": 5_000_000, "log_every": 50_000, "checkpoint_every": 250_000},
        ),
        Preset(
            name="workstation",
            description="a day on 16 cores: full levels, 100 M frames, three seeds, all methods, 96x72",
            levels=("explore_object_locations_small", "nav_maze_static_01"),
            settings=_LEARNING | _FULL_LEVELS | {"agent_steps": 25_000_000, "lag": 1, "log_every": 250_000},
            ablations=True,
            seeds=(1, 2, 3),
        ),
        Preset(
            name="paper",
            description=(
                "the paper's scale: three populations of 10, 1 G frames a member, all methods, 96x72 frames. "
                "Population based training is not in this version: members share one set of hyperparameters "
                "and alpha follows a schedule made by hand"
            ),
            levels=("explore_object_locations_small", "nav_maze_static_01"),
            settings={"population": 10, "agent_steps": 250_000_000, "num_envs": 32, "unroll": 100, "lag": 1}
            | {"log_every": 1_000_000, "checkpoint_every": 5_000_000},
            ablations=True,
            seeds=(1, 2, 3),
        ),
    )
}

Value = TypeVar("Value")


def choose(kind: str, name: str, choices: Mapping[str, Value]) -> Value:
    """`choices[name]`. Raises ExperimentError that names the kind of thing, the value and the choices."""
    if name not in choices:
        raise ExperimentError(f"unknown {kind} {name!r}; {kind}s: {', '.join(choices)}")
    return choices[name]


def plan(
    figure: str,
    preset: str,
    levels: Iterable[str] | None = None,
    methods: Iterable[str] | None = None,
    seeds: Iterable[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
    results: str | Path = "results",
) -> list[Job]:
    """The runs of a figure, seed by seed and method by method, checked before any work.

    Args:
      figure: a key of `FIGURES`.
      preset: a key of `PRESETS`; None or nothing for `levels`, `methods` and `seeds` means the preset's.
      overrides: settings of `RunConfig` that replace the preset's, for every run.
      results: the root of the results.

    Raises:
      ExperimentError: an unknown name, or a directory that holds a run of another configuration.
      ConfigError: a setting that is unknown or out of its range.
    """
    chosen_figure, chosen = choose("figure", figure, FIGURES), choose("preset", preset, PRESETS)
    allowed = dict.fromkeys(chosen_figure.methods)
    wanted = tuple(methods or ()) or chosen.methods(chosen_figure)
    for method in wanted:
        choose(f"method of figure {figure}", method, allowed)
    jobs = [
        Job(
            configure(chosen, level, method, seed, overrides),
            run_directory(results, preset, chosen_figure.directory, level, method, seed),
        )
        for level in tuple(levels or ()) or chosen.levels
        for seed in tuple(seeds or ()) or chosen.seeds
        for method in wanted
    ]
    for job in jobs:
        _check_free(job)
    return jobs


def configure(
    preset: Preset, level: str, method: str, seed: int, overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """The configuration of one run at a preset. Raises ExperimentError or ConfigError, as `plan` does."""
    overrides = dict(overrides or {})
    for name in ("level", "method", "seed"):
        if name in overrides:
            raise ExperimentError(f"{name!r} cannot be overridden; give it as {name} itself")
    values = {**preset.settings, **overrides, "level": level, "method": method, "seed": seed}
    config = make_config(values)  # checks every setting before the schedule is made from them
    from mmlib.agent import METHODS  # late: torch

    if len(METHODS[method].constituents) > 1 and "alpha" not in overrides:
        knots = [(int(share * config.agent_steps), alpha) for share, alpha in preset.alpha]
        config = make_config({**values, "alpha": knots})
    return config


def _check_free(job: Job) -> None:
    """Raises ExperimentError if the job's directory holds a run of another configuration."""
    if (job.directory / "config.json").exists():
        run = Run(job.directory)
        wanted = _as_recorded(job.config)
        different = config_differences(run.config, wanted)
        if different:
            raise ExperimentError(
                f"{job.directory} holds a run of another configuration: "
                f"{_differences(run, wanted, different)}; choose another results directory or delete that run"
            )


def finished(job: Job) -> bool:
    """Whether the job's run is on disk, done, and as long as was asked for."""
    if not (job.directory / "config.json").exists():
        return False
    run = Run(job.directory)
    return run.done and run.config.get("agent_steps", 0) >= job.config.agent_steps


@dataclass
class Collection:
    """The runs that a figure draws, by method in the order of its legend, and what was left out and why."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def collect(jobs: Iterable[Job]) -> Collection:
    """The finished runs of each method of a plan, whatever their seeds, that have the plan's configuration.

    Runs beside the planned ones whose configuration differs in more than the seed are never averaged with
    them: `left_out` names them and the fields.
    """
    found = Collection()
    for job in jobs:
        if job.config.method in found.runs:
            continue  # another seed of the same method: its siblings have been read
        wanted = _as_recorded(job.config)
        runs = found.runs.setdefault(job.config.method, [])
        for path in job.directory.parent.glob("seed*/config.json"):
            run = Run(path.parent)
            different = config_differences(run.config, wanted, ignore=["seed"])
            if different:
                found.left_out.append(f"{run.directory}: {_differences(run, wanted, different)}")
            elif not run.done:
                found.left_out.append(f"{run.directory}: {run.state}")
            else:
                runs.append(run)
        runs.sort(key=lambda run: run.seed)
    return found


def _as_recorded(config: RunConfig) -> dict[str, Any]:
    """The configuration as a run made here would record it."""
    from mmlib import levels

    return {**config.model_dump(mode="json"), "backend_in_force": levels.resolve_backend(config.backend, config.level)}


def _differences(run: Run, wanted: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({run.config.get(name)!r} there, {wanted.get(name)!r} here)" for name in names)


def describe(jobs: Iterable[Job]) -> str:
    """A plan in a few lines of text: its runs, their length, and the settings that all of them share."""
    configs = [job.config.model_dump(mode="json") for job in jobs]
    first = configs[0]
    runs = ", ".join(f"{config['method']} seed {config['seed']}" for config in configs)
    frames = first["agent_steps"] * first["action_repeat"]
    shared = [f"{name} {first[name]}" for name in first if all(config[name] == first[name] for config in configs)]
    return "\n".join(
        [
            f"runs: {runs}",
            f"length: {first['agent_steps']:,} agent steps ({frames:,} environment frames) of each member",
            *textwrap.wrap("shared settings: " + "; ".join(shared), 100, break_on_hyphens=False),
        ]
    )


def figure_directory(results: str | Path, preset: str, figure: str, level: str) -> Path:
    """Where a figure's picture, table and executed notebook are put."""
    return Path(results) / preset / FIGURES[figure].directory / level


def repository_root(start: str | Path | None = None) -> Path:
    """The nearest directory at or above `start` (default: the working directory) that holds the notebooks.

    `start` itself if there is none, so that the notebooks work from anywhere.
    """
    here = Path(start or ".").resolve()
    for directory in (here, *here.parents):
        if any((directory / "notebooks" / figure.notebook).exists() for figure in FIGURES.values()):
            return directory
    return here
