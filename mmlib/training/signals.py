"""Ctrl-C, SIGTERM and SIGHUP (a terminal is gone) as requests: the loop ends its iteration, checkpoints, and leaves."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from mmlib.errors import EXIT_CODES, Stopped

PARENT = "MMLIB_PARENT"  # environment variable: the id of the process without which a run is not to go on


class StopRequests:
    """While it is open, the first SIGHUP, SIGINT or SIGTERM is noted in `received`; a second one acts as always.

    One that the process was started to ignore stays ignored: a script's shell starts what it puts into the background
    (`mmlib train &`) without SIGINT, so that Ctrl-C there does not reach it, and `nohup` without SIGHUP; SIGTERM does.
    Signals reach the main thread only: opened in another one it notes nothing. The end of the process that the
    environment variable `PARENT` names is taken for a SIGTERM. Opened inside another, that one is what opens.
    """

    _open: StopRequests | None = None  # the outermost, which hears for those inside it

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        parent = os.environ.get(PARENT, "")
        self._parent = int(parent) if parent.isdecimal() else None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is not threading.main_thread():
            return self
        if StopRequests._open is None:
            StopRequests._open = self
            for which in EXIT_CODES:
                if signal.getsignal(which) is not signal.SIG_IGN:
                    self._before[which] = signal.signal(which, self._note)
        return StopRequests._open

    def __exit__(self, *error: object) -> None:
        if StopRequests._open is self:
            StopRequests._open = None
            self._restore()

    @property
    def received(self) -> signal.Signals | None:
        """What asks the run to stop, if anything does."""
        orphaned = self._parent is not None and os.getppid() != self._parent
        return self._received or (signal.SIGTERM if orphaned else None)

    def stopped(self) -> Stopped:
        """The error to leave with."""
        if self._received is None:
            return Stopped(signal.SIGTERM, "stopped: the process that started it has gone")
        return Stopped(self._received, f"stopped by {self._received.name}")

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)  # type: ignore[arg-type]
        self._before = {}
