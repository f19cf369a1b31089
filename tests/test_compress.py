"""Compressed records of finished runs read like any other, and a run goes on from them."""

import gzip
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.errors import ResultsError
from mmlib.runs.reader import Run
from mmlib.runs.records import RECORDS
from mmlib.runs.writer import RunWriter, compress

CONFIG = {"level": "nav_maze_static_01", "method": "mm", "seed": 1, "agent_steps": 100}
OLD = {"learning_rate": 1e-3, "entropy_cost": 2e-3, "alpha": 0.1}


def make(directory, state="done"):
    with RunWriter(directory, CONFIG) as writer:
        writer.append("metrics", [{"frames": 400, "member": 0, "alpha": 0.5, "action_marginals": [0.25, 0.75]}])
        writer.append("episodes", ({"frames": n, "member": 0, "return": n / 2, "length_frames": 40} for n in range(50)))
        writer.append(
            "decisions",
            [{"frames": 10, "member": 0, "opponent": 1, "copied": False, "old": OLD, "new": {**OLD, "alpha": 0.2}}],
        )
        writer.append("timing", [{"frames": 400, "seconds": 1.5, "stages": {"act": 0.25}}])
        writer.finish(state)
    return directory


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def tables(directory):
    return [getattr(Run(directory), name)() for name in RECORDS]


def same(one, two):
    for a, b in zip(one, two, strict=True):
        pd.testing.assert_frame_equal(a, b)


def test_a_compressed_run_reads_the_same_and_goes_on_from_the_same_bytes(tmp_path):
    make(tmp_path)
    before, read = files(tmp_path), tables(tmp_path)
    plain, packed = compress(tmp_path)
    records = [name for name in before if name.endswith(".jsonl")]
    assert set(files(tmp_path)) == {"config.json", "state.json"} | {f"{name}.gz" for name in records}
    assert plain == sum(len(before[name]) for name in records)
    assert packed == sum((tmp_path / f"{name}.gz").stat().st_size for name in records) < plain
    same(read, tables(tmp_path))
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.finish()
    assert files(tmp_path) == before


def test_the_same_records_give_the_same_bytes(tmp_path):
    compress(make(tmp_path / "a"))
    os.utime(make(tmp_path / "b") / "episodes.jsonl", (1, 1))
    compress(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    compress(tmp_path / "a")  # again: nothing to do
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("state", ["stopped", "failed", "running"])
def test_only_runs_that_are_done_are_compressed(tmp_path, state):
    before = files(make(tmp_path, state))
    assert compress(tmp_path) == (0, 0) and files(tmp_path) == before


def test_a_directory_that_is_being_written_is_left_alone(tmp_path):
    make(tmp_path)
    with RunWriter(tmp_path, CONFIG) as writer:
        writer._write_state({"state": "done"})  # a writer between its last word and its end
        with pytest.raises(ResultsError, match="is writing"):
            compress(tmp_path)


def test_training_goes_on_from_compressed_records(tmp_path):
    settings = ["-p", "agent_steps=40", "-p", "num_envs=2", "-p", "unroll=10", "-p", "learner_batches=1"]
    command = ["train", "--preset", "smoke", "--method", "small", *settings, "--directory", str(tmp_path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert CliRunner().invoke(app, ["pack", str(tmp_path)]).exit_code == 0
    assert not list(tmp_path.glob("*.jsonl"))
    assert CliRunner().invoke(app, [*command, "-p", "agent_steps=80"]).exit_code == 0
    assert Run(tmp_path).metrics()["agent_steps"].tolist() == [40, 80]


def test_compressing_that_was_killed_half_way_goes_on(tmp_path):
    """Killed after the first compressed record was written and before its plain form was removed."""
    whole = tables(make(tmp_path))
    program = (
        "import os, signal, sys; from pathlib import Path; from mmlib.runs.writer import compress\n"
        "unlink = Path.unlink\n"
        "def die(path, **more):\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if path.suffix == '.jsonl' else unlink(path, **more)\n"
        "Path.unlink = die\n"
        "compress(Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)]).returncode == -signal.SIGKILL
    assert (tmp_path / "metrics.jsonl").exists() and (tmp_path / "metrics.jsonl.gz").exists()
    same(whole, tables(tmp_path))
    compress(tmp_path)
    assert not list(tmp_path.glob("*.jsonl"))
    same(whole, tables(tmp_path))


@pytest.mark.parametrize("harm", [lambda b: b[:-4], lambda b: b"no gzip", lambda b: b[:20] + b"xx" + b[22:]])
def test_a_damaged_compressed_record_is_named(tmp_path, harm):
    compress(make(tmp_path))
    path = tmp_path / "episodes.jsonl.gz"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ResultsError, match=r"episodes\.jsonl\.gz is damaged"):
        Run(tmp_path).episodes()
    assert len(Run(tmp_path).metrics()) == 1


def test_a_damaged_line_is_named(tmp_path):
    make(tmp_path)
    (tmp_path / "episodes.jsonl").write_text('{"frames": 1, "member": 0, "return": 1.0}\n{"frames": \n')
    with pytest.raises(ResultsError, match=r"episodes\.jsonl is damaged: line 2"):
        Run(tmp_path).episodes()


def test_the_command_packs_a_tree_and_says_so(tmp_path):
    make(tmp_path / "x" / "seed1"), make(tmp_path / "x" / "seed2", "stopped")
    said = CliRunner().invoke(app, ["pack", str(tmp_path)]).output
    assert "seed1: 3." in said and "seed2: skipped, stopped" in said
    text = gzip.decompress((tmp_path / "x" / "seed1" / "episodes.jsonl.gz").read_bytes())
    assert text.count(b"\n") == 50
    result = CliRunner().invoke(app, ["pack", str(tmp_path / "nowhere")])
    assert result.exit_code == 2 and "nowhere holds no run" in result.stderr
