"""The engine's compiled kernels: where Numba keeps them, and that making them takes long.

Numba's disk cache notices a change in the file of the function that is called, not in the files of the
functions that it calls. So the kernels of this package are cached in a directory named after all of its
sources, and those of the table of levels, whose constants they have compiled in.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba

_CONFIG: Any = numba.config


def cache_directory() -> str:
    """A writable directory for the kernels of exactly these sources; "" leaves the choice to Numba."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    table = (package.parent / name for name in ("arenas.py", "layouts.py", "table.py"))
    for source in (*sorted(package.rglob("*.py")), *table):
        digest.update(source.read_bytes())
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    for parent in (_CONFIG.CACHE_DIR or package / "__pycache__", Path(caches) / "mmlib"):
        directory = Path(parent) / f"minilab-{digest.hexdigest()[:16]}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return str(directory)
    return ""


@contextmanager
def cached_here() -> Iterator[None]:
    """Functions that Numba decorates inside keep their machine code in this package's directory."""
    before = _CONFIG.CACHE_DIR
    _CONFIG.CACHE_DIR = cache_directory() or before
    try:
        yield
    finally:
        _CONFIG.CACHE_DIR = before


class Notice:
    """Says so, once, when what runs inside takes long because the kernels are not in the disk cache."""

    shown = False

    def __enter__(self) -> None:
        self._timer = threading.Timer(2.0, self._show)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @classmethod
    def _show(cls) -> None:
        if not cls.shown:
            cls.shown = True
            print("MiniLab: compiling the engine, once on this machine (up to a minute) …", file=sys.stderr)
