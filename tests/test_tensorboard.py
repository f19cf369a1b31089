"""A run's records as event files, read back by TensorBoard's own reader."""

import builtins

import numpy as np
import pytest
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.config import RunConfig
from mmlib.runs.reader import Run
from mmlib.training.loop import train

pytest.importorskip("tensorboard")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two members on a level, trained for a moment."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    small = {"population": 2, "num_envs": 1, "unroll": 20, "width": 32, "height": 24, "conv1": (4, 2), "log_every": 40}
    level = {"level": "explore_object_locations_small_mini", "backend": "minilab", "method": "mm"}
    episodes = {"level_settings": {"episode_seconds": 2}}
    train(RunConfig(**level, **small, **episodes, agent_steps=120, seed=1), directory)
    return Run(directory)


def events(directory):
    """The scalars in a directory of event files: tag -> [(step, value), ...]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(directory), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def export(run, directory):
    result = CliRunner().invoke(app, ["export", str(run.directory), "--tensorboard", str(directory)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_tensorboard_reads_is_what_the_records_say(run, tmp_path):
    said = export(run, tmp_path / "events")
    found = [events(tmp_path / "events" / f"member{member}") for member in (0, 1)]
    for member, read in enumerate(found):
        for name, table in (("entropy", run.metrics()), ("episode/return", run.episodes())):
            mine = table[table["member"] == member]
            steps, values = zip(*read[name], strict=True)
            assert list(steps) == mine["frames"].tolist() and len(steps) > 1
            np.testing.assert_allclose(values, mine[name.split("/")[-1]], rtol=1e-6)
        assert read["timing/agent_steps_per_second"] and not {"frames", "member"} & set(read)
    assert found[0]["entropy"] != found[1]["entropy"]
    assert f"{sum(len(values) for read in found for values in read.values()):,} scalars in" in said


def test_a_second_export_replaces_the_first(run, tmp_path):
    others = tmp_path / "another" / "member0" / "events.out.tfevents.1"
    others.parent.mkdir(parents=True)
    others.touch()
    export(run, tmp_path)
    first = events(tmp_path / "member0")
    export(run, tmp_path)
    assert others.exists()
    assert events(tmp_path / "member0") == first and len(list((tmp_path / "member0").iterdir())) == 1


def test_what_is_wrong_is_said_in_a_sentence(run, tmp_path, monkeypatch):
    nowhere = CliRunner().invoke(app, ["export", str(tmp_path), "--tensorboard", str(tmp_path / "x")])
    assert nowhere.exit_code == 2 and "config.json" in nowhere.stderr

    whole = builtins.__import__

    def without(name, *rest):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    missing = CliRunner().invoke(app, ["export", str(run.directory), "--tensorboard", str(tmp_path / "x")])
    assert missing.exit_code == 2 and "pip install 'mmlib[tensorboard]'" in missing.stderr
