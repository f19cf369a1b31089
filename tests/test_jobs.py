"""Running a plan: processes that do, and do not, do what they should. The runs here are stand-ins."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmlib.errors import ResultsError
from mmlib.experiments import jobs, reports
from mmlib.experiments.design import plan
from mmlib.experiments.jobs import Progress
from mmlib.numerics.threads import cores
from mmlib.runs.reader import Run
from mmlib.runs.status import RunStatus

OVERRIDES = {"agent_steps": 1000, "num_envs": 2, "unroll": 10, "learner_batches": 1}

WRITE = """
import json, sys
from mmlib.runs.writer import RunWriter
(config,) = json.load(sys.stdin)
with RunWriter({directory!r}, config | {{"backend_in_force": "minilab"}}) as writer:
    writer.append("timing", [{{"frames": 4000, "seconds": 1.0, "agent_steps_per_second": 500.0, "stages": {{}}}}])
    writer.append("episodes", [{{"frames": 4000, "member": 0, "return": 2.5}}])
    writer.finish()
"""


@pytest.fixture
def the_plan(tmp_path):
    return plan("3", "smoke", settings=OVERRIDES, results=tmp_path)


def pretend(monkeypatch, script):
    """Makes every run the Python program `script(job)`."""
    monkeypatch.setattr(jobs, "command", lambda made: [sys.executable, "-c", script(made[0])])


def write(job):
    return WRITE.format(directory=str(job.directory))


def test_runs_are_made_then_loaded(the_plan, monkeypatch):
    pretend(monkeypatch, write)
    outcome = jobs.run(the_plan, 2, poll_seconds=0.05)
    assert [progress.state for progress in outcome] == ["done"] * 3
    assert (outcome[0].status.frames, outcome[0].status.last_return) == (4000, 2.5)
    assert Run(the_plan[1].directory).config["method"] == "big756"  # the configuration arrived

    pretend(monkeypatch, lambda job: "raise SystemExit('must not be run again')")
    assert [progress.state for progress in jobs.run(the_plan, 2)] == ["loaded"] * 3


WHERE = """
import os, time
open({file!r}, "w").write(json.dumps(sorted(os.sched_getaffinity(0))))
time.sleep(1)
"""


@pytest.mark.skipif(cores() < 2 or not hasattr(os, "sched_getaffinity"), reason="there is nothing to divide")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_processes_on_a_gpu_divide_the_cores(the_plan, monkeypatch, device):
    pretend(monkeypatch, lambda job: write(job) + WHERE.format(file=f"{job.directory}.cores"))
    made = [job._replace(config=job.config.model_copy(update={"device": device})) for job in the_plan]
    assert {progress.state for progress in jobs.run(made, 2, poll_seconds=0.05)} == {"done"}
    each = [json.loads(Path(f"{job.directory}.cores").read_text()) for job in made]
    mine = sorted(os.sched_getaffinity(0))
    halves = [mine[: len(mine) // 2], mine[len(mine) // 2 :][: len(mine) // 2]]
    if device == "cpu":
        assert each == [mine] * 3
    else:
        assert each[:2] == halves and each[2] in halves


def test_a_failed_run_says_why_and_the_others_go_on(the_plan, monkeypatch):
    pretend(monkeypatch, lambda job: write(job) if job.config.method != "small" else "raise SystemExit('no luck')")
    outcome = jobs.run(the_plan, 1, poll_seconds=0.05)
    assert [progress.state for progress in outcome] == ["failed", "done", "done"]
    assert outcome[0].status.reason == f"no luck (see {the_plan[0].directory / 'log.txt'})"
    with pytest.raises(jobs.RunError, match="small seed 0: no luck"):
        jobs.check(outcome)
    jobs.check(outcome[1:])


def test_what_an_earlier_sitting_printed_is_not_why_it_ended(the_plan, monkeypatch):
    job = the_plan[0]
    job.directory.mkdir(parents=True)
    (job.directory / "log.txt").write_text(f"mmlib: {job.directory}: member 0: loss nan\n")
    pretend(monkeypatch, lambda job: "raise SystemExit('mmlib: no space left')")
    assert jobs.run([job], 1, poll_seconds=0.05)[0].status.reason.startswith("mmlib: no space left")


def test_a_killed_run_names_the_signal(the_plan, monkeypatch):
    pretend(monkeypatch, lambda job: "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert jobs.run(the_plan[:1], 1, poll_seconds=0.05)[0].status.reason.startswith("ended by signal SIGKILL")


def test_at_most_so_many_at_once_each_with_one_thread(the_plan, monkeypatch, tmp_path):
    seen = tmp_path / "seen"
    seen.mkdir()
    program = """
import os, pathlib, time
mark = pathlib.Path({seen!r}) / str(os.getpid())
mark.write_text(os.environ["OMP_NUM_THREADS"])
time.sleep(0.4)
mark.rename(mark.with_suffix(".over"))
"""
    pretend(monkeypatch, lambda job: program.format(seen=str(seen)))
    most = 0

    def report(everything):
        nonlocal most
        most = max(most, sum(progress.state == "running" for progress in everything))

    jobs.run(the_plan, 2, report, poll_seconds=0.05)
    assert most == 2
    assert [mark.read_text() for mark in seen.glob("*.over")] == ["1"] * 3


def test_a_run_is_told_whose_child_it_is(the_plan, monkeypatch):
    """So that it ends when that process has gone (see test_faults.py)."""
    program = "import os; raise SystemExit(os.environ['MMLIB_PARENT'] != str(os.getppid()))"
    pretend(monkeypatch, lambda job: program)
    assert jobs.run(the_plan[:1], 1, poll_seconds=0.05)[0].state == "done"


def test_an_interrupt_ends_the_children(the_plan, monkeypatch):
    pretend(monkeypatch, lambda job: "import time; time.sleep(60)")
    children = []

    def interrupt(everything):
        children.extend(progress.process for progress in everything if progress.process)
        if children:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.run(the_plan, 2, interrupt)
    assert len(children) == 2 and all(child.poll() is not None for child in children)


COUNTING = """
import os, pathlib, signal, sys, time
seen = []
for which in (signal.SIGINT, signal.SIGTERM):
    signal.signal(which, lambda number, frame: seen.append(number))
pathlib.Path({ready!r}).touch()
while not seen:
    time.sleep(0.01)
time.sleep(0.5)  # what is sent a second time comes by now
pathlib.Path({ready!r}).write_text(" ".join(signal.Signals(number).name for number in seen))
"""
TERMINAL = """
import signal, sys
from pathlib import Path
from mmlib.experiments import jobs
from mmlib.experiments.design import plan
signal.signal(signal.SIGINT, signal.default_int_handler)
jobs.command = lambda made: [sys.executable, "-c", sys.argv[2]]
jobs.run(plan("3", "smoke", settings={settings!r}, results=Path(sys.argv[1]))[:1], 1, poll_seconds=0.05)
"""


def test_ctrl_c_at_a_terminal_reaches_a_run_once(tmp_path):
    """A terminal sends it to every process of the group; a second one would end a run without a checkpoint."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", TERMINAL.format(settings=OVERRIDES), str(tmp_path / "results")]
    command.append(COUNTING.format(ready=str(ready)))
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    while not ready.exists():
        assert parent.poll() is None, parent.stderr.read().decode()
        time.sleep(0.02)
    os.killpg(parent.pid, signal.SIGINT)
    assert b"KeyboardInterrupt" in parent.communicate(timeout=120)[1]
    assert ready.read_text() == "SIGTERM"


def test_children_that_ignore_an_interrupt_are_ended_too(the_plan, monkeypatch):
    monkeypatch.setattr(jobs, "GRACE", 0.2)
    ready = the_plan[0].directory / "ready"
    program = "import signal, time, pathlib; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    program += f"signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    pretend(monkeypatch, lambda job: program)
    children = []

    def interrupt(everything):
        children[:] = [progress.process for progress in everything if progress.process]
        if ready.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.run(the_plan[:1], 1, interrupt, poll_seconds=0.02)
    assert children[0].poll() == -9


def test_bad_numbers_of_jobs_and_directories_are_refused(the_plan, tmp_path):
    with pytest.raises(ValueError, match="jobs is 0; at least 1"):
        jobs.run(the_plan, 0)
    with pytest.raises(ValueError, match="together is 0; at least 1"):
        jobs.run(the_plan, 1, together=0)
    (tmp_path / "smoke").write_text("a file where a directory should be")
    with pytest.raises(ResultsError, match="cannot write"):
        jobs.run(the_plan, 1)


def test_default_jobs_counts_the_threads_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)), raising=False)
    one = plan("3", "smoke", results=tmp_path)
    two = plan("3", "smoke", settings={"lag": 1}, results=tmp_path)
    assert (jobs.default_jobs(one), jobs.default_jobs(two), jobs.default_jobs([])) == (5, 2, 5)


def test_time_left_by_hand(the_plan):
    """1,000 agent steps each at 100 a second: one is half done (5 s left), one waits (10 s)."""
    half = Progress(the_plan[0], RunStatus("running", agent_steps_per_second=100.0, seconds_left=5.0))
    waiting = Progress(the_plan[1])
    assert jobs.seconds_left([half, waiting], at_once=1) == 15.0
    assert jobs.seconds_left([half, waiting], at_once=2) == 10.0
    assert jobs.seconds_left([waiting], at_once=1) is None


def test_lines_tell_of_starts_ends_and_progress(the_plan, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    report = reports.LineReport(at_once=1)
    loaded, running, waiting = (Progress(job) for job in the_plan)
    loaded.status, running.status = RunStatus("loaded"), RunStatus("running")
    report([loaded, running, waiting])
    running.status = RunStatus("running", "", 2000, 4000, 100.0, 1.25, seconds_left=5.0)
    for now[0] in (5.0, 16.0, 20.0):
        report([loaded, running, waiting])
    running.status = RunStatus("done", "", 4000, 4000, 100.0, 1.25)
    waiting.status = RunStatus("failed", "no luck")
    now[0] = 21.0
    report([loaded, running, waiting])
    assert capsys.readouterr().out.splitlines() == [
        "[0:00] small seed 0: on disk",
        "[0:00] big756 seed 0: started",
        "[0:16] big756 seed 0: 2,000 of 4,000 frames, return 1.25, 100 agent steps/s | about 0:15 left",
        "[0:21] big756 seed 0: 4,000 of 4,000 frames, return 1.25, 100 agent steps/s, done",
        "[0:21] mm seed 0: FAILED: no luck",
    ]


def test_clock_and_amount():
    assert [reports.clock(seconds) for seconds in (0, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]
    assert reports.amount(20_000, 24_000) == "20,000 of 24,000 frames"
    assert reports.amount(1_250_000, 2_400_000) == "1.25 of 2.40 M frames"


def test_a_child_that_never_reads_its_configuration_is_a_failed_run(the_plan, monkeypatch):
    pretend(monkeypatch, lambda job: "import os; os.close(0); raise SystemExit(3)")
    assert jobs.run(the_plan[:1], 1, poll_seconds=0.05)[0].state == "failed"


def test_the_command_reads_the_configuration_that_is_sent(the_plan):
    assert jobs.command(the_plan[:1])[-4:] == ["--config", "-", "--directory", str(the_plan[0].directory)]
    assert json.loads(the_plan[0].config.model_dump_json())["agent_steps"] == 1000
