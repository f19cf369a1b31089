"""A run's records as files: which there are, their columns, their lines, plain (`.jsonl`) or packed (`.jsonl.gz`)."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmlib.errors import ResultsError
from mmlib.runs import untrusted

_CHUNK = 1 << 20
RECORDS = {
    "metrics": (
        *(
            "frames",
            "agent_steps",
            "member",
            "updates",
            "learning_rate",
            "entropy_cost",
            "alpha",
            "return_mean",
        ),
        *("episodes", "pg_loss", "baseline_loss", "entropy", "collision_entropy", "transfer", "rho_mean"),
        *("grad_norm", "value_mean", "value_error", "action_marginals"),
    ),
    "episodes": ("frames", "member", "return", "length_frames", "began"),
    "evaluations": ("frames", "member", "return", "length_frames", "began"),
    "decisions": (
        *("frames", "member", "opponent", "mean", "opponent_mean", "p", "copied", "explored"),
        *("episodes", "opponent_episodes", "began", "opponent_began", "changed", "opponent_changed"),
        *("old", "new"),
    ),
    "timing": ("frames", "seconds", "agent_steps_per_second", "stages"),
}


class DamagedRecord(ResultsError):
    """A record that has been altered or cut."""


def as_plain(value: Any) -> Any:
    """`value` as JSON types: arrays and tuples become lists, numbers that are not finite None."""
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, tensors
        return as_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def line(row: Mapping[str, Any]) -> str:
    """A row as a line of a record."""
    return json.dumps(as_plain(row)) + "\n"


def packed(directory: Path) -> list[str]:
    """The names of the records in `directory` that are packed."""
    return [name for name in RECORDS if (directory / f"{name}.jsonl.gz").exists()]


def read_bytes(directory: Path, name: str) -> bytes:
    """A record as it was written, packed or not; empty if there is none.

    Raises DamagedRecord if the packed form cannot be read.
    """
    plain, compressed = directory / f"{name}.jsonl", directory / f"{name}.jsonl.gz"
    if not plain.exists() and compressed.exists():
        return unpacked(compressed)
    try:
        return untrusted.read_bytes(plain)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DamagedRecord(f"cannot read {plain}: {error.strerror or error}") from error


def unpacked(path: Path) -> bytes:
    """The contents of a packed record. Raises DamagedRecord if they are not whole."""
    try:
        return gzip.decompress(untrusted.read_bytes(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedRecord(f"{path} is damaged: {error}") from error


def read_rows(directory: Path, name: str, last: int | None = None) -> list[dict[str, Any]]:
    """The complete lines of a record, or the `last` of them; a torn last line (without its newline) is ignored.

    Raises DamagedRecord that names a line which is not a JSON object.
    """
    text, rows = read_bytes(directory, name), []
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    first = 0 if last is None else max(0, len(lines) - last)
    for number, text_line in enumerate(lines[first:], start=first + 1):
        try:
            row = untrusted.parse(text_line)
            wrong = untrusted.wrong_row(name, row)
        except ValueError as error:
            wrong = str(error)
        if wrong:
            raise DamagedRecord(f"{directory / name}.jsonl is damaged: line {number} is no row of it ({wrong})")
        rows.append(row)
    return rows


def drop_torn_line(path: Path) -> None:
    """Cuts off what follows a record's last newline, reading backwards."""
    with open(path, "r+b", opener=untrusted.no_links) as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _CHUNK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)


def digest_of(path: Path, length: int | None = None) -> tuple[int, Any]:
    """Bytes read, and their SHA-256, of the first `length` bytes of a file, or all of it."""
    digest, done = hashlib.sha256(), 0
    with open(path, "rb", opener=untrusted.no_links) as file:
        while chunk := file.read(_CHUNK if length is None else min(_CHUNK, length - done)):
            digest.update(chunk)
            done += len(chunk)
    return done, digest


def replace_text(path: Path, text: str) -> None:
    """`replace_bytes` of a text, in UTF-8."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new, never a part; whole on the disk when it returns."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb", opener=untrusted.no_links) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
