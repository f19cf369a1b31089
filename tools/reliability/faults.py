"""Checks that harm a run's files, its numbers or its workers."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
from pathlib import Path

import torch

from mmlib.runs.reader import Run
from mmlib.runs.records import DamagedRecord
from mmlib.runs.writer import RunWriter
from mmlib.training import checkpoint
from tools.reliability.harness import (
    COMPARED,
    Bench,
    Row,
    config,
    expect,
    expect_same,
    finish,
    gone,
    lab_environment,
    lab_name,
    parameters,
    recorded,
    said,
    start,
    stop_halfway,
    until,
)


def harm(content: bytes, bench: Bench) -> bytes:
    """A file's content with a few random bits flipped, or cut short."""
    if bench.random.random() < 0.5:
        return content[: int(bench.random.integers(len(content)))]
    harmed = bytearray(content)
    for place in bench.random.integers(len(content), size=int(bench.random.integers(1, 5))):
        harmed[place] ^= 1 << int(bench.random.integers(8))
    return bytes(harmed)


def damaged_checkpoint(bench: Bench) -> Row:
    """Flipped bits and truncations of the newest checkpoint; some of them all the way to the end of the run."""
    settings, halfway, times, whole_runs = config(), bench.place("halfway"), 200, 3
    stop_halfway(settings, halfway)
    newest = halfway / checkpoint.FILE
    content = newest.read_bytes()
    with contextlib.redirect_stderr(io.StringIO()):
        for _ in range(times):
            newest.write_bytes(harmed := harm(content, bench))
            found = [path.name for path, _ in checkpoint.candidates(halfway)]
            expect(found == [checkpoint.PREVIOUS] or harmed == content, f"a damaged checkpoint was used: {found}")
    for _ in range(whole_runs):
        directory = bench.place("damaged")
        shutil.copytree(halfway, directory)
        (directory / checkpoint.FILE).write_bytes(harm(content, bench))
        finish(start(settings, directory))
        expect(f"{checkpoint.FILE} is damaged" in said(directory), said(directory))
        expect_same(directory, bench.whole(settings))
    return Row(
        "damaged checkpoint",
        "random bits flipped in the newest one, or it is cut at a random place",
        times + whole_runs,
        f"named every time, and the one before it used; {whole_runs} were continued to the end and are as one that was "
        "never interrupted",
    )


def damaged_record(bench: Bench) -> Row:
    """The same for records: reading them, and going on from them."""
    settings, halfway, times = config(), bench.place("halfway"), 200
    stop_halfway(settings, halfway)
    contents = {name: (halfway / f"{name}.jsonl").read_bytes() for name in COMPARED if name != "evaluations"}
    read = refused = 0
    outcome = dict.fromkeys(("newest", "one before", "neither"), 0)
    for k in range(times):
        name = list(contents)[k % len(contents)]
        path = halfway / f"{name}.jsonl"
        path.write_bytes(harm(contents[name], bench))
        try:
            Run(halfway)._frame(name)
            read += 1
        except DamagedRecord as error:
            expect(path.name in str(error), str(error))
            refused += 1
        directory = bench.place("record")
        shutil.copytree(halfway, directory)
        with RunWriter(directory, Run(halfway).config) as writer:
            position = _position(writer)
        outcome[position] += 1
        for other, content in contents.items():
            kept = (directory / f"{other}.jsonl").read_bytes()
            refused_here = position == "neither" and other == name
            expect(content.startswith(kept) or refused_here, f"{other} is not what was recorded")
        shutil.rmtree(directory)
        path.write_bytes(contents[name])
    for name in contents:
        directory = bench.place("damaged")
        shutil.copytree(halfway, directory)
        (directory / f"{name}.jsonl").write_bytes(contents[name][:-7])
        finish(start(settings, directory))
        expect_same(directory, bench.whole(settings))
    return Row(
        "damaged record",
        "random bits flipped in the metrics, episodes or decisions of a killed run, or the file is cut at random",
        times + len(contents),
        f"reading: {refused} named with file and line, {read} still read (a row less, a digit changed); going on: "
        f"{outcome['newest']} damaged after the newest checkpoint, {outcome['one before']} from the one before it, "
        f"{outcome['neither']} damaged before both and refused; never from a record that is not what it was",
    )


def _position(writer: RunWriter) -> str:
    """Which checkpoint the records fit."""
    for path, saved in checkpoint.candidates(writer.directory):
        with contextlib.suppress(DamagedRecord):
            writer.restore(saved["positions"])
            return "newest" if path.name == checkpoint.FILE else "one before"
    return "neither"


def two_writers(bench: Bench) -> Row:
    """A second process on a directory that one is writing."""
    settings, directory = config(), bench.place("two")
    first = start(settings, directory)
    expect(until(lambda: recorded(directory), first), "the run ended too early")
    second = start(settings, directory)
    finish(second, 2)
    expect(f"process {first.pid} is writing" in said(directory), said(directory))
    finish(first)
    expect_same(directory, bench.whole(settings))
    return Row(
        "two processes, one directory",
        "a second `mmlib train` on a run that is going on",
        1,
        "the second leaves with exit code 2 and names the process that holds the lock; the first does not notice",
    )


def diverging(bench: Bench) -> Row:
    """A member whose parameters become NaN, without and with population based training."""
    for settings in (config(pbt=None), config()):
        directory = bench.place("diverging")
        stop_halfway(settings, directory)
        saved = checkpoint.load(directory) or {}
        for value in saved["loop"]["learner"]["agent"].values():
            value[0] = float("nan")
        checkpoint.save(directory, saved)
        finish(start(settings, directory))
        after = parameters(directory)
        if settings.pbt is None:
            alone = parameters(bench.whole(settings))
            expect(Run(directory).facts["stopped_members"]["0"].startswith("member 0: loss nan"), "the reason")
            expect(all(torch.equal(value[1], alone[name][1]) for name, value in after.items()), "the other member")
        else:
            expect("stopped_members" not in Run(directory).facts, "it was not revived")
            expect(all(torch.isfinite(value).all() for value in after.values()), "NaN is left")
    return Row(
        "NaN in one member",
        "the parameters of one of two members become NaN, without and with PBT",
        2,
        "the member stops, its reason is in state.json, and the other's parameters are bit for bit those of an "
        "undisturbed run; with PBT it copies the healthy member and goes on",
    )


def worker_killed(bench: Bench) -> Row:
    """SIGKILL of DeepMind Lab's workers during a run."""
    settings = config(level="nav_maze_static_01", backend="minilab", pbt=None).model_copy(
        update={"backend": "dmlab", "staggered": False}
    )
    directory, times = bench.place("dmlab"), 3
    process = start(settings, directory, lab_environment(bench.folder))
    victims = []
    for _ in range(times):
        before = recorded(directory)
        expect(until(lambda: recorded(directory) > before, process), said(directory))  # noqa: B023
        victims.append(int(bench.random.choice(children(process.pid))))
        os.kill(victims[-1], signal.SIGKILL)
    finish(process)
    expect(Run(directory).done and said(directory).count("its episode is cut") == times, said(directory))
    expect(gone(victims), "a dead worker is left")
    return Row(
        "a DeepMind Lab worker is killed",
        f"SIGKILL of a worker process of a run ({lab_name()})",
        times,
        "it is replaced, the episode it played is cut (no return recorded), the run says so and goes on to its end",
    )


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in text.split()]
