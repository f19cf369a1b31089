"""Checks that end a run from outside: SIGKILL at any moment, Ctrl-C and other signals, the death of a parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmlib.errors import EXIT_CODES
from mmlib.runs.reader import Run
from mmlib.training import checkpoint
from tools.reliability.harness import (
    PATIENCE,
    Bench,
    Row,
    config,
    expect,
    expect_same,
    finish,
    gone,
    lab_environment,
    lab_name,
    python_path,
    recorded,
    said,
    start,
    stop_halfway,
    until,
)

MOMENTS = ("while it begins or goes on from a checkpoint", "while it trains", "while a checkpoint is written")
BEGINNING = 4.0  # seconds between a run's first file and its first row, on a busy machine


def kills(bench: Bench) -> Row:
    """SIGKILL at random moments of a run, half of them with lag 0 and half with lag 1."""
    done, finished, torn = dict.fromkeys(MOMENTS, 0), 0, 0
    for lag in (0, 1):
        settings, directory = config(lag=lag), bench.place("killed")
        goal = bench.kills * (lag + 1) // 2
        while True:
            part = directory / f".{checkpoint.FILE}.new"
            before, enough = _changed(part), sum(done.values()) >= goal
            moment = MOMENTS[int(bench.random.integers(3))]
            process = start(settings, directory)
            if not enough and _reach(moment, process, directory, bench):
                process.kill()
                process.wait()
                done[moment] += 1
                torn += _changed(part) not in (0, before)
                print(f"killed {moment}, {sum(done.values())} of {bench.kills}", flush=True)
                continue
            finish(process)
            expect_same(directory, bench.whole(settings))
            finished += 1
            if enough:
                break
            directory = bench.place("killed")  # it got through before all the kills
    times = ", ".join(f"{count} {moment}" for moment, count in done.items())
    return Row(
        "SIGKILL",
        f"a population with PBT, lag 0 and 1, killed at random moments ({times})",
        sum(done.values()),
        f"{torn} left a half-written checkpoint beside the good ones; {finished} runs got through, with the metrics, "
        "episodes, decisions (byte for byte) and parameters (bit for bit) of one that was never interrupted",
    )


def _reach(moment: str, process: subprocess.Popen[bytes], directory: Path, bench: Bench) -> bool:
    """Waits for the moment; False if the run has ended before it came."""
    if moment == MOMENTS[0]:
        state, mine = directory / "owner.json", f'"pid": {process.pid}'
        arrived = until(lambda: state.exists() and mine in state.read_text(encoding="utf-8"), process)
        time.sleep(float(bench.random.uniform(0, BEGINNING)))
        return arrived and process.poll() is None
    part, timing = directory / f".{checkpoint.FILE}.new", directory / "timing.jsonl"
    path, pause = (part, 0.0) if moment == MOMENTS[2] else (timing, 0.01)
    for _ in range(int(bench.random.integers(1, 5))):  # so that the run gets on between two kills
        before = _changed(path)
        if not until(lambda: _changed(path) not in (0, before), process, pause):  # noqa: B023
            return False
    time.sleep(float(bench.random.uniform(0, 0.03 if path == part else 0.4)))
    return process.poll() is None


def _changed(path: Path) -> int:
    """When a file was written last, 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


CRASH = """
import os, signal, sys
_left = {number}
def _count(event, arguments):
    global _left
    if event == "open":
        writes = arguments[1] is None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    else:
        writes = event in ("os.rename", "os.truncate", "os.remove")
    if writes and str(arguments[0]).startswith({directory!r}):
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(_count)
"""


def file_operations(bench: Bench) -> Row:
    """SIGKILL before the first file operation of a process, before the second, … until it has written a checkpoint.

    Once of a run that begins, once of one that goes on from the checkpoint before the newest, which is damaged. What a
    killed process left is what the next one finds.
    """
    settings, times = config(), 0
    fresh, halfway = bench.place("fresh"), bench.place("halfway")
    stop_halfway(settings, halfway)
    newest = halfway / checkpoint.FILE
    newest.write_bytes(newest.read_bytes()[:-1])
    for directory in (fresh, halfway):
        number, saved = 1, False
        while not saved:
            patched = bench.place("crash")
            patched.mkdir()
            (patched / "sitecustomize.py").write_text(CRASH.format(number=number, directory=str(directory)))
            before = _changed(directory / checkpoint.FILE)
            finish(start(settings, directory, python_path(patched)), -signal.SIGKILL)
            saved = _changed(directory / checkpoint.FILE) not in (0, before)
            number += 1
        times += number - 1
        finish(start(settings, directory))
        expect_same(directory, bench.whole(settings))
    return Row(
        "SIGKILL between file operations",
        "before every single file that is opened for writing, cut, renamed or removed, one kill each: by a run that "
        "begins, and by one that goes on from the checkpoint before a damaged one",
        times,
        "the next process goes on from what the last one left, and both end as a run that was never interrupted",
    )


def signals(bench: Bench) -> Row:
    """Ctrl-C, SIGTERM and SIGHUP: a checkpoint, the exit code, and on it goes."""
    lags = (0, 1, 1)
    for which, code in EXIT_CODES.items():
        for lag in lags:
            settings, directory = config(lag=lag), bench.place("signalled")
            process = start(settings, directory)
            expect(until(lambda: recorded(directory), process), "the run ended too early")  # noqa: B023
            time.sleep(float(bench.random.uniform(0, 0.5)))
            process.send_signal(which)
            finish(process, code)
            expect(Run(directory).state == "stopped" and which.name in Run(directory).facts["reason"], "the state")
            expect("goes on from there" in said(directory) and "Traceback" not in said(directory), said(directory))
            finish(start(settings, directory))
            expect_same(directory, bench.whole(settings))
    return Row(
        "Ctrl-C, SIGTERM, SIGHUP",
        "sent at a random moment to a run with PBT, lag 0 and 1",
        len(EXIT_CODES) * len(lags),
        "the iteration is finished, a checkpoint written, state `stopped`, exit code 130, 143, 129, one sentence and "
        "no traceback; continued, it ends as one that was never interrupted",
    )


PARENT = """
import json, sys
from pathlib import Path
from mmlib.experiments import jobs
from mmlib.config import make_config
from mmlib.experiments.design import Job
jobs.run([Job(make_config(json.load(sys.stdin)), Path(sys.argv[1]))], 1, poll_seconds=0.1)
"""


def parent_killed(bench: Bench) -> Row:
    """SIGKILL of the process that started runs, as when a notebook's kernel dies."""
    times, settings = 3, config()
    for _ in range(times):
        directory = bench.place("orphan")
        parent = subprocess.Popen([sys.executable, "-c", PARENT, str(directory)], stdin=subprocess.PIPE)
        assert parent.stdin is not None
        parent.stdin.write(settings.model_dump_json().encode())
        parent.stdin.close()
        expect(until(lambda: recorded(directory), parent), "the run ended too early")  # noqa: B023
        child = int(json.loads((directory / "owner.json").read_text(encoding="utf-8"))["pid"])
        parent.kill()
        parent.wait()
        expect(gone([child]), "the run went on without its parent")
        expect("has gone" in Run(directory).facts["reason"], str(Run(directory).facts))
        finish(start(settings, directory))
        expect_same(directory, bench.whole(settings))
    return Row(
        "the parent is killed",
        "SIGKILL of the process that started a run (a notebook's kernel, `mmlib figure`)",
        times,
        "the run notices at the end of its iteration, writes a checkpoint and leaves; no process is left; continued, "
        "it ends as one that was never interrupted",
    )


LEVEL = """
import signal, time
from mmlib import levels
signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal
level = levels.make("nav_maze_static_01", "dmlab", num_envs=3, width=32, height=24)
print(*(worker.pid for worker in level._workers), flush=True)
{then}
"""
ENDINGS = {"a normal end": "", "Ctrl-C": "time.sleep(600)", "SIGKILL": "time.sleep(600)"}


def leftovers(bench: Bench) -> Row:
    """Worker processes and shared memory after the end of the process that made them."""
    shared = Path("/dev/shm")
    before = set(shared.iterdir()) if shared.is_dir() else set()
    for ending, then in ENDINGS.items():
        command = [sys.executable, "-c", LEVEL.format(then=then)]
        environment = {**os.environ, **lab_environment(bench.folder)}
        quiet = subprocess.DEVNULL
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, env=environment)
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        expect(len(workers) == 3, "the workers did not start")
        if then:
            parent.send_signal(signal.SIGINT if ending == "Ctrl-C" else signal.SIGKILL)
        parent.wait(PATIENCE)
        expect(gone(workers), f"workers are left after {ending}")
    mine = {path.name for path in (set(shared.iterdir()) - before if shared.is_dir() else set())}
    expect(not any("mmlib" in name or "tmp" in name for name in mine), f"shared memory is left: {mine}")
    return Row(
        "what is left behind",
        f"{', '.join(ENDINGS)} of a process with three DeepMind Lab workers ({lab_name()})",
        len(ENDINGS),
        "no worker outlives it, and shared memory has no name that could be left behind",
    )
