"""Records on disk: what is written is read back, and what was torn, old or foreign is not."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmlib.errors import ResultsError
from mmlib.experiments.run_table import runs_table
from mmlib.method.pbt import Decision
from mmlib.runs.reader import Run, config_differences, find_runs, run_directory
from mmlib.runs.records import RECORDS
from mmlib.runs.writer import RunWriter
from tools.reliability.machine import obey_permissions

CONFIG = {"level": "nav_maze_static_01", "method": "mm", "seed": 3, "conv1": (8, 4), "agent_steps": 100}


def episode(frames, value=1.0):
    return {"frames": frames, "member": 0, "return": value, "length_frames": 40}


def test_what_is_written_is_read_back(tmp_path):
    with RunWriter(tmp_path / "run", CONFIG) as writer:
        writer.append(
            "metrics",
            [
                {
                    "frames": 400,
                    "agent_steps": 100,
                    "member": 0,
                    "alpha": np.float32(0.5),
                    "action_marginals": np.ones(2),
                }
            ],
        )
        writer.append("episodes", [episode(120), episode(160, np.float32(2.5))])
        writer.append("timing", [{"frames": 400, "seconds": 1.5, "stages": {"act": 0.25}}])
        assert Run(tmp_path / "run").state == "running"
        writer.finish(seconds=1.5)
    run = Run(tmp_path / "run")
    assert (run.method, run.seed, run.state, run.done) == ("mm", 3, "done", True)
    assert run.facts == {"state": "done", "seconds": 1.5}
    assert run.config["conv1"] == [8, 4] and "mmlib_version" in run.config
    assert run.episodes()["return"].tolist() == [1.0, 2.5]
    assert run.episodes()["frames"].tolist() == [120, 160]
    assert run.metrics()["action_marginals"][0] == [1.0, 1.0]
    assert run.timing()["stages"][0] == {"act": 0.25}


def test_rows_are_on_disk_at_once(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(120)])
        assert (tmp_path / "episodes.jsonl").read_text() == json.dumps(episode(120)) + "\n"


def test_numbers_that_are_not_finite_become_null(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append(
            "metrics", [{"frames": 0, "member": 0, "return_mean": float("nan"), "grad_norm": np.float32("inf")}]
        )
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row == {"frames": 0, "member": 0, "return_mean": None, "grad_norm": None}


def test_records_of_a_run_that_wrote_nothing_have_their_columns(tmp_path):
    RunWriter(tmp_path, CONFIG).close()
    run = Run(tmp_path)
    assert list(run.episodes().columns) == ["frames", "member", "return", "length_frames", "began", "level"]
    assert "entropy" in run.metrics() and len(run.metrics()) == 0 and len(run.timing()) == 0


def test_torn_last_line_is_ignored_and_then_removed(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(120), episode(160)])
    path = tmp_path / "episodes.jsonl"
    path.write_text(path.read_text() + '{"frames": 200, "mem')
    assert Run(tmp_path).episodes()["frames"].tolist() == [120, 160]
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(240)])
    assert Run(tmp_path).episodes()["frames"].tolist() == [120, 160, 240]
    assert path.read_text().count("\n") == 3


def test_a_number_torn_so_that_it_still_reads_is_ignored(tmp_path):
    """Without its newline even a line that parses cannot be trusted."""
    RunWriter(tmp_path, CONFIG).close()
    (tmp_path / "episodes.jsonl").write_text(json.dumps(episode(120)) + "\n" + json.dumps(episode(160)))
    assert Run(tmp_path).episodes()["frames"].tolist() == [120]


def test_opening_again_appends_and_says_running(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(120)])
        writer.finish()
    with RunWriter(tmp_path, {**CONFIG, "agent_steps": 200}) as writer:
        assert Run(tmp_path).state == "running"
        writer.append("episodes", [episode(160)])
    run = Run(tmp_path)
    assert run.episodes()["frames"].tolist() == [120, 160]
    assert run.config["agent_steps"] == 200


def test_restoring_drops_what_followed_the_checkpoint(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(frames) for frames in (100, 200)])
        writer.append("metrics", [{"frames": 200, "member": 0, "alpha": 0.1}])
        positions = writer.positions()
        writer.append("episodes", [episode(frames) for frames in (300, 400)])
        writer.append("metrics", [{"frames": 400, "member": 0, "alpha": 0.2}])
        writer.append("timing", [{"frames": 400, "seconds": 2.0}])
        writer.restore(positions)
        writer.append("episodes", [episode(250)])
    run = Run(tmp_path)
    assert run.episodes()["frames"].tolist() == [100, 200, 250]
    assert run.metrics()["alpha"].tolist() == [0.1]
    assert len(run.timing()) == 0


@pytest.mark.parametrize("harm", [lambda text: text[:-3], lambda text: text.replace("100", "101"), lambda text: ""])
def test_a_record_that_was_altered_is_not_restored(tmp_path, harm):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(100), episode(200)])
        positions = writer.positions()
    path = tmp_path / "episodes.jsonl"
    path.write_text(harm(path.read_text()))
    with RunWriter(tmp_path, CONFIG) as writer, pytest.raises(ResultsError, match=r"episodes\.jsonl is damaged"):
        writer.restore(positions)


def test_a_record_that_was_altered_before_its_checkpoint_is_not_restored(tmp_path):
    """A checkpoint knows what was written, not what lies there."""
    path = tmp_path / "episodes.jsonl"
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(100), episode(200)])
        path.write_text(path.read_text().replace("100", "101"))
        positions = writer.positions()
    with RunWriter(tmp_path, CONFIG) as writer, pytest.raises(ResultsError, match=r"episodes\.jsonl is damaged"):
        writer.restore(positions)


def test_leaving_through_an_exception_says_why(tmp_path):
    with pytest.raises(FloatingPointError), RunWriter(tmp_path, CONFIG):
        raise FloatingPointError("the loss is not finite")
    assert Run(tmp_path).facts == {"state": "failed", "reason": "FloatingPointError: the loss is not finite"}
    with pytest.raises(KeyboardInterrupt), RunWriter(tmp_path, CONFIG):
        raise KeyboardInterrupt
    assert Run(tmp_path).facts == {"state": "stopped", "reason": "interrupted"}


def test_a_finished_run_stays_finished_when_what_follows_fails(tmp_path):
    with pytest.raises(RuntimeError), RunWriter(tmp_path, CONFIG) as writer:
        writer.finish()
        raise RuntimeError("after the end")
    assert Run(tmp_path).done


def test_state_is_replaced_atomically(tmp_path, monkeypatch):
    """A reader between two states sees the old one whole, and a crash in between leaves it."""
    writer = RunWriter(tmp_path, CONFIG)
    seen = []

    def replace(source, target):
        seen.append((json.loads(Path(source).read_text())["state"], json.loads(Path(target).read_text())["state"]))
        raise OSError("power failure")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="power failure"):
        writer.finish()
    monkeypatch.undo()
    writer.close()
    assert seen == [("done", "running")]
    assert Run(tmp_path).state == "running"


def test_unknown_state_is_refused(tmp_path):
    with (
        RunWriter(tmp_path, CONFIG) as writer,
        pytest.raises(ValueError, match="'over'; states: running, done"),
    ):
        writer.finish("over")


def test_directory_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"cannot write to the results directory .*file/run"):
        RunWriter(tmp_path / "file" / "run", CONFIG)


def test_read_only_directory_cannot_be_written(tmp_path):
    tmp_path.chmod(0o555)
    program = f"from mmlib.runs.writer import RunWriter; RunWriter({str(tmp_path)!r}, {CONFIG!r})"
    process = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=obey_permissions if os.geteuid() == 0 else None,  # they do not bind the superuser
        capture_output=True,
        text=True,
    )
    assert f"ResultsError: cannot write to the results directory {tmp_path}: Permission denied" in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_configuration_is_not_appended_to(tmp_path):
    RunWriter(tmp_path, CONFIG).close()
    with pytest.raises(ResultsError, match=r"another configuration: conv1 \(\[8, 4\] there, \(4, 2\) here\)"):
        RunWriter(tmp_path, {**CONFIG, "conv1": (4, 2)})
    with pytest.raises(ResultsError, match="agent_steps"):
        RunWriter(tmp_path, {**CONFIG, "agent_steps": 50})
    RunWriter(tmp_path, CONFIG).close()  # and the refused writers hold no lock


def test_a_run_whose_learning_rate_falls_over_its_length_is_not_made_longer(tmp_path):
    RunWriter(tmp_path, {**CONFIG, "anneal": True}).close()
    with pytest.raises(ResultsError, match=r"agent_steps \(100 there, 200 here\), and a learning rate that falls to 0"):
        RunWriter(tmp_path, {**CONFIG, "anneal": True, "agent_steps": 200})
    assert config_differences(CONFIG, {**CONFIG, "agent_steps": 200}) == []
    RunWriter(tmp_path, {**CONFIG, "anneal": True}).close()


@pytest.mark.parametrize("harm", [{"seed": 2**63}, {"seed": "3"}, {"action_repeat": 4.0}, {"pbt": 3}, {"level": None}])
def test_a_configuration_that_no_reader_takes_is_not_written(tmp_path, harm):
    with pytest.raises(ResultsError, match=f"cannot be recorded: {next(iter(harm))}: "):
        RunWriter(tmp_path / "run", {**CONFIG, **harm})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("row", [{"frames": -1}, {"frames": 2**60}, {"member": 1.5}, {"return": "high"}, {"more": [1]}])
def test_a_row_that_no_reader_takes_is_not_written(tmp_path, row):
    with RunWriter(tmp_path, CONFIG) as writer:
        with pytest.raises(ValueError, match=r"line 1 is no row of it \(" + next(iter(row))):
            writer.append("episodes", [{**episode(40), **row}])
        writer.append("episodes", [episode(40)])
    assert len(Run(tmp_path).episodes()) == 1


def test_every_column_that_training_writes_is_in_the_table():
    assert {"began", "level"} <= set(RECORDS["episodes"]) and "explained_variance" in RECORDS["metrics"]
    fields = {field.name for field in dataclasses.fields(Decision)}
    assert fields | {"frames"} == set(RECORDS["decisions"])


def test_two_writers_do_not_share_a_directory(tmp_path):
    with RunWriter(tmp_path, CONFIG), pytest.raises(ResultsError, match=f"process {os.getpid()} is writing"):
        RunWriter(tmp_path, CONFIG)
    RunWriter(tmp_path, CONFIG).close()


def test_differences_leave_out_what_has_no_part_in_learning():
    one = {
        "seed": 1,
        "unroll": 50,
        "backend": "auto",
        "conv1": (4, 2),
        "mmlib_version": "1",
        "agent_steps": 5,
    }
    two = {
        "seed": 2,
        "unroll": 20,
        "backend": "minilab",
        "conv1": [4, 2],
        "mmlib_version": "2",
        "extra": None,
    }
    assert config_differences(one, two) == ["extra", "seed", "unroll"]


def test_backends_in_force_differ():
    assert config_differences({"backend_in_force": "minilab"}, {"backend_in_force": "dmlab"}) == ["backend_in_force"]


def test_runs_are_found_by_name_in_natural_order(tmp_path):
    for method, seed in [("mm", 10), ("mm", 2), ("small", 1)]:
        directory = run_directory(tmp_path, "quick", "figure3", "nav_maze_static_01", method, seed)
        RunWriter(directory, {**CONFIG, "method": method, "seed": seed}).close()
    assert [(run.method, run.seed) for run in find_runs(tmp_path)] == [("mm", 2), ("mm", 10), ("small", 1)]
    assert [run.seed for run in find_runs(tmp_path, preset="quick", method="mm")] == [2, 10]
    assert find_runs(tmp_path, preset="paper") == [] and find_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "level", ["Lab/Toy-v1", "mypkg.envs.toy:Lab/Toy-v1", "../../Toy", "..", ".Toy", "a%2Fb", "[a]*"]
)
def test_a_level_of_any_name_is_one_directory_in_which_its_runs_are_found(tmp_path, level):
    root = tmp_path / "results"
    for name in (level, "another"):
        RunWriter(run_directory(root, "smoke", "runs", name, "big756", 0), {**CONFIG, "level": name}).close()
    (found,) = find_runs(root, level=level)
    assert found.config["level"] == level
    assert found.directory.parents[4] == root and ".." not in found.directory.parts
    assert len(find_runs(root)) == 2
    assert set(runs_table(root).level) == {level, "another"}


def test_levels_of_this_package_lie_under_their_own_names(tmp_path):
    for name in ("nav_maze_static_01", "lt_chasm_mini+lt_horseshoe_color_mini", "contract_env:Squares-v0"):
        assert run_directory(tmp_path, "quick", "3", name, "mm", 1) == tmp_path / "quick/3" / name / "mm/seed1"


def test_a_directory_without_a_run_says_so(tmp_path):
    with pytest.raises(ResultsError, match="holds no run"):
        Run(tmp_path)
