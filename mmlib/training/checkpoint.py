"""Checkpoints: written aside, flushed to disk, renamed, the last good one kept; loaded without executing anything.

A file is a line of text with the format's version and the payload's SHA-256, then the payload as torch.save makes it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mmlib.errors import UserError
from mmlib.runs.records import flush_names, written_aside
from mmlib.runs.untrusted import read_bytes

FILE, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
VERSION = 5
_HEADER = re.compile(rb"mmlib checkpoint (\d{1,9}) sha256 ([0-9a-f]{64})\n")
WRONG_SHAPE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What comes of putting a checkpoint's parts where they do not belong: whole, but not of mmlib, or of another run."""


class CheckpointError(UserError):
    """A checkpoint that cannot be used; the message names the file and what is wrong with it."""


class DamagedError(CheckpointError):
    """A checkpoint that is not what was written: cut short, altered, or not a checkpoint at all."""


def save(directory: Path, state: dict[str, Any]) -> None:
    """Makes `state` (tensors, numbers, strings and containers of them) the checkpoint in `directory`.

    The checkpoint until now is kept beside it. At every moment at least one of the two is whole on the disk, if the
    one until now is (see `settle`).
    Raises OSError if it cannot be written; the checkpoint until now stays then.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload, path = buffer.getbuffer(), directory / FILE
    header = f"mmlib checkpoint {VERSION} sha256 {hashlib.sha256(payload).hexdigest()}\n"
    new = written_aside(path, header.encode(), payload)
    if path.exists():
        os.replace(path, directory / PREVIOUS)
    os.replace(new, path)
    flush_names(directory)


def names(directory: Path) -> list[str]:
    """The checkpoint files that there are, whole or not, the newest first."""
    return [name for name in (FILE, PREVIOUS) if (directory / name).exists()]


def candidates(directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The whole checkpoints in `directory`, on the CPU, the newest first; damaged ones are named on standard error.

    Raises CheckpointError if there are some and all are damaged, or on another version.
    """
    damaged, whole = list[str](), False
    for path in (directory / name for name in names(directory)):
        try:
            state = read(path)
        except DamagedError as error:
            damaged.append(str(error))
            print(f"mmlib: {error}", file=sys.stderr)
            continue
        whole = True
        yield path, state
    if damaged and not whole:
        raise CheckpointError("; ".join(damaged) + "; delete the run's directory to start over")


def load(directory: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint in `directory`, or None if there is none at all (see `candidates`)."""
    return next((state for _, state in candidates(directory)), None)


def settle(path: Path) -> None:
    """Makes `path`, which a run goes on from, the newest checkpoint of its directory: one that it does not is dropped.

    Else the next `save` would keep the unusable one as the last good one. Raises OSError.
    """
    if path.name == PREVIOUS:
        (path.parent / FILE).unlink(missing_ok=True)
        flush_names(path.parent)


def read(path: Path) -> dict[str, Any]:
    """What `save` was given, and its "checksum", out of one file.

    Raises CheckpointError, of the kind DamagedError if it is not what was written.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DamagedError(f"cannot read {path}: {error.strerror or error}") from error
    header = _HEADER.match(content)
    if header is None:
        raise DamagedError(f"{path} is damaged or no checkpoint: it does not begin like one")
    version = int(header[1])
    if version != VERSION:
        raise CheckpointError(f"{path} has checkpoint version {version}; this mmlib reads version {VERSION}")
    payload = content[header.end() :]
    if hashlib.sha256(payload).hexdigest().encode() != header[2]:
        raise DamagedError(f"{path} is damaged: its contents do not match their checksum")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # the checksum is right, so somebody made it so; nothing in it was executed
        raise DamagedError(f"{path} is no checkpoint of mmlib: {type(error).__name__}") from error
    if not isinstance(state, dict):
        raise DamagedError(f"{path} is no checkpoint of mmlib: it holds a {type(state).__name__}")
    return {**state, "checksum": header[2].decode()}
