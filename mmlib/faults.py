"""What ends a run that nobody could have checked before it began, said in one sentence each."""

from __future__ import annotations

ADVICE = "what it recorded is kept, and the same command goes on from its last checkpoint"


class WorkersDied(RuntimeError):
    """A level's worker process died again and again; the message has its last words."""


def in_plain_words(error: BaseException) -> str | None:
    """The sentence for an error of a training run, or None for one that is a defect and deserves its traceback."""
    from mmlib.learner import DivergedError  # late: torch

    if out_of_memory(error):
        return f"out of memory; {ADVICE}; fewer num_envs, a shorter unroll or a smaller population need less"
    if isinstance(error, DivergedError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError | WorkersDied):  # a full disk, for instance
        return f"{type(error).__name__}: {error}; {ADVICE}"
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python says so with a class of its own, PyTorch in words."""
    said = str(error).lower()
    words = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "bad_alloc")
    kinds = (RuntimeError, OSError)
    return isinstance(error, MemoryError) or (isinstance(error, kinds) and any(word in said for word in words))
