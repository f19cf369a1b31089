"""JupyterLab on loopback, with settings and workspaces of its own, and a notebook in it, driven from outside."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from chromium import wait

ROOT = Path(__file__).parents[2]
PANEL = "[...jupyterapp.shell.widgets('main')].find(w => w.sessionContext)"
ERRORS = "document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.error\"]')"
FAILED = f"[...{ERRORS}].map(e => e.innerText).join(' ')"
DONE = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(e => /\\d/.test(e.innerText))"
USER_SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@contextlib.contextmanager
def jupyter_lab(root: Path, scratch: Path):
    """Serves the directory `root`; yields the address of JupyterLab's page for it, token and all."""
    places = {f"JUPYTERLAB_{name}_DIR": str(scratch / name) for name in ("SETTINGS", "WORKSPACES")}
    places |= {"JUPYTER_CONFIG_DIR": str(scratch / "config"), "JUPYTER_RUNTIME_DIR": str(scratch / "runtime")}
    for plugin, settings in USER_SETTINGS.items():
        path = scratch / "SETTINGS" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    log = scratch / "lab.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"),
                *(f"--ServerApp.root_dir={root}", "--expose-app-in-browser", "--LabApp.news_url=None"),
                *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",),
            ],
            env={**os.environ, **places, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        address = r"http://127\.0\.0\.1:(\d+)/lab\?token=(\w+)"
        found = wait(lambda: re.search(address, log.read_text()), 120, f"JupyterLab's address in {log}")
        yield lambda path: f"http://127.0.0.1:{found[1]}/lab/tree/{path}?token={found[2]}&reset"
    finally:
        process.terminate()
        process.wait(30)


def prepare(name, where, parameters):
    """A copy of a notebook in `where` with parameters of its own: what the user would edit."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for key, value in parameters.items():
        line = rf"^({key}: \w+ = )[^#]+"
        assert re.search(line, cell.source, re.M), f"{name} has no parameter {key}"
        cell.source = re.sub(line, lambda m, v=value: f"{m[1]}{v!r}  ", cell.source, flags=re.M)
    where.mkdir(exist_ok=True)
    nbformat.write(notebook, where / name)


def show(page, address):
    """Opens a notebook, with its kernel ready and nothing beside it."""
    page.page.goto(address)
    shown = "document.querySelector('.jp-NotebookPanel .jp-Cell') && !document.querySelector('#jupyterlab-splash')"
    wait(lambda: page.evaluate(f"!!(window.jupyterapp && {shown})"), 240, "the notebook in JupyterLab")
    page.evaluate(f"jupyterapp.shell.activateById({PANEL}.id)")
    kernel = f"{PANEL}.sessionContext.session?.kernel?.status || ''"
    wait(lambda: page.evaluate(kernel) == "idle", 240, "the kernel")
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area').then(() => null)")
    page.evaluate(f"jupyterapp.shell.activateById({PANEL}.id)")


def run_all(page, address):
    """Opens a notebook and runs it from top to bottom; no cell may fail."""
    show(page, address)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells'), null")
    wait(lambda: page.evaluate(DONE) or page.evaluate(FAILED), 600, "the end of the last cell")
    assert page.evaluate(FAILED) == ""
