"""A results directory from somebody else: only documented errors come out, nothing in it runs, no link is followed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmlib.analysis import baselines
from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.runs import untrusted
from mmlib.runs.lineage import AlphaSchedule
from mmlib.runs.reader import Run, asked_for, find_runs, run_directory
from mmlib.runs.records import RECORDS, DamagedRecord
from mmlib.runs.writer import RunWriter
from mmlib.theory import facts
from mmlib.training import checkpoint, trained
from mmlib.training.checkpoint import CheckpointError
from mmlib.training.loop import train

CONFIG = {"level": "nav_maze_static_01", "method": "mm", "seed": 3, "agent_steps": 100, "action_repeat": 4}
HYPER = {"learning_rate": 1e-3, "entropy_cost": 1e-3, "alpha": 0.5}
ROWS = {
    "metrics": {"frames": 4, "agent_steps": 1, "member": 0, "alpha": 0.5, "return_mean": None, "action_marginals": [1]},
    "episodes": {"frames": 4, "member": 0, "return": 1.5, "length_frames": 4, "level": "a"},
    "evaluations": {"frames": 4, "member": 0, "return": 1.5, "length_frames": 4},
    "decisions": {"frames": 4, "member": 0, "opponent": 1, "mean": None, "p": 0.1, "copied": True, "explored": False}
    | {"old": HYPER, "new": HYPER},
    "rounds": {"frames": 4, "member": 0, "mean": None, "reward": 0.5, "probabilities": [0.5, 0.5], "arm": -1}
    | {"old": 0.1, "new": 0.0},
    "timing": {"frames": 4, "seconds": 1.0, "stages": {"act": 0.5}},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**18, 10**30) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WRONG = [b"[" * 100_000, b"9" * 5000, b'"\xff"', b"NaN", b"1e999", b"[]", b"3", b"null", b"", b"{", b"\x00" * 9]


def altered(whole):
    """A dict with one of its values replaced by anything, or left out, or one more."""
    names = st.sampled_from([*whole, "more"])
    put = st.builds(lambda name, value: {**whole, name: value}, names, json_values)
    left_out = st.sampled_from(list(whole)).map(lambda name: {k: v for k, v in whole.items() if k != name})
    return (put | left_out | json_values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)


def examples(test):
    for text in WRONG:
        test = example(text=text)(test)
    return test


ANYWHERE = [HealthCheck.function_scoped_fixture]
quick = settings(max_examples=100, suppress_health_check=ANYWHERE)


@pytest.fixture
def run(tmp_path):
    RunWriter(tmp_path / "run", CONFIG).close()
    return tmp_path / "run"


@quick
@given(text=altered(CONFIG))
@examples
def test_config(run, text):
    (run / "config.json").write_bytes(text)
    try:
        read = Run(run)
    except ResultsError as error:
        assert "config.json" in str(error)
        with pytest.raises(ResultsError):
            RunWriter(run, CONFIG)
        return
    assert isinstance(read.method, str) and read.seed >= 0 and read.config.get("agent_steps", 0) >= 0
    try:
        RunWriter(run, CONFIG).close()
    except ResultsError as error:
        assert "another configuration" in str(error)


@quick
@given(text=altered({"state": "done", "frames": 4}))
@examples
def test_state(run, text):
    (run / "state.json").write_bytes(text)
    assert Run(run).state in ("running", "done", "stopped", "failed") and isinstance(Run(run).facts, dict)


@quick
@given(name=st.sampled_from(sorted(RECORDS)), data=st.data())
def test_records(run, name, data):
    row = data.draw(altered(ROWS[name]) | st.sampled_from(WRONG))
    (run / f"{name}.jsonl").write_bytes(json.dumps(ROWS[name]).encode() + b"\n" + row + b"\n")
    try:
        frame = getattr(Run(run), name)()
    except DamagedRecord as error:
        assert f"{name}.jsonl is damaged: line " in str(error)
        return
    assert (frame["frames"].max() >= 4 and "member" in frame) or name == "timing"


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_what_is_recorded_is_read(run, name):
    (run / f"{name}.jsonl").write_text(json.dumps(ROWS[name]) + "\n")
    assert len(getattr(Run(run), name)()) == 1
    for row in WRONG:
        if row:
            (run / f"{name}.jsonl").write_bytes(row + b"\n")
            with pytest.raises(DamagedRecord, match="line 1 is no row"):
                getattr(Run(run), name)()


SCHEDULE = {"knots": [[0, 0.5], [9, 1.0]], "method": "mm", "space": "big756", "source": "somewhere"}


@quick
@given(text=altered(SCHEDULE))
@example(text=json.dumps({**SCHEDULE, "knots": []}).encode())
@example(text=json.dumps({**SCHEDULE, "knots": [[0, 2.0]]}).encode())
@examples
def test_recorded_schedule(tmp_path, text):
    path = tmp_path / "alpha.json"
    path.write_bytes(text)
    try:
        schedule = AlphaSchedule.load(path)
    except ResultsError as error:
        assert str(path) in str(error)
        return
    assert schedule.knots and all(0 <= alpha <= 1 for _, alpha in schedule.knots)


@pytest.mark.parametrize("harm", [{"method": "unknown"}, {}])
def test_a_run_without_a_schedule_says_so(run, harm):
    (run / "config.json").write_text(json.dumps({**CONFIG, **harm}))
    with pytest.raises(ResultsError, match="does not have" if harm else "no alpha yet"):
        AlphaSchedule.recorded(Run(run))


@quick
@given(text=altered({"made_by": "", "settings": {}, "facts": {}}))
@examples
def test_facts_and_baselines(tmp_path, text):
    path = tmp_path / "read.json"
    path.write_bytes(text)
    for read in (facts.read, baselines.read):
        try:
            assert isinstance(read(path), dict)
        except ResultsError as error:
            assert str(path) in str(error)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("small")
    base = dict(level="nav_maze_static_01_mini", method="small", num_envs=2, unroll=4, width=32, height=24)
    train(make_config(base | dict(conv1=(4, 2), agent_steps=16, log_every=8, checkpoint_every=8)), directory)
    return directory


@settings(max_examples=40, suppress_health_check=ANYWHERE)
@given(data=st.data())
def test_a_whole_checkpoint_of_the_wrong_shape(small_run, tmp_path, data):
    """Its checksum is right; what is in it is not."""
    saved = checkpoint.read(small_run / checkpoint.FILE)
    anything = st.sampled_from([None, 3, [], {}, "text", torch.zeros(2), {"small": 1}, [[1]]])
    inner, key = saved, None
    for _ in range(data.draw(st.integers(1, 4))):
        key = data.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[key], dict) or not inner[key]:
            break
        outer, inner = inner, inner[key]
    else:
        inner = outer
    inner[key] = data.draw(anything)
    (tmp_path / "config.json").write_bytes((small_run / "config.json").read_bytes())
    checkpoint.save(tmp_path, saved)
    try:
        assert trained.load(tmp_path).agent_steps >= 0
    except CheckpointError as error:
        assert str(tmp_path) in str(error)


@pytest.mark.parametrize("part", ["loop", "positions", "record"])
def test_a_run_does_not_go_on_from_a_checkpoint_of_the_wrong_shape(small_run, tmp_path, part):
    shutil.copytree(small_run, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pt"))
    checkpoint.save(tmp_path, {**checkpoint.read(small_run / checkpoint.FILE), part: [1]})
    with pytest.raises(CheckpointError, match="is not this run's"):
        train(asked_for({**Run(tmp_path).config, "agent_steps": 10 * CONFIG["agent_steps"]}), tmp_path)


def test_loading_an_agent_imports_no_module_that_the_run_names(small_run, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {**Run(small_run).config, "backend": "gymnasium", "level": "evil:Environment-v0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ResultsError, match="module evil, which loading would execute"):
        trained.load(tmp_path)


def test_one_broken_run_does_not_hide_the_others(tmp_path):
    for seed in (1, 2, 3):
        directory = run_directory(tmp_path, "quick", "figure3", CONFIG["level"], "mm", seed)
        RunWriter(directory, {**CONFIG, "seed": seed}).close()
    (tmp_path / f"quick/figure3/{CONFIG['level']}/mm/seed2/config.json").write_text("[]")
    one, two, three = find_runs(tmp_path)
    assert (one.broken, three.broken) == ("", "") and (one.seed, three.seed) == (1, 3)
    assert "config.json cannot be read (it is a list" in two.broken
    assert (two.state, two.done, two.method, two.facts["reason"]) == ("failed", False, "mm", two.broken)
    with pytest.raises(ResultsError, match="cannot be read"):
        two.metrics()


def test_links_out_of_the_results_are_not_followed(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "results"
    RunWriter(outside / "seed1", CONFIG).close()
    place = run_directory(root, "quick", "figure3", CONFIG["level"], "mm", 1)
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "seed1")
    (found,) = find_runs(root)
    assert "outside" in found.broken
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    place.unlink()
    RunWriter(place, CONFIG).close()
    assert [run.broken for run in find_runs(linked)] == [""]  # the root itself may be one


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", ".state.json.new", checkpoint.FILE])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_and_pipes_in_a_run_are_no_files(run, tmp_path, name, kind):
    """They are neither read nor written, nor waited for."""
    secret = tmp_path / "secret"
    secret.write_text(json.dumps(CONFIG) + "\n")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret) if kind == "link" else os.mkfifo(run / name)
    if name == checkpoint.FILE:
        with pytest.raises(CheckpointError, match=r"cannot read .*checkpoint\.pt"):
            checkpoint.load(run)
        (run / f".{name}.new").symlink_to(secret)
        with pytest.raises(OSError, match="symbolic links"):
            checkpoint.save(run, {})
    else:
        if name == "metrics.jsonl":
            with pytest.raises(DamagedRecord, match="cannot read"):
                Run(run).metrics()
        with pytest.raises(ResultsError):
            RunWriter(run, CONFIG)
    assert secret.read_text() == json.dumps(CONFIG) + "\n"


def test_nothing_of_the_environment_is_recorded(small_run, tmp_path, monkeypatch):
    monkeypatch.setenv("MMLIB_TEST_SECRET", "k33p-th1s-s3cr3t")
    train(asked_for(Run(small_run).config), tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"config.json", "state.json", checkpoint.FILE} <= {path.name for path in files}
    home = str(Path.home()).encode()
    for path in files:
        content = path.read_bytes()
        assert b"k33p-th1s-s3cr3t" not in content and b"MMLIB_TEST_SECRET" not in content
        assert b"PATH" not in content and (len(home) < 4 or home not in content)


def test_numbers_that_are_not_finite_are_no_json():
    for text in ("NaN", "-Infinity", '{"a": Infinity}'):
        with pytest.raises(ValueError, match="is no number of JSON"):
            untrusted.parse(text)
