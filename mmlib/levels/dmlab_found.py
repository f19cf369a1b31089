"""Whether DeepMind Lab can be used here: one Lab is made, in a process of its own, to see."""

from __future__ import annotations

import importlib.util
import tempfile
from functools import cache

from mmlib.levels.base import FRAMES_PER_SECOND
from mmlib.levels.dmlab_process import Worker, WorkerDied, WorkerRefused
from mmlib.levels.dmlab_worker import memory_size

BUILD_PAGE = "https://github.com/google-deepmind/lab/blob/master/docs/users/build.md"
STARTS_WITHIN = 60.0  # seconds that the first Lab may take; 0.5 to 0.75 were measured
# What `__init__` of DeepMind Lab's own wheel imports, none of it declared, and how to get it.
IMPORTS = {
    "dm_env": "pip install dm-env",
    "pkg_resources": 'pip install "setuptools<81"',
    "imp": "which Python 3.12 has no more: make the environment with Python 3.11",
}


def installed() -> bool:
    """Whether there is a module `deepmind_lab` (it is not imported here)."""
    return importlib.util.find_spec("deepmind_lab") is not None


def problem() -> str | None:
    """Why no Lab can be made, in a line that says what to do; None if one can.

    Where `deepmind_lab` is installed one Lab is made, in a process of its own, and the outcome remembered.
    """
    spec = importlib.util.find_spec("deepmind_lab")
    if spec is None:
        return (
            f"the Python module deepmind_lab is not installed; build it as {BUILD_PAGE} says and install the wheel "
            "into this environment"
        )
    return _tried(spec.origin)


@cache
def _tried(origin: str | None) -> str | None:
    """What `problem` says of the module in that file."""
    shape, script = (1, 24, 32), "nav_maze_static_01"
    config = {"width": "32", "height": "24", "fps": str(FRAMES_PER_SECOND)}
    with tempfile.TemporaryFile() as memory:
        memory.truncate(memory_size(*shape))
        setup = {"script": script, "config": config, "renderer": "software", "cache": None, "shape": shape, "index": 0}
        worker = Worker({**setup, "memory": memory.fileno()})
        try:
            worker.receive(STARTS_WITHIN)
        except (WorkerRefused, WorkerDied) as error:
            return _reason(" ".join(str(error).split()))
        finally:
            worker.stop()
    return None


def _reason(message: str) -> str:
    """The line for what a worker said when it could not make a Lab."""
    if any(f"No module named {name!r}" in message for name in IMPORTS):
        lacking = [name for name in IMPORTS if repr(name) in message or importlib.util.find_spec(name) is None]
        needs = ", ".join(f"{name} ({IMPORTS[name]})" for name in lacking)
        return f"deepmind_lab is installed but cannot be imported: it needs {needs}"
    return f"deepmind_lab is installed but no Lab can be made: {message[-300:]}"
