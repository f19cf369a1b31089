"""What tests share: one engine, hypothesis without deadlines, runs on disk whose numbers are known."""

import os

import pytest
from hypothesis import settings

from mmlib import caches, levels
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter

settings.register_profile("mmlib", deadline=None)  # how fast a machine is proves nothing
settings.load_profile("mmlib")
os.environ.setdefault("NUMBA_CACHE_DIR", str(caches.directory()))  # also for processes with caches of their own

_LONG = "alternatives figure_notebooks stack faults theory_notebooks pbt shards ray notebooks dmlab_notebooks docs"
LONGEST = {f"test_{name}" for name in (*_LONG.split(), "in_chromium")}
CONFIG = {"level": "a_level", "agent_steps": 100, "action_repeat": 4}


def pytest_sessionstart(session):
    """The engine's kernels are compiled once, before the workers of `pytest -n` begin, who would each do it."""
    if getattr(session.config.option, "numprocesses", None):
        for name in ("nav_maze_static_01_mini", "lt_chasm_mini"):
            levels.make(name, "minilab", width=8, height=8).close()


def pytest_collection_modifyitems(items):
    """The longest files begin first, in every worker alike, so that none is left alone at the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture
def make_run(tmp_path):
    """Makes a run of 400 frames from the returns of its episodes, one ending every 40 frames."""

    def make(method, seed, returns, alpha=None, **config):
        directory = tmp_path / method / f"seed{seed}"
        with RunWriter(directory, {**CONFIG, "method": method, "seed": seed, **config}) as writer:
            writer.append("metrics", [{"frames": 400, "member": 0, "alpha": alpha}])
            writer.append("timing", [{"frames": 400, "seconds": 30.0, "agent_steps_per_second": 3.5}])
            ends = range(40, 401, 40)
            rows = [{"frames": f, "member": 0, "return": float(r), "length_frames": 40} for f, r in zip(ends, returns)]
            writer.append("episodes", rows)
            writer.finish()
        return Run(directory)

    return make
