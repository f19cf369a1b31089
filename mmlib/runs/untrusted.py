"""Files in a directory that somebody else may have filled: regular ones only, and JSON that is parsed, never executed.

A link in a run's directory is never followed, so a path in it leads to nothing outside; a pipe or a device is no file.
What JSON must be to be a record, records.py says.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn


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
