"""How long *Run All* takes: every notebook over the results on disk, with the wall and processor time of each cell.

Processor time is that of the kernel and of all processes under it; on a machine that does other things too it is the
number to compare.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from papermill.utils import find_first_tagged_cell_index

from mmlib.experiments.run_table import find_choices
from mmlib.training.trained import open_subject
from mmlib.widgets.recording import record

app = typer.Typer()
ROOT = Path(__file__).parents[1]
INSPECTOR = "06_inspect_mixture"  # where no run has a checkpoint it makes one first, which is not timed
DRAWN: dict[str, Any] = {"train": False, "seeds": [1, 2, 3]}  # of those that have these parameters


def processor_seconds(pid: int) -> float:
    """Of a process and all under it, those that have ended and been waited for included."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def run_all(notebook: Path, given: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Executes a notebook with these parameters, in the repository; (first line, seconds, processor seconds) a cell."""
    content = load_notebook_node(str(notebook))
    declared = content.cells[find_first_tagged_cell_index(content, "parameters")].source
    known = {name: value for name, value in given.items() if f"\n{name}: " in f"\n{declared}"}
    content = parameterize_notebook(content, known)
    client = NotebookClient(content, timeout=None, resources={"metadata": {"path": str(ROOT)}})
    rows = []
    with client.setup_kernel():
        pid = psutil.Process().children()[-1].pid
        for place, cell in enumerate(content.cells):
            if cell.cell_type == "code":
                began, used = time.monotonic(), processor_seconds(pid)
                client.execute_cell(cell, place)
                first = cell.source.strip().splitlines()[0]
                rows.append((first, time.monotonic() - began, processor_seconds(pid) - used))
    return rows


def episode_seconds(results: Path) -> float:
    """From the choice of the first run with a mixture to half a minute of it at play, as the inspector records it."""
    began = time.monotonic()
    record(open_subject(find_choices(results)[0].directory), seconds=30.0)
    return time.monotonic() - began


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NUMBER]...", help="Such as 01; else all.")] = None,
    results: Annotated[Path, typer.Option(help="The root of the results.")] = ROOT / "results",
    cells: Annotated[bool, typer.Option(help="Every cell, not only the notebooks.")] = False,
) -> None:
    """Times Run All of the notebooks over a copy of what is on disk: nothing but 00's short training is trained."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(results, Path(scratch) / "results")
        given = {**DRAWN, "results": str(copy)}
        for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
            if names and notebook.name[:2] not in names:
                continue
            if notebook.stem == INSPECTOR:
                run_all(notebook, given)
            rows = run_all(notebook, given)
            wall, processor = sum(row[1] for row in rows), sum(row[2] for row in rows)
            print(f"{notebook.stem:<26}{wall:7.1f} s {processor:7.1f} s of a processor", flush=True)
            for first, seconds, used in rows if cells else ():
                print(f"    {seconds:7.1f} s {used:7.1f} s  {first[:80]}", flush=True)
            if notebook.stem == INSPECTOR:
                for when in ("cold", "warm"):
                    print(f"    {episode_seconds(copy):7.1f} s  from the choice of its run to an episode, {when}")


if __name__ == "__main__":
    app()
