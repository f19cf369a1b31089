"""Figures: what is drawn, and that the files hold it."""

import re
import threading

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from mmlib import levels
from mmlib.alternatives.methods import METHODS
from mmlib.analysis import stats
from mmlib.analysis.baselines import Score
from mmlib.analysis.curves import COLUMNS
from mmlib.experiments.presets import FIGURES
from mmlib.figures import gallery, plots, style
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter
from mmlib.spaces import SMALL, SPACES


def curves(*lines, level="a_level"):
    """A table of curves: (line, seed, mean returns), a point each million frames."""
    rows = [
        {"line": line, "level": level, "seed": seed, "x": k * 1e6, "y": float(y)}
        for line, seed, returns in lines
        for k, y in enumerate(returns, 1)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def make_panel():
    three = [("small", seed, np.array([1, 2, 3]) + seed - 2) for seed in (1, 2, 3)]
    table = curves(*three, ("mm", 1, (2, 4, 6)))
    return plots.learning_curves(table, {"small": Score(1.5, 0.1, 9)}, "a_level")


@pytest.fixture
def panel():
    return make_panel()


def test_every_method_has_a_colour_of_its_own():
    central = {method + style.ALONE for method in ("mm_multitask", "distral")}
    assert style.LINES.keys() == {*METHODS, *central}
    for figure in FIGURES.values():  # told apart within each figure
        known = set(figure.known)
        assert len({style.LINES[method] for method in known}) == len(known)
    assert style.label("distral" + style.ALONE) == "Distral, central policy alone"
    assert style.style("nobody_knows_it") == {"color": style.GREY, "linestyle": style.SOLID}
    assert style.SPACES.keys() == SPACES.keys()


def test_panel_draws_curves_intervals_and_the_random_policy(panel):
    axes = panel.axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["Small action space (3 seeds)", "M&M (1 seed)", "random policy, Small"]
    np.testing.assert_array_equal(lines["M&M (1 seed)"].get_ydata(), [2, 4, 6])
    assert lines["M&M (1 seed)"].get_color() == style.LINES["mm"][0]
    assert lines["random policy, Small"].get_ydata()[0] == 1.5
    seeds = np.array([[1, 2, 3]] * 3) + np.arange(-1, 2)[:, None]
    low, high = stats.bootstrap(stats.mean_of_means, [seeds.T])
    band = axes.collections[0].get_paths()[0].vertices
    assert {(1e6, low[0]), (1e6, high[0]), (3e6, low[2]), (3e6, high[2])} <= {tuple(point) for point in band}
    assert axes.get_xlabel() == "environment frames" and axes.get_ylabel() == "episode return"
    assert axes.get_xlim()[0] == 0 and axes.get_ylim()[0] == 0


def test_seeds_are_stated_once_where_all_have_as_many():
    table = curves(*((method, seed, [seed]) for method in ("small", "mm") for seed in (1, 2)))
    axes = plots.learning_curves(table, title="a_level").axes[0]
    assert axes.get_title() == "a_level, 2 seeds"
    assert [line.get_label() for line in axes.lines] == ["Small action space", "M&M"]


def test_seeds_that_are_populations_are_called_so():
    table = curves(("small", 1, [1]), ("mm", 1, [1]), ("mm", 2, [2]))
    (span,) = plots.learning_curves(table, handover=(100, 500)).axes[0].patches
    assert (span.get_x(), span.get_width(), span.get_label()) == (100, 400, "α moves")
    axes = plots.learning_curves(table, title="a_level", unit="population").axes[0]
    assert [line.get_label() for line in axes.lines] == ["Small action space (1 population)", "M&M (2 populations)"]


def test_panel_of_negative_returns_shows_them():
    axes = plots.learning_curves(curves(("mm", 1, (-5, -4)))).axes[0]
    assert axes.get_ylim()[0] < -5


def test_panel_without_runs_is_empty_but_drawn(tmp_path):
    (path,) = style.save(plots.learning_curves(curves(), title="a_level"), tmp_path, "empty", ["png"])
    assert imread(path).shape[1] > 500


def test_saved_files_hold_the_figure_and_repeat_bit_for_bit(panel, tmp_path):
    first = style.save(panel, tmp_path / "new" / "place", "figure")
    assert [path.name for path in first] == ["figure.png", "figure.svg"]
    picture = imread(first[0])
    assert picture.shape[1] == round(style.COLUMN * 220)
    colours = {tuple(colour) for colour in (picture[..., :3].reshape(-1, 3) * 255).round().astype(int)}
    assert {(0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73)} <= colours
    text = first[1].read_text()
    assert "episode return" in text and "M&amp;M (1 seed)" in text  # text, not outlines
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)  # no date
    again = style.save(make_panel(), tmp_path / "again", "figure")
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
                    writer.append("metrics", [{"frames": frames, "member": member, **row}])
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
    (path,) = style.save(plots.diagnostics({"small": []}), tmp_path, "empty", ["png"])
    assert path.stat().st_size > 0


def test_the_mean_and_band_over_levels_are_stratified():
    """Two levels with other numbers of seeds count alike."""
    one = curves(*(("mm", seed, [seed]) for seed in (1, 2, 3)), level="one")
    two = curves(("mm", 1, [10]), ("mm", 2, [20]), level="two")
    axes = plots.normalised_panel(pd.concat([one, two], ignore_index=True), "0 random, 1 expert").axes[0]
    assert axes.lines[0].get_ydata() == [(2 + 15) / 2] and axes.get_title() == "mean over 2 levels"
    low, high = stats.bootstrap(stats.mean_of_means, [[1, 2, 3], [10, 20]])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (low, high)


def test_panels_of_levels_show_each_levels_own():
    tables = {name: curves(("multitask", 1, [y, y]), level=name) for name, y in (("one", 1), ("two", 5))}
    figure = plots.panels({**tables, "three": tables["one"].iloc[:0]})
    assert [[line.get_ydata()[0] for line in axes.lines] for axes in figure.axes] == [[1], [5], []]


def test_panels_of_methods_have_one_axis_that_holds_all_and_one_legend():
    groups = {"a": [("mm", 1, [2, 3])], "b": [], "c": [("whole", 1, [3, 40])], "d": [("small", 2, [1, 2])]}
    figure = plots.panels({name: curves(("small", 1, [1, 2]), *own) for name, own in groups.items()}, level="x")
    assert [axes.get_ylim() for axes in figure.axes] == [(0, 42)] * 4 and figure.get_suptitle() == "x"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [METHODS[m].label for m in ("small", "mm", "whole")]


def test_nothing_of_matplotlib_is_changed_by_drawing():
    before = dict(mpl.rcParams)
    make_panel()
    assert dict(mpl.rcParams) == before


def test_a_walk_ends_before_its_episode_so_that_map_and_way_are_of_one():
    walk = gallery.walk("nav_maze_static_01_mini", gallery.wander(), 30.0, views=1, episode_seconds=2)
    assert walk.moments[0].seconds < 2
    assert len(walk.way) == 2 * 15 - 1  # the step after the walk is the episode's last


def test_gallery_shows_views_and_map_pixel_by_pixel(tmp_path):
    walk = gallery.walk("nav_maze_static_01_mini", gallery.wander(), 3.0, 1, views=2, size=gallery.AGENTS, enlarged=4)
    assert [moment.view.shape for moment in walk.moments] == [(288, 384, 3)] * 2
    (path,) = style.save(gallery.figure({"a": walk}), tmp_path, "level", ["png"])
    picture = imread(path)[gallery.TITLE :, :, :3]
    assert picture.shape[:2] == (72 * 4, 2 * (96 * 4 + gallery.GAP) + walk.overview.shape[1])
    for k, (view, seconds, _) in enumerate(walk.moments):
        left = k * (384 + gallery.GAP)
        shown = picture[2:-2, left + 2 : left + 382]  # away from the edges, where a picture element may be cut
        assert np.abs(shown * 255 - view[2:-2, 2:-2]).max() < 6
        assert k * 1.5 < seconds <= 1.5 * (k + 1)
        assert len(np.unique(view.reshape(-1, 3), axis=0)) > 20
    assert (walk.moments[0].view.reshape(72, 4, 96, 4, 3).std(axis=(1, 3)) == 0).all()


def test_a_way_is_parted_at_jumps_and_ends_at_the_agent():
    way = np.array([(0.1, 0.1), (0.15, 0.12), (0.6, 0.5), (0.61, 0.53), (0.64, 0.56)])
    before, now = gallery.lives(way)
    assert before.tolist() == way[:2].tolist() and now.tolist() == way[2:4].tolist()
    assert [len(part) for part in gallery.lives(way[:0])] == [0]
    view = np.zeros((8, 8, 3), np.uint8)
    walk = gallery.Walk([gallery.Moment(view, 0.0, 0.0)], np.zeros((12, 20, 3), np.uint8), way)
    axes = gallery.figure({"a": walk}).axes[-1]
    for line, part in zip(axes.lines, (before, now), strict=True):
        assert np.allclose(line.get_xydata(), part * (20, -20) + (-0.5, 11.5))  # the first row of pixels is on top
    assert axes.get_xlim() == (-0.5, 19.5) and axes.get_ylim() == (11.5, -0.5)


def test_the_way_through_a_narrow_map_is_whole():
    level, way = levels.make("nav_maze_static_01_mini", seed=1, width=32, height=24), []
    assert level.extent == (200, 400)
    level.set_pose(0, 50.0, 50.0, 0.0)
    for _ in range(8):
        level.step(SMALL.encode(np.array([SMALL.group_labels[0].index("forward")])))
        way.append(gallery.place(level))
    level.close()
    assert 0.3 < way[-1][0] < 0.5 and way[-1][1] == pytest.approx(0.125, abs=0.01)
    assert len(gallery.lives(np.array(way))) == 1


def test_an_average_over_levels_one_of_which_has_a_single_seed_has_no_band():
    three = curves(*(("mm", seed, (1, 2 + seed)) for seed in (1, 2, 3)), level="one")
    single = curves(("mm", 1, (3, 4)), level="two")
    axes = plots.normalised_panel(pd.concat([three, single], ignore_index=True), "0 random, 1 expert").axes[0]
    assert axes.lines[0].get_ydata() == pytest.approx([2.0, 4.0])
    assert not any(np.isfinite(path.vertices).all() for band in axes.collections for path in band.get_paths())


def test_two_threads_that_draw_leave_matplotlibs_settings_as_they_were():
    """They are the process's, and each of two that overlapped would restore what the other had set."""
    before, seen = mpl.rcParams["font.size"], []

    def draw():
        with style.drawing({"font.size": 5}):
            seen.append(mpl.rcParams["font.size"])

    with style.drawing({"font.size": 3}):
        other = threading.Thread(target=draw)
        other.start()
        other.join(0.2)
        assert not seen and mpl.rcParams["font.size"] == 3
    other.join()
    assert seen == [5] and mpl.rcParams["font.size"] == before
