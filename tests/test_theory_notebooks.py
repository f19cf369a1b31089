"""Notebooks 07, 08 and 13, from top to bottom, as papermill runs them, and what they leave behind."""

import json
import re
from pathlib import Path

import nbformat
import papermill
import pytest
from matplotlib.image import imread
from papermill.iorw import load_notebook_node
from papermill.utils import find_first_tagged_cell_index

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NAMES = ("07_theory.ipynb", "08_claims.ipynb", "13_report.ipynb")
THEORY, CLAIMS, REPORT = (ROOT / "notebooks" / name for name in NAMES)


@pytest.mark.parametrize("path", [THEORY, CLAIMS, REPORT], ids=lambda path: path.stem)
def test_notebooks_are_committed_clean_and_explain_their_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(c.outputs == [] and c.execution_count is None for c in notebook.cells if c.cell_type == "code")
    typed = load_notebook_node(str(path))
    for line in typed.cells[find_first_tagged_cell_index(typed, "parameters")].source.splitlines():
        assert re.fullmatch(r"\w+: (str|int|float|bool|list|dict) = .+  # .+", line), line


def execute(path, tmp_path, **parameters):
    """Runs a notebook; returns the text of its outputs and how many pictures it shows."""
    out = tmp_path / path.name
    papermill.execute_notebook(str(path), str(out), parameters, cwd=str(ROOT / "notebooks"), progress_bar=False)
    cells = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    text = "\n".join(part.get("text/html", part.get("text/markdown", part.get("text/plain", ""))) for part in data)
    return text, sum("image/png" in part for part in data)


def test_theory_measures_draws_and_is_read_by_the_claims(tmp_path):
    results = tmp_path / "results"
    text, pictures = execute(THEORY, tmp_path, preset="smoke", results=str(results))
    assert pictures == 4 and "printed_line_false" in text and "mm_ff_lstm, untrained" in text
    where = results / "theory" / "smoke"
    for name in ("remark_1", "pull", "appendix_g", "mixing"):
        assert imread(where / f"{name}.png").shape[0] > 400
    facts = {path.stem: json.loads(path.read_text())["facts"] for path in where.glob("*.json")}
    assert set(facts) == {"remark_1", "appendix_g", "mixing_enumerated", "network_mm", "network_mm_ff_lstm"}
    assert facts["mixing_enumerated"]["largest_difference_of_means"] < 1e-12
    assert all(family["violations"] == 0 for family in facts["appendix_g"]["families"].values())
    assert (where / "claims.csv").read_text().count("\n") >= 7

    before = (where / "remark_1.json").stat().st_mtime_ns
    text, pictures = execute(CLAIMS, tmp_path, preset="smoke", results=str(results))
    assert pictures == 1 and "there is no run" in text and "enumerated problems" in text
    assert (results / "claims" / "claims.csv").read_text().count("not enough data") >= 15
    text, pictures = execute(REPORT, tmp_path, preset="smoke", results=str(results))
    page = (results / "report" / "report.md").read_text()
    assert pictures == page.count("](report/") >= 1 and "Not tested: there is no run for it." in text
    assert (where / "remark_1.json").stat().st_mtime_ns == before  # both only read
