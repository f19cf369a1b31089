"""Faults tried for real on small runs, and the table of docs/reliability.md that says what happened.

Each check runs `python -m mmlib train` as anybody would, does something to it, and compares what is left with a run to
which nothing was done: metrics, episodes, evaluations, decisions byte for byte, and the final parameters bit for bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmlib.config import RunConfig, make_config
from mmlib.experiments.design import repository_root
from mmlib.levels import dmlab_found
from mmlib.runs.reader import Run
from mmlib.runs.records import read_bytes, replace_file
from mmlib.training import checkpoint

BEGIN, END = "<!-- reliability -->", "<!-- /reliability -->"
COMPARED = ("metrics", "episodes", "evaluations", "decisions")
PATIENCE = 600.0  # seconds that anything may take on a busy machine
ITERATION = 120  # agent steps


class Row(NamedTuple):
    """A line of the table."""

    fault: str
    tried: str
    times: int
    happened: str


class Surprise(AssertionError):
    """Something else happened than what a check says should."""


@dataclass
class Bench:
    """Where checks make their runs, and how much they try."""

    folder: Path
    kills: int = 50
    soak_minutes: float = 30.0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _whole: dict[str, Path] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """A new directory's path."""
        return self.folder / f"{name}-{len(list(self.folder.iterdir()))}"

    def whole(self, settings: RunConfig) -> Path:
        """The directory of a run of that configuration that nothing was done to."""
        key = settings.model_dump_json()
        if key not in self._whole:
            directory = self.place("whole")
            finish(start(settings, directory))
            self._whole[key] = directory
        return self._whole[key]


def config(**overrides: Any) -> RunConfig:
    """A population of two on a miniature level: an iteration is a fraction of a second, decisions are frequent."""
    base: dict[str, Any] = dict(level="explore_object_locations_small_mini", method="mm", backend="minilab")
    base |= dict(population=2, num_envs=2, unroll=60, width=48, height=36, conv1=(4, 2), staggered=True)
    base |= dict(pbt={"ready": 1, "window": 2, "p_value": 0.9, "explore_probability": 0.6})
    base |= dict(agent_steps=ITERATION * 40, log_every=250, checkpoint_every=ITERATION * 3)
    return make_config(base | overrides)


def start(settings: RunConfig, directory: Path, more: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """Starts a run as a process; `more` is added to its environment, `arguments` are of subprocess.Popen."""
    path = directory.with_name(f"{directory.name}.config.json")
    path.write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "mmlib", "train", "--config", str(path), "--directory", str(directory)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(more or {})}
    log = directory.with_name(f"{directory.name}.log").open("ab")
    with log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment, **arguments)


def said(directory: Path) -> str:
    """What the runs in a directory wrote on standard error."""
    return directory.with_name(f"{directory.name}.log").read_text(errors="replace")


def finish(process: subprocess.Popen[bytes], code: int = 0) -> None:
    """Waits for a run's end, which must have that exit code."""
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise Surprise(f"{Path(process.args[-1]).name} did not end") from error  # type: ignore[index,arg-type]
    words = said(Path(process.args[-1]))[-1000:]  # type: ignore[index,arg-type]
    expect(process.returncode == code, f"exit code {process.returncode}, not {code}: {words}")


def expect(true: object, otherwise: str) -> None:
    """Raises Surprise unless `true`."""
    if not true:
        raise Surprise(otherwise)


def until(condition: Callable[[], object], process: subprocess.Popen[bytes], pause: float = 0.01) -> bool:
    """Waits for a condition; False if the process ended before."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None:
            return False
        expect(time.monotonic() < deadline, "nothing happened for minutes")
        time.sleep(pause)
    return True


def recorded(directory: Path) -> int:
    """Bytes of timing so far: how far a run is."""
    path = directory / "timing.jsonl"
    return path.stat().st_size if path.exists() else 0


def stop_halfway(settings: RunConfig, directory: Path) -> None:
    """Makes a run and kills it when it is past its third checkpoint or so."""
    process = start(settings, directory)
    expect(until(lambda: recorded(directory) > 900, process), "the run ended too early")
    process.kill()
    process.wait()


def difference(directory: Path, whole: Path) -> str:
    """What differs between two finished runs, "" if nothing does."""
    for name in COMPARED:
        if read_bytes(directory, name) != read_bytes(whole, name):
            return f"{name}.jsonl"
    one, two = (parameters(path) for path in (directory, whole))
    for name, value in one.items():
        if not torch.equal(value, two[name]):
            return f"parameter {name}"
    return "" if Run(directory).done else "the state"


def parameters(directory: Path) -> dict[str, torch.Tensor]:
    """The parameters in a run's newest checkpoint."""
    saved = checkpoint.load(directory)
    expect(saved is not None, f"no checkpoint in {directory.name}")
    return (saved or {})["loop"]["learner"]["agent"]


def expect_same(directory: Path, whole: Path) -> None:
    """Raises Surprise unless two finished runs are the same."""
    found = difference(directory, whole)
    expect(not found, f"{directory.name}: {found} is not as in the run that was never interrupted")


def gone(pids: Iterable[int]) -> bool:
    """Whether all those processes end within half a minute."""
    deadline = time.monotonic() + 30
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def python_path(folder: Path) -> dict[str, str]:
    """What a process needs in its environment to import what is in `folder` before anything else."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), *(path for path in sys.path if path)])}


def lab_name() -> str:
    """Which DeepMind Lab the checks use."""
    return "itself" if dmlab_found.problem() is None else "a strict stand-in for its Python module"


def lab_environment(folder: Path) -> dict[str, str]:
    """What a process needs in its environment to import DeepMind Lab, or the tests' stand-in for it.

    Raises Surprise where there is neither.
    """
    fake = repository_root() / "tests" / "fake_dmlab"
    real = dmlab_found.problem() is None
    expect(real or fake.is_dir(), "DeepMind Lab is not installed, and the tests' stand-in is not here")
    paths = {} if real else python_path(fake)
    return {**paths, "XDG_CACHE_HOME": str(folder / "cache")}


def table(rows: Iterable[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| fault | what was tried | times | what happened |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {row.fault} | {row.tried} | {row.times} | {row.happened} |" for row in rows])


def read_table(text: str) -> list[Row]:
    """The rows between the markers of a page."""
    rows = []
    for line in text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]:
        fault, tried, times, happened = (cell.strip() for cell in line.strip().strip("|").split("|"))
        rows.append(Row(fault, tried, int(times), happened))
    return rows


def write(page: Path, rows: Iterable[Row], order: Iterable[str]) -> None:
    """Puts rows into the page's table, in place of those of the same fault; `order` is that of all faults."""
    text = page.read_text(encoding="utf-8")
    merged = {row.fault: row for row in (*read_table(text), *rows)}
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    ordered = [merged[fault] for fault in order if fault in merged]
    replace_file(page, f"{before}{BEGIN}\n{table(ordered)}\n{END}{after}")
