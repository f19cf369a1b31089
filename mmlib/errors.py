"""Errors that more than one part of the package raises or catches, and those of a run said in one sentence each."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Iterable, Iterator
from functools import cache

ADVICE = "what it recorded is kept, and the same command goes on from its last checkpoint"


EXIT_CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}  # of what asks a run to stop


class UserError(ValueError):
    """What whoever gives a command or a setting can cause and mend: its message is the sentence that says so."""


class ResultsError(UserError):
    """A results directory cannot be used; the message says which one, why, and what to do."""


class Stopped(Exception):
    """A run was asked to stop, and did, with a checkpoint."""

    def __init__(self, which: signal.Signals, why: str):
        super().__init__(why)
        self.exit_code = EXIT_CODES[which]


class DivergedError(RuntimeError):
    """No member is left whose loss is finite; the message says when each stopped."""


class WorkersDied(RuntimeError):
    """A level's worker process died again and again; the message has its last words."""


@cache
def say_once(line: str) -> None:
    """Says a line on standard error, the first time."""
    print(f"mmlib: {line}", file=sys.stderr, flush=True)


def in_plain_words(error: BaseException) -> str | None:
    """The sentence for an error of a training run, or None for one that is a defect and deserves its traceback."""
    if out_of_memory(error):
        return f"out of memory; {ADVICE}; fewer num_envs, a shorter unroll or a smaller population need less"
    if failure := device_failure(error):
        return f"{failure}; {ADVICE}"
    if isinstance(error, DivergedError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError | WorkersDied):  # a full disk, for instance
        return f"{type(error).__name__}: {error}; {ADVICE}"
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python says so with a class of its own, PyTorch in words."""
    words = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "bad_alloc")
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, RuntimeError | OSError) and any(word in str(each).lower() for word in words))
        for each in _causes(error)
    )


def device_failure(error: BaseException) -> str | None:
    """What a GPU said that has failed, after which a process can do nothing more with it; None if none did."""
    said = [str(each) for each in _causes(error) if isinstance(each, RuntimeError) and "CUDA error" in str(each)]
    return said[-1].splitlines()[0] if said else None  # the first of them


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those in whose handling it was raised."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def suggestion(name: str, choices: Iterable[str]) -> str:
    """What was probably meant, to end a sentence with; nothing if no choice is like it."""
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
