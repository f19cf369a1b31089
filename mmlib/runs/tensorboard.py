"""A run's records as TensorBoard's event files; beside the records, which stay what everything here reads."""

from __future__ import annotations

from pathlib import Path

from mmlib.errors import ResultsError
from mmlib.runs.reader import Run

RECORDS = {"metrics": "", "episodes": "episode/", "evaluations": "target_alone/", "timing": "timing/"}  # and tags


def export(run: Run, directory: Path) -> int:
    """Writes the numbers of a run's records as scalars into `directory`, a folder a member; returns how many.

    A scalar's step is the member's environment frames, and its wall time that of no clock (0): the records have none.
    The files of events that were in these folders are replaced.

    Raises ResultsError if the package tensorboard is missing or the records are damaged.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ResultsError("event files need the package tensorboard: pip install 'mmlib[tensorboard]'") from None

    for old in directory.glob("member*/events.out.tfevents.*"):
        old.unlink()
    tables = {prefix: getattr(run, name)() for name, prefix in RECORDS.items()}
    written = 0
    for member in range(int(run.config.get("population", 1))):
        with SummaryWriter(str(directory / f"member{member}")) as writer:
            for prefix, table in tables.items():
                mine = table[table["member"] == member] if "member" in table else table
                several = "level" in mine and mine["level"].nunique() > 1
                for level, rows in mine.groupby("level") if several else [("", mine)]:
                    numbers = rows.set_index("frames").select_dtypes("number")
                    for name in numbers.columns.difference(["member", "began"]):
                        values = numbers[name].dropna()
                        for frames, value in values.items():
                            tag = f"{prefix}{level}/{name}" if several else f"{prefix}{name}"
                            writer.add_scalar(tag, value, int(frames), walltime=0.0)
                        written += len(values)
    return written
