"""Where caches lie. What is there may be lost at any time, and is made again: a cache is never needed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmlib.errors import say_once

ELSEWHERE = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")  # what others keep in a home, by its variable


def directory() -> Path:
    """mmlib's caches: `$XDG_CACHE_HOME/mmlib`, else `~/.cache/mmlib`, made if need be.

    Where that cannot be written it is a folder among the temporary files, which this process says once and hands on,
    as XDG_CACHE_HOME, to those that it starts.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if home.is_absolute() and takes_files(home / "mmlib"):
        return home / "mmlib"
    instead = _temporary()
    say_once(f"no cache can be kept in {home}; it is in {instead} instead")
    os.environ["XDG_CACHE_HOME"] = str(instead)
    return instead / "mmlib"


def settle() -> None:
    """For a command: where there is no home, or a closed one, what others keep there goes among the caches."""
    home = os.path.expanduser("~")
    if not os.path.isabs(home):  # neither a variable nor an entry for this user: a container's arbitrary number
        os.environ["HOME"] = str(directory().parent)
    elif not takes_files(Path(home)):
        for variable in ELSEWHERE:
            os.environ.setdefault(variable, str(directory() / variable.lower()))


def takes_files(path: Path) -> bool:
    """Whether a file can be put into a directory, which is made if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # without a name, where the system has that
            return True
    except OSError:
        return False


def _temporary() -> Path:
    """This user's folder among the temporary files, the same for the next command; a new one if it is not safe."""
    path = Path(tempfile.gettempdir()) / f"mmlib-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        safe = path.is_dir() and not path.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o077
    except OSError:
        safe = False
    if not (safe and takes_files(path / "mmlib")):
        path = Path(tempfile.mkdtemp(prefix="mmlib-"))
        (path / "mmlib").mkdir()
    return path
