"""Compiled kernels and their disk cache, which may be closed, damaged or full: then they are compiled again.

Numba notices a change in the file of the function that is called, not in the files of the functions that it calls. So
all kernels lie in a directory named after all of their sources.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

from mmlib import caches
from mmlib.errors import say_once

_CONFIG: Any = numba.config
PACKAGE = Path(__file__).parents[1]


def sources() -> list[Path]:
    """The files with kernels, and those whose constants they have compiled in."""
    table = [PACKAGE / "levels" / name for name in ("arenas.py", "layouts.py", "table.py")]
    return [*sorted((PACKAGE / "levels" / "minilab").rglob("*.py")), *table, PACKAGE / "numerics" / "fused.py"]


@functools.cache  # sources do not change while they are loaded
def directory() -> Path:
    """Where the kernels of exactly these sources lie: below Numba's own NUMBA_CACHE_DIR, else among mmlib's caches."""
    digest = hashlib.sha256()
    for source in sources():
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    own = _CONFIG.CACHE_DIR and Path(_CONFIG.CACHE_DIR) / name
    return own if own and caches.takes_files(own) else caches.directory() / name


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit`, with `cache` on disk as this module keeps it."""

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher = numba.njit(**options)(function)
        if cache:
            with suppress(RuntimeError):  # no place at all: compiled in every process
                dispatcher._cache = _Cache(function)
        return dispatcher

    return compiled


class _Cache(FunctionCache):
    """Numba's cache of one function, whose faults end nothing."""

    def __init__(self, function: Callable[..., Any]) -> None:
        before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(directory())
        try:
            super().__init__(function)
        finally:
            _CONFIG.CACHE_DIR = before

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The kernel compiled for a signature; None if there is none, or none that can be read."""
        try:
            found = super().load_overload(signature, target)
        except Exception as error:  # whatever unpickling an emptied, a cut or somebody else's file raises
            say_once(f"compiled kernels in {directory()} are damaged and made again ({error or type(error).__name__})")
            with suppress(OSError):
                self.flush()
            return None
        if found is None:
            say_once("compiling the engine's kernels, once on this machine (up to a minute) …")
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keeps a compiled kernel, if the disk takes it."""
        try:
            super().save_overload(signature, compiled)
        except OSError as error:
            say_once(f"compiled kernels cannot be kept in {directory()} ({error.strerror or error})")
