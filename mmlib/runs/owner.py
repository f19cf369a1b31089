"""Who writes a run: one process at a time, also where locks end at a machine's or container's border.

The process that writes a run locks its directory and leaves `owner.json` there, whose time it renews every `BEAT`
seconds. A process of the same machine and process name space is asked for by its number and when it started; any other
is taken to live as long as its file keeps being renewed, which no clock but the file system's decides.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mmlib.errors import ResultsError
from mmlib.runs import untrusted

FILE = "owner.json"
BEAT = 10.0  # seconds between two renewals
PATIENCE = 3.5  # beats without one, after which an owner elsewhere is taken to be gone
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system without them: owner.json alone decides


@dataclass(frozen=True)
class Owner:
    """A process, wherever it is."""

    host: str
    boot: str  # the running system's own number; the host's name where there is none
    namespace: str  # in which `pid` is a process; "" where there is one alone
    pid: int
    started: str  # when, in its system's words: numbers are used again

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        host, boot, namespace = socket.gethostname(), "", ""
        with contextlib.suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
            namespace = os.readlink("/proc/self/ns/pid")
        return cls(host, boot or host, namespace, os.getpid(), _started(os.getpid()))

    @classmethod
    def of(cls, directory: Path) -> Owner | None:
        """The one that left its name in a run's directory, None if there is none that can be read."""
        try:
            return cls(**untrusted.read_object(directory / FILE))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def near(self) -> bool:
        """Whether its number means the same process here."""
        here = Owner.here()
        return (self.boot, self.namespace) == (here.boot, here.namespace)

    def writes(self, directory: Path) -> bool:
        """Whether it is alive, as far as can be said at once: one elsewhere may have gone since its last beat."""
        if self.near:
            return bool(self.started) and _started(self.pid) == self.started
        return time.time() - _beat(directory) < BEAT * PATIENCE

    def proves_alive(self, directory: Path) -> bool:
        """Whether it is alive; one elsewhere is waited for until it has renewed its file, or had the time to."""
        if self.near:
            return self.writes(directory)
        print(f"mmlib: {self} has written {directory}; waiting to see whether it still does", file=sys.stderr)
        last, until = _beat(directory), time.monotonic() + BEAT * PATIENCE
        while time.monotonic() < until:
            time.sleep(BEAT / 10)
            if _beat(directory) != last:
                return Owner.of(directory) is not None  # None: it left in order
        return False

    def __str__(self) -> str:
        return f"process {self.pid}" + ("" if self.near else f" on {self.host}, another machine or container,")


def _started(pid: int) -> str:
    """When a process started, "" if there is none of that number (or it has ended, and nobody asked how)."""
    if not isinstance(pid, int):  # from a file of anybody's
        return ""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]
    return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, encoding="utf-8").stdout.strip()


def _beat(directory: Path) -> float:
    """When an owner renewed its file for the last time, 0 if it has none."""
    try:
        with open(directory / FILE, "rb", opener=untrusted.no_links) as file:  # to open it asks a file server anew
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return 0.0


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """A run's directory, made if need be, that no other process writes meanwhile.

    Raises ResultsError if it cannot be written, or if another process is writing it.
    """
    check_writable(directory)
    lock, over = os.open(directory, os.O_RDONLY), threading.Event()
    try:
        _take(directory, lock)
        threading.Thread(target=_renew, args=(directory, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with contextlib.suppress(OSError):
                (directory / FILE).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _take(directory: Path, lock: int) -> None:
    """Locks a directory and leaves this process's name there, or raises ResultsError."""
    try:
        taken = not _lock(lock)
        owner = Owner.of(directory)
        if taken or (owner is not None and owner.proves_alive(directory)):
            who = owner or "another process"
            raise ResultsError(f"{who} is writing {directory}; wait for it or choose another directory")
        (directory / FILE).unlink(missing_ok=True)
        with open(directory / FILE, "x", encoding="utf-8", opener=untrusted.no_links) as file:  # of two at once one may
            file.write(json.dumps(asdict(Owner.here())) + "\n")
    except OSError as error:
        raise unwritable(directory, error) from error


def _renew(directory: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(directory / FILE, follow_symlinks=False)


def _lock(descriptor: int) -> bool:
    """Locks a directory. False if another process has it, which a reader may for an instant."""
    for pause in (0.1, 0.0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            if not isinstance(error, BlockingIOError):
                raise
            time.sleep(pause)
    return False


def being_written(directory: Path) -> bool:
    """Whether a process, here or elsewhere, has the run in `directory` open for writing."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it has no locks
        pass
    finally:
        os.close(descriptor)
    owner = Owner.of(directory)
    return owner is not None and owner.writes(directory)


def interrupt(directory: Path) -> int:
    """Asks the process that trains the run in `directory` to stop (it writes a checkpoint first); returns its number.

    Raises ResultsError, having sent nothing, if none trains it, or one elsewhere, whose number is another's here.
    """
    owner = Owner.of(directory)
    if owner is None or not owner.writes(directory):
        raise ResultsError(f"no process of mmlib is training {directory}")
    if not owner.near:
        raise ResultsError(f"{owner} is training {directory}; stop it there")
    with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
        os.kill(owner.pid, signal.SIGTERM)  # SIGINT may be ignored there (see signals.py)
    return owner.pid


def check_writable(directory: Path, option: str = "--results") -> None:
    """Makes the directory if need be. Raises ResultsError, which names the option that chose it, if it cannot be
    written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # without a name, where the system has that
            pass
    except OSError as error:
        raise unwritable(directory, error, option) from error


def unwritable(directory: Path, error: OSError, option: str = "--results") -> ResultsError:
    """The error to raise where a results directory cannot be written."""
    why = error.strerror or error
    return ResultsError(f"cannot write to the results directory {directory}: {why}; choose another with {option}")
