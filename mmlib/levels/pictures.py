"""Pictures of a level as far as its backend can give them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.base import Level, Unsupported


def view(level: Level, i: int, width: int, height: int) -> NDArray[np.uint8] | None:
    """What environment i's agent sees, `[h, w, 3]`: in that size, else in the observation's; None without either."""
    for size in ((width, height), (level.width, level.height)):
        with suppress(Unsupported):
            return level.render(i, *size)
    return None


def overview(level: Level, i: int, pixels: int) -> NDArray[np.uint8] | None:
    """Environment i from above, see `Level.map_image`; None where the backend draws no maps."""
    with suppress(Unsupported):
        return level.map_image(i, pixels)
    return None
