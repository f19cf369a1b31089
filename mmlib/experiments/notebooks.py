"""Notebooks from the command line: executed through papermill, with what they print passed on as it comes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlib.experiments.design import Job, repository_root

OUTPUTS = {
    "notebook.ipynb": "executed notebook",
    "figure.png": "figure",
    "figure.svg": "figure",
    "diagnostics.png": "diagnostics",
    "level.png": "pictures of the level",
    "claims.csv": "paper says / measured",
}


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> str | None:
    """Executes `notebook` with `parameters` and writes it, outputs and all, to `output`, signed.

    Its working directory is the repository's.
    Returns None, or the error that a cell raised, in which the notebook written then ends.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    output.parent.mkdir(parents=True, exist_ok=True)
    error = None
    try:
        papermill.execute_notebook(
            shortest(notebook),  # papermill writes both paths into the notebook
            shortest(output),
            parameters=dict(parameters),
            cwd=str(notebook.parent.parent),
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            config=Config(KernelManager={"transport_encryption": "auto"}),  # or the kernel warns about it
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # or it complains of its sockets after Ctrl-C
        )
    except PapermillExecutionError as raised:
        error = f"{raised.ename}: {raised.evalue}"
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


def shortest(path: Path, base: Path | None = None) -> str:
    """The path as it is read from `base` (the working directory), if it lies below; else the whole of it."""
    whole, base = path.resolve(), (base or Path()).resolve()
    return str(whole.relative_to(base) if whole.is_relative_to(base) else whole)


def from_repository(path: str) -> str:
    """A path relative to the repository, so that notebooks work in any directory: see `shortest`."""
    return shortest(repository_root() / path)


def outputs(directory: Path, plan: Sequence[Job]) -> list[str]:
    """Where a figure's files and the data of its runs are, a line each."""
    files = [(title, directory / name) for name, title in OUTPUTS.items()]
    lines = [f"{title:<24}{path}" for title, path in files if path.exists()]
    here = [job.directory for job in plan if job.directory.is_relative_to(directory) and job.directory.exists()]
    methods = sorted({str(path.parent) for path in here})
    return [*lines, *(f"{'data of the runs':<24}{path}" for path in methods)]
