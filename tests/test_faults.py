"""What goes wrong, tried for real: signals, kills at any moment, diverging members, full disks, two writers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from dying import train_until

from mmlib.config import make_config
from mmlib.errors import DivergedError, ResultsError, Stopped, in_plain_words
from mmlib.runs.reader import OtherRun, Run
from mmlib.runs.records import read_bytes
from mmlib.runs.writer import RunWriter
from mmlib.training import checkpoint
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.signals import PARENT, StopRequests

pytestmark = pytest.mark.slow

RECORDS = ("metrics", "episodes", "decisions", "evaluations")


def learner_of(loop):
    return loop.fleet.shard.learner


def config(**overrides):
    base = dict(level="explore_object_locations_small_mini", method="mm", population=2, num_envs=2, unroll=30)
    base |= dict(learner_batches=1, width=48, height=36, conv1=(4, 2), staggered=True, lag=1)
    base |= dict(pbt={"ready": 1, "window": 2, "p_value": 0.9, "explore_probability": 0.6})
    base |= dict(agent_steps=60 * 16, log_every=125, checkpoint_every=60 * 3, level_settings={"episode_seconds": 1})
    return make_config(base | overrides)


def heard():
    """A shell's background ignores SIGINT, nohup SIGHUP."""
    for which in (signal.SIGINT, signal.SIGHUP):
        signal.signal(which, signal.SIG_DFL)


def start(config, directory):
    path = directory.with_name(f"{directory.name}.config.json")
    path.write_text(config.model_dump_json())
    command = [sys.executable, "-m", "mmlib", "train", "--config", str(path), "--directory", str(directory)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=heard,
    )


def records(directory):
    return {name: read_bytes(directory, name).decode() for name in RECORDS}


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition(), process.stderr.read() if process.poll() is not None else "too slow"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that is never interrupted."""
    directory = tmp_path_factory.mktemp("whole")
    train(config(), directory)
    assert len(Run(directory).decisions()) >= 4
    return directory


def parameters(directory):
    return checkpoint.load(directory)["loop"]["learner"]["agent"]


def assert_same(directory, whole):
    assert records(directory) == records(whole)
    mine, theirs = parameters(directory), parameters(whole)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert Run(directory).state == "done"


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A run that died in its eleventh iteration, without a word."""
    directory = tmp_path_factory.mktemp("halfway")
    train_until(11, config(), directory)
    return directory


def test_killed_at_any_moment_it_goes_on_as_if_never_interrupted(tmp_path, whole):
    """SIGKILL while it trains, and while a checkpoint is written; `python -m tools.reliability` does it 50 times."""
    directory = tmp_path / "killed"
    timing, part = directory / "timing.jsonl", directory / f".{checkpoint.FILE}.new"
    process = start(config(), directory)
    wait_for(lambda: timing.exists() and timing.stat().st_size > 0, process)
    process.kill()
    process.wait()
    process = start(config(), directory)
    deadline = time.monotonic() + 120
    while not part.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    process.wait()
    train(config(), directory)
    assert_same(directory, whole)


STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize("which", STOPS)
def test_signals_end_it_with_a_checkpoint(tmp_path, whole, which):
    timing = tmp_path / "run" / "timing.jsonl"
    process = start(config(), tmp_path / "run")
    wait_for(lambda: timing.exists() and timing.stat().st_size > 0, process)
    process.send_signal(which)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == STOPS[which] and "goes on from there" in said and "Traceback" not in said
    run = Run(tmp_path / "run")
    assert run.state == "stopped" and which.name in run.facts["reason"]
    train(config(), tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def test_an_interrupt_that_is_ignored_stays_ignored():
    """As in the background of a script's shell; SIGTERM is not."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequests() as requests:
            os.kill(os.getpid(), signal.SIGINT)
            assert requests.received is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert requests.received is signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("which", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_what_asks_a_run_to_stop(which):
    before = signal.signal(which, signal.default_int_handler)
    try:
        with StopRequests() as requests:
            os.kill(os.getpid(), which)
            assert requests.received is which and requests.stopped().exit_code == 128 + which
            with StopRequests() as inside:  # as a run's fleet opens one while it waits for places
                assert inside.received is which and inside.stopped().exit_code == 128 + which
        with StopRequests() as later:
            assert later.received is None
            with StopRequests():  # as the fleet is complete
                os.kill(os.getpid(), which)
            assert later.received is which
    finally:
        signal.signal(which, before)


def test_a_display_that_fails_ends_no_run(tmp_path, whole, caplog):
    calls = []

    def broken(row):
        calls.append(row)
        raise BrokenPipeError("nobody reads")

    train(config(), tmp_path, broken)
    assert_same(tmp_path, whole)
    assert len(calls) == 1 and "BrokenPipeError" in caplog.text


def unread():
    """A pipe whose reader has gone, as of `mmlib train … | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def hung_up():
    """A terminal that is gone, at which progress is a bar."""
    terminal, writing = os.openpty()
    os.close(terminal)
    return writing


@pytest.mark.parametrize("display", [unread, hung_up, None])
def test_no_display_ends_a_run(tmp_path, display):
    """None: it is started with its standard output closed."""
    short = config(pbt=None, population=1, agent_steps=60)
    (tmp_path / "c.json").write_text(short.model_dump_json())
    command = [sys.executable, "-m", "mmlib", "train", "--config", "c.json", "--directory", "run"]
    output = os.open(os.devnull, os.O_WRONLY) if display is None else display()
    close = (lambda: os.close(1)) if display is None else None
    done = subprocess.run(command, cwd=tmp_path, stdout=output, stderr=subprocess.PIPE, preexec_fn=close)
    os.close(output)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Run(tmp_path / "run").done and checkpoint.names(tmp_path / "run")


def test_a_run_ends_with_the_process_that_started_it(tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(Stopped, match="the process that started it has gone"):
        patched.setenv(PARENT, str(os.getpid()))  # this process is not its own parent
        train(config(), tmp_path)
    assert Run(tmp_path).state == "stopped" and checkpoint.names(tmp_path)
    train(config(), tmp_path)
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("name", [checkpoint.FILE, "episodes.jsonl"])
def test_a_run_with_a_damaged_file_goes_on(tmp_path, whole, halfway, name, capsys):
    """The newest checkpoint is flipped, or a record is cut inside a line: the run ends as the whole one."""
    shutil.copytree(halfway, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if name == checkpoint.FILE:
        content[-100] ^= 4
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-7])
    train(config(), tmp_path)
    assert_same(tmp_path, whole)
    assert name != checkpoint.FILE or "damaged" in capsys.readouterr().err


def test_killed_before_its_first_checkpoint_it_starts_over(tmp_path, whole, monkeypatch):
    """The rows of that iteration are on disk, the checkpoint is not."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(config(log_every=60), tmp_path)
    assert Run(tmp_path).metrics()["agent_steps"].max() == 60 * 3
    train(config(), tmp_path)
    assert_same(tmp_path, whole)


def test_a_checkpoint_that_is_not_used_is_not_kept_as_the_good_one(tmp_path, whole, halfway, monkeypatch):
    """Its records are lost, so the one before it is used; a crash between the next save's two renames is survived."""
    shutil.copytree(halfway, tmp_path, dirs_exist_ok=True)
    episodes = tmp_path / "episodes.jsonl"
    episodes.write_bytes(episodes.read_bytes()[: checkpoint.load(tmp_path)["positions"]["episodes"][0] - 1])
    replace = os.replace

    def crash(source, target):
        if str(source).endswith(".pt.new"):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "replace", crash)
        train(config(), tmp_path)
    train(config(), tmp_path)
    assert_same(tmp_path, whole)


def test_memory_that_runs_out_as_a_run_goes_on_costs_no_record(tmp_path, whole, halfway, monkeypatch):
    shutil.copytree(halfway, tmp_path, dirs_exist_ok=True)

    def too_large(self, saved):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched, pytest.raises(torch.OutOfMemoryError):
        patched.setattr(TrainingLoop, "load_state_dict", too_large)
        train(config(), tmp_path)
    assert records(tmp_path) == records(halfway) != records(whole)
    train(config(), tmp_path)
    assert_same(tmp_path, whole)


def test_a_finished_run_without_its_checkpoint_is_not_started_over(tmp_path, whole):
    """As a run that comes from a repository: continuing it would lose what was recorded."""
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("*.pt"))
    longer = config(agent_steps=60 * 20)
    with pytest.raises(ResultsError, match="no checkpoint to go on from"):
        train(longer, tmp_path / "run")
    assert records(tmp_path / "run") == records(whole) and Run(tmp_path / "run").done


def test_nothing_is_written_of_a_finished_run_that_is_trained_again(tmp_path, whole):
    """So that no code that made none of it is recorded as its maker."""
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("*.pt"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()}
    train(config(), tmp_path / "run")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir()} == before
    for other in ({"entropy_cost": 0.5}, {"agent_steps": 60 * 2}):
        with pytest.raises(OtherRun):
            train(config(**other), tmp_path / "run")


@pytest.mark.parametrize("name", ["metrics.jsonl", checkpoint.FILE])
def test_files_of_nobody_knows_which_run_are_left_alone(tmp_path, name):
    """Somebody's own metrics.jsonl, or a run whose config.json was lost: neither is cut nor continued."""
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(ResultsError, match=f"holds {name} but no config.json"):
        train(config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine\n"


def diverge(loop, member):
    with torch.no_grad():
        for value in learner_of(loop).parameters.values():
            value[member] = float("nan")


def test_a_diverged_member_stops_and_the_rest_goes_on():
    loop = TrainingLoop(config(pbt=None, lag=0))
    try:
        loop.iterate()
        diverge(loop, 0)
        before = {name: value[1].clone() for name, value in learner_of(loop).parameters.items()}
        loop.iterate()
        loop.iterate()
        assert "member 0: loss nan" in loop.facts["stopped_members"]["0"] and 1 not in learner_of(loop).stopped
        moved = [not torch.equal(value[1], before[name]) for name, value in learner_of(loop).parameters.items()]
        assert any(moved) and all(torch.isfinite(value[1]).all() for value in learner_of(loop).parameters.values())
    finally:
        loop.close()


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
def test_a_member_that_stopped_stays_exactly_as_it_was(optimiser):
    """Also where the optimiser remembers a direction."""
    loop = TrainingLoop(config(pbt=None, lag=0, optimiser=optimiser))
    parameters = learner_of(loop).parameters
    loop.iterate()
    with torch.no_grad():
        parameters["baselines.big.bias"][0] = float("inf")
    before = {name: value.clone() for name, value in parameters.items()}
    for _ in range(2):
        loop.iterate()
    loop.close()
    assert set(loop.stopped) == {0}
    assert all(torch.equal(value[0], before[name][0]) for name, value in parameters.items())
    assert any(not torch.equal(value[1], before[name][1]) for name, value in parameters.items())


def test_population_based_training_revives_a_diverged_member():
    loop = TrainingLoop(config(lag=0))
    try:
        loop.iterate()
        diverge(loop, 1)
        for _ in range(16):
            decisions = loop.iterate().decisions
            if any(d.copied and d.member == 1 for d in decisions):
                break
            assert not any(d.opponent == 1 and d.copied for d in decisions)
        assert 1 not in learner_of(loop).stopped
        assert all(torch.isfinite(value).all() for value in learner_of(loop).parameters.values())
    finally:
        loop.close()


def test_when_nobody_is_left_the_run_fails_and_says_why(tmp_path, monkeypatch):
    iterate = TrainingLoop.iterate

    def poisoned(self):
        for member in range(2):
            diverge(self, member)
        return iterate(self)

    monkeypatch.setattr(TrainingLoop, "iterate", poisoned)
    with pytest.raises(DivergedError, match="member 0: loss nan at update 0; member 1"):
        train(config(lag=0), tmp_path)
    assert Run(tmp_path).state == "failed" and "member 0: loss nan" in Run(tmp_path).facts["reason"]


def test_a_second_process_is_told_who_is_writing(tmp_path):
    with RunWriter(tmp_path, config().model_dump(mode="json")):
        process = start(config(), tmp_path)
        said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 2 and f"process {os.getpid()}" in said


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
def test_a_full_disk_is_an_error_and_what_was_recorded_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not allow a small disk to be mounted")
    try:
        process = start(config(), disk / "run")
        said = process.communicate(timeout=240)[1].decode()
        assert process.returncode == 1 and "No space left on device" in said and "Traceback" not in said
        for name in RECORDS:
            for line in read_bytes(disk / "run", name).splitlines()[:-1]:
                json.loads(line)
        assert checkpoint.load(disk / "run") is not None  # one fits, and no other beside it
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_ended_a_run_is_said_plainly():
    for error in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")):
        assert "out of memory" in in_plain_words(error) and "fewer num_envs" in in_plain_words(error)
    lost = RuntimeError(
        "CUDA error: operation failed\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
    )
    lost.__context__ = RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for it in")
    assert in_plain_words(lost).startswith("CUDA error: an illegal memory access was encountered; what it recorded")
    lost.__context__ = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    assert "out of memory" in in_plain_words(lost)
    assert in_plain_words(OSError(28, "No space left on device")).startswith("OSError: [Errno 28] No space left")
    assert in_plain_words(RuntimeError("shapes do not match")) is None and in_plain_words(KeyError("x")) is None
