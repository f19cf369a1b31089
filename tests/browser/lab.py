"""JupyterLab on loopback, with settings and workspaces of its own."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

from chromium import wait

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def jupyter_lab(root: Path, scratch: Path):
    """Serves the directory `root`; yields the address of JupyterLab's page for it, token and all."""
    places = {f"JUPYTERLAB_{name}_DIR": str(scratch / name) for name in ("SETTINGS", "WORKSPACES")}
    places |= {"JUPYTER_CONFIG_DIR": str(scratch / "config"), "JUPYTER_RUNTIME_DIR": str(scratch / "runtime")}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    log = scratch / "lab.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"),
                *(f"--ServerApp.root_dir={root}", "--expose-app-in-browser", "--LabApp.news_url=None"),
                *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",),
            ],
            env={**os.environ, **places, **threads, "PYTHONPATH": str(ROOT)},
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
