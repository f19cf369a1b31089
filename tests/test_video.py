"""Films: what is in them, and what is refused."""

from __future__ import annotations

import shutil

import imageio.v2 as imageio
import numpy as np
import pytest
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.figures import video

MINI = "nav_maze_static_01_mini"
TINY = ["agent_steps=20", "num_envs=2", "unroll=10", "learner_batches=1", "log_every=20"]


def mmlib(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_film_shows_the_view_beside_the_map(tmp_path):
    result = mmlib("video", MINI, "--policy", "expert", "--seconds", 2, "-o", tmp_path / "x.mp4")
    assert result.exit_code == 0, result.output
    film = imageio.get_reader(tmp_path / "x.mp4")
    pictures = [np.asarray(picture) for picture in film]
    assert film.get_meta_data()["fps"] == 15
    assert len(pictures) == 31  # one before the first step and one after each
    expected = [picture for picture, _ in video.film(MINI, "expert").pictures(2)]
    assert pictures[0].shape == expected[0].shape == (264, 320 + 8 + 120, 3)
    for k in (0, 15, 30):
        assert np.abs(pictures[k].astype(int) - expected[k]).mean() < 6  # but for the compression
    assert f"reward {[reward for _, reward in video.film(MINI, 'expert').pictures(2)][-1]:g}" in result.output


@pytest.mark.parametrize(("level", "width"), [("nav_maze_static_01", 360), ("explore_object_locations_small", 240)])
def test_the_map_fits_beside_the_view(level, width):
    picture, reward = next(video.film(level, "random", backend="minilab").pictures(1))
    assert picture.shape == (264, 320 + 8 + width, 3)
    assert reward == 0
    assert len(np.unique(picture[:240, 328:].reshape(-1, 3), axis=0)) > 10
    assert (picture[240:] > 200).any()  # the caption


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Mix & Match with a checkpoint."""
    where = tmp_path_factory.mktemp("run") / "mm"
    settings = [part for setting in TINY for part in ("-p", setting)]
    result = mmlib("train", "--preset", "smoke", "--method", "mm", "--level", MINI, *settings, "--directory", where)
    assert result.exit_code == 0, result.output
    return where


def test_a_run_plays_from_its_checkpoint(run, tmp_path):
    result = mmlib("video", MINI, "--policy", run, "--seconds", 0.4, "-o", tmp_path / "x.mp4")
    assert result.exit_code == 0, result.output
    assert sum(1 for _ in imageio.get_reader(tmp_path / "x.mp4")) == 7
    one, other = ([p for p, _ in video.film(MINI, str(run), seed).pictures(0.4)] for seed in (0, 0))
    assert np.array_equal(one, other)


def test_what_cannot_be_filmed_is_said_before_any_work(run, tmp_path):
    shutil.copytree(run, tmp_path / "bare")
    (tmp_path / "bare" / "checkpoint.pt").unlink()
    out = tmp_path / "x.mp4"
    full = "nav_maze_static_01"
    cases = {
        "unknown level 'nav_maze'; levels: nav_maze_static_01": ["nav_maze", "-o", out],
        "unknown policy 'good'; policies: random, expert, or the directory of a run": [MINI, "--policy", "good"],
        f"is of level {MINI}, not {full}": [full, "--policy", run, "-o", out],
        "has no checkpoint (checkpoint.pt is not committed)": [MINI, "--policy", tmp_path / "bare", "-o", out],
        "x.gif is no .mp4 file": [MINI, "-o", tmp_path / "x.gif"],
        "there is no directory": [MINI, "-o", tmp_path / "nowhere" / "x.mp4"],
        "0 seconds cannot be filmed": [MINI, "--seconds", 0, "-o", out],
        "nan seconds cannot be filmed": [MINI, "--seconds", "nan", "-o", out],
        "Invalid value for '--seed'": [MINI, "--seed", 2**63, "-o", out],
    }
    for message, arguments in cases.items():
        result = mmlib("video", *arguments)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
    assert not out.exists()
