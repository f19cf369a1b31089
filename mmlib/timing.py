"""Where the time went: seconds by stage, from several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimer:
    """Adds up seconds by stage name. `with timer("act"): ...`; stages of two threads may overlap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed

    def take(self) -> dict[str, float]:
        """The seconds since the last call, by stage."""
        with self._lock:
            taken, self.seconds = self.seconds, {}
        return taken
