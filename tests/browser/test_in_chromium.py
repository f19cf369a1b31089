"""Notebook 06 in a real browser: every cell runs, the alpha slider re-mixes while it is dragged, play plays."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from chromium import Page, program, wait
from lab import ROOT, jupyter_lab

pytestmark = [
    pytest.mark.skipif(program() is None, reason="no Chromium on the path"),
    pytest.mark.skipif(importlib.util.find_spec("websocket") is None, reason="websocket-client is not installed"),
]
NOTEBOOK = "06_inspect_mixture.ipynb"
PICTURES = os.environ.get("MMLIB_SCREENSHOTS", "")  # a directory that keeps them
RUN = os.environ.get("MMLIB_SCREENSHOT_RUN", "")  # a run to photograph in place of a smoke run
SETTINGS = ["agent_steps=400", "num_envs=2", "unroll=50", "learner_batches=1", "log_every=200"]
TABLE = "[...document.querySelectorAll('.mmi table')].map(e => e.innerText).join(' ')"
CLOCK = "[...document.querySelectorAll('.mmi')].map(e => e.innerText).find(t => /^step \\d/.test(t)) || ''"

ERRORS = "document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.error\"]')"
FAILED = f"[...{ERRORS}].map(e => e.innerText).join(' ')"


def trained_run(directory):
    """A run of a few steps, as the command line makes it."""
    settings = [part for setting in SETTINGS for part in ("-p", setting)]
    command = [sys.executable, "-m", "mmlib", "train", "--preset", "smoke", "--method", "mm", *settings]
    subprocess.run([*command, "--directory", str(directory)], check=True, cwd=ROOT, capture_output=True)
    return directory


def prepared_notebook(root, run):
    """A copy of the notebook below `root` with parameters of its own: what the user would edit."""
    notebook = nbformat.read(ROOT / "notebooks" / NOTEBOOK, as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    given = {
        "run": str(run),
        "results": str(root / "results"),
        "seconds": 12.0 if RUN else 3.0,
        "episodes": 8 if RUN else 1,
    }
    for name, value in given.items():
        cell.source = re.sub(
            rf"^({name}: \w+ = )[^#]+", lambda m, v=value: f"{m[1]}{json.dumps(v)}  ", cell.source, flags=re.M
        )
    (root / "notebooks").mkdir()
    nbformat.write(notebook, root / "notebooks" / NOTEBOOK)


def numbers(page, title):
    """The numbers of one row of the inspector's table."""
    row = next(line for line in page.evaluate(TABLE).splitlines() if line.startswith(title))
    return [float(text) for text in re.findall(r"-?\d+\.\d+", row)]


def test_notebook_06_in_jupyterlab(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    prepared_notebook(root, RUN or trained_run(tmp_path / "run"))
    pictures = Path(PICTURES or tmp_path)
    (tmp_path / "profile").mkdir()
    with jupyter_lab(root, tmp_path) as address:
        page = Page(tmp_path / "profile")
        try:
            drive(page, address(f"notebooks/{NOTEBOOK}"), pictures)
        except AssertionError:
            page.photograph(tmp_path / "failed.png")
            raise
        finally:
            page.close()


def drive(page, address, pictures):
    page.goto(address)
    shown = "document.querySelector('.jp-NotebookPanel .jp-Cell') && !document.querySelector('#jupyterlab-splash')"
    ready = f"!!(window.jupyterapp && {shown})"
    wait(lambda: page.evaluate(ready), 120, "the notebook in JupyterLab")
    panel = "[...jupyterapp.shell.widgets('main')].find(w => w.sessionContext)"
    page.evaluate(f"jupyterapp.shell.activateById({panel}.id), null")
    kernel = f"{panel}.sessionContext.session?.kernel?.status || ''"
    wait(lambda: page.evaluate(kernel) == "idle", 120, "the kernel")
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area'), null")
    page.evaluate(f"jupyterapp.shell.activateById({panel}.id), null")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells'), null")
    wait(lambda: page.evaluate(CLOCK) or page.evaluate(FAILED), 240, "the recorded episode")
    assert page.evaluate(FAILED) == ""
    done = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(e => /\\d/.test(e.innerText))"
    wait(lambda: page.evaluate(done), 240, "the end of the last cell")
    assert page.evaluate(FAILED) == ""
    inspector = ".widget-vbox:has(> .widget-hbox .widget-dropdown)"
    page.evaluate(f"document.querySelector('{inspector}').scrollIntoView({{block: 'start'}})")
    found = "[...document.querySelectorAll('.widget-hslider')].find(e => /α/.test(e.innerText)).querySelector"
    page.evaluate(f"{found}('.noUi-handle').id = 'alpha', {found}('.noUi-base').id = 'track', null")
    first = "document.querySelector('.widget-hslider')"
    page.evaluate(f"{first}.querySelector('.noUi-handle').id = 'step', null")
    page.drag("#step", page.box("#step")[0] + 150)
    wait(lambda: not page.evaluate(CLOCK).startswith("step 0 "), 30, "another step")
    slider, (middle, _, width, _) = "#alpha", page.box("#track")

    page.drag(slider, middle - width / 2 + 0.15 * width)
    wait(lambda: numbers(page, "weight")[1] < 0.3, 30, "weights after the drag to the left")
    before = numbers(page, "entropy")
    page.evaluate("new Promise(r => setTimeout(r, 300))")
    page.photograph(pictures / "inspector_before.png", inspector)
    kl = numbers(page, "KL")
    page.drag(slider, middle + 0.35 * width)
    wait(lambda: numbers(page, "weight")[1] > 0.7, 30, "weights after the drag to the right")
    after = numbers(page, "entropy")
    assert after[:2] == before[:2] and after[2] != before[2] and numbers(page, "KL") == kl
    page.evaluate("new Promise(r => setTimeout(r, 300))")
    page.photograph(pictures / "inspector_after.png", inspector)

    start = int(page.evaluate(CLOCK).split()[1])
    page.click(".widget-play button")
    wait(lambda: int(page.evaluate(CLOCK).split()[1]) > start + 1, 30, "the episode at play")
    picture = "document.querySelector('.widget-image').naturalWidth"
    assert page.evaluate(picture) == 384
