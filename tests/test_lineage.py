"""Ancestry read backwards, and alpha trajectories as objects, on a history that is known."""

import json

import numpy as np
import pytest

from mmlib.cli.main import app
from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.figures import run_plots
from mmlib.method.schedule import piecewise
from mmlib.runs import lineage
from mmlib.runs.lineage import AlphaSchedule
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter

START = {"learning_rate": 1e-3, "entropy_cost": 2e-3}
CONFIG = {
    "level": "explore_object_locations_small_mini",
    "method": "mm",
    "seed": 1,
    "action_repeat": 4,
    "agent_steps": 250,
}


def decision(frames, member, opponent, old, new, copied):
    hyper = [{**START, "alpha": alpha} for alpha in (old, new)]
    row = {"frames": frames, "member": member, "opponent": opponent, "mean": 1.0, "opponent_mean": 2.0, "p": 0.01}
    return {**row, "copied": copied, "explored": not copied, "old": hyper[0], "new": hyper[1]}


@pytest.fixture
def run(tmp_path):
    """Three members. 2 explores, 0 copies 2 at 400 frames, 2 copies 1 at 600 and 0 explores twice."""
    with RunWriter(tmp_path / "run", {**CONFIG, "population": 3, "pbt": {"ready": 10}}) as writer:
        writer.append(
            "decisions",
            [
                decision(200, 2, 1, 0.01, 0.06, False),
                decision(400, 0, 2, 0.02, 0.06, True),
                decision(600, 2, 1, 0.06, 0.03, True),
                decision(800, 0, 1, 0.06, 0.11, False),
                decision(800, 0, 1, 0.11, 0.16, False),
            ],
        )
        alphas = {0: (0.02, 0.06, 0.16), 1: (0.03, 0.03, 0.03), 2: (0.06, 0.06, 0.03)}
        for k, frames in enumerate((300, 500, 1000)):
            for member in range(3):
                row = {"frames": frames, "member": member, "alpha": alphas[member][k], **START}
                writer.append(
                    "metrics", [{**row, "action_marginals": [1 / n for n in (7, 3, 3, 3, 2, 2) for _ in range(n)]}]
                )
        rows = [
            {"frames": f, "member": m, "return": 10.0 * (m == 0), "length_frames": 40}
            for f in (500, 900)
            for m in range(3)
        ]
        writer.append("episodes", rows)
        writer.finish()
    return Run(tmp_path / "run")


def test_ancestry_follows_copies_backwards(run):
    assert lineage.ancestry(run, 0) == [(0, 400, 2), (400, 1000, 0)]
    assert lineage.ancestry(run, 1) == [(0, 1000, 1)]
    assert lineage.ancestry(run, 2) == [(0, 600, 1), (600, 1000, 2)]


def test_trajectory_is_what_the_ancestors_had(run):
    line = lineage.history(run, 0, "alpha")
    np.testing.assert_array_equal(line.index, [0, 200, 400, 800, 800])
    np.testing.assert_array_equal(line.values, [0.01, 0.06, 0.06, 0.11, 0.16])
    assert [line.asof(f) for f in (0, 199, 200, 799, 800)] == [0.01, 0.01, 0.06, 0.06, 0.16]
    assert lineage.history(run, 1, "alpha").values.tolist() == [0.03]  # it never decided
    with pytest.raises(ValueError, match=r"no member 3; members: \[0, 1, 2\]"):
        lineage.history(run, 3, "alpha")


def test_alpha_that_population_based_training_leaves_alone_is_the_recorded_one(tmp_path):
    with RunWriter(tmp_path, {**CONFIG, "population": 2, "pbt": {"adapt": ["entropy_cost"]}}) as writer:
        rows = [{"frames": f, "member": m, "alpha": a, **START} for f, a in ((400, 0.4), (800, 1.0)) for m in (0, 1)]
        writer.append("metrics", rows)  # and no decision yet
        writer.finish()
    line = lineage.history(Run(tmp_path), 1, "alpha")
    assert line.index.tolist() == [0, 400, 800] and line.tolist() == [0.4, 0.4, 1.0]


def test_alpha_of_weights_follows_the_copies(tmp_path):
    """Member 0 copies member 1, whose weight had gone to the third policy before."""

    def row(frames, member, copied, old, new):
        hyper = [dict(zip(("weight_1", "weight_2", "weight_3"), weights, strict=True)) for weights in (old, new)]
        return {**decision(frames, member, 1, 0, 0, copied), "old": hyper[0], "new": hyper[1]}

    first, last = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    three = {**CONFIG, "method": "mm_three_simplex", "population": 2, "pbt": {"ready": 10}}
    with RunWriter(tmp_path, three) as writer:
        writer.append("decisions", [row(100, 1, False, first, last), row(200, 0, True, first, last)])
        alphas = {100: (0.0, 1.0), 200: (1.0, 1.0), 300: (1.0, 1.0)}
        rows = [{"frames": f, "member": m, "alpha": a[m], **START} for f, a in alphas.items() for m in (0, 1)]
        writer.append("metrics", rows)
        writer.finish()
    found = Run(tmp_path)
    assert lineage.history(found, 0, "weight_3").to_dict() == {0: 0.0, 100: 1.0, 200: 1.0}
    assert lineage.history(found, 0, "alpha").to_dict() == {0: 0.0, 100: 1.0, 200: 1.0}


def test_the_best_member_ends_highest(run):
    assert lineage.best_member(run) == 0


def test_a_schedule_is_saved_and_replayed(run, tmp_path):
    recorded = AlphaSchedule.recorded(run)
    assert recorded.knots == ((0, 0.01), (49, 0.01), (50, 0.06), (199, 0.06), (200, 0.11))
    recorded.save(tmp_path / "alpha.json")
    assert AlphaSchedule.load(tmp_path / "alpha.json") == recorded
    knots = recorded.knots_for("mm_masked_kl")
    config = make_config({**CONFIG, "alpha": knots})
    assert [piecewise(config.alpha, step) for step in (0, 49, 50, 150, 249)] == [0.01, 0.01, 0.06, 0.06, 0.11]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("mm_ff_lstm", "action space big756, method 'mm_ff_lstm' to big540"),
        ("small", "no alpha"),
        ("small_kl", "no alpha"),
    ],
)
def test_a_schedule_of_another_space_is_refused(run, method, message):
    with pytest.raises(ResultsError, match=message):
        AlphaSchedule.recorded(run).knots_for(method)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"knots": [[0]], "method": "mm", "space": "big756", "source": ""}'])
def test_a_broken_schedule_is_named(tmp_path, text):
    (tmp_path / "alpha.json").write_text(text)
    with pytest.raises(ResultsError, match=r"alpha\.json is no recorded alpha schedule"):
        AlphaSchedule.load(tmp_path / "alpha.json")


def test_the_command_line_saves_and_replays(run, tmp_path):
    from typer.testing import CliRunner

    path = tmp_path / "alpha.json"
    assert CliRunner().invoke(app, ["schedule", str(run.directory), "-o", str(path)]).exit_code == 0
    assert json.loads(path.read_text())["space"] == "big756"
    short = ["-p", "agent_steps=20", "-p", "num_envs=1", "-p", "unroll=10", "-p", "learner_batches=1"]
    command = ["train", "--preset", "smoke", "-p", f"alpha={path}", *short, "--directory", str(tmp_path / "again")]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert Run(tmp_path / "again").config["alpha"][:2] == [[0, 0.01], [49, 0.01]]
    refused = CliRunner().invoke(app, [*command, "--method", "mm_ff_lstm"])
    assert refused.exit_code == 2 and "belongs to action space big756" in refused.stderr


def test_plots_draw_histories(run):
    figure = run_plots.alpha_trajectories({"a": [run, run], "b": [run]})
    axes = figure.axes[0]
    names = ["a, population 1", "a, population 1", "b, population 1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    first, again, other = (axes.lines[i] for i in (0, 3, 6))  # three members each
    assert first.get_color() == again.get_color() != other.get_color()
    assert first.get_linestyle() == other.get_linestyle() != again.get_linestyle()
    assert len(axes.lines) == 9 and axes.lines[0].get_linewidth() > axes.lines[1].get_linewidth()
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.01, 0.06, 0.06, 0.11, 0.16, 0.16])
    graph = run_plots.lineage_graph(run).axes[0]
    assert len(graph.texts) == 2  # an arrow a copy
    drawn = run_plots.hyperparameters(run)
    words = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert words == ["a member at the time", "history of a final member"]
    panels = drawn.axes
    assert [axes.get_title() for axes in panels] == ["α", "learning rate", "entropy cost"]
    heat = run_plots.action_heat_map(run).axes[0]
    names = [text.get_text() for text in heat.get_yticklabels()]
    assert len(names) == 20 and names[0] == "look left 60" and "forward" in names
