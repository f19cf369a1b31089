"""Notebooks from the command line: executed through papermill, with what they print passed on as it comes."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmlib.experiments.design import ExperimentError, repository_root

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"  # in a checkout a link


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> str | None:
    """Executes `notebook` with `parameters` and writes it, outputs and all, to `output`, signed.

    Its working directory is the repository's (see `repository_root`), its interpreter this one, whatever other kernel
    is named python3 on this machine.
    Returns None, or the error that a cell raised, in which the notebook written then ends.
    """
    import papermill
    from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
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
