"""Results as facts on disk: one run is one directory of append-only records.

Layout: `<root>/<preset>/<figure>/<level>/<method>/seed<k>/` with

    config.json     the resolved configuration, the mmlib version, the backend in force
    metrics.jsonl   one row a member every `log_every` agent steps
    episodes.jsonl  one row an episode: environment frames of the member at its end, return, length in frames
    evaluations.jsonl  one row an episode of the target policy alone, where it is played beside training
    decisions.jsonl one row a decision of population based training: who copied whom, old and new hyperparameters
    timing.jsonl    throughput and the share of each stage
    state.json      {"state": "running" | "done" | "stopped" | "failed", ...}, replaced atomically

Every line is one JSON object and is flushed when written, so a run that was killed loses at most its last
line, which the readers ignore and the next writer removes. The records of a finished run may be packed
(`packing.py`): `metrics.jsonl.gz` in place of `metrics.jsonl`; readers take either, writers refuse.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from mmlib import untrusted
from mmlib.records import (
    RECORDS,
    DamagedRecord,
    ResultsError,
    as_plain,
    digest_of,
    drop_torn_line,
    line,
    packed,
    read_rows,
    replace_text,
)
from mmlib.signals import Stopped

STATES = ("running", "done", "stopped", "failed")
# What a config.json holds beside the configuration, and the facts that have no part in what a run learns.
RECORDED_FACTS = frozenset({"mmlib_version", "backend_in_force"})
_CHUNK = 1 << 20
NOT_COMPARED = frozenset({"mmlib_version", "backend", "device", "agent_steps", "log_every"})


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a recorded configuration says were in force.

    One that it lacks, because it was recorded before there was such a setting, has its default (a new setting's default
    is what was done before it). The schedule of alpha plays no part, and is left out, where PBT adapts alpha.
    """
    from mmlib.config import SETTING_DEFAULTS  # late: pydantic

    settings: dict[str, Any] = as_plain({**SETTING_DEFAULTS, **config})
    if settings.get("pbt") is not None:
        settings.pop("alpha", None)
    return settings


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any], ignore: Iterable[str] = ()) -> list[str]:
    """Names of the `comparable` settings in which two configurations differ, but for `NOT_COMPARED` and `ignore`."""
    one, two, missing = comparable(first), comparable(second), object()
    names = {*one, *two} - NOT_COMPARED.union(ignore)
    if not ("alpha" in one and "alpha" in two):  # PBT adapts one of them, which "pbt" says
        names.discard("alpha")
    return sorted(name for name in names if one.get(name, missing) != two.get(name, missing))


class RunWriter:
    """Writes one run's directory; opening a directory again appends to it.

    directory: made if it is missing.  config: the resolved configuration as a JSON-able dict.
    Use as a context manager: leaving it through an exception marks the run "failed" with the reason, or "stopped" if
    somebody asked for it, and every way out releases the directory.

    Raises ResultsError before any work if the directory cannot be written, if another process is writing it,
    if its records are packed, or if it holds a run of another configuration (only `agent_steps` may grow: the same
    run, continued).
    """

    def __init__(self, directory: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
        self.directory = Path(directory)
        self._files: dict[str, Any] = {}
        self._written: dict[str, tuple[int, Any]] = {}  # bytes of each record and their running SHA-256
        self._lock: int | None = claim(self.directory)
        try:
            check_unpacked(self.directory)
            self._write_config(dict(config))
            for name in RECORDS:
                self._open(name)
            self._write_state({"state": "running", "pid": os.getpid()})
        except OSError as error:
            self.close()
            raise _unwritable(self.directory, error) from error
        except ResultsError:
            self.close()
            raise

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Appends one row of metrics: the columns of `RECORDS["metrics"]`; frames are the member's."""
        self._append("metrics", [row])

    def episodes(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends finished episodes: frames (the member's, at the end), member, return, length_frames."""
        self._append("episodes", rows)

    def evaluations(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends finished episodes of the target policy alone: the columns of `episodes`."""
        self._append("evaluations", rows)

    def decisions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends decisions of population based training (see `pbt.Decision`)."""
        self._append("decisions", rows)

    def timing(self, row: Mapping[str, Any]) -> None:
        """Appends one row of timing: frames, seconds since the start, agent_steps_per_second, stages."""
        self._append("timing", [row])

    def positions(self) -> dict[str, list[Any]]:
        """Length in bytes and SHA-256 of each record so far, for a checkpoint; what they cover is on the disk then."""
        for file in self._files.values():
            os.fsync(file.fileno())  # a checkpoint never outlives the records that it belongs to
        return {name: [length, digest.hexdigest()] for name, (length, digest) in self._written.items()}

    def restore(self, positions: Mapping[str, Sequence[Any]]) -> None:
        """Drops every record later than `positions`: what follows a checkpoint will be made again.

        Raises DamagedRecord, having changed nothing, if a record is not what it was then.
        """
        lengths = {}
        for name in RECORDS:
            length, digest = positions.get(name, (0, hashlib.sha256().hexdigest()))
            lengths[name], found = digest_of(self._path(name), length)
            if lengths[name] != length or found.hexdigest() != digest:
                raise DamagedRecord(f"{self._path(name)} is damaged: it is not what it was at the checkpoint")
        for name, length in lengths.items():
            self._files.pop(name).close()
            os.truncate(self._path(name), length)
            self._open(name)

    def finish(self, state: str = "done", **facts: Any) -> None:
        """Writes the run's last state ("done", "stopped" or "failed") with any facts (`reason=...`) and closes it.

        Raises ValueError for an unknown state.
        """
        if state not in STATES:
            raise ValueError(f"unknown state {state!r}; states: {', '.join(STATES)}")
        self._write_state({"state": state, **facts})
        self.close()

    def close(self) -> None:
        """Closes the files and releases the directory; the state stays as it is."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what a full disk did not take stays untaken
                file.close()
        self._files.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._files:
            state, reason = "failed", f"{type(error).__name__}: {error}"
            if isinstance(error, Stopped | KeyboardInterrupt):
                state, reason = "stopped", str(error) or "interrupted"
            with contextlib.suppress(OSError):  # the disk may be why it failed; the error itself goes on
                self._write_state({"state": state, "reason": reason})
        self.close()

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.jsonl"

    def _open(self, name: str) -> None:
        path = self._path(name)
        if path.exists():
            drop_torn_line(path)
        self._files[name] = open(path, "ab", opener=untrusted.no_links)  # noqa: SIM115 - as long as the run
        self._written[name] = digest_of(path)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        file, text = self._files[name], "".join(line(row) for row in rows).encode()
        file.write(text)
        file.flush()
        length, digest = self._written[name]
        digest.update(text)
        self._written[name] = length + len(text), digest

    def _write_config(self, config: dict[str, Any]) -> None:
        from mmlib import __version__

        path = self.directory / "config.json"
        if path.exists():
            old = _read_config(self.directory)
            different = config_differences(old, config)
            if config.get("agent_steps", 0) < old.get("agent_steps", 0):  # it may grow
                different.append("agent_steps")
            if different:
                named = ", ".join(f"{name} ({old.get(name)!r} there, {config.get(name)!r} here)" for name in different)
                raise ResultsError(
                    f"{self.directory} holds a run of another configuration: {named}; "
                    "choose another directory or delete that one"
                )
        replace_text(path, json.dumps(as_plain({**config, "mmlib_version": __version__}), indent=2) + "\n")

    def _write_state(self, state: Mapping[str, Any]) -> None:
        replace_text(self.directory / "state.json", json.dumps(as_plain(state)) + "\n")


class Run:
    """One run's directory, for reading; it may still be running.

    directory: Path.  config: dict.  broken: why the run cannot be read, "" if it can (others than "" come from
    `find_runs` alone; such a run has no config, has failed, and its records raise ResultsError).

    Raises ResultsError if there is no readable config.json.  Nothing in the directory is executed and no link in it
    followed; a record that is damaged, or holds something else than its rows, raises DamagedRecord when it is read.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.config: dict[str, Any] = _read_config(self.directory)
        self.broken = ""

    @classmethod
    def _unreadable(cls, directory: Path, why: str) -> Run:
        run = cls.__new__(cls)
        run.directory, run.config, run.broken = directory, {}, why
        return run

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r}, state={self.state!r})"

    @property
    def facts(self) -> dict[str, Any]:
        """state.json as it is now: {"state": ..., "reason": ..., ...}; a run without one counts as failed."""
        return {"state": "failed", "reason": self.broken} if self.broken else state_of(self.directory)

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

    def timing(self) -> pd.DataFrame:
        """One row a log point; `stages` holds dicts of shares."""
        return self._frame("timing")

    def _frame(self, name: str) -> pd.DataFrame:
        if self.broken:
            raise ResultsError(self.broken)
        rows = read_rows(self.directory, name)
        frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(RECORDS[name]))
        missing = [column for column in ("frames", "agent_steps", "member") if column not in frame]
        return frame.reindex(columns=[*frame.columns, *missing]) if name == "metrics" and missing else frame


def state_of(directory: Path) -> dict[str, Any]:
    """state.json; a directory without a readable one counts as failed."""
    try:
        facts = untrusted.read_object(directory / "state.json")
    except (OSError, ValueError):
        facts = {}
    return facts if facts.get("state") in STATES else {"state": "failed", "reason": "no state was written"}


def _read_config(directory: Path) -> dict[str, Any]:
    """config.json. Raises ResultsError if it is no configuration."""
    try:
        config = untrusted.read_object(directory / "config.json")
        wrong = untrusted.wrong_config(config)
    except (OSError, ValueError) as error:
        wrong = str(error)
    if wrong:
        raise ResultsError(f"{directory} holds no run: its config.json cannot be read ({wrong})")
    return config


def run_directory(root: str | os.PathLike[str], preset: str, figure: str, level: str, method: str, seed: int) -> Path:
    """Where the run of these five names lies under `root`."""
    return Path(root) / preset / figure / level / method / f"seed{seed}"


def find_runs(
    root: str | os.PathLike[str],
    preset: str | None = None,
    figure: str | None = None,
    level: str | None = None,
    method: str | None = None,
) -> list[Run]:
    """All runs under `root` with the given names (None matches all), in order of their names and seeds.

    One that cannot be read is among them, with the reason as its `broken`; so is one outside `root`, to which a link
    in it leads.
    """
    pattern = "/".join(name or "*" for name in (preset, figure, level, method))
    directories = [path.parent for path in Path(root).glob(f"{pattern}/seed*/config.json")]
    return [read_run(directory, Path(root)) for directory in sorted(directories, key=natural_order)]


def read_run(directory: Path, root: Path) -> Run:
    """The run in a directory under `root`; broken, with the reason, if it cannot be read or lies outside."""
    try:
        check_inside(directory, root)
        return Run(directory)
    except ResultsError as error:
        return Run._unreadable(directory, str(error))


def check_inside(directory: Path, root: Path) -> None:
    """Raises ResultsError if links lead from `directory`, which is under `root`, to somewhere outside of it."""
    if not directory.resolve().is_relative_to(root.resolve()):
        raise ResultsError(f"{directory} is a link to somewhere outside {root}; name that place itself to use it")


def natural_order(path: Path) -> list[tuple[str, int]]:
    """Sorts seed2 before seed10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", str(path))]


def check_writable(directory: Path) -> None:
    """Makes the directory if need be. Raises ResultsError if it cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # without a name, where the system has that
            pass
    except OSError as error:
        raise _unwritable(directory, error) from error


def check_unpacked(directory: Path) -> None:
    """Raises ResultsError if a record in `directory` is packed: nothing can be appended to it."""
    if names := packed(directory):
        raise ResultsError(
            f"{directory} is packed ({names[0]}.jsonl.gz) and cannot go on; unpack it first: "
            f"mmlib pack --undo {directory}"
        )


def claim(directory: Path) -> int:
    """Makes the directory and locks it for this process; returns the lock's file descriptor (close it to release).

    Raises ResultsError if it cannot be written, or if another process is writing it.
    """
    check_writable(directory)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a reader that asks whether there is a writer holds it for an instant (`liveness.py`)
            time.sleep(0.1)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        holder = f"process {pid}" if (pid := state_of(directory).get("pid")) else "another process"
        raise ResultsError(f"{holder} is writing {directory}; wait for it or choose another directory") from error
    except OSError as error:
        os.close(descriptor)
        raise _unwritable(directory, error) from error
    return descriptor


def _unwritable(directory: Path, error: OSError) -> ResultsError:
    return ResultsError(
        f"cannot write to the results directory {directory}: {error.strerror or error}; choose another with --results"
    )
