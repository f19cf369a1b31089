"""Where people deploy it: no home, a closed or full cache, other locales and kernels, an installed wheel."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import gymnasium
import nbformat
import pytest
from typer.testing import CliRunner

from mmlib import caches
from mmlib.alternatives.methods import METHODS
from mmlib.cli.main import app
from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.experiments import jobs, notebooks
from mmlib.experiments.design import ExperimentError, plan
from mmlib.figures.figure import Figure
from mmlib.levels import LEVELS
from mmlib.numerics import kernels
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter

ROOT = Path(__file__).parents[1]
STEP = """
import numpy as np
from mmlib.numerics import fused
x, g, square = np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32), np.zeros((1, 4), np.float32)
fused.rmsprop(x, g, square, np.full(1, 0.5, np.float32), 0.75, 0.0)
print(x[0, 0])
"""  # 1 - 0.5 * 2 / sqrt(0.25 * 4)
STEPPED = "0.0\n"


def run(*arguments, **changed):
    """A Python process in an environment with some variables changed, None: without them."""
    options = {name: changed.pop(name) for name in ("cwd", "preexec_fn") if name in changed}
    prefix = changed.pop("prefix", ())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **changed}
    environment = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(
        [*prefix, sys.executable, *arguments],
        capture_output=True,
        env=environment,
        encoding="utf-8",
        errors="replace",
        **options,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done


@pytest.fixture
def anybodys():
    """A directory that every user may write, as /tmp."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def test_without_a_place_for_caches_they_are_temporary_and_it_says_so_once(tmp_path):
    closed = {"HOME": "/proc", "XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None, "TMPDIR": str(tmp_path)}
    code = "from mmlib import caches; caches.settle(); caches.directory(); import os; print(os.environ['MPLCONFIGDIR'])"
    place = tmp_path / f"mmlib-{os.getuid()}"
    done = run("-c", code, **closed)
    assert done.stderr == f"mmlib: no cache can be kept in /proc/.cache; it is in {place} instead\n"
    assert done.stdout == f"{place / 'mmlib' / 'mplconfigdir'}\n" and place.stat().st_mode & 0o777 == 0o700
    compiled = run("-c", STEP, **closed)
    assert compiled.stdout == STEPPED and "compiling" in compiled.stderr
    loaded = run("-c", STEP, **closed)  # the next process finds what this one compiled
    assert loaded.stdout == STEPPED and "compiling" not in loaded.stderr
    place.chmod(0o777)  # somebody else could put kernels there
    run("-c", "from mmlib import caches; caches.directory()", **closed)
    assert len(list(tmp_path.iterdir())) == 2


NOBODY = ("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can be another user")
@pytest.mark.skipif(
    not all(path.stat().st_mode & 0o5 == 0o5 for path in (Path(sys.prefix), *Path(sys.prefix).parents)),
    reason="this environment lies where another user cannot read it",
)
@pytest.mark.parametrize(("command", "said"), [("levels", "nav_maze_static_01"), ("doctor", "backend minilab")])
def test_a_container_with_an_arbitrary_user_and_no_home(anybodys, command, said):
    nowhere = {"HOME": None, "XDG_CACHE_HOME": None, "NUMBA_CACHE_DIR": None, "TMPDIR": str(anybodys)}
    done = run("-m", "mmlib", command, **nowhere, prefix=NOBODY, cwd=anybodys)
    assert done.stderr.count("no cache can be kept") == 1 and said in done.stdout


def test_the_cache_is_the_users_where_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert caches.directory() == tmp_path / "cache" / "mmlib" and caches.directory().is_dir()


def test_kernels_lie_apart_for_every_state_of_the_sources(tmp_path, monkeypatch):
    for source in kernels.sources():
        (copy := tmp_path / source.relative_to(kernels.PACKAGE)).parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    there = kernels.directory.__wrapped__  # as a new process asks
    seen = [there()]
    monkeypatch.setattr(kernels, "PACKAGE", tmp_path)
    assert there() == seen[0] and len(kernels.sources()) > 15
    for source in kernels.sources():
        source.write_text("GRAVITY = 100")
        seen.append(there())
    assert len(set(seen)) == 1 + len(kernels.sources())


@pytest.mark.slow
def test_a_damaged_cache_of_kernels_is_made_again(tmp_path):
    there = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert "compiling" in run("-c", STEP, **there).stderr
    assert run("-c", STEP, **there).stderr == ""  # it loads, and says nothing of compiling
    for name, size in (("*rmsprop*.nbi", 0), ("*rmsprop*.nbc", 500)):
        (path,) = tmp_path.rglob(name)
        os.truncate(path, size)
        done = run("-c", STEP, **there)
        assert done.stdout == STEPPED and "damaged and made again" in done.stderr
        assert run("-c", STEP, **there).stderr == ""


def test_a_full_disk_under_the_cache_of_kernels_is_called_that(tmp_path):
    full = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = run("-c", STEP, **full, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)))
    assert done.stdout == STEPPED
    assert f"compiled kernels cannot be kept in {tmp_path}" in done.stderr and "File too large" in done.stderr


@pytest.mark.parametrize(
    "locale",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_output_that_has_no_utf_8(tmp_path, locale):
    done = run("-m", "mmlib", "claims", "--results", str(tmp_path), **locale)
    assert "not enough data" in done.stdout and done.stdout.isascii()


CELL = "import sys\nprint(sys.executable)"


def test_a_notebook_runs_in_this_interpreter_whatever_kernel_is_named_python3(tmp_path, monkeypatch):
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    cells = [nbformat.v4.new_code_cell(CELL)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "n.ipynb")
    assert notebooks.execute(tmp_path / "n.ipynb", tmp_path / "out.ipynb", {}) is None
    (cell,) = (c for c in nbformat.read(tmp_path / "out.ipynb", 4).cells if c.cell_type == "code")
    assert cell.outputs[0].text.strip() == sys.executable


def test_a_second_notebook_is_told_who_makes_the_run(tmp_path):
    (job,) = plan("3", "smoke", methods=["small"], settings={"agent_steps": 1000}, results=tmp_path)

    def progress_of_the_first(everything):
        with (job.directory / jobs.LOG).open("a", encoding="utf-8") as log:
            log.write("400 of 4,000 frames, 90 agent steps/s\n")

    with RunWriter(job.directory, job.config.model_dump(mode="json")):
        (outcome,) = jobs.run([job], 1, progress_of_the_first, poll_seconds=0.2)
    assert outcome.state == "failed" and f"process {os.getpid()} is writing" in outcome.status.reason


def test_what_only_this_process_has_registered_is_refused_before_it_starts():
    gymnasium.register("Only-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=50)
    try:
        config = make_config({"level": "Only-v0", "backend": "gymnasium", "method": "big756"})
        with pytest.raises(ExperimentError, match=r"unknown level 'Only-v0'.*name the level module:id"):
            jobs.check_elsewhere(config)
    finally:
        gymnasium.registry.pop("Only-v0")


def files(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def test_results_are_drawn_elsewhere_and_stay_as_they_are(tmp_path):
    level = "explore_object_locations_small_mini"
    (tmp_path / "r").mkdir()
    place = Path("quick") / "figure3" / level
    before = files(tmp_path / "r")
    given = {"preset": "quick", "methods": ["small", "mm"], "seeds": [1], "results": tmp_path / "r"}
    figure = Figure("3", **given, level=level, backend="minilab", output=tmp_path / "o", train=False)
    figure.run()
    figure.panel()
    figure.table()
    assert files(tmp_path / "r") == before
    assert {"figure.png", "claims.csv"} <= {path.name for path in (tmp_path / "o" / place).iterdir()}
    (task,) = notebooks.tasks("3", "quick", [level], ["small"], [1], {}, tmp_path / "r", 1, False, tmp_path / "o")
    assert task.output.is_relative_to(tmp_path / "o") and task.parameters["output"] == str(tmp_path / "o")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="--results, or where figures are put with --output"):
        notebooks.tasks("3", "quick", [level], ["small"], [1], {}, tmp_path / "file", 1, False)


def test_the_notebooks_can_be_copied_and_are_in_the_wheel_as_the_scores_are(tmp_path):
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    result = CliRunner().invoke(app, ["notebooks", str(tmp_path / "mine")])
    assert result.exit_code == 0 and [Path(line).name for line in result.output.split()] == names
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == names
    again = CliRunner().invoke(app, ["notebooks", str(tmp_path / "mine")])
    assert again.exit_code == 2 and "exists; choose another directory" in again.output
    for name in ("mmlib", "notebooks", "results/baselines"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    wheel = tmp_path / run("-c", build, cwd=tmp_path).stdout.split()[-1]
    shipped = zipfile.ZipFile(wheel).namelist()
    assert sorted(Path(name).name for name in shipped if name.startswith("mmlib/notebooks/")) == names
    assert {f"mmlib/baselines/{level}.json" for level in LEVELS} <= set(shipped)


OWN = """
from dataclasses import replace

from mmlib import METHODS

METHODS["mine"] = replace(METHODS["mm"], label="Mine", transfer="masked_kl")
"""


def test_a_module_of_ones_own_has_its_agents_in_every_process(tmp_path, monkeypatch):
    (tmp_path / "my_agents.py").write_text(OWN)
    monkeypatch.setitem(METHODS, "mine", replace(METHODS["mm"], transfer="masked_kl"))
    (job,) = plan("3", "smoke", methods=["mine"], seeds=[1], settings={"agent_steps": 100}, results=tmp_path / "r")
    with pytest.raises(ExperimentError, match=r"unknown method 'mine'; what .* goes into a module that MMLIB_IMPORT"):
        jobs.check_elsewhere(job.config)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MMLIB_IMPORT", "my_agents")
    (outcome,) = jobs.run([job], 1)
    assert outcome.state == "done" and "masked_kl" in Run(job.directory).config["agent"]
    monkeypatch.setitem(METHODS, "mine", METHODS["mm"])
    with pytest.raises(ExperimentError, match="method 'mine' is another agent there"):
        jobs.check_elsewhere(job.config)
    monkeypatch.setenv("MMLIB_IMPORT", "my_agent")
    wrong = subprocess.run([sys.executable, "-m", "mmlib", "methods"], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.startswith(
        "mmlib: MMLIB_IMPORT names 'my_agent', which cannot be impo"
    )
