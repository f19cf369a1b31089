"""Figures: what is drawn, and that the files hold it."""

import re

import numpy as np
import pytest
from matplotlib.image import imread

from mmlib import levels
from mmlib.analysis.baselines import Score
from mmlib.analysis.stats import Curve
from mmlib.experiments.presets import FIGURES
from mmlib.figures import plots
from mmlib.method.methods import METHODS
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter


def curve(*mean, spread=1.0):
    values = np.array(mean, float)
    return Curve(np.arange(1.0, len(mean) + 1) * 1e6, values, values - spread, values + spread)


def make_panel():
    curves = {"small": curve(1, 2, 3), "mm": curve(2, 4, 6)}
    return plots.learning_curves(curves, {"small": 3, "mm": 1}, {"small": Score(1.5, 0.1, 9)}, "a_level")


@pytest.fixture
def panel():
    return make_panel()


def test_every_method_has_a_colour_of_its_own():
    assert set(plots.LINES) == {*METHODS, plots.CENTRAL}
    for figure in FIGURES.values():  # told apart within each figure
        assert len({plots.LINES[method] for method in figure.methods}) == len(figure.methods)


def test_panel_draws_curves_intervals_and_the_random_policy(panel):
    axes = panel.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["Small action space (3 seeds)", "M&M (1 seed)", "random policy, Small"]
    np.testing.assert_array_equal(lines["M&M (1 seed)"].get_ydata(), [2, 4, 6])
    assert lines["M&M (1 seed)"].get_color() == plots.LINES["mm"][0]
    assert lines["random policy, Small"].get_ydata()[0] == 1.5
    assert len(axes.collections) == 2  # two shaded intervals
    assert axes.get_xlabel() == "environment frames" and axes.get_ylabel() == "episode return"
    assert axes.get_xlim()[0] == 0 and axes.get_ylim()[0] == 0


def test_seeds_are_stated_once_where_all_have_as_many():
    same = plots.learning_curves({"small": curve(1), "mm": curve(2)}, {"small": 2, "mm": 2}, title="a_level").axes[0]
    assert same.get_title() == "a_level, 2 seeds"
    assert [line.get_label() for line in same.lines] == ["Small action space", "M&M"]


def test_seeds_that_are_populations_are_called_so():
    counts, lines = {"small": 1, "mm": 2}, {"small": curve(1), "mm": curve(2)}
    axes = plots.learning_curves(lines, counts, title="a_level", unit="population").axes[0]
    assert [line.get_label() for line in axes.lines] == ["Small action space (1 population)", "M&M (2 populations)"]


def test_panel_of_negative_returns_shows_them():
    axes = plots.learning_curves({"mm": curve(-5, -4)}, {"mm": 1}).axes[0]
    assert axes.get_ylim()[0] < -5


def test_panel_without_runs_is_empty_but_drawn(tmp_path):
    (path,) = plots.save(plots.learning_curves({}, {}, title="a_level"), tmp_path, "empty", ["png"])
    assert imread(path).shape[1] > 500


def test_saved_files_hold_the_figure_and_repeat_bit_for_bit(panel, tmp_path):
    first = plots.save(panel, tmp_path / "new" / "place", "figure")
    assert [path.name for path in first] == ["figure.png", "figure.svg"]
    picture = imread(first[0])
    assert picture.shape[1] == round(plots.COLUMN * 220)
    colours = {tuple(colour) for colour in (picture[..., :3].reshape(-1, 3) * 255).round().astype(int)}
    assert {(0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73)} <= colours
    text = first[1].read_text()
    assert "episode return" in text and "M&amp;M (1 seed)" in text  # text, not outlines
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)  # no date
    again = plots.save(make_panel(), tmp_path / "again", "figure")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


@pytest.fixture
def some_runs(tmp_path):
    runs = {}
    for method in ("small", "mm"):
        directory = tmp_path / method
        with RunWriter(directory, {"method": method, "seed": 0, "level": "a_level"}) as writer:
            for frames in (400, 800):
                for member in (0, 1):
                    row = dict.fromkeys(plots.DIAGNOSTICS, 1.0 + member)
                    writer.metrics({"frames": frames, "member": member, **row})
        runs[method] = [Run(directory)]
    return runs


def test_diagnostics_average_members_and_leave_out_what_small_has_not(some_runs):
    figure = plots.diagnostics(some_runs)
    panels = dict(zip(plots.DIAGNOSTICS, figure.axes))
    drawn = {name: [line for line in axes.lines if len(line.get_xdata())] for name, axes in panels.items()}
    assert {name: len(lines) for name, lines in drawn.items()} == {
        **dict.fromkeys(plots.DIAGNOSTICS, 2),
        "transfer": 1,
        "alpha": 1,
    }
    np.testing.assert_array_equal(drawn["alpha"][0].get_ydata(), [1.5, 1.5])
    np.testing.assert_array_equal(drawn["alpha"][0].get_xdata(), [400, 800])


def test_diagnostics_of_nothing_are_drawn(tmp_path):
    (path,) = plots.save(plots.diagnostics({"small": []}), tmp_path, "empty", ["png"])
    assert path.stat().st_size > 0


def test_gallery_shows_views_and_map_pixel_by_pixel(tmp_path):
    level = levels.make("nav_maze_static_01_mini", seed=1, width=32, height=24)
    figure = plots.level_gallery(level, views=2, agent_steps=20, scale=4)
    (path,) = plots.save(figure, tmp_path, "level", ["png"])
    picture = imread(path)[30:, :, :3]
    assert picture.shape[0] == 72 * 4
    view = picture[:, :384]
    blocks = view.reshape(72, 4, 96, 4, 3)
    inner = blocks[2:-2, 1:3, 2:-2, 1:3]  # away from the edges, where a picture element may be cut
    assert np.ptp(inner, axis=(1, 3)).max() < 0.02  # each is a square of one colour
    assert len(np.unique(inner.reshape(-1, 3), axis=0)) > 20
    assert [axes.get_title() for axes in figure.axes] == ["the agent's view"] * 2 + ["map"]
    level.close()
