"""The parent's end of a DeepMind Lab worker process: start it, talk to it, hear its last words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("dmlab_worker.py")
LAUNCH = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
LAST_WORDS = 2000  # characters
PATIENCE = 5.0  # seconds
PARENTS_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)  # a group gets them, its parent decides


class WorkerDied(RuntimeError):
    """The process ended or hung up; the message has its exit code and the end of its standard error."""


class WorkerRefused(RuntimeError):
    """DeepMind Lab could not be imported or made; the message is its own."""


class Worker:
    """A fresh Python process with one Lab. What the engine prints to C stdout goes nowhere, stderr to a file.

    Args:
      setup: what `dmlab_worker.Player` takes, but for the temporary folder, which is the worker's own;
        `setup["memory"]` is a file descriptor, which the worker inherits.
    """

    def __init__(self, setup: dict[str, Any]):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._folder = tempfile.TemporaryDirectory(prefix="mmlib-dmlab-", ignore_cleanup_errors=True)
        self._connection, theirs = Pipe()
        paths = os.pathsep.join(p for p in sys.path if p)
        environment = {"LP_NUM_THREADS": "0"} | os.environ | {"PYTHONPATH": paths}  # software rendering: one thread
        with theirs, _blocked(PARENTS_SIGNALS):
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(SCRIPT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(), setup["memory"]),
                env=environment,
            )
        with contextlib.suppress(OSError):  # if it is dead already, `receive` says so
            self._connection.send({**setup, "temp_folder": self._folder.name})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, method: str, *arguments: Any) -> None:
        """Asks the worker to call a method of its Player; its death shows in `receive`."""
        with contextlib.suppress(OSError):
            self._connection.send((method, *arguments))

    def receive(self, patience: float | None = None) -> Any:
        """The answer to what was sent, or to the start, waited for at most `patience` seconds.

        Raises:
          WorkerDied: the process has ended, or has not answered.
          WorkerRefused: the Lab could not be made.
        """
        try:
            if patience is not None and not self._connection.poll(patience):
                raise WorkerDied(f"no answer within {patience:.0f} s")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            raise WorkerDied(self._last_words()) from None
        if kind == "refused":
            raise WorkerRefused(value)
        return value

    def _last_words(self) -> str:
        self.stop()
        size = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), LAST_WORDS, max(0, size - LAST_WORDS))
        words = tail.decode(errors="replace").strip() or "it said nothing"
        return f"exit code {self._process.returncode}; {words}"

    def hang_up(self) -> None:
        """Tells the worker to end; `stop` waits for it."""
        self._connection.close()

    def stop(self) -> None:
        """Ends the process: politely, and after `PATIENCE` seconds by force."""
        self.hang_up()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


@contextlib.contextmanager
def _blocked(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Blocks signals for this thread, and for good in a process that it starts meanwhile.

    So there is no moment at which the new process can be ended by them, and no handler of the engine's hears them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
