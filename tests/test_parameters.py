"""What notebooks are given: understood, or refused by name before any work."""

from pathlib import Path

import nbformat
import pytest

from mmlib.experiments.design import ExperimentError
from mmlib.experiments.parameters import parameters

ROOT = Path(__file__).parents[1]
CELL = """level: str = ""  # a level
preset: str = "quick"
methods: list = []
seeds: list = []
jobs: int = 0
train: bool = True
settings: dict = {}
results: str = "results"
"""


def given(injected="", cell=CELL):
    """What the first cell after a parameters cell, and papermill's, gets."""
    cells = ["", "from pathlib import Path\nseconds = 3", cell]
    cells += [f"# Parameters\n{injected}\n"] if injected else []
    scope = {}
    for each in cells:
        exec(each, scope)
    return parameters({**scope, "In": [*cells, "parameters(globals())"]})


def test_the_cells_own_values_are_what_is_given():
    assert given() == {
        "level": "",
        "preset": "quick",
        "methods": [],
        "seeds": [],
        "jobs": 0,
        "train": True,
        "settings": {},
        "results": "results",
    }


@pytest.mark.parametrize(
    ("injected", "name", "value"),
    [
        ("seeds = 3", "seeds", [3]),
        ("seeds = '[1, 2]'", "seeds", [1, 2]),
        ("seeds = '1,2'", "seeds", [1, 2]),
        ("seeds = (4,)", "seeds", [4]),
        ("seeds = None", "seeds", []),
        ("methods = 'mm'", "methods", ["mm"]),
        ("methods = 'small, mm'", "methods", ["small", "mm"]),
        ("train = 'false'", "train", False),
        ("train = 0", "train", False),
        ("jobs = '2'", "jobs", 2),
        ('settings = \'{"unroll": 50, "pbt": {"ready": 1}}\'', "settings", {"unroll": 50, "pbt": {"ready": 1}}),
        ("results = '/tmp'", "results", "/tmp"),
        ("results = 2026", "results", "2026"),
    ],
)
def test_what_can_be_understood_is(injected, name, value):
    assert given(injected)[name] == value


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ("presett = 'smoke'", "unknown parameter 'presett'; parameters: level, preset.*; did you mean 'preset'"),
        ("nonsense = 1", "unknown parameter 'nonsense'; parameters: level, preset, .*results$"),
        ("seconds = 2.0", "unknown parameter 'seconds'"),  # another notebook has it, this one does not
        ("preset = 'quik'", "unknown preset 'quik'; presets: smoke, quick.*; did you mean 'quick'"),
        ("seeds = 'one'", "parameter seeds.0 = 'one': input should be a valid integer"),
        ("seeds = [-1]", "parameter seeds.0 = -1: input should be greater than or equal to 0"),
        ("seeds = [1.5]", "parameter seeds.0 = 1.5"),
        ("train = 'maybe'", "parameter train = 'maybe': input should be a valid boolean"),
        ("jobs = -1", "parameter jobs = -1"),
        ("settings = [1]", r"parameter settings = \[1\]: input should be a valid dictionary"),
        ("settings = '{\"unroll\": 50'", "parameter settings = .*unroll.*: it cannot be read as YAML"),
        ("seeds = '[1, 2'", "parameter seeds = .*: it cannot be read as YAML"),
        ("preset = None", "parameter preset = None"),
    ],
)
def test_what_cannot_be_is_refused_by_name(injected, message):
    with pytest.raises(ExperimentError, match=message):
        given(injected)


def test_paths_are_the_repositorys_in_any_directory_and_stay_so(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    whole = str(ROOT / "results")
    assert given()["results"] == given(f"results = {whole!r}")["results"] == whole
    assert given("runs = 'a, /b'", CELL + "runs: list = []")["runs"] == [str(ROOT / "a"), "/b"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_has_its_parameters_checked_and_changes_no_directory(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert sum("parameters(globals())" in cell for cell in cells) == 1 and not any("chdir" in cell for cell in cells)


def test_a_name_misspelt_in_the_cell_itself_is_refused():
    with pytest.raises(
        ExperimentError, match=r"unknown parameter 'trian'; parameters: level, .*; did you mean 'train'"
    ):
        given(cell=CELL.replace("train:", "trian:"))


def test_only_the_last_parameters_cell_counts():
    """As when a cell that was wrong is mended and run again."""
    cells = [CELL.replace("preset:", "presett:"), "# Parameters\nnonsense = 1\n", "%matplotlib inline", CELL]
    scope = {}
    exec(CELL, scope)
    assert parameters({**scope, "In": cells})["preset"] == "quick"
