"""Reading and writing in a directory that somebody else may have filled: regular files only, and checked shapes.

A link in a run's directory is never followed, so a path in it leads to nothing outside; a pipe or a device is no file.
JSON is parsed, never executed; what has not the shape of a record is named, whatever it is.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

LARGEST = 2**53  # of a whole number, as in most readers of JSON

WHOLE = frozenset(
    {"frames", "agent_steps", "member", "updates", "episodes", "opponent", "length_frames"}
    | {"opponent_episodes", "changed", "opponent_changed"}
)
NUMBERS_BY_NAME = frozenset({"old", "new", "stages"})
NEEDED = {
    "metrics": ("frames",),
    "episodes": ("frames", "member", "return"),
    "evaluations": ("frames", "member", "return"),
    "decisions": ("frames", "member", "opponent", "copied", "old", "new"),
    "timing": ("frames",),
}
_COUNTS = ("population", "agent_steps", "num_envs", "unroll", "action_repeat", "width", "height", "log_every")
_TEXTS = ("backend", "backend_in_force", "mmlib_version", "device", "dtype")


def no_links(path: str | os.PathLike[str], flags: int) -> int:
    """An `opener` for `open`: refuses links (in the last part of the path) and what is no regular file, by OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return descriptor


def read_bytes(path: Path) -> bytes:
    """A regular file's content. Raises OSError."""
    with open(path, "rb", opener=no_links) as file:
        return file.read()


def parse(text: bytes | str) -> Any:
    """JSON as a value. Raises ValueError for whatever is wrong with it, numbers that are not finite included."""
    try:
        return json.loads(text, parse_constant=_not_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object in a file. Raises OSError or ValueError."""
    value = parse(read_bytes(path))
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}, not an object")
    return value


def wrong_config(values: dict[str, Any]) -> str:
    """What a recorded configuration lacks or has of the wrong kind, "" if it can be read."""
    for name in ("level", "method"):
        if not isinstance(values.get(name), str):
            return f"its {name} is {_short(values.get(name))}, not a name"
    if not _is_whole(values.get("seed")):
        return f"its seed is {_short(values.get('seed'))}, not a whole number"
    for name in _COUNTS:
        if name in values and not (_is_whole(values[name]) and values[name] > 0):
            return f"its {name} is {_short(values[name])}, not a whole number above 0"
    for name in _TEXTS:
        if not isinstance(values.get(name, ""), str):
            return f"its {name} is {_short(values[name])}, not text"
    if not isinstance(values.get("pbt"), dict | None):
        return f"its pbt is {_short(values['pbt'])}, not an object"
    if not isinstance((values.get("pbt") or {}).get("adapt", []), list):
        return f"its pbt.adapt is {_short(values['pbt']['adapt'])}, not a list"
    return ""


def wrong_row(record: str, row: Any) -> str:
    """What is wrong with a row of the record of that name (a key of `records.RECORDS`), "" if it can be read."""
    if not isinstance(row, dict):
        return f"it is {_short(row)}, not an object"
    for name in NEEDED[record]:
        if row.get(name) is None:
            return f"it has no {name}"
    for name, value in row.items():
        if not _fits(record, name, value):
            return f"its {name} is {_short(value)}"
    return ""


def _fits(record: str, name: str, value: Any) -> bool:
    if name in WHOLE:
        return _is_whole(value)
    if name in NUMBERS_BY_NAME:
        return isinstance(value, dict) and all(map(_is_number, value.values()))
    if name == "action_marginals":
        return isinstance(value, list) and all(map(_is_number, value))
    if name in ("copied", "explored"):
        return isinstance(value, bool)
    if name == "level":
        return isinstance(value, str)
    return value is None or _is_number(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."
