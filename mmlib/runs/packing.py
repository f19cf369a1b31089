"""Packed runs: the records of a finished run compressed, for keeping many of them in a repository.

`metrics.jsonl` becomes `metrics.jsonl.gz`, and so on; config.json and state.json stay as they are. The same records
give the same bytes, and unpacking gives the records back to the last byte. `Run` reads either form; nothing is appended
to a packed one.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmlib.errors import ResultsError
from mmlib.runs.reader import Run
from mmlib.runs.records import RECORDS, packed, replace_bytes, unpacked
from mmlib.runs.writer import claim

LEVEL = 9  # of compression


@dataclass(frozen=True)
class Packed:
    """What happened to one run's records: their bytes before and after, or why nothing did."""

    directory: Path
    before: int
    after: int
    skipped: str = ""


def run_directories(path: Path) -> list[Path]:
    """The run that `path` is, or the runs anywhere below it, in order. Raises ResultsError if there is none."""
    found = sorted(config.parent for config in path.rglob("config.json"))
    if path in found:
        return [path]
    if not found:
        raise ResultsError(f"{path} holds no run, nor does a directory below it")
    return found


def pack(path: Path) -> list[Packed]:
    """Packs the run in `path`, or all finished runs below it; what is packed already stays.

    Below a directory of several runs those that are not done are skipped.

    Raises:
      ResultsError: no run is there, the one named is not done, another process is writing it, or it has been
        altered since it was packed.
    """
    return [_pack(directory, alone=directory == path) for directory in run_directories(path)]


def unpack(path: Path) -> list[Packed]:
    """Gives the run in `path`, or all runs below it, their plain records back. Raises ResultsError, as `pack`."""
    return [_unpack(directory) for directory in run_directories(path)]


def _pack(directory: Path, alone: bool) -> Packed:
    state = Run(directory).state
    if state != "done":
        reason = f"{directory} is {state}; only runs that are done are packed"
        if alone:
            raise ResultsError(reason)
        return Packed(directory, 0, 0, skipped=state)
    before = after = 0
    with _claimed(directory):
        for name in RECORDS:
            plain, compressed = _paths(directory, name)
            if not plain.exists():
                continue
            text = plain.read_bytes()
            if compressed.exists() and unpacked(compressed) != text:
                raise ResultsError(f"{plain} and {compressed.name} differ; delete the one that is wrong")
            squeezed = gzip.compress(text, LEVEL, mtime=0)
            replace_bytes(compressed, squeezed)
            plain.unlink()
            before, after = before + len(text), after + len(squeezed)
    return Packed(directory, before, after)


def _unpack(directory: Path) -> Packed:
    before = after = 0
    with _claimed(directory):
        for name in packed(directory):
            plain, compressed = _paths(directory, name)
            text = unpacked(compressed)
            if plain.exists() and plain.read_bytes() != text:
                raise ResultsError(f"{plain} and {compressed.name} differ; delete the one that is wrong")
            before, after = before + compressed.stat().st_size, after + len(text)
            replace_bytes(plain, text)
            compressed.unlink()
    return Packed(directory, before, after)


def _paths(directory: Path, name: str) -> tuple[Path, Path]:
    return directory / f"{name}.jsonl", directory / f"{name}.jsonl.gz"


@contextmanager
def _claimed(directory: Path) -> Iterator[None]:
    """Keeps every writer out of a run's directory."""
    lock = claim(directory)
    try:
        yield
    finally:
        os.close(lock)
