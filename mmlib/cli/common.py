"""How a command ends that cannot do what it was asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

import typer


class Unfailing:
    """A standard stream that drops what its terminal, pipe or file does not take: no display ends a command's work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            with suppress(OSError):  # from here on; also what is still in its buffer
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class UsageError(ValueError):
    """An argument that cannot be used; the message says what is allowed."""


@contextmanager
def bad_input() -> Iterator[None]:
    """Turns errors that the user can cause into their sentence and exit code 2."""
    from mmlib.config import ConfigError
    from mmlib.errors import ResultsError
    from mmlib.experiments.design import ExperimentError
    from mmlib.runs.schedules import ScheduleError
    from mmlib.training.checkpoint import CheckpointError

    known = (UsageError, ConfigError, ExperimentError, ResultsError, ScheduleError, CheckpointError)
    try:
        yield
    except known as error:
        fail(str(error), code=2)


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with a message on standard error."""
    print(f"mmlib: {message}", file=sys.stderr)
    raise typer.Exit(code)


def read_seeds(text: str | None) -> list[int] | None:
    """Comma-separated seeds as integers."""
    if text is None:
        return None
    parts = text.replace(" ", "").split(",")
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"seeds {text!r} are not comma-separated whole numbers, for instance 1,2,3")
    return [int(part) for part in parts]
