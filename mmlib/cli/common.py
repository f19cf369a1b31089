"""What commands share: how one ends that cannot do what it was asked, and how they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from mmlib.errors import UserError

Results = Annotated[Path, typer.Option("--results", help="The root of the results.")]
Together = Annotated[
    int, typer.Option(min=1, envvar="MMLIB_TOGETHER", help="Seeds side by side in a process, at most: for a GPU.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


class UsageError(UserError):
    """An argument that cannot be used; the message says what is allowed."""


@contextmanager
def bad_input(*others: type[ValueError]) -> Iterator[None]:
    """Turns errors that the user can cause, `others` too, into their sentence and exit code 2."""
    expected: tuple[type[ValueError], ...] = (UserError, *others)
    try:
        yield
    except expected as error:
        fail(str(error), code=2)


class Commands(TyperGroup):
    """Commands, all of them within `bad_input`."""

    def invoke(self, ctx: Any) -> Any:
        with bad_input():
            return super().invoke(ctx)


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with a message on standard error."""
    print(f"mmlib: {message}", file=sys.stderr)
    raise typer.Exit(code)


def read_seeds(text: str | None) -> list[int] | None:
    """Comma-separated seeds, or ranges of them, as integers."""
    if text is None:
        return None
    ranges = [part.split("-") for part in text.replace(" ", "").split(",")]
    if not all(len(ends) <= 2 and all(end.isdecimal() for end in ends) for ends in ranges):
        raise UsageError(f"seeds {text!r} are not comma-separated whole numbers, for instance 1,2,3 or 1-3")
    seeds = [range(int(ends[0]), int(ends[-1]) + 1) for ends in ranges]
    if not all(seeds):
        raise UsageError(f"seeds {text!r}: the smaller end of a range comes first")
    return [*chain(*seeds)]


def print_json(value: Any) -> None:
    """Prints JSON types for scripts."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str] | None, rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """Prints rows as wide as the terminal (160 characters where there is none), the first cell of each on one line.

    Args:
      columns: their names; None is a table of two without a heading.
      right: the columns of numbers.
    """
    table = Table(box=None, pad_edge=False, show_header=columns is not None)
    for place, name in enumerate(columns or ("", "")):
        style = "bold" if columns is None and place == 0 else None
        justify: Any = "right" if name in right else "left"
        table.add_column(name, no_wrap=place == 0, overflow="fold", style=style, justify=justify)
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, emoji=False)  # a name is what it is
    if not console.is_terminal:
        console.width = max(160, console.width)
    console.print(table)
