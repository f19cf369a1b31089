"""Campaigns: an ordered queue of runs from a file, made in any number of sittings.

A campaign file (YAML) names *arms*, which are settings of `RunConfig` over a preset's, and *blocks* of runs in the
order in which they are wanted; within a block seeds come first, so that every arm and method always has about as
many runs. Runs lie under `<results>/<campaign>/<arm>/<level>/<method>/seed<k>/` and are read like any others.

    name: step
    preset: quick
    settings: {staggered: true}
    arms:
      rmsprop: {optimiser: rmsprop, learning_rate: 0.0015}
      adam: {optimiser: adam, learning_rate: 0.0003}
    blocks:
      - {levels: [nav_maze_static_02_mini], methods: [small, big756], seeds: [1, 2, 3]}
      - {arms: [adam], levels: [lt_horseshoe_color_mini], methods: [ff, lstm], seeds: [1]}

A campaign that is named like its preset, with arms named like the directories of figures (`figure3`), makes the runs
that those figures draw.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmlib.config import ConfigError, sentence
from mmlib.errors import suggestion
from mmlib.experiments.design import ExperimentError, Job, choose, configure, finished
from mmlib.experiments.presets import FIGURES, PRESETS
from mmlib.runs.owner import FILE as OWNER
from mmlib.runs.owner import being_written
from mmlib.runs.reader import Run, check_same_run, run_directory
from mmlib.runs.sources import digest
from mmlib.runs.status import RunStatus
from mmlib.runs.writer import compress
from mmlib.training.fitting import as_recorded

Name = Annotated[str, Field(pattern=r"^[\w.+-]+$")]  # of a directory


class Block(BaseModel):
    """Runs that belong together: every seed of every level, arm and method, in that order of loops."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[str, ...] = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    arms: tuple[str, ...] = Field((), description="names of arms; none means all")


class Campaign(BaseModel):
    """What a campaign file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    preset: str
    settings: dict[str, Any] = Field({}, description="of RunConfig, for every run")
    arms: dict[Name, dict[str, Any]] = Field(min_length=1, description="settings of RunConfig, over the former")
    blocks: tuple[Block, ...] = Field(min_length=1)


def read(path: Path) -> Campaign:
    """The campaign of a file. Raises ExperimentError that names the file and what is wrong in it."""
    try:
        return Campaign.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        raise ExperimentError(f"{path} is no campaign: {'; '.join(_wrong(error))}") from None


def _wrong(error: ValidationError) -> Iterator[str]:
    """A sentence for each thing that is wrong in a file, and none that a list is empty for what is wrong in it."""
    places = [item["loc"] for item in error.errors()]
    for item in error.errors():
        place = item["loc"]
        if item["type"] == "too_short" and any(other[: len(place)] == place != other for other in places):
            continue
        if item["type"] == "extra_forbidden":
            known = (Block if len(place) > 1 else Campaign).model_fields
            yield f"{'.'.join(map(str, place))}: unknown{suggestion(str(place[-1]), known)}; known: {', '.join(known)}"
        else:
            yield sentence(item) if place else f"the file: {item['msg']}"


def plan(campaign: Campaign, results: str | Path = "results") -> list[Job]:
    """The campaign's runs in order, each once, checked before any work.

    Raises:
      ExperimentError: an unknown name.  ResultsError: a directory that holds a run of another configuration.
      ConfigError: a setting that is unknown or out of its range.
    """
    preset = choose("preset", campaign.preset, PRESETS)
    figures = {figure.directory: figure for figure in FIGURES.values()}
    jobs: dict[Path, Job] = {}
    for block in campaign.blocks:
        for seed, level, arm, method in product(block.seeds, block.levels, block.arms or campaign.arms, block.methods):
            settings = {**campaign.settings, **choose("arm", arm, campaign.arms)}
            figure = figures.get(arm) if campaign.name == preset.name else None
            where = run_directory(results, campaign.name, arm, level, method, seed)
            try:
                config = configure(preset, level, method, seed, settings, figure)
            except (ConfigError, ExperimentError) as error:
                raise type(error)(f"arm {arm}, method {method}: {error}") from None
            jobs[where] = Job(config, where, f"{arm} {level}")
    for job in jobs.values():
        check_same_run(job.directory, as_recorded(job.config))
        if job.teacher is not None and job.teacher not in jobs and RunStatus.read(job.teacher).state != "done":
            raise ExperimentError(f"{job.name} needs a finished run in {job.teacher}, which no block makes")
    return list(jobs.values())


def collect(jobs: Sequence[Job], elsewhere: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """Copies the records of finished runs that `jobs` lack from where the same campaign was run, compressed.

    A level's runs, which are compared with each other, are of one code and one kind of device: those on disk, or else
    the first that is found, say which (`runs.sources`).

    Args:
      jobs: of the campaign, in the results that it is collected into.
      elsewhere: the same, in the results of another checkout.

    Returns:
      the jobs whose runs are here now and were not, and a sentence for each run that other code has made, or that is
      being written here.
    """
    made_by = {job.config.level: _made_by(job.directory) for job in jobs if finished(job)}
    collected, refused = list[Job](), list[str]()
    for job, other in zip(jobs, elsewhere, strict=True):
        if finished(job) or not finished(other):
            continue
        its = _made_by(other.directory)
        if its != (here := made_by.setdefault(job.config.level, its)):
            refused.append(f"{other.directory} was made by {its}, and the level's runs here by {here}")
            continue
        if being_written(job.directory):
            refused.append(f"{job.directory} is being written here; stop that run, or let it end")
            continue
        _copy(other.directory, job.directory)
        collected.append(job)
    return collected, refused


def other_code(jobs: Sequence[Job]) -> str | None:
    """A warning if runs with which some that are to be made would be compared, those of the same level, were made by
    other code than this, or on another kind of device; None if none was."""
    lacking = {(job.config.level, job.config.device): job for job in jobs if not finished(job)}
    for (level, device), job in lacking.items():
        now = f"sources {digest()} on {device.partition(':')[0]}"
        beside = job.directory.parents[3].glob(f"*/{job.directory.parts[-3]}/*/seed*/config.json")
        if other := sorted({_made_by(config.parent) for config in beside} - {now}):
            return f"runs on {level} would be made by {now}, and there are some by {' and '.join(other)}"
    return None


def _made_by(directory: Path) -> str:
    """Which code made a run, on what."""
    config = Run(directory).config
    device = str(config.get("device", "unknown")).partition(":")[0]
    return f"sources {'+'.join(config.get('sources', ())) or 'unknown'} on {device}"


def _copy(source: Path, target: Path) -> None:
    """A finished run without its checkpoints, all of it or nothing."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in (path for path in source.iterdir() if path.suffix in (".json", ".jsonl", ".gz")):
        if path.name != OWNER:
            shutil.copyfile(path, part / path.name)
    compress(part)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def status(jobs: Sequence[Job], workers: int, together: int = 1) -> str:
    """A table of how many runs of each arm, level and method are done, and what is left, in hours.

    Each of the `workers` makes so many runs `together`. The hours are at the mean speed of the runs of those levels
    that lack some: a level's are of one kind of device.
    """
    states: dict[tuple[str, ...], list[str]] = {}
    speeds: dict[str, list[float]] = {}  # by level
    lacking, left = set[str](), 0
    for job in jobs:
        now = RunStatus.read(job.directory, job.config)
        state = "done" if finished(job) else "waiting" if now.state == "new" else now.state
        states.setdefault((job.directory.parts[-4], job.config.level, job.config.method), []).append(state)
        if now.agent_steps_per_second:
            speeds.setdefault(job.config.level, []).append(now.agent_steps_per_second)
        if state != "done":
            lacking.add(job.config.level)
            left += (now.total_frames - now.frames) // job.config.action_repeat * job.config.population
    width = max(len("  ".join(group)) for group in states)
    lines = [
        f"{'  '.join(group):<{width}}  " + ", ".join(f"{here.count(s)} {s}" for s in dict.fromkeys(here))
        for group, here in states.items()
    ]
    total, done_runs = len(jobs), sum(here.count("done") for here in states.values())
    rates = [speed for level in lacking for speed in speeds.get(level, ())]
    speed = workers * together * sum(rates) / max(1, len(rates))
    hours = f", about {left / speed / 3600:.1f} hours on {workers}" if speed else ""
    return "\n".join([*lines, f"{done_runs} of {total} runs done, {left / 1e6:.1f} M agent steps left{hours}"])
