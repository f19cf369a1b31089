"""Writing a run's directory, whose layout `reader.py` describes: one process at a time, append-only, nothing lost."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mmlib.errors import ResultsError, Stopped
from mmlib.runs import untrusted
from mmlib.runs.reader import STATES, config_differences, read_config, state_of
from mmlib.runs.records import RECORDS, DamagedRecord, as_plain, digest_of, drop_torn_line, line, packed, replace_text


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
            old = read_config(self.directory)
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
