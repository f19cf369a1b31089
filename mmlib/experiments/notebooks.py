"""Notebooks from the command line: executed through papermill, with what they print passed on as it comes.

A figure is one execution a level, each going on after another's failure, and a table at the end.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlib.errors import ResultsError
from mmlib.experiments import design
from mmlib.experiments.design import ExperimentError, Job, repository_root
from mmlib.experiments.presets import DRAWN_WITH, FIGURES, OTHER_NOTEBOOKS, PRESETS
from mmlib.experiments.reports import clock
from mmlib.runs.owner import check_writable
from mmlib.runs.reader import natural_order
from mmlib.runs.status import RunStatus

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"  # in a checkout a link


@dataclass
class Task:
    """One execution of one notebook, and how it ended."""

    name: str  # for the table: the level, or the notebook's own name
    notebook: Path
    output: Path
    parameters: Mapping[str, Any]
    plan: Sequence[Job] = ()  # the runs that it needs
    error: str | None = None
    seconds: float = 0.0

    def execute(self) -> None:
        """Executes the notebook and prints where its files and the records of its runs are."""
        started = time.monotonic()
        self.error = execute(self.notebook, self.output, self.parameters)
        self.seconds = time.monotonic() - started
        records = {job.directory.parent for job in self.plan if job.directory.exists()}
        print(*sorted(self.output.parent.glob("*.*")), *sorted(records), sep="\n", flush=True)


def tasks(
    figure: str,
    preset: str,
    levels: Sequence[str],
    methods: Iterable[str] | None,
    seeds: Iterable[int] | None,
    settings: Mapping[str, Any],
    results: Path,
    jobs: int | None,
    train: bool = True,
    output: Path | None = None,
) -> list[Task]:
    """The notebooks to execute for a figure, checked before any work (arguments as `design.plan`).

    train: whether the notebooks make the runs that are missing, or draw what is on disk.
    output: the root of what is drawn, None is `results`.

    Raises ExperimentError, ConfigError or ResultsError.
    """
    root, drawn = repository_root(), output or results
    common: dict[str, Any] = {"preset": preset, "results": shortest(results, root), "jobs": jobs or 0, "train": train}
    common["output"] = shortest(output, root) if output else ""
    asked = dict(settings)
    if isinstance(alpha := asked.get("alpha"), str):
        asked["alpha"] = shortest(Path(alpha), root)  # the file or run that it is read from
    backend = {"backend": asked.pop("backend")} if "backend" in asked else {}  # or the notebook's own
    names = sorted(map(Path, {*FIGURES, *DRAWN_WITH, *OTHER_NOTEBOOKS}), key=natural_order)
    design.choose("figure", figure, dict.fromkeys(map(str, names)))
    if figure in OTHER_NOTEBOOKS:
        lists = {"levels": list(levels), "methods": list(methods or ()), "seeds": list(seeds or ())}
        chosen = {name: value for name, value in {**lists, "settings": asked, **backend}.items() if value}
        found = _other(figure, drawn, common, chosen)
    else:
        plan = design.plan(figure, preset, levels, methods, seeds, settings, results)
        here = dict.fromkeys(job.config.level for job in plan)
        found = [_level(figure, level, plan, drawn, {**common, "settings": asked, **backend}) for level in here]
    try:
        check_writable(drawn)
    except ResultsError as error:
        raise ResultsError(f"{error}, or where figures are put with --output") from error
    return found


def _level(figure: str, level: str, plan: Sequence[Job], drawn: Path, common: Mapping[str, Any]) -> Task:
    here = [job for job in plan if job.config.level == level]
    parameters = {
        **common,
        "name": design.figure_named(figure).name,
        "level": level,
        "methods": list(dict.fromkeys(job.config.method for job in here)),
        "seeds": list(dict.fromkeys(job.config.seed for job in here)),
    }
    where = design.figure_directory(drawn, common["preset"], figure, level)
    return Task(level, NOTEBOOKS / design.figure_named(figure).notebook, where / "notebook.ipynb", parameters, here)


def _other(figure: str, drawn: Path, common: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[Task]:
    """The notebooks of a figure that plans no runs; what was chosen for it must be a parameter of each."""
    import papermill

    design.choose("preset", common["preset"], PRESETS)
    found = []
    for name in OTHER_NOTEBOOKS[figure]:
        where, notebook = drawn / common["preset"] / Path(name).stem, NOTEBOOKS / name
        known = papermill.inspect_notebook(str(notebook))
        if refused := [parameter for parameter in chosen if parameter not in known]:
            raise ExperimentError(f"figure {figure} takes no {' or '.join(refused)}; it takes {', '.join(known)}")
        parameters = {**{parameter: value for parameter, value in common.items() if parameter in known}, **chosen}
        found.append(Task(Path(name).stem, notebook, where / "notebook.ipynb", parameters))
    return found


def table(tasks: Sequence[Task]) -> str:
    """How each task ended: runs done, time, the last error."""
    width = max(len(task.name) for task in tasks)
    lines = [f"{'':<{width}}  {'runs done':>9}  {'time':>8}"]
    for task in tasks:
        missing = [job for job in task.plan if not design.finished(job)]
        said = task.error or "; ".join(filter(None, (RunStatus.read(job.directory).reason for job in missing)))
        count = f"{len(task.plan) - len(missing)} of {len(task.plan)}" if task.plan else ""
        lines.append(f"{task.name:<{width}}  {count:>9}  {clock(task.seconds):>8}  {said}".rstrip())
    return "\n".join(lines)


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> str | None:
    """Executes `notebook` with `parameters` and writes it, outputs and all, to `output`, signed.

    Its working directory is the repository's (see `repository_root`), its interpreter this one, whatever other kernel
    is named python3 on this machine.
    Returns None, or the error that a cell raised, in which the notebook written then ends.
    """
    import papermill
    from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    class OwnInterpreter(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])  # only the one that ipykernel makes of sys.executable is left

    output.parent.mkdir(parents=True, exist_ok=True)
    error = None
    try:
        papermill.execute_notebook(
            shortest(notebook),  # papermill writes both paths into the notebook
            shortest(output),
            parameters=dict(parameters),
            cwd=str(repository_root()),
            kernel_name=NATIVE_KERNEL_NAME,
            language="python",
            kernel_manager_class=OwnInterpreter,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            config=Config(KernelManager={"transport_encryption": "auto"}),  # or the kernel warns about it
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # or it complains of its sockets after Ctrl-C
        )
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # or it tells of the cell that ended with its kernel
        raise
    except PapermillExecutionError as raised:
        error = f"{raised.ename}: {raised.evalue}"
    except DeadKernelError as raised:  # as of a system that is out of memory
        error = f"DeadKernelError: {raised}"
    sign(output)
    return error


def sign(notebook: Path) -> None:
    """Has this user's JupyterLab trust a notebook that was executed here, or it shows no film, script or style of it.

    Where the home directory cannot be written it stays untrusted, as with anybody else who opens it.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    with contextlib.suppress(OSError):
        NotebookNotary().sign(nbformat.read(notebook, as_version=4))


def copy(directory: Path) -> list[Path]:
    """Copies the notebooks into a directory, made if need be. Raises ExperimentError if that cannot be done."""
    shipped = sorted(NOTEBOOKS.glob("*.ipynb"))
    copies = [directory / path.name for path in shipped]
    if taken := [path for path in copies if path.exists()]:
        raise ExperimentError(f"{taken[0]} exists; choose another directory, or remove it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(*pair)) for pair in zip(shipped, copies)]
    except OSError as error:
        raise ExperimentError(f"cannot copy the notebooks to {directory}: {error.strerror or error}") from error


def shortest(path: Path, base: Path | None = None) -> str:
    """The path as it is read from `base` (the working directory), if it lies below; else the whole of it."""
    whole, base = path.resolve(), (base or Path()).resolve()
    return str(whole.relative_to(base) if whole.is_relative_to(base) else whole)
