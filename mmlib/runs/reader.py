"""Results as facts on disk: one run is one directory of append-only records.

Layout: `<root>/<preset>/<figure>/<level>/<method>/seed<k>/` with

    config.json     the resolved configuration, the mmlib version, the sources' digest, the backend in force
    metrics.jsonl   one row a member every `log_every` agent steps
    episodes.jsonl  one row an episode: environment frames of the member at its end, return, length in frames
    evaluations.jsonl  one row an episode of the target policy alone, where it is played beside training
    decisions.jsonl one row a decision of population based training: who copied whom, old and new hyperparameters
    rounds.jsonl    one row a round of a bandit that moves alpha: mean return, reward, weights, the arm drawn
    timing.jsonl    throughput and the share of each stage
    state.json      {"state": "running" | "done" | "stopped" | "failed", ...}, replaced atomically

A record begins with its first row: a run without a bandit has no rounds.jsonl. Every line is one JSON object and is
flushed when written, so a run that was killed loses at most its last line, which the readers ignore and the next writer
removes. `records.py` has the columns. The records of a run that is done may be compressed (`metrics.jsonl.gz`): readers
take either.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from mmlib.alternatives.methods import METHODS
from mmlib.config import PART_DEFAULTS, SETTING_DEFAULTS, RunConfig, make_config
from mmlib.errors import ResultsError
from mmlib.runs import untrusted
from mmlib.runs.records import RECORDS, RecordedConfig, as_plain, read_rows, why

STATES = ("running", "done", "stopped", "failed")
# What has no part in what a run learns.
NOT_COMPARED = frozenset(
    {"mmlib_version", "sources", "backend", "device", "agent_steps", "log_every", "checkpoint_every"}
)
OF_THE_MACHINE = frozenset({"threads", "level_cache"})  # likewise, of `level_settings`


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a recorded configuration says were in force.

    One that it lacks, because it was recorded before there was such a setting, has its default (a new setting's default
    is what was done before it). The schedule of alpha plays no part, and is left out, where PBT adapts alpha.
    """
    settings: dict[str, Any] = as_plain({**SETTING_DEFAULTS, **config})
    for part, defaults in PART_DEFAULTS.items():
        if settings[part] is not None:
            settings[part] = as_plain({**defaults, **settings[part]})
    played = settings["level_settings"].items()
    settings["level_settings"] = {name: value for name, value in played if name not in OF_THE_MACHINE}
    if settings["pbt"] is not None and "alpha" in settings["pbt"]["adapt"]:
        settings.pop("alpha", None)
    return settings


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of the `comparable` settings in which two configurations differ, but for `NOT_COMPARED`.

    How long a run is has a part in what it learns where something moves with the share of it that is past.
    """
    one, two, missing = comparable(first), comparable(second), object()
    names = {*one, *two} - NOT_COMPARED
    if _is_paced(first) or _is_paced(second):
        names.add("agent_steps")
    # PBT adapts the alpha of one of them, which "pbt" says; runs of earlier versions do not say what their agent was.
    names -= {name for name in ("alpha", "agent") if not (name in one and name in two)}
    return sorted(name for name in names if one.get(name, missing) != two.get(name, missing))


def _is_paced(config: Mapping[str, Any]) -> bool:
    """Whether the learning rate (`anneal`) or the method's own alpha moves with the share of the run that is past."""
    spec = METHODS.get(config.get("method", ""))
    return bool(config.get("anneal")) or (spec is not None and len(spec.knots) > 1)


class OtherRun(ResultsError):
    """A directory holds a run of another configuration than the one that was asked for."""


def check_same_run(directory: Path, config: Mapping[str, Any], shorter: bool = True) -> dict[str, Any]:
    """The configuration of the run in a directory, {} if there is none.

    shorter: whether `config` may ask for fewer agent steps than there are.
    Raises OtherRun if it is another run than `config`'s, with what each has, or ResultsError if it cannot be read.
    """
    if not (directory / "config.json").exists():
        return {}
    there = read_config(directory)
    names = config_differences(there, config)
    if not shorter and config.get("agent_steps", 0) < there.get("agent_steps", 0):
        names = sorted({*names, "agent_steps"})
    if not names:
        return there
    said = [f"{name} ({there.get(name)!r} there, {config.get(name)!r} here)" for name in names]
    if "agent_steps" in names and (_is_paced(there) or _is_paced(config)):
        paced = "a learning rate that falls to 0 over a run (anneal), or a method's own alpha that moves over it,"
        said.append(f"and {paced} makes another length another run")
    if "alpha" in names and there.get("agent_steps") != config.get("agent_steps"):
        said.append("a preset's schedule is in shares of its length: to go on for longer, give the alpha that is there")
    raise OtherRun(
        f"{directory} holds a run of another configuration: {', '.join(said)}; "
        "choose another results directory or delete that run"
    )


def finished(directory: Path, agent_steps: int) -> bool:
    """Whether a run is there, done, and as long as is asked for."""
    if not (directory / "config.json").exists():
        return False
    run = Run(directory)
    return run.done and run.config.get("agent_steps", 0) >= agent_steps


class Run:
    """One run's directory, for reading; it may still be running.

    directory: Path.  config: dict.  broken: why the run cannot be read, "" if it can.
    root: in which it is looked for: if it lies outside, to which a link in `root` leads, or has no readable
    config.json, it is broken, with the reason: it has no config, has failed, and its records raise ResultsError.

    Raises ResultsError, without a `root`, if there is no readable config.json.  Nothing in the directory is executed
    and no link in it followed; a record that is damaged, or holds something else than its rows, raises DamagedRecord
    when it is read.
    """

    def __init__(self, directory: str | os.PathLike[str], root: Path | None = None) -> None:
        self.directory, self.broken = Path(directory), ""
        self.config: dict[str, Any] = {}
        try:
            if root is not None:
                check_inside(self.directory, root)
            self.config = read_config(self.directory)
        except ResultsError as error:
            if root is None:
                raise
            self.broken = str(error)

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r}, state={self.state!r})"

    @property
    def facts(self) -> dict[str, Any]:
        """state.json as it is now: {"state": ..., "reason": ..., ...}; one without a readable one failed."""
        if self.broken:
            return {"state": "failed", "reason": self.broken}
        try:
            facts = untrusted.read_object(self.directory / "state.json")
        except (OSError, ValueError):
            facts = {}
        return facts if facts.get("state") in STATES else {"state": "failed", "reason": "no state was written"}

    @property
    def state(self) -> str:
        """ "running", "done", "stopped" or "failed". A run that was killed still says "running"."""
        return str(self.facts["state"])

    @property
    def done(self) -> bool:
        return self.state == "done"

    @property
    def method(self) -> str:
        return str(self.config.get("method", self.directory.parent.name))

    @property
    def seed(self) -> int:
        return int(self.config.get("seed", 0))

    @property
    def teacher(self) -> Run | None:
        """The run whose policy this one is taught by, if there is one and it is here."""
        if not self.config.get("teacher"):
            return None
        where = seen_from(self.directory, self.config["teacher"])
        return Run(where) if (where / "config.json").exists() else None

    def metrics(self) -> pd.DataFrame:
        """One row a member and log point; `frames` are environment frames of the member."""
        return self._frame("metrics")

    def episodes(self) -> pd.DataFrame:
        """One row an episode, in the order in which they ended; returns are unclipped."""
        return self._frame("episodes")

    def evaluations(self) -> pd.DataFrame:
        """One row an episode of the target policy alone, played beside training."""
        return self._frame("evaluations")

    def decisions(self) -> pd.DataFrame:
        """One row a decision of population based training; `old` and `new` hold dicts of hyperparameters."""
        return self._frame("decisions")

    def rounds(self) -> pd.DataFrame:
        """One row a round of a bandit that moves alpha, from `old` to `new`; lists are of its arms."""
        return self._frame("rounds")

    def timing(self) -> pd.DataFrame:
        """One row a log point; `stages` holds dicts of shares."""
        return self._frame("timing")

    def _frame(self, name: str) -> pd.DataFrame:
        if self.broken:
            raise ResultsError(self.broken)
        if not self.done:
            return _frame(self.directory, name)
        paths = [path for path in self.directory.glob(f"{name}.jsonl*") if path.is_file()]
        known = tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(paths))
        return _known_frame(self.directory.resolve(), name, known).copy()


def _frame(directory: Path, name: str) -> pd.DataFrame:
    rows = read_rows(directory, name)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(RECORDS[name]))


@lru_cache(maxsize=512)
def _known_frame(directory: Path, name: str, files: tuple[tuple[str, int, int], ...]) -> pd.DataFrame:
    """`_frame` of a run that is done, kept until one of its files (name, time, size) is another."""
    return _frame(directory, name)


def read_config(directory: Path) -> dict[str, Any]:
    """config.json. Raises ResultsError if it is no configuration."""
    try:
        config = untrusted.read_object(directory / "config.json")
        RecordedConfig.model_validate_json(json.dumps(config), strict=True)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{directory} holds no run: its config.json cannot be read ({why(error)})") from error
    return config


def asked_for(config: Mapping[str, Any]) -> RunConfig:
    """The configuration in a config.json, without the facts that are recorded beside it. Raises ConfigError."""
    facts = RecordedConfig.model_fields.keys() - RunConfig.model_fields.keys()
    return make_config({name: value for name, value in config.items() if name not in facts})


def run_directory(root: str | os.PathLike[str], preset: str, figure: str, level: str, method: str, seed: int) -> Path:
    """Where the run of these five names lies under `root`."""
    return Path(root, *map(file_name, (preset, figure, level, method)), f"seed{seed}")


def sibling(method: str, seed: int) -> str:
    """The run of another method and the same seed, as seen from a run's directory."""
    return f"../../{file_name(method)}/seed{seed}"


def seen_from(directory: Path, place: str) -> Path:
    """Where a path leads that is seen from a run's directory, which begins as that does; an absolute one is itself."""
    for part in Path(place).parts:
        directory = directory.parent if part == ".." and directory.name not in ("", "..") else directory / part
    return directory


def file_name(name: str) -> str:
    """A name of the user as one part of a path: `Lab/Toy-v1` is `Lab%2FToy-v1`, most are themselves."""
    return re.sub(r"^\.|[/%*?\[\]\x00-\x1f]", lambda odd: f"%{ord(odd[0]):02X}", name)


def find_runs(
    root: str | os.PathLike[str],
    preset: str | None = None,
    figure: str | None = None,
    level: str | None = None,
    method: str | None = None,
) -> list[Run]:
    """All runs under `root` with the given names (None matches all), in order of their names and seeds; those that
    cannot be read are among them, and `broken`."""
    pattern = "/".join(file_name(name) if name else "*" for name in (preset, figure, level, method))
    directories = [path.parent for path in Path(root).glob(f"{pattern}/seed*/config.json")]
    return [Run(directory, Path(root)) for directory in sorted(directories, key=natural_order)]


def check_inside(directory: Path, root: Path) -> None:
    """Raises ResultsError if links lead from `directory`, which is under `root`, to somewhere outside of it."""
    if not directory.resolve().is_relative_to(root.resolve()):
        raise ResultsError(f"{directory} is a link to somewhere outside {root}; name that place itself to use it")


def natural_order(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Sorts seed2 before seed10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", str(path))], str(path)
