"""How many threads there could be, and how many an operation takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def allowed() -> list[int]:
    """The numbers of the cores that this process may use; none where the system has no such thing."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def cores() -> int:
    """How many cores this process may use."""
    return len(allowed()) or os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs many small operations on one thread, where several would wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
