"""Ctrl-C and SIGTERM as requests: the loop ends its iteration, writes a checkpoint, and leaves."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Stopped(Exception):
    """A run was asked to stop, and did, with a checkpoint."""

    def __init__(self, which: signal.Signals):
        super().__init__(f"stopped by {which.name}")
        self.exit_code = EXIT_CODES[which]


class StopRequests:
    """While it is open, the first SIGINT or SIGTERM is noted in `received`; a second one acts as it always does.

    Signals reach the main thread only: opened in another one it notes nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for which in EXIT_CODES:
                self._before[which] = signal.signal(which, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)  # type: ignore[arg-type]
        self._before = {}
