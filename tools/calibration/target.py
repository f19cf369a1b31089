"""One figure measured on DeepMind Lab, and how MiniLab's is sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

REFERENCE_BIG = np.array(  # the "big" random policy measured there, whose yaw is not the paper's
    [(*a, 0) for a in product((-100, -20, 0, 20, 100), (-10, 0, 10), (-1, 0, 1), (-1, 0, 1), (0, 1), (0, 1))], np.int32
)


@dataclass(frozen=True)
class Target:
    """A quantity of a level: what DeepMind Lab gave, and a function that samples MiniLab's."""

    level: str
    quantity: str
    unit: str
    measured: float  # on DeepMind Lab, commit b1db91a
    error: float | None  # standard error of `measured`, None where it is not known
    sample: Callable[[int, int], NDArray[np.float64]]  # (episodes, seed) -> one value an episode
