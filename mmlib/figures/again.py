"""The command that makes runs again."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path


def command(directories: Sequence[str]) -> str:
    """What makes runs again with the settings that they have recorded, beside those that there are."""
    runs = " ".join(_braced([Path(run).parts for run in directories]))
    return f'for run in {runs}; do mmlib train --config "$run/config.json" --directory "again/$run"; done'


def _braced(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Paths as a shell's words with braces, as few as there may be."""
    columns = [list(dict.fromkeys(column)) for column in zip(*paths)]
    if math.prod(map(len, columns)) == len(paths):
        return ["/".join(map(_choice, columns))]
    several = next(place for place, values in enumerate(columns) if len(values) > 1)
    parts = [[path for path in paths if path[several] == value] for value in columns[several]]
    return [word for part in parts for word in _braced(part)]


def _choice(values: Sequence[str]) -> str:
    """One of these, as a shell writes it."""
    if not values[1:]:
        return shlex.quote(values[0])
    numbers = [int(digits[0]) if (digits := re.findall(r"^seed(\d+)$", value)) else -1 for value in values]
    if numbers == [*range(max(numbers[0], 0), numbers[-1] + 1)]:
        return f"seed{{{numbers[0]}..{numbers[-1]}}}"
    return f"{{{','.join(map(shlex.quote, values))}}}"
