"""Work in a thread of the kernel's, which goes on meanwhile: an episode is recorded, a sweep of alpha is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable

GoOn = Callable[[], None]


class Unwanted(Exception):
    """The work has been given up: something else was begun, or it was stopped."""


class Background:
    """One piece of work at a time: what is begun takes the place of what is under way, which ends at its next check."""

    def __init__(self) -> None:
        self._wanted: object = None
        self.thread: threading.Thread | None = None  # of what was begun last

    @property
    def running(self) -> bool:
        """Whether there is work that has neither ended nor been given up."""
        return self._wanted is not None

    def begin(self, work: Callable[[GoOn], object], failed: Callable[[str], object]) -> None:
        """Does `work`, whose argument raises `Unwanted` once it is given up; `failed` is told of an error in words."""
        self._wanted = wanted = object()

        def go_on() -> None:
            """Raises `Unwanted` once something else is wanted."""
            if wanted is not self._wanted:
                raise Unwanted

        def run() -> None:
            """The thread: the work, and how it ended."""
            try:
                work(go_on)
                if wanted is self._wanted:
                    self.stop()
            except Unwanted:
                return
            except Exception as error:  # a thread has nobody else to tell
                if wanted is self._wanted:
                    self.stop()
                    failed(str(error))

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Gives up what is under way."""
        self._wanted = None
