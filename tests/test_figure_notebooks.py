"""Every figure's notebook, through the command, from runs as short as can be: what they leave on disk."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from matplotlib.image import imread
from papermill.iorw import load_notebook_node
from papermill.utils import find_first_tagged_cell_index
from shortest import ROOT, SHORT, as_options, make

from mmlib.runs.reader import Run, find_runs
from mmlib.training import checkpoint

pytestmark = pytest.mark.slow

LEVEL = "explore_object_locations_small_mini"
THREE = "explore_object_locations_small_mini+lt_horseshoe_color_mini+lt_chasm_mini"
DRAWN = ("04_alpha_trajectories", "05_action_entropy")


@pytest.mark.parametrize("name", DRAWN)
def test_notebooks_of_other_figures_are_committed_clean(name):
    notebook = load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    for line in notebook.cells[find_first_tagged_cell_index(notebook, "parameters")].source.splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool|list|dict) = .+  # .+", line), line


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("figures") / "results"


def is_drawn(path, height=250):
    picture = imread(path)
    return picture.shape[0] > height and picture.std() > 0.02


def test_figure_6_and_7(results):
    said = make("6", results)
    where = results / "smoke" / "figure6" / LEVEL
    assert "lstm seed 0: started" in said and str(where / "figure.png") in said
    assert all(is_drawn(where / f"{name}.png") for name in ("figure", "average", "level", "diagnostics"))
    svg = (where / "figure.svg").read_text()
    assert all(f">{label}<" in svg for label in ("FF", "LSTM", "M&amp;M"))
    claims = pd.read_csv(where / "claims.csv")
    eight = [f"8{letter}" for letter in "abcdefgh"]
    assert claims["claim"].tolist() == ["4b", "4d", "6a", "6b", "7a", "7b", *eight]
    assert set(claims["verdict"]) == {"not enough data"}


def test_figure_9(results):
    make("9", results, num_envs=1, evaluation_envs=1)
    where = results / "smoke" / "figure9" / THREE
    assert is_drawn(where / "figure.png") and is_drawn(where / "diagnostics.png")
    svg = (where / "figure.svg").read_text()
    assert all(f">{label}<" in svg for label in ("Multitask", "M&amp;M", "M&amp;M, central policy alone"))
    table = pd.read_csv(where / "claims.csv")
    assert table["claim"].tolist() == ["9a", "9b", "9c"] and set(table["verdict"]) == {"not enough data"}
    assert all("M&M" in said and "against" in said for said in table["measured"])
    (run,) = find_runs(results, "smoke", "figure9", THREE, "mm_multitask")
    assert set(run.episodes()["level"]) == set(run.evaluations()["level"]) == set(THREE.split("+"))


def test_the_controls(results):
    make("controls", results, *(part for method in ("small", "mm", "mm_no_kl") for part in ("--method", method)))
    where = results / "smoke" / "controls" / LEVEL
    assert all(is_drawn(where / f"{name}.png") for name in ("figure", "diagnostics"))
    assert len(pd.read_csv(where / "claims.csv")) == 14
    assert [run.method for run in find_runs(results, "smoke", "controls", LEVEL)] == ["mm_no_kl"]  # figure 3's are its
    assert {"small", "mm"} <= {run.method for run in find_runs(results, "smoke", "figure3", LEVEL)}


def test_the_alternatives_and_their_table(results):
    methods = "small_teacher", "kickstart"
    said = make("alternatives", results, "--jobs", "2", *(part for method in methods for part in ("--method", method)))
    where = results / "smoke" / "alternatives" / LEVEL
    assert all(is_drawn(where / f"{name}.png") for name in ("figure", "diagnostics"))
    table = pd.read_csv(where / "side_by_side.csv")
    assert table["after"].dropna().tolist() == ["Schmitt et al. 2018"]
    assert table["before it"].dropna().tolist() == ["Small, as a teacher: 900 agent steps"]
    assert said.index("small_teacher seed 0: 3,600 of 3,600") < said.index("kickstart seed 0: started")


def test_figures_5_and_8_with_a_population(results):
    """What notebook 01 ran is drawn; what is missing is started."""
    population = {"population": 2, "pbt": '{"ready": 1, "window": 2}'}
    said = make("5", results / "pbt", **population)
    assert said.count("started") == 4 and "on disk" in said  # mm and mm_ff_lstm, then small and big756
    alpha, entropy = (results / "pbt" / "smoke" / name for name in DRAWN)
    assert all(is_drawn(alpha / f"{name}.png") for name in ("figure5_left", "figure8"))
    assert is_drawn(alpha / f"lineage_mm_{LEVEL}_seed0.png", 100)
    assert is_drawn(alpha / f"hyperparameters_mm_{LEVEL}_seed0.png", 150)
    assert (alpha / f"alpha_mm_{LEVEL}_seed0.json").exists()
    assert is_drawn(entropy / f"actions_mm_{LEVEL}.png") and is_drawn(entropy / f"collision_entropy_{LEVEL}.png")
    assert pd.read_csv(entropy / "claims.csv", dtype=str)["claim"].tolist() == ["5"]


def test_without_training_what_is_on_disk_is_drawn_be_it_nothing(tmp_path):
    make("9", tmp_path, "--no-train")
    assert find_runs(tmp_path, "smoke") == []
    assert (tmp_path / "smoke" / "figure9" / THREE / "figure.png").exists()


def descendants(pid):
    """The processes that a process started, and those that they started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid):
    """Whether it goes on; one that has ended and was not asked for its exit status does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listens_to_ctrl_c():
    """For a new process; what a shell has put into the background ignores it, and so would this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux about processes")
def test_ctrl_c_ends_a_figure_with_checkpoints_and_nobody_is_left(tmp_path):
    """The command, the notebook's kernel in a session of its own, and two runs that would go on for hours."""
    settings = {**SHORT, "agent_steps": 100_000_000, "log_every": 100, "checkpoint_every": 50_000_000}
    command = [sys.executable, "-m", "mmlib", "figure", "3", "--preset", "smoke", "--jobs", "2", *as_options(settings)]
    figure = subprocess.Popen(
        [*command, "--results", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=listens_to_ctrl_c,
    )
    try:
        while len(learning := [run for run in find_runs(tmp_path) if len(run.metrics())]) < 2:
            assert figure.poll() is None, figure.stderr.read()
            time.sleep(0.1)
        started = descendants(figure.pid)
        assert len(started) >= 3
        os.killpg(figure.pid, signal.SIGINT)
        said = figure.communicate(timeout=300)[1]
    finally:
        figure.kill()
    assert figure.returncode == 130, said
    assert "the same command goes on from the last checkpoints" in said and "Traceback" not in said
    assert not [pid for pid in started if alive(pid)]
    for run in learning:
        assert Run(run.directory).state == "stopped" and checkpoint.names(run.directory)
    assert len(find_runs(tmp_path)) == 2  # the third was not started


KERNEL_ENDS_FIRST = """
import asyncio, sys
from pathlib import Path
import nbclient.client, nbformat
from mmlib.experiments.notebooks import execute

async def poll(client):  # as nbclient does, but 100 times a second
    while await client.kc.is_alive():
        await asyncio.sleep(0.01)
    client.task_poll_for_reply.cancel()

nbclient.client.NotebookClient._async_poll_kernel_alive = poll
cell = nbformat.v4.new_code_cell("import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)")
nbformat.write(nbformat.v4.new_notebook(cells=[cell]), sys.argv[1])
execute(Path(sys.argv[1]), Path(sys.argv[2]), {})
"""


def test_ctrl_c_says_nothing_of_the_cell_that_ends_with_its_kernel(tmp_path):
    """Whether the kernel's end is noticed before the notebook is left is a matter of chance; here it always is."""
    command = [sys.executable, "-c", KERNEL_ENDS_FIRST, str(tmp_path / "cell.ipynb"), str(tmp_path / "executed.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, preexec_fn=listens_to_ctrl_c)
    assert "KeyboardInterrupt" in done.stderr and "DeadKernelError" not in done.stderr
