"""Return, entropy and KL as functions of alpha: the mixture of one checkpoint rolled out at each of a few alphas.

Measured in a process of its own (`python -m mmlib.widgets.alpha_sweep`), kept beside the run or, where that cannot be
written, in the user's cache, under a name made from the checkpoint's checksum. Entropies and KL are in nats,
averaged over the states that the mixture visits; every alpha plays the same maps.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import kl_divergence

from mmlib import caches
from mmlib.analysis.stats import mean_interval
from mmlib.errors import Stopped
from mmlib.experiments.jobs import check_elsewhere
from mmlib.method.mixture import mix
from mmlib.method.policies import Policy
from mmlib.runs.records import replace_text
from mmlib.timing import StageTimer
from mmlib.training.signals import PARENT, StopRequests
from mmlib.widgets.inspection import InspectionError, Subject, open_subject, play

ALPHAS = tuple(round(0.1 * k, 1) for k in range(11))
EPISODES = 8
SEED = 1000
FOLDER = "alpha_sweep"
VERSION = 1  # of what is measured and of the file


@dataclass(frozen=True)
class Point:
    """What was measured at one alpha."""

    alpha: float
    returns: tuple[float, ...]  # one an episode, not clipped
    entropy: float  # of pi_mm
    collision_entropy: float
    kl: float  # sum of KL(pi_i || pi_i+1); 0 for K = 1

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the mean return (Student's t over episodes); 0 for a single episode."""
        if len(self.returns) < 2:
            return 0.0
        interval = mean_interval(self.returns)
        return (interval.high - interval.low) / 2


def measure(
    subject: Subject,
    alpha: float,
    episodes: int = EPISODES,
    seed: int = SEED,
    go_on: Callable[[], object] = lambda: None,
) -> Point:
    """Plays one episode in each of `episodes` environments with the mixture at `alpha`.

    `go_on` is called before every agent step; what it raises ends the play.

    Raises:
      InspectionError: the level cannot be made here, or its episodes have no end.
      ValueError: alpha outside [0, 1], or no episode.
    """
    if not 0 <= alpha <= 1 or episodes < 1:
        raise ValueError(f"alpha {alpha} and {episodes} episodes cannot be measured: 0 <= alpha <= 1, 1 or more")
    weights, returns = torch.tensor([subject.weights(alpha)]), np.full(episodes, np.nan)
    actor, timer = play(subject, episodes, seed), StageTimer()
    sums: NDArray[np.float64] = np.zeros(3)
    states = 0
    with contextlib.closing(actor.level):
        if not actor.level.episode_frames:
            raise InspectionError(f"episodes of {subject.level} have no end; alpha is not swept there")
        while (playing := np.isnan(returns)).any():
            go_on()
            acted, step = actor.act(weights, timer)
            sums, states = sums + _nats(acted.outputs.policies, weights, playing), states + int(playing.sum())
            returns[playing & step.done] = step.episode_return[playing & step.done]
    entropy, collision, divergence = (sums / states).tolist()
    return Point(alpha, tuple(returns.tolist()), entropy, collision, divergence)


def _nats(policies: Sequence[Policy], weights: Tensor, playing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Entropy and collision entropy of the mixture, and the chain's KLs, each added up over environments at play."""
    mixed = mix(policies, weights)
    kl = sum((kl_divergence(p, q) for p, q in pairwise(policies)), torch.zeros(mixed.batch_shape))
    nats = torch.stack([mixed.entropy(), mixed.collision_entropy(), kl])[:, 0, 0, torch.from_numpy(playing)]
    return nats.double().sum(-1).numpy()


def cache_files(subject: Subject, episodes: int = EPISODES) -> tuple[Path, Path]:
    """Where a sweep may lie: beside the run, and in the user's cache."""
    settings = f"member{subject.member}-level{subject.task}-episodes{episodes}"
    name = f"{subject.checksum[:24]}-{settings}.json"
    return subject.directory / FOLDER / name, caches.directory() / FOLDER / name


def cached(subject: Subject, episodes: int = EPISODES) -> list[Point]:
    """The points of this checkpoint that have been measured before, by alpha; what cannot be read counts as absent."""
    for path in cache_files(subject, episodes):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] == VERSION and content["checksum"] == subject.checksum:
                return sorted(parse(content["points"]), key=lambda point: point.alpha)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def parse(rows: list[dict[str, Any]]) -> list[Point]:
    """Points from what a sweep prints or keeps."""
    return [Point(**{**row, "returns": tuple(row["returns"])}) for row in rows]


def store(subject: Subject, points: list[Point], episodes: int = EPISODES) -> Path | None:
    """Writes the points beside the run, else into the user's cache; returns where, None if neither can be written."""
    content = {"version": VERSION, "checksum": subject.checksum, "level": subject.level, "seed": SEED}
    text = json.dumps({**content, "points": [asdict(point) for point in points]}, indent=1) + "\n"
    for path in cache_files(subject, episodes):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, text)
        except OSError:
            continue
        return path
    return None


def alpha_sweep(
    subject: Subject, episodes: int = EPISODES, go_on: Callable[[], object] = lambda: None
) -> Iterator[list[Point]]:
    """Measures alpha by alpha what is not cached; yields all points so far, by alpha, and caches them each time.

    `go_on` as in `measure`.
    """
    points = {point.alpha: point for point in cached(subject, episodes)}
    yield _sorted(points)
    for alpha in ALPHAS:
        if alpha not in points:
            points[alpha] = measure(subject, alpha, episodes, go_on=go_on)
            store(subject, _sorted(points), episodes)
            yield _sorted(points)


def _sorted(points: dict[float, Point]) -> list[Point]:
    return [points[alpha] for alpha in sorted(points)]


def start(subject: Subject, episodes: int = EPISODES) -> subprocess.Popen[str]:
    """Starts the sweep as a process of one thread; it prints the points so far, a line each time (`parse`).

    It ends with the process that started it, however that one ends. Raises ExperimentError if it cannot make the level.
    """
    check_elsewhere(subject.config)
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    where = [str(subject.directory.resolve()), subject.checkpoint]
    numbers = [str(n) for n in (subject.member, subject.task, episodes)]
    return subprocess.Popen(
        [sys.executable, "-m", "mmlib.widgets.alpha_sweep", *where, *numbers],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **dict.fromkeys(threads, "1"), PARENT: str(os.getpid())},
    )


def main(arguments: list[str]) -> int:
    """The process behind `start`: run directory, checkpoint's name, member, level's place, episodes."""
    directory, checkpoint = arguments[:2]
    member, task, episodes = (int(text) for text in arguments[2:])
    torch.set_num_threads(1)
    with StopRequests() as requests:

        def go_on() -> None:
            if requests.received:
                raise requests.stopped()

        try:
            for points in alpha_sweep(open_subject(directory, checkpoint, member, task), episodes, go_on):
                print(json.dumps([asdict(point) for point in points]), flush=True)
        except InspectionError as error:
            print(error, file=sys.stderr)
            return 1
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
