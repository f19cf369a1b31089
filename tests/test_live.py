"""Live training with real runs: they are started, watched, stopped, killed, and outlive who started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import pytest
import torch

from mmlib.config import ConfigError
from mmlib.errors import ResultsError
from mmlib.experiments import design
from mmlib.experiments.design import ExperimentError
from mmlib.levels import foreign
from mmlib.runs.owner import Owner, being_written
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter, compress
from mmlib.training import checkpoint
from mmlib.widgets import live
from mmlib.widgets.live import Experiment
from mmlib.widgets.live_widget import LiveWidget

pytestmark = pytest.mark.slow

SHORT = {"agent_steps": 400, "num_envs": 2, "unroll": 20, "learner_batches": 1, "log_every": 100, "width": 32}
SHORT |= {"height": 24, "conv1": (4, 2)}
ENDLESS = {**SHORT, "agent_steps": 100_000_000, "checkpoint_every": 10_000_000}


def make(directory, settings):
    return Experiment(preset="smoke", method="small", settings=settings, directory=directory)


def until(condition, seconds=120.0):
    """Waits until a condition holds; a machine may be busy."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def ended(experiment):
    """The status of an experiment that is waited for until nothing trains it any more."""
    until(lambda: not experiment.status().alive)
    return experiment.status()


def pid_of(directory):
    return Owner.of(directory).pid


def gone(pid):
    """Whether a process has ended, even if nobody has asked for its exit status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def endless(tmp_path):
    """An experiment that would go on for hours; whatever a test does, its process ends with the test."""
    experiment = make(tmp_path / "run", ENDLESS)
    yield experiment
    if experiment._process is not None:
        experiment._process.kill()
        experiment._process.wait()
    if being_written(experiment.directory):
        os.kill(pid_of(experiment.directory), signal.SIGKILL)


def test_a_run_from_start_to_end(tmp_path):
    experiment = make(tmp_path / "run", SHORT)
    assert experiment.status().state == "new" and not experiment.status().alive
    experiment.start()
    assert experiment.status().alive  # it did not wait for the run
    status = ended(experiment)
    assert (status.state, status.frames, status.total_frames) == ("done", 1600, 1600), status
    assert Run(experiment.directory).metrics()["agent_steps"].max() == 400
    assert len(experiment.figure().axes) == 3
    with pytest.raises(ExperimentError, match="is done; for more"):
        experiment.start()
    compress(experiment.directory)
    assert live.attach(experiment.directory).status().frames == 1600
    status = ended(make(experiment.directory, {**SHORT, "agent_steps": 800}).start())
    assert (status.state, status.frames) == ("done", 3200) and len(Run(experiment.directory).metrics()) == 8


def test_stop_writes_a_checkpoint_and_resume_goes_on(endless):
    directory = endless.start().directory
    until(lambda: endless.status().frames > 0)
    assert endless.status().state == "running" and "agent steps/s" in live.words(endless.status())
    with pytest.raises(ExperimentError, match=f"being trained already; live.attach..{directory}.. shows it"):
        endless.start()
    assert "mm-silent" in LiveWidget(endless).words.value  # what its page says when the kernel is gone
    other = live.attach(directory)  # as another notebook would
    with pytest.raises(ExperimentError, match="being trained already"):
        other.start()
    pid = pid_of(directory)
    other.stop()
    assert other.status().state in ("stopping", "stopped")
    assert (ended(other).state, other.status().reason) == ("stopped", "stopped by you")
    assert (endless.status().state, endless.status().reason) == ("stopped", "stopped by SIGTERM")
    until(lambda: gone(pid))
    assert checkpoint.names(directory)
    steps = Run(directory).metrics()["agent_steps"].max()
    with pytest.raises(ResultsError, match="no process of mmlib is training"):
        endless.stop()
    other.start()
    until(lambda: Run(directory).metrics()["agent_steps"].max() > steps)
    assert pid_of(directory) != pid
    endless.stop()
    assert ended(endless).state == "stopped" and not being_written(directory)


def test_the_run_outlives_the_process_that_started_it(endless):
    """Its group is killed, as closing a notebook does with a kernel's; no process stays behind after stop."""
    program = (
        "import sys, time; from mmlib.widgets.live import Experiment\n"
        f"Experiment(preset='smoke', method='small', settings={ENDLESS!r}, directory=sys.argv[1]).start()\n"
        "print('started', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(endless.directory)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout.readline() == b"started\n"
    os.killpg(parent.pid, signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    parent.stdout.close()
    until(lambda: endless.status().frames > 0)
    frames = endless.status().frames
    until(lambda: endless.status().frames > frames)
    pid = pid_of(endless.directory)
    endless.stop()
    assert ended(endless).state == "stopped"
    until(lambda: gone(pid))


def test_a_killed_run_is_told_from_a_running_one_and_goes_on(endless):
    endless.start()
    until(lambda: endless.status().frames > 0)
    os.kill(pid_of(endless.directory), signal.SIGKILL)
    assert ended(endless).state == "killed"
    assert endless.status().reason.startswith("ended by signal SIGKILL")
    other = live.attach(endless.directory)
    assert other.status().state == "killed" and Run(endless.directory).state == "running"
    endless.start()
    until(lambda: endless.status().state == "running")


def test_a_run_that_fails_at_once_says_why(tmp_path, monkeypatch):
    experiment = make(tmp_path, SHORT)
    monkeypatch.setattr(live.jobs, "command", lambda job: [sys.executable, "-c", "raise SystemExit('no luck')"])
    status = ended(experiment.start())
    assert status.state == "failed" and status.reason.startswith("no luck (see ")


def test_what_an_earlier_process_printed_is_not_why_it_fails(tmp_path, monkeypatch):
    experiment = make(tmp_path, SHORT)
    experiment.directory.mkdir(parents=True, exist_ok=True)
    (experiment.directory / live.jobs.LOG).write_text(f"mmlib: {experiment.directory}: member 0: loss nan\n")
    monkeypatch.setattr(live.jobs, "command", lambda job: [sys.executable, "-c", "raise SystemExit('no luck')"])
    assert ended(experiment.start()).reason.startswith("no luck (see ")


def test_what_cannot_be_started_is_refused_in_words(tmp_path):
    with pytest.raises(ConfigError, match="unknown level 'nav_maze'"):
        Experiment(preset="smoke", level="nav_maze", directory=tmp_path)
    with pytest.raises(ResultsError, match="holds no run"):
        live.attach(tmp_path)
    experiment = make(tmp_path, SHORT)
    config = {**experiment.config.model_dump(mode="json"), "backend_in_force": "minilab", "entropy_cost": 0.5}
    RunWriter(tmp_path, config).close()
    with pytest.raises(ResultsError, match=r"another configuration: entropy_cost \(0.5 there"):
        experiment.start()


def test_a_run_of_another_machines_device_can_be_watched_here(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    RunWriter(tmp_path, {**make(tmp_path / "x", SHORT).config.model_dump(mode="json"), "device": "cuda"}).close()
    watched = live.attach(tmp_path)
    assert watched.status().state == "killed"
    with pytest.raises(ConfigError, match="no CUDA device"):
        watched.start()


def of_gymnasium(directory, level, method="big756"):
    values = {**SHORT, "agent_steps": 40, "level": level, "method": method, "backend": "gymnasium"}
    return Experiment(values, directory=directory)


def test_an_environment_that_only_this_process_knows_is_refused_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "DECLARED", {})
    gymnasium.register("Here-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=50)
    foreign.declare("CartPole-v1", small={"left": (0,), "right": (1,)})
    try:
        for level, method, why in (
            ("Here-v0", "big756", "unknown level 'Here-v0' of gymnasium"),
            ("CartPole-v1", "mm", "'mm' needs a small action space"),
        ):
            with pytest.raises(design.ExperimentError, match=rf"in a process of its own.*{why}.*name the level module"):
                of_gymnasium(tmp_path / "run", level, method).start()
            assert not (tmp_path / "run").exists()
    finally:
        gymnasium.registry.pop("Here-v0")


def test_an_environment_of_a_module_is_trained_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]))
    experiment = of_gymnasium(tmp_path / "run", "contract_env:Squares-v0").start()
    assert ended(experiment).state == "done"
