"""MiniLab against DeepMind Lab, quantity by quantity: the table that `tools.calibration` prints and writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmlib.cli.common import UsageError
from mmlib.runs.records import replace_file
from tools.calibration.lasertag import LASERTAG_TARGETS
from tools.calibration.mazes import MAZE_TARGETS
from tools.calibration.target import Target

TARGETS: tuple[Target, ...] = (*MAZE_TARGETS, *LASERTAG_TARGETS)
EPISODES = 128
MARKER = "<!-- calibration -->"
COLUMNS = ("level", "quantity", "DeepMind Lab", "MiniLab", "n", "difference")


class Measured(NamedTuple):
    """A target with what MiniLab gave: mean, its standard error (0 where all are equal), number of values."""

    target: Target
    mean: float
    error: float
    number: int

    @property
    def difference(self) -> float:
        """MiniLab's mean less DeepMind Lab's."""
        return self.mean - self.target.measured

    @property
    def deviation(self) -> float | None:
        """The difference in combined standard errors; None where DeepMind Lab's is not known."""
        if self.target.error is None:
            return None
        return self.difference / math.hypot(self.target.error, self.error)


def choose(level: str | None = None) -> list[Target]:
    """The targets of one level, or all. Raises UsageError, naming the choices, if a level has none."""
    chosen = [target for target in TARGETS if level in (None, target.level)]
    if not chosen:
        known = ", ".join(dict.fromkeys(target.level for target in TARGETS))
        raise UsageError(f"nothing was measured on DeepMind Lab for level {level!r}; levels: {known}")
    return chosen


def calibrate(targets: Sequence[Target], episodes: int = EPISODES, seed: int = 0) -> Iterator[Measured]:
    """Samples MiniLab for each target, one after the other (seconds to minutes each)."""
    for target in targets:
        values = np.asarray(target.sample(episodes, seed), np.float64)
        error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
        yield Measured(target, float(values.mean()), error, len(values))


def row(measured: Measured) -> tuple[str, ...]:
    """A line of the table, as text: `COLUMNS`."""
    target, deviation = measured.target, measured.deviation
    if deviation is not None:
        difference = f"{deviation:+.1f} s.e."
    elif abs(measured.difference) < 5e-5:
        difference = "0"
    else:
        relative = f" ({measured.difference / target.measured:+.1%})" if target.measured else ""
        difference = f"{measured.difference:+.3g}{relative}"
    reference = _number(target.measured) + (f" ± {target.error:.2g}" if target.error is not None else "")
    own = _number(measured.mean) + (f" ± {measured.error:.2g}" if measured.error > 1e-9 else "")
    quantity = f"{target.quantity} ({target.unit})" if target.unit else target.quantity
    return target.level, quantity, reference, own, str(measured.number), difference


def _number(value: float) -> str:
    """Four digits, or the number itself if it has fewer."""
    return f"{value:.4g}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(line) + " |" for line in rows)]) + "\n"


def check_page(page: Path) -> None:
    """Raises UsageError unless `page` has a place for the table: two lines `MARKER`."""
    try:
        markers = page.read_text(encoding="utf-8").count(MARKER)
    except OSError as error:
        raise UsageError(f"cannot read {page} ({error.strerror}); run this in a checkout") from None
    if markers != 2:
        raise UsageError(f"{page} has {markers} lines {MARKER}; the table needs two to stand between")


def write(page: Path, rows: Sequence[Sequence[str]]) -> None:
    """Replaces the table of `page`. Raises UsageError as `check_page` does."""
    check_page(page)
    before, _, after = page.read_text(encoding="utf-8").split(MARKER)
    replace_file(page, f"{before}{MARKER}\n{markdown(rows)}{MARKER}{after}")
