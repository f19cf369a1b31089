"""Runs on disk whose numbers are known."""

import pytest

from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter

CONFIG = {"level": "a_level", "agent_steps": 100, "action_repeat": 4}


@pytest.fixture
def make_run(tmp_path):
    """Makes a run of 400 frames from the returns of its episodes, one ending every 40 frames."""

    def make(method, seed, returns):
        directory = tmp_path / method / f"seed{seed}"
        with RunWriter(directory, {**CONFIG, "method": method, "seed": seed}) as writer:
            writer.metrics({"frames": 400, "member": 0})
            writer.timing({"frames": 400, "seconds": 30.0, "agent_steps_per_second": 3.5})
            ends = range(40, 401, 40)
            rows = [{"frames": f, "member": 0, "return": float(r), "length_frames": 40} for f, r in zip(ends, returns)]
            writer.episodes(rows)
            writer.finish()
        return Run(directory)

    return make
