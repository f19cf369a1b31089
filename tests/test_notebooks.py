"""The notebooks, from top to bottom, as papermill and JupyterLab run them."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import papermill
import pytest
from matplotlib.image import imread
from nbformat.sign import NotebookNotary
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import load_notebook_node
from papermill.utils import find_first_tagged_cell_index
from shortest import ROOT, as_options

from mmlib.experiments.design import FIGURES
from mmlib.runs.reader import find_runs

NOTEBOOKS = [ROOT / "notebooks" / figure.notebook for figure in FIGURES.values()]
LEVELS_NOTEBOOK = ROOT / "notebooks" / "11_levels.ipynb"
METHOD_NOTEBOOK = ROOT / "notebooks" / "00_mix_and_match.ipynb"
LEVEL = "explore_object_locations_small_mini"
SHORT = {  # an episode of each environment, whatever the preset
    "agent_steps": 1_000,
    "num_envs": 2,
    "unroll": 50,
    "learner_batches": 1,
    "log_every": 200,
    "entropy_cost": 0.002,
    "staggered": "false",
}


@pytest.mark.parametrize("path", [LEVELS_NOTEBOOK, METHOD_NOTEBOOK, *NOTEBOOKS], ids=lambda path: path.stem)
def test_notebooks_are_committed_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert notebook.cells[0].source.startswith(("# Figure", "# Controls", "# Alternatives", "# Mix & Match"))


@pytest.mark.parametrize("path", [LEVELS_NOTEBOOK, METHOD_NOTEBOOK, *NOTEBOOKS], ids=lambda path: path.stem)
def test_parameters_are_typed_and_explained(path):
    notebook = load_notebook_node(str(path))
    cell = notebook.cells[find_first_tagged_cell_index(notebook, "parameters")]
    for line in cell.source.splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool|list|dict) = .+  # .+", line), line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_of_runs_have_the_same_parameters(path):
    assert set(papermill.inspect_notebook(str(path))) == {
        *("level", "preset", "backend", "methods", "seeds", "results", "output", "jobs", "train", "settings", "name")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"presett": "smoke"}, "unknown parameter 'presett'; parameters: level, preset.*; did you mean 'preset'"),
        ({"methods": "mmm"}, "figure 3 has no method 'mmm'; its methods: small, .*; did you mean 'mm'"),
        ({"level": "nav_maze"}, "figure 3 has no level 'nav_maze'; its levels: "),
    ],
)
def test_what_papermill_passes_wrongly_ends_the_notebook_before_any_work(given, message, tmp_path):
    with pytest.raises(PapermillExecutionError, match=message):
        papermill.execute_notebook(
            str(NOTEBOOKS[0]), None, {"results": str(tmp_path), **given}, cwd=str(tmp_path), progress_bar=False
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The folder of figure 3 as `mmlib figure` makes it, as short as can be, and what the command printed."""
    results = tmp_path_factory.mktemp("executed") / "results"
    settings = as_options(SHORT)
    command = [sys.executable, "-m", "mmlib", "figure", "3", "--preset", "smoke", *settings, "--results", str(results)]
    env = {**os.environ, "JUPYTER_DATA_DIR": str(results.parent / "jupyter")}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    return results / "smoke" / "figure3" / LEVEL, result.stdout


def printed(path):
    """All text of a notebook's outputs."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/html", "") for output in outputs)


@pytest.mark.slow
def test_figure_3_leaves_pictures_table_and_runs(executed):
    where, _ = executed
    results = where.parents[2]
    assert imread(where / "figure.png").shape[0] > 400
    svg = (where / "figure.svg").read_text()
    labels = [f"{LEVEL}, 1 seed", "Small action space", "Big action space", "M&amp;M", "random policy, Big"]
    assert all(f">{label}<" in svg for label in labels)
    assert imread(where / "level.png").shape[0] == 72 * 4 + 44
    assert imread(where / "diagnostics.png").shape[0] > 400
    claims = pd.read_csv(where / "claims.csv")
    assert claims["claim"].tolist() == ["1a", "1b", "2a", "2b", "3a", "3b", "4a", "4c", "5"]
    assert set(claims["verdict"]) == {"not enough data"}
    runs = find_runs(results, "smoke", "figure3", LEVEL)
    assert [(run.method, run.seed, run.state) for run in runs] == [
        ("big756", 0, "done"),
        ("mm", 0, "done"),
        ("small", 0, "done"),
    ]
    assert all(len(run.episodes()) == 2 for run in runs)
    assert not (results / "baselines").exists()  # the package brings the scores


@pytest.mark.slow
def test_figure_3_says_what_it_does_and_where_things_are(executed):
    where, said = executed
    assert "small seed 0: started" in said and "4,000 of 4,000 frames" in said
    for name in ("notebook.ipynb", "figure.png", "figure.svg", "mm"):
        assert str(where / name) in said


@pytest.mark.slow
def test_executed_notebook_holds_figures_and_verdicts(executed):
    path = executed[0] / "notebook.ipynb"
    assert "not enough data" in printed(path) and "the paper says" in printed(path)
    notebook = nbformat.read(path, as_version=4)
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 4  # the level, the panel, the average over levels, the diagnostics
    assert notebook.metadata.papermill.input_path == f"notebooks/{NOTEBOOKS[0].name}"  # no path of this machine


@pytest.mark.slow
def test_executed_notebook_is_signed_as_it_was_written(executed):
    where, _ = executed
    notary = NotebookNotary(data_dir=str(where.parents[3] / "jupyter"))
    notebook = nbformat.read(where / "notebook.ipynb", as_version=4)
    assert notary.check_signature(notebook)
    notebook.cells[1].source += "\nprint()"
    assert not notary.check_signature(notebook)


@pytest.mark.slow
def test_notebook_01_loads_what_it_was_asked_for_and_no_other_seed(executed, tmp_path):
    """Started by papermill in its own directory, as JupyterLab does; the figure is the same to the last bit."""
    where, _ = executed
    before = (where / "figure.png").read_bytes()
    foreign = where / "mm" / "seed1"
    shutil.copytree(where / "mm" / "seed0", foreign)
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps({**config, "seed": 1}))
    parameters = {"preset": "smoke", "settings": SHORT, "results": str(where.parents[2])}
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(str(NOTEBOOKS[0]), str(out), parameters, cwd=str(ROOT / "notebooks"), progress_bar=False)
    text = printed(out)
    assert text.count("on disk") == 3 and "started" not in text
    assert "seed1" not in text and "1 run" in text
    assert (where / "figure.png").read_bytes() == before


@pytest.mark.slow
def test_notebook_11_shows_every_level_asked_for(tmp_path):
    names = [LEVEL, "nav_maze_static_02_mini"]
    out = tmp_path / "out.ipynb"
    parameters = {"levels": names, "preset": "smoke", "results": str(tmp_path)}
    papermill.execute_notebook(
        str(LEVELS_NOTEBOOK), str(out), parameters, cwd=str(ROOT / "notebooks"), progress_bar=False
    )
    text = printed(out)
    assert all(text.count(f"{name}/expert.mp4") == 1 and f"<h4>{name}</h4>" in text for name in names)
    assert text.count("data:video/mp4;base64") == 2
    assert "nav_maze_static_01" not in text
    where = tmp_path / "smoke" / "figure10"
    assert imread(where / "levels.png").shape[0] == 2 * (168 + 44)
    assert all((where / name / "expert.mp4").stat().st_size > 10_000 for name in names)


@pytest.mark.slow
def test_notebook_00_agrees_with_hand_arithmetic_and_learns(tmp_path):
    """Its own assertions compare with hand arithmetic; here: what it prints and draws, at the smallest scale."""
    out = tmp_path / "out.ipynb"
    parameters = {"preset": "smoke", "settings": {"agent_steps": 2_000, "log_every": 400}}
    papermill.execute_notebook(str(METHOD_NOTEBOOK), str(out), parameters, cwd=str(tmp_path), progress_bar=False)
    text = printed(out)
    assert "log 0.55 = -0.597837" in text and "transfer_cost = 0.631819" in text
    assert "π_mm(go ahead) = 0.550, the product of its marginals" in text
    assert "update 2" in text and "episodes; mean return" in text
    cells = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
    assert sum("image/png" in o.get("data", {}) for cell in cells for o in cell.outputs) == 2
    assert list(tmp_path.iterdir()) == [out]
