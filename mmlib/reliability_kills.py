"""Checks that end a run from outside: SIGKILL at any moment, Ctrl-C, SIGTERM, the death of a parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mmlib import checkpoint
from mmlib.reliability import (
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
    recorded,
    said,
    start,
    until,
)
from mmlib.results import Run

MOMENTS = ("at the start", "while it trains", "while a checkpoint is written")


def kills(bench: Bench) -> Row:
    """SIGKILL at random moments, lag 0 and 1, until so many were survived."""
    done, finished = dict.fromkeys(MOMENTS, 0), 0
    settings, directory = config(), bench.place("killed")
    while sum(done.values()) < bench.kills or directory.exists():
        enough = sum(done.values()) >= bench.kills
        moment = None if enough else MOMENTS[int(bench.random.integers(3))]
        process = start(settings, directory)
        if moment is not None and _reach(moment, process, directory, bench):
            process.kill()
            process.wait()
            done[moment] += 1
            print(f"killed {moment}, {sum(done.values())} of {bench.kills}", flush=True)
            continue
        finish(process)
        expect_same(directory, bench.whole(settings))
        finished += 1
        settings, directory = config(lag=finished % 2), bench.place("killed")
    lags = "lag 0" if finished < 2 else "lag 0 and 1"
    times = ", ".join(f"{count} {moment}" for moment, count in done.items())
    return Row(
        "SIGKILL",
        f"a population with PBT, {lags}, killed at random moments ({times})",
        sum(done.values()),
        f"{finished} run(s) got through; each has the metrics, episodes, decisions (byte for byte) and parameters (bit "
        "for bit) of one that was never interrupted",
    )


def _reach(moment: str, process: subprocess.Popen[bytes], directory: Path, bench: Bench) -> bool:
    """Waits for the moment; False if the run has ended before it came."""
    if moment == MOMENTS[0]:
        state, mine = directory / "state.json", f'"pid": {process.pid}'
        arrived = until(lambda: state.exists() and mine in state.read_text(), process)
        time.sleep(float(bench.random.uniform(0, 0.4)))
        return arrived and process.poll() is None
    part, timing = directory / f"{checkpoint.FILE}.part", directory / "timing.jsonl"
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


def signals(bench: Bench) -> Row:
    """Ctrl-C and SIGTERM: a checkpoint, the exit code, and on it goes."""
    times = 3
    for which, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        for lag in (0, 1, 1)[:times]:
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
        "Ctrl-C, SIGTERM",
        "sent at a random moment to a run with PBT, lag 0 and 1",
        2 * times,
        "the iteration is finished, a checkpoint written, state `stopped`, exit code 130 and 143, one sentence and no "
        "traceback; continued, it ends as one that was never interrupted",
    )


PARENT = """
import json, sys
from pathlib import Path
from mmlib import jobs
from mmlib.config import make_config
from mmlib.experiments import Job
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
        child = int(json.loads((directory / "state.json").read_text())["pid"])
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
