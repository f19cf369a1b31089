"""Return, entropy and KL as functions of alpha: the mixture of one checkpoint rolled out at each of a few alphas.

Kept beside the run or, where that cannot be written, in the user's cache, under a name made from the checkpoint's
checksum. Entropies and KL are in nats, averaged over the states that the mixture visits; every alpha plays the same
maps.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import kl_divergence

from mmlib import caches
from mmlib.errors import ResultsError
from mmlib.method.mixture import mix
from mmlib.method.policies import Policy
from mmlib.numerics.threads import one_thread
from mmlib.runs.records import replace_file
from mmlib.training.trained import Subject, play

ALPHAS = tuple(round(0.1 * k, 1) for k in range(11))
EPISODES = 8
SEED = 1000
FOLDER = "alpha_sweep"
VERSION = 2  # of what is measured and of the file


@dataclass(frozen=True)
class Point:
    """What was measured at one alpha."""

    alpha: float
    returns: list[float]  # one an episode, not clipped
    entropy: float  # of pi_mm
    collision_entropy: float
    kl: float  # sum of KL(pi_i || pi_i+1); 0 for K = 1


@one_thread()
def measure(subject: Subject, alpha: float, episodes: int, go_on: Callable[[], object] = lambda: None) -> Point:
    """Plays one episode in each of `episodes` environments with the mixture at `alpha`; the maps are those of `SEED`.

    `go_on` is called before every agent step; what it raises ends the play.

    Raises:
      ResultsError: the level cannot be made here, or its episodes have no end.
      ValueError: alpha outside [0, 1], or no episode.
    """
    if not 0 <= alpha <= 1 or episodes < 1:
        raise ValueError(f"alpha {alpha} and {episodes} episodes cannot be measured: 0 <= alpha <= 1, 1 or more")
    weights, returns = torch.tensor([subject.weights(alpha)]), np.full(episodes, np.nan)
    actor = play(subject, episodes, SEED)
    sums: NDArray[np.float64] = np.zeros(3)
    states = 0
    with contextlib.closing(actor.level):
        if not actor.level.episode_frames:
            raise ResultsError(f"episodes of {subject.level} have no end; alpha is not swept there")
        while (playing := np.isnan(returns)).any():
            go_on()
            acted, step = actor.act(weights)
            sums, states = sums + _nats(acted.outputs.policies, weights, playing), states + int(playing.sum())
            returns[playing & step.done] = step.episode_return[playing & step.done]
    entropy, collision, divergence = (sums / states).tolist()
    return Point(alpha, returns.tolist(), entropy, collision, divergence)


def _nats(policies: Sequence[Policy], weights: Tensor, playing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Entropy and collision entropy of the mixture, and the chain's KLs, each added up over environments at play."""
    mixed = mix(policies, weights)
    kl = sum((kl_divergence(p, q) for p, q in pairwise(policies)), torch.zeros(mixed.batch_shape))
    nats = torch.stack([mixed.entropy(), mixed.collision_entropy(), kl])[:, 0, 0, torch.from_numpy(playing)]
    return nats.double().sum(-1).numpy()


def cache_files(subject: Subject, episodes: int) -> tuple[Path, Path]:
    """Where a sweep may lie: beside the run, and in the user's cache."""
    settings = f"member{subject.member}-level{subject.task}-episodes{episodes}"
    name = f"{subject.checksum[:24]}-{settings}.json"
    return subject.directory / FOLDER / name, caches.directory() / FOLDER / name


def cached(subject: Subject, episodes: int) -> list[Point]:
    """The points of this checkpoint that have been measured before, by alpha; what cannot be read counts as absent."""
    for path in cache_files(subject, episodes):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] == VERSION:
                return [Point(**row) for row in content["points"]]
    return []


def store(subject: Subject, points: list[Point], episodes: int) -> None:
    """Writes the points beside the run, else into the user's cache, if either can be written."""
    content = {"version": VERSION, "checksum": subject.checksum, "level": subject.level, "seed": SEED}
    text = json.dumps({**content, "points": [asdict(point) for point in points]}, indent=1) + "\n"
    for path in cache_files(subject, episodes):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text)
            return


def alpha_sweep(subject: Subject, episodes: int, go_on: Callable[[], object] = lambda: None) -> Iterator[list[Point]]:
    """Measures alpha by alpha what is not cached; yields all points so far, by alpha, and caches them each time.

    `go_on` as in `measure`.
    """
    points = cached(subject, episodes)
    yield points
    for alpha in sorted(set(ALPHAS) - {point.alpha for point in points}):
        points = sorted([*points, measure(subject, alpha, episodes, go_on)], key=lambda point: point.alpha)
        store(subject, points, episodes)
        yield points
