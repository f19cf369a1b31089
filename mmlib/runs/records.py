"""A run's records: their files, and the table of their columns, which decides what is written and what is read.

A record is lines of JSON, plain (`metrics.jsonl`) or, of a run that is done, compressed (`metrics.jsonl.gz`).
Where both are there the plain one counts.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import reprlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import Buffer, Required, TypedDict

from mmlib.config import LARGEST, RunConfig
from mmlib.errors import ResultsError
from mmlib.runs import untrusted

Whole = Annotated[int, Field(ge=0, le=LARGEST)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Maybe = Number | None  # None where there is none, or none that is finite
Named = dict[str, Number]

_EPISODE: dict[str, Any] = {"frames": Required[Whole], "member": Required[Whole], "return": Required[Maybe]}
_EPISODE |= {"length_frames": Whole, "began": Whole, "level": str}  # the level in multitask runs alone
RECORDS: dict[str, dict[str, Any]] = {  # the columns of each; `Required` ones are in every row
    "metrics": {"frames": Required[Whole], "agent_steps": Whole, "member": Required[Whole], "updates": Whole}
    | dict.fromkeys(("learning_rate", "entropy_cost", "alpha", "return_mean"), Maybe)
    | {"episodes": Whole}
    | dict.fromkeys(("pg_loss", "baseline_loss", "entropy", "collision_entropy", "transfer", "rho_mean"), Maybe)
    | dict.fromkeys(("grad_norm", "value_mean", "value_error", "explained_variance"), Maybe)
    | {"action_marginals": list[Number]},
    "episodes": _EPISODE,
    "evaluations": _EPISODE,
    "decisions": {"frames": Required[Whole], "member": Required[Whole], "opponent": Required[Whole]}
    | dict.fromkeys(("mean", "opponent_mean", "p"), Maybe)
    | dict.fromkeys(("episodes", "opponent_episodes", "changed", "opponent_changed"), Whole)
    | dict.fromkeys(("began", "opponent_began"), Whole | None)
    | {"copied": Required[bool], "explored": bool, "old": Required[Named], "new": Required[Named]},
    "rounds": {"frames": Required[Whole], "member": Required[Whole], "mean": Maybe, "reward": Maybe}
    | {"log_weights": list[Number], "probabilities": list[Number], "arm": Annotated[int, Field(ge=-1, le=1)]}
    | {"old": Required[Number], "new": Required[Number]},
    "timing": {"frames": Required[Whole], "seconds": Number, "agent_steps_per_second": Number, "stages": Named},
}


def _rows_of(name: str) -> TypeAdapter[list[dict[str, Any]]]:
    """Rows of a record; further columns are numbers, as `entropy_1`, … of the constituents."""
    make: Any = TypedDict  # its columns are no constant of the source, which type checkers want
    row: Any = make(name, RECORDS[name], total=False, extra_items=Maybe)
    row.__pydantic_config__ = ConfigDict(strict=True)
    return TypeAdapter(list[row])


_ROWS = {name: _rows_of(name) for name in RECORDS}


class RecordedConfig(RunConfig):
    """What config.json holds: the configuration and what is noted beside it; settings of other versions are let be."""

    model_config = ConfigDict(extra="allow")
    mmlib_version: str = ""
    backend_in_force: str = ""
    agent: str = ""  # what the method was then, see `fitting.definition`
    sources: tuple[str, ...] = ()  # digests (sources.py) of the code that made it: several if it was resumed by another


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


def encode(name: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as lines of the record of that name. Raises ValueError for a row that could not be read back."""
    lines = [json.dumps(as_plain(row)).encode() for row in rows]
    decode(name, lines)
    return b"".join(line + b"\n" for line in lines)


def decode(name: str, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """The rows that lines of the record of that name hold. Raises ValueError that names a line which is none."""
    try:
        rows = _ROWS[name].validate_json(b"[" + b",".join(lines) + b"]")
        if len(rows) == len(lines):
            return rows
    except ValidationError:
        pass
    for number, line in enumerate(lines, start=1):
        try:
            if len(_ROWS[name].validate_json(b"[" + line + b"]")) != 1:
                raise ValueError("it is not one object")
        except ValueError as error:  # as a ValidationError is
            raise ValueError(f"line {number} is no row of it ({why(error)})") from error
    raise ValueError("its lines are no rows of it")


def why(error: Exception) -> str:
    """The first thing that is wrong, in words."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    given = "" if first["type"] in ("missing", "json_invalid") else f", not {reprlib.repr(first['input'])}"
    return f"{place}: {first['msg']}{given}".removeprefix(": ")


def read_rows(directory: Path, name: str, last: int | None = None) -> list[dict[str, Any]]:
    """The complete rows of a record, or the `last` of them; a torn last line (without its newline) is ignored.

    Raises DamagedRecord that names a line which is no row of it.
    """
    path = directory / f"{name}.jsonl"
    if last is not None:
        with contextlib.suppress(OSError, ValueError):  # all of it says which line it is
            return decode(name, _tail(path, last) if path.exists() else _lines(directory, name)[-last:])
    lines = _lines(directory, name)
    try:
        return decode(name, lines)
    except ValueError as error:
        raise DamagedRecord(f"{path} is damaged: {error}") from error


def _lines(directory: Path, name: str) -> list[bytes]:
    return read_bytes(directory, name).split(b"\n")[:-1]


def _tail(path: Path, count: int) -> list[bytes]:
    """A file's last complete lines, read from its end. Raises OSError."""
    with open(path, "rb", opener=untrusted.no_links) as file:
        end, size = file.seek(0, os.SEEK_END), 1 << 14
        while True:
            start = file.seek(max(0, end - size))
            lines = file.read(end - start).split(b"\n")[:-1]
            if start == 0 or len(lines) > count:
                return lines[-count:]
            size *= 4


def read_bytes(directory: Path, name: str) -> bytes:
    """A record as it was written, compressed or not; empty if there is none. Raises DamagedRecord."""
    path = directory / f"{name}.jsonl"
    try:
        return untrusted.read_bytes(path)
    except FileNotFoundError:
        pass  # it is compressed, perhaps since a moment ago
    except OSError as error:
        raise DamagedRecord(f"cannot read {path}: {error.strerror or error}") from error
    compressed = path.with_name(path.name + ".gz")
    try:
        return gzip.decompress(untrusted.read_bytes(compressed))
    except FileNotFoundError:
        return b""
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedRecord(f"{compressed} is damaged: {error}") from error


def replace_file(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader sees the old one or the new, never a part; whole on the disk when it returns."""
    os.replace(written_aside(path, content.encode() if isinstance(content, str) else content), path)
    flush_names(path.parent)


def flush_names(directory: Path) -> None:
    """Makes what was renamed or removed in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def written_aside(path: Path, *parts: Buffer) -> Path:
    """The file, whole on the disk, that is to take the place of another. Raises OSError, and leaves none then."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb", opener=untrusted.no_links) as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
