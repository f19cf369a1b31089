"""Peers' virtual environments, and their scripts run in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.choices import Peer, Setting

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"
PATIENCE = 300.0  # seconds that a script may take beyond those that it measures: it may compile MiniLab first


class Failed(RuntimeError):
    """A peer could not be installed or did not train; the message is the last thing that it said."""


@dataclass(frozen=True)
class Place:
    """The level and the size of its frames, and what every script is told alike."""

    level: str
    width: int  # pixels
    height: int  # pixels
    cores: int
    warm_up: float  # seconds


@dataclass
class Environments:
    """Virtual environments, one for each file of requirements, in a directory; made when they are first asked for."""

    directory: Path
    _pythons: dict[str, Path | Failed] = field(default_factory=dict)

    def python(self, peer: Peer) -> Path:
        """The peer's interpreter. Raises Failed, the second time at once, if its environment cannot be made."""
        if peer.requirements is None:
            return Path(sys.executable)
        name = peer.requirements
        if name not in self._pythons:
            try:
                self._pythons[name] = _installed(self.directory / name, name)
            except Failed as failed:
                self._pythons[name] = failed
        found = self._pythons[name]
        if isinstance(found, Failed):
            raise found
        return found

    def variables(self, peer: Peer) -> dict[str, str]:
        """What a peer's script finds in its environment: a home and compiled kernels of its own."""
        found = {**os.environ, "PYTHONPATH": str(ROOT)}
        if peer.requirements is not None:
            home = self.directory / peer.requirements
            found |= {"HOME": str(home), "NUMBA_CACHE_DIR": str(home / "kernels")}
        return found


def _installed(directory: Path, name: str) -> Path:
    """The interpreter of a virtual environment with what `requirements/NAME.txt` lists."""
    wanted = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    stamp, python = directory / "requirements.txt", directory / "bin" / "python"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    print(f"installing {name} into {directory} …", file=sys.stderr, flush=True)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "-r",
        str(REQUIREMENTS / f"{name}.txt"),
    ]
    for command in ([sys.executable, "-m", "venv", str(directory)], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"could not be installed: {last_line(done.stderr, done.stdout)}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def measure(
    peer: Peer, setting: Setting, place: Place, seconds: float, environments: Environments, patience: float = PATIENCE
) -> float:
    """Agent steps a second of a peer with a setting, trained for `seconds` after its warm-up.

    Raises:
      Failed: it could not be installed, ended with an error, printed no result, or took `patience` seconds too long.
    """
    told = {**vars(place), "seconds": seconds, **setting}
    command = [str(environments.python(peer)), "-m", f"benchmarks.peers.{peer.module}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in told.items()]
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as scratch:
        variables = {**environments.variables(peer), "TMPDIR": scratch}
        pipes: dict[str, Any] = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        with subprocess.Popen(command, cwd=ROOT, env=variables, start_new_session=True, **pipes) as process:
            try:
                out, err = process.communicate(timeout=seconds + place.warm_up + patience)
            except subprocess.TimeoutExpired:
                raise Failed(f"no result after {seconds + place.warm_up + patience:.0f} s") from None
            finally:
                _end(process)
    results = [line for line in out.splitlines() if line.startswith('{"agent_steps_per_second"')]
    if process.returncode or not results:
        raise Failed(last_line(err, out) or f"it ended with exit code {process.returncode} and said nothing")
    return float(json.loads(results[-1])["agent_steps_per_second"])


def _end(process: subprocess.Popen) -> None:
    """Ends a script and what it started, if any of it is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def last_line(*texts: str) -> str:
    """The last line of the first text that has one, without colours."""
    for text in texts:
        lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
        if lines:
            return lines[-1]
    return ""
