"""Checks of the machine under a run: its disk, its permissions, its clock, its memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from mmlib.runs.reader import Run
from tools.reliability.harness import (
    COMPARED,
    Bench,
    Row,
    Surprise,
    config,
    expect,
    expect_same,
    finish,
    python_path,
    said,
    start,
)


@contextlib.contextmanager
def small_disk(bench: Bench, megabytes: int) -> Iterator[Path | None]:
    """A file system of that size in memory, or None where it may not be mounted."""
    disk = bench.place("disk")
    disk.mkdir()
    size = f"size={megabytes}m"
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk]).returncode:
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def full_disk(bench: Bench) -> Row:
    """A disk that fills up in the first checkpoint, in the second, and later; then there is room again."""
    settings, sizes = config(), (6, 20, 30)
    failed = 0
    for megabytes in sizes:
        with small_disk(bench, megabytes) as disk:
            if disk is None:
                return Row("full disk", "not tried: no small disk may be mounted here", 0, "–")
            directory = disk / "run"
            process = start(settings, directory)
            process.wait()
            if process.returncode == 0:
                continue
            failed += 1
            expect(process.returncode == 1 and "No space left" in said(directory), said(directory))
            expect("Traceback" not in said(directory), said(directory))
            for name in COMPARED:
                Run(directory)._frame(name)
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            finish(start(settings, directory))
            expect_same(directory, bench.whole(settings))
    expect(failed, "no disk was small enough")
    return Row(
        "full disk",
        f"a file system of {', '.join(map(str, sizes))} MB in memory",
        failed,
        "where the run did not fit: exit code 1, one sentence, no traceback, the records stay readable, nothing half-"
        "written is left; with room again it goes on and ends as one that was never interrupted",
    )


def read_only(bench: Bench) -> Row:
    """A results directory that cannot be written, for a process that permissions bind."""
    directory = bench.place("read-only")
    directory.mkdir()
    directory.chmod(0o555)
    root = os.geteuid() == 0
    finish(start(config(), directory, preexec_fn=obey_permissions if root else None), 2)
    words = said(directory)
    expect("cannot write to the results directory" in words and "Traceback" not in words, words)
    expect(not any(directory.iterdir()), "something was written")
    return Row(
        "read-only results",
        "a directory without write permission" + (", root's right to ignore it given up" if root else ""),
        1,
        "exit code 2 and one sentence that names it, before any work",
    )


def obey_permissions() -> None:
    """Gives up root's right to ignore permissions, for good."""
    drop, override, search = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for capability in (override, search):
        ctypes.CDLL(None).prctl(drop, capability, 0, 0, 0)


BACKWARDS = """
import time
def _turn(name, step):
    real, first = getattr(time, name), getattr(time, name)()
    setattr(time, name, lambda: type(first)(first - step * (real() - first)))
for _name in ("time", "time_ns"):
    _turn(_name, {step})
"""


def clock(bench: Bench) -> Row:
    """Wall clocks that run backwards, ever faster ones; a monotonic clock never does."""
    settings, steps = config(lag=1), (1, 3600)
    for step in steps:
        patched, directory = bench.place("clock"), bench.place("backwards")
        patched.mkdir()
        (patched / "sitecustomize.py").write_text(BACKWARDS.format(step=step))
        finish(start(settings, directory, python_path(patched)))
        expect_same(directory, bench.whole(settings))
    return Row(
        "clock going backwards",
        f"Python's wall clock runs backwards, {' and '.join(map(str, steps))} times as fast",
        len(steps),
        "the records are byte for byte those of a right clock: time is in timing.jsonl alone",
    )


def out_of_memory(bench: Bench) -> Row:
    """A limit on memory that the run's buffers do not fit into."""
    limits = (2, 3)
    for gigabytes in limits:
        settings, directory = config(num_envs=256, unroll=1000, pbt=None), bench.place("memory")
        process = start(settings, directory, preexec_fn=_limit(gigabytes))
        finish(process, 1)
        words = said(directory)
        expect(re.search(r"^mmlib: out of memory; .*fewer num_envs", words, re.M), words)
        expect("Traceback" not in words and Run(directory).state == "failed", words)
    return Row(
        "out of memory",
        f"address space limited to {' and '.join(map(str, limits))} GB for a run that needs more",
        len(limits),
        "exit code 1, one sentence that says so and what needs less, no traceback; state `failed` with the reason",
    )


def _limit(gigabytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30))


def soak(bench: Bench) -> Row:
    """Resident memory of a long run."""
    settings, directory = config(agent_steps=10**9, checkpoint_every=2400), bench.place("soak")
    process = start(settings, directory)
    minutes, sizes = bench.soak_minutes, list[float]()
    try:
        while len(sizes) < minutes * 6:
            expect(process.poll() is None, said(directory))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            sizes.append(resident(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    warm = sizes[len(sizes) // 6 :]
    spread = 100 * (max(warm) - min(warm)) / min(warm)
    rows = (directory / "metrics.jsonl").read_bytes().count(b"\n")
    if spread > 2:
        raise Surprise(f"memory grew from {warm[0]:.0f} to {warm[-1]:.0f} MB ({spread:.1f} %)")
    return Row(
        "leaks",
        f"a run of {minutes:g} minutes, its resident memory every 10 s ({rows:,} rows of metrics)",
        len(sizes),
        f"after the first {minutes / 6:.0f} minutes {min(warm):.0f} to {max(warm):.0f} MB: within {spread:.1f} %",
    )


def resident(pid: int) -> float:
    """Resident memory of a process, MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
