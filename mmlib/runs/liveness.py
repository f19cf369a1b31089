"""Whether a run's process is alive: it holds the lock of the run's directory as long as it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from pathlib import Path

from mmlib.errors import ResultsError
from mmlib.runs.reader import Run, state_of


def being_written(directory: Path) -> bool:
    """Whether a process on this machine has the run in `directory` open for writing."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def state_now(run: Run) -> str:
    """The run's state, where a run that says "running" and has no process any more is "killed"."""
    state = run.state
    if state != "running" or being_written(run.directory):
        return state
    return "killed" if run.state == "running" else run.state  # it may have ended between the two looks


def interrupt(directory: Path) -> int:
    """Asks the process that trains the run in `directory` to stop (it writes a checkpoint first); returns its id.

    Raises ResultsError, having sent nothing, if no process of mmlib trains it.
    """
    pid = state_of(directory).get("pid")
    if not being_written(directory) or not isinstance(pid, int) or not _is_ours(pid):
        raise ResultsError(f"no process of mmlib is training {directory}")
    with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
        os.kill(pid, signal.SIGTERM)  # SIGINT may be ignored there (see signals.py)
    return pid


def _is_ours(pid: int) -> bool:
    """Whether a process was started as mmlib: ids are used again."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return b"mmlib" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False
    said = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True)
    return "mmlib" in said.stdout
