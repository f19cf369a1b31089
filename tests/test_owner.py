"""Who writes a run: told apart beyond a process, a lock, a machine and a container."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.runs import owner
from mmlib.runs.owner import FILE, Owner, being_written, claimed, interrupt
from mmlib.runs.reader import Run
from mmlib.runs.status import RunStatus
from mmlib.runs.writer import RunWriter, compress

CONFIG = {"level": "nav_maze_static_01", "method": "mm", "seed": 3, "agent_steps": 100}


@pytest.fixture
def sleeper():
    """A process that is nobody's training."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def run(tmp_path):
    """A run that says that it is running, and that this process does not write."""
    RunWriter(tmp_path, CONFIG).close()
    return tmp_path


def leave(run, who):
    (run / FILE).write_text(json.dumps(asdict(who)))


def process(pid):
    return replace(Owner.here(), pid=pid, started=owner._started(pid))


def elsewhere(pid=1):
    return replace(Owner.here(), host="far", boot="another", pid=pid)


def test_an_owner_is_there_while_a_run_is_written(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        assert Owner.of(tmp_path) == Owner.here() and being_written(tmp_path)
        assert RunStatus.read(tmp_path).state == "running"
        writer.finish()
    assert not (tmp_path / FILE).exists() and not being_written(tmp_path)


def test_a_second_mount_where_the_lock_is_not_seen(run, sleeper):
    """The owner is a living process of this machine, but no lock says so."""
    leave(run, process(sleeper.pid))
    assert being_written(run) and RunStatus.read(run).state == "running"
    for work in (lambda: RunWriter(run, CONFIG), lambda: claimed(run).__enter__()):
        with pytest.raises(ResultsError, match=f"process {sleeper.pid} is writing"):
            work()
    sleeper.kill()
    sleeper.wait()
    assert RunStatus.read(run).state == "killed"
    RunWriter(run, CONFIG).close()


def test_a_number_that_was_given_again_is_another_process(run, sleeper):
    leave(run, replace(process(sleeper.pid), started="long ago"))
    assert not being_written(run)
    with pytest.raises(ResultsError, match="no process of mmlib is training"):
        interrupt(run)
    assert sleeper.poll() is None
    RunWriter(run, CONFIG).close()


def test_the_process_of_a_run_is_asked_to_stop(run, sleeper):
    leave(run, process(sleeper.pid))
    assert interrupt(run) == sleeper.pid and sleeper.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize("other", [{"boot": "another"}, {"namespace": "pid:[1]"}])
def test_a_number_of_another_machine_or_container_is_not_signalled(run, sleeper, other):
    """The process of that number here is somebody else's."""
    leave(run, replace(process(sleeper.pid), host="far", **other))
    with pytest.raises(ResultsError, match=f"process {sleeper.pid} on far, another machine or container, is training"):
        interrupt(run)
    time.sleep(0.1)
    assert sleeper.poll() is None


def test_another_machine_that_still_writes_is_not_joined(run, monkeypatch):
    monkeypatch.setattr(owner, "BEAT", 0.5)
    leave(run, elsewhere())
    over = threading.Event()

    def renew():
        while not over.wait(0.1):
            os.utime(run / FILE)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        assert being_written(run)
        with pytest.raises(ResultsError, match="process 1 on far, another machine or container, is writing"):
            RunWriter(run, CONFIG)
    finally:
        over.set()
        thread.join()
    assert Owner.of(run) == elsewhere()


def test_another_machine_that_has_gone_is_succeeded(run, monkeypatch, capsys):
    """Its clock may go wrong: its file is watched."""
    monkeypatch.setattr(owner, "BEAT", 0.1)
    leave(run, elsewhere())
    os.utime(run / FILE, (2e9, 2e9))
    with RunWriter(run, CONFIG):
        assert Owner.of(run) == Owner.here()
    assert "waiting to see whether it still does" in capsys.readouterr().err


def test_a_writer_renews_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(owner, "BEAT", 0.05)
    with RunWriter(tmp_path, CONFIG):
        os.utime(tmp_path / FILE, (1, 1))
        deadline = time.monotonic() + 60
        while (tmp_path / FILE).stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / FILE).stat().st_mtime > 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "{"])
def test_a_file_that_names_nobody_holds_nobody_up(run, text):
    (run / FILE).write_text(text)
    assert not being_written(run)
    RunWriter(run, CONFIG).close()


@pytest.mark.parametrize("harm", [{"pid": "1/../1"}, {"pid": None}, {"pid": -1, "started": ""}, {"started": None}])
def test_a_file_that_names_nonsense_is_nobody(run, harm):
    leave(run, replace(Owner.here(), **harm))
    assert not being_written(run)
    with pytest.raises(ResultsError, match="no process"):
        interrupt(run)


def episode(frames, value):
    return {"frames": frames, "member": 0, "return": value}


def test_the_status_of_a_run_by_hand(tmp_path):
    assert RunStatus.read(tmp_path).state == "new"
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("timing", [{"frames": 100, "seconds": 1.0, "agent_steps_per_second": 25.0}])
        writer.append("timing", [{"frames": 200, "seconds": 2.0, "agent_steps_per_second": 10.0}])
        writer.append(
            "episodes", [episode(f, -5.0) for f in range(50)] + [episode(100, 2.0 + f % 2) for f in range(100)]
        )
        status = RunStatus.read(tmp_path)
        assert status == RunStatus("running", "", 200, 400, 10.0, 2.5, seconds_left=5.0) and status.alive
        writer.finish("stopped", reason="enough")
    status = RunStatus.read(tmp_path)
    assert (status.state, status.reason, status.alive) == ("stopped", "enough", False)
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.finish()
    compress(tmp_path)
    assert RunStatus.read(tmp_path) == RunStatus("done", "", 200, 400, 10.0, 2.5, seconds_left=5.0)


def test_the_status_of_a_long_record_reads_its_end_alone(tmp_path):
    """A damaged beginning is not looked at, and a row that was half written is none."""
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", (episode(f, 1.0) for f in range(2000)))
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(b"x" * 20 + path.read_bytes()[20:] + b'{"frames": 1, "member": 0, "return": 9')
    assert RunStatus.read(tmp_path).last_return == 1.0
    path.write_bytes(path.read_bytes() + b"\n")
    status = RunStatus.read(tmp_path)
    assert status.state == "broken" and "episodes.jsonl is damaged: line 1 " in status.reason


def test_frames_of_finished_runs_are_kept_until_their_files_change(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(1, 1.0)])
        writer.finish()
    first = Run(tmp_path).episodes()
    first["return"] = 7.0  # a reader's own copy
    assert Run(tmp_path).episodes()["return"].tolist() == [1.0]
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("episodes", [episode(2, 2.0)])
        writer.finish()
    assert Run(tmp_path).episodes()["return"].tolist() == [1.0, 2.0]
    compress(tmp_path)
    assert Run(tmp_path).episodes()["return"].tolist() == [1.0, 2.0]


def test_a_run_that_is_to_be_longer_than_it_was_has_more_frames_to_go(tmp_path):
    with RunWriter(tmp_path, CONFIG) as writer:
        writer.append("timing", [{"frames": 400, "seconds": 1.0, "agent_steps_per_second": 100.0}])
        writer.finish()
    totals = [RunStatus.read(tmp_path, make_config({**CONFIG, "agent_steps": n})).total_frames for n in (50, 100, 300)]
    assert totals == [400, 400, 1200]
