"""One figure measured on DeepMind Lab, and how MiniLab's is sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Target:
    """A quantity of a level: what DeepMind Lab gave, and a function that samples MiniLab's."""

    level: str
    quantity: str
    unit: str
    measured: float  # on DeepMind Lab, commit b1db91a
    error: float | None  # standard error of `measured`, None where it is not known
    sample: Callable[[int, int], NDArray[np.float64]]  # (episodes, seed) -> one value an episode
