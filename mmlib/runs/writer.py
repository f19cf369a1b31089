"""Writing a run's directory, whose layout `reader.py` describes: one process at a time, append-only, nothing lost."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmlib.errors import ResultsError, Stopped
from mmlib.runs import untrusted
from mmlib.runs.owner import claimed, unwritable
from mmlib.runs.reader import STATES, Run, check_same_run
from mmlib.runs.records import RECORDS, DamagedRecord, RecordedConfig, as_plain, encode, read_bytes, replace_file, why
from mmlib.runs.sources import digest


class RunWriter:
    """Writes one run's directory; opening a directory again appends to it, and expands what was compressed.

    directory: made if it is missing.  config: the resolved configuration as a JSON-able dict.
    Use as a context manager: leaving it through an exception marks the run "failed" with the reason, or "stopped" if
    somebody asked for it, and every way out releases the directory.

    Raises ResultsError before any work if the directory cannot be written, if another process is writing it, if it
    holds a run of another configuration (only `agent_steps` may grow: the same run, continued), or if no reader would
    take the configuration.
    """

    def __init__(self, directory: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
        self.directory = Path(directory)
        self._finished = False
        self._files: dict[str, Any] = {}  # of the records that rows were appended to
        self._written: dict[str, tuple[int, Any]] = {}  # bytes of each record and their running SHA-256
        _config_text(config, ())  # refused before anything is made
        with contextlib.ExitStack() as claim:
            claim.enter_context(claimed(self.directory))
            before = check_same_run(self.directory, config, shorter=False)
            try:
                replace_file(self.directory / "config.json", _config_text(config, before.get("sources", ())))
                for name in RECORDS:
                    self._cut(name, read_bytes(self.directory, name).rfind(b"\n") + 1)  # without a torn last line
                self._write_state({"state": "running"})
            except OSError as error:
                raise unwritable(self.directory, error) from error
            self._claim = claim.pop_all()

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows, with the columns of `RECORDS[name]`, to the record of that name.

        Raises ValueError, having written nothing, for a row that could not be read back.
        """
        if not (text := encode(name, rows)):
            return
        if name not in self._files:  # open as long as the run
            self._files[name] = open(self._path(name), "ab", opener=untrusted.no_links)  # noqa: SIM115
        self._files[name].write(text)
        self._files[name].flush()
        length, digest = self._written[name]
        digest.update(text)
        self._written[name] = length + len(text), digest

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
            lengths[name], expected = positions.get(name, _position(b""))
            if _position(read_bytes(self.directory, name)[: lengths[name]]) != [lengths[name], expected]:
                raise DamagedRecord(f"{self._path(name)} is damaged: it is not what it was at the checkpoint")
        for name, length in lengths.items():
            self._cut(name, length)

    def finish(self, state: str = "done", **facts: Any) -> None:
        """Writes the run's last state ("done", "stopped" or "failed") with any facts (`reason=...`) and closes it.

        Raises ValueError for an unknown state.
        """
        if state not in STATES:
            raise ValueError(f"unknown state {state!r}; states: {', '.join(STATES)}")
        self._write_state({"state": state, **facts})
        self._finished = True
        self.close()

    def close(self) -> None:
        """Closes the files and releases the directory; the state stays as it is."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what a full disk did not take stays untaken
                file.close()
        self._files.clear()
        self._claim.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not self._finished:
            state, reason = "failed", f"{type(error).__name__}: {error}"
            if isinstance(error, Stopped | KeyboardInterrupt):
                state, reason = "stopped", str(error) or "interrupted"
            with contextlib.suppress(OSError):  # the disk may be why it failed; the error itself goes on
                self.finish(state, reason=reason)
        self.close()

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.jsonl"

    def _cut(self, name: str, length: int) -> None:
        """Leaves so many bytes of a record, plain."""
        path, kept = self._path(name), read_bytes(self.directory, name)[:length]
        if path.exists():
            os.truncate(path, length)
        elif kept:
            replace_file(path, kept)
        path.with_name(path.name + ".gz").unlink(missing_ok=True)
        self._written[name] = length, hashlib.sha256(kept)

    def _write_state(self, state: Mapping[str, Any]) -> None:
        replace_file(self.directory / "state.json", json.dumps(as_plain(state)) + "\n")


def _position(text: bytes) -> list[Any]:
    """Length and SHA-256."""
    return [len(text), hashlib.sha256(text).hexdigest()]


def _config_text(config: Mapping[str, Any], made_by: Sequence[str]) -> str:
    """A configuration as config.json has it. Raises ResultsError if no reader would take it.

    made_by: digests of the sources that the run was made by so far; this process's is added.
    """
    from mmlib import __version__

    facts = {"mmlib_version": __version__, "sources": [*dict.fromkeys((*made_by, digest()))]}
    text = json.dumps(as_plain({**config, **facts}), indent=2) + "\n"
    try:
        RecordedConfig.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ResultsError(f"this configuration cannot be recorded: {why(error)}") from error
    return text


def compress(directory: Path) -> tuple[int, int]:
    """Compresses the records of a run, if it is done; the same records give the same bytes. Readers take either form.

    A process that is killed meanwhile leaves both forms of a record, of which the plain one counts.

    Returns:
      Bytes of what was compressed, before and after.

    Raises ResultsError if no run is there, or another process is writing it.
    """
    before = after = 0
    if not Run(directory).done:
        return before, after
    with claimed(directory):
        for path in filter(Path.exists, (directory / f"{name}.jsonl" for name in RECORDS)):
            text = untrusted.read_bytes(path)
            small = gzip.compress(text, mtime=0)
            replace_file(path.with_name(path.name + ".gz"), small)
            path.unlink()
            before, after = before + len(text), after + len(small)
    return before, after
