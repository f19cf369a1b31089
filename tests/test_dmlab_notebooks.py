"""The notebooks, and films, on DeepMind Lab from the first to the last cell: the real one where it can be used, else a
strict stand-in for its Python module."""

import json
import os
import sys

import matplotlib
import numpy as np
import papermill
import pytest
from matplotlib.image import imread
from shortest import ROOT, SHORT, as_options, make
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.figures import gallery, video
from mmlib.levels import dmlab, dmlab_found
from mmlib.runs.reader import find_runs
from mmlib.training.trained import open_subject
from mmlib.widgets.recording import record

pytestmark = pytest.mark.slow

FAKE_DMLAB = ROOT / "tests" / "fake_dmlab"
NAME = "nav_maze_static_01"
THREE = "explore_object_locations_small+lt_horseshoe_color+lt_chasm"


@pytest.fixture(autouse=True)
def lab(monkeypatch, tmp_path):
    """DeepMind Lab for this process and those that it starts."""
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # its list of fonts is not made anew each time
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if dmlab_found.problem() is not None:
        monkeypatch.syspath_prepend(str(FAKE_DMLAB))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE_DMLAB), *(p for p in sys.path if p)]))


@pytest.fixture
def results(tmp_path):
    """A results directory in which DeepMind Lab's scores of random play are known, and others than MiniLab's."""
    folder = tmp_path / "results" / "baselines"
    folder.mkdir(parents=True)
    for k, level in enumerate(dmlab.LEVELS):
        score = {"made_by": "a test", "mean": -50.0 - k, "standard_error": 0.1, "episodes": 1000}
        (folder / f"{level}.json").write_text(json.dumps({"dmlab": {"small": score, "big540": score, "big756": score}}))
    return folder.parent


def test_a_figure_of_one_level(results):
    """Of a whole episode, to which what is known of the level applies."""
    whole = {"level_settings": "{}", "staggered": "false", "num_envs": 1, "agent_steps": 1000}
    make("3", results, "--level", NAME, "--backend", "dmlab", "--method", "small", **whole)
    where = results / "smoke" / "figure3" / NAME
    (run,) = find_runs(results)
    assert (run.method, run.config["backend_in_force"]) == ("small", "dmlab")
    assert imread(where / "level.png").shape[:2] == (72 * 4 + 44, 3 * (96 * 4 + 10))  # views and no map
    assert imread(where / "figure.png").std() > 0.02 and imread(where / "diagnostics.png").std() > 0.02
    assert "random policy" in (where / "figure.svg").read_text()
    svg = (where / "average.svg").read_text()
    assert "0 random, 1 the best run here" in svg and "expert" not in svg


def test_figure_9(results):
    make("9", results, "--level", THREE, "--backend", "dmlab", "--method", "multitask", num_envs=1, evaluation_envs=1)
    where = results / "smoke" / "figure9" / THREE
    assert imread(where / "figure.png").std() > 0.02
    notebook = (where / "notebook.ipynb").read_text()
    assert "0 no reward, 1 the best run here" in notebook  # episodes of two seconds are nobody's


def test_notebook_11_is_played_at_random_and_has_no_maps(results, tmp_path):
    parameters = {"levels": [NAME, "lt_chasm"], "preset": "smoke", "backend": "dmlab", "results": str(results)}
    notebook = ROOT / "notebooks" / "11_levels.ipynb"
    papermill.execute_notebook(
        str(notebook), str(tmp_path / "out.ipynb"), parameters, cwd=str(notebook.parent), progress_bar=False
    )
    where = results / "smoke" / "figure10"
    assert imread(where / "levels.png").shape[:2] == (2 * (168 + 44), 4 * (224 + 10))
    assert all((where / name / "random.mp4").stat().st_size > 1000 for name in (NAME, "lt_chasm"))


def test_the_gallery_of_a_backend_without_maps_has_views_only():
    walk = gallery.walk(NAME, gallery.wander(), 2.0, 1, "dmlab", views=2, size=gallery.AGENTS)
    assert walk.overview is None and len(gallery.figure({NAME: walk}).axes) == 2


def mmlib(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_films_have_the_view_and_no_map(tmp_path):
    frames = [frame for frame, _ in video.film(NAME, "random", backend="dmlab").pictures(0.2)]
    assert [frame.shape for frame in frames] == [(264, 320, 3)] * 4
    assert frames[0][:240].std() > 5 and (frames[0][240:] > 200).any()
    settings = {**SHORT, "agent_steps": 100, "width": 32, "height": 24, "conv1": [4, 2]}
    run = tmp_path / "run"
    arguments = ["--preset", "smoke", "--method", "small", "--level", NAME, "--backend", "dmlab", *as_options(settings)]
    trained = mmlib("train", *arguments, "--directory", run)
    assert trained.exit_code == 0 and f"small on {NAME} (dmlab)" in trained.output, trained.output
    filmed = [frame for frame, _ in video.film(NAME, str(run)).pictures(0.2)]
    assert [frame.shape for frame in filmed] == [(264, 320, 3)] * 4
    blocks = filmed[0][:240, :320].reshape(24, 10, 32, 10, 3)
    assert (np.ptp(blocks, axis=(1, 3)) == 0).all()  # the agent's own frame, enlarged
    inspected = record(open_subject(run), 1, seconds=0.2)
    assert len(inspected.views) == len(inspected) == 3 and inspected.maps == ()
    for message, wanted in {
        "dmlab has no policy 'expert' for films; its policies: random": [NAME, "--backend", "dmlab"],
        "unknown backend 'doom'; backends: auto, dmlab": [NAME, "--backend", "doom"],
        f"the run {run} is on backend dmlab, not minilab": [NAME, "--policy", run, "--backend", "minilab"],
    }.items():
        result = mmlib("video", *wanted, "-o", tmp_path / "x.mp4")
        assert result.exit_code == 2 and message in " ".join(result.stderr.split())


def test_the_option_names_the_backends():
    result = mmlib("train", "--preset", "smoke", "--backend", "doom")
    assert result.exit_code == 2 and "unknown backend 'doom'; backends: auto, dmlab" in result.stderr
