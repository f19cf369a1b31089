"""From records to curves and tables, on runs whose numbers are known."""

import numpy as np

from mmlib.analysis import curves, tables
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter


def test_curves_share_a_grid_and_have_a_row_a_run_and_point(make_run):
    runs = {"small": [make_run("small", 1, range(10)), make_run("small", 2, range(2, 12))], "mm": []}
    table = curves.learning(runs, points=5)
    assert set(table["line"]) == {"small"} and set(table["level"]) == {"a_level"}  # no runs, no curve
    one, two = (table[table["seed"] == seed] for seed in (1, 2))
    np.testing.assert_array_equal(one["x"], [80, 160, 240, 320, 400])
    np.testing.assert_array_equal(one["y"], [0.5, 2.5, 4.5, 6.5, 8.5])
    np.testing.assert_array_equal(two["y"], one["y"] + 2)


def test_curves_have_points_where_all_runs_have_one(make_run):
    runs = {"small": [make_run("small", 1, range(10)), make_run("small", 2, range(5))], "mm": [make_run("mm", 1, [1])]}
    table = curves.learning(runs, points=10)
    ends = table.groupby(["line", "seed"])["x"].max().to_dict()
    assert ends == {("small", 1): 200, ("small", 2): 200, ("mm", 1): 40}


def test_the_curve_of_a_run_that_is_taught_begins_where_its_teachers_ends(make_run):
    taught = make_run("kickstart", 1, range(10), teacher="../../small/seed1")
    assert curves.learning({"kickstart": [taught]}, points=5)["x"].tolist() == [80, 160, 240, 320, 400]  # none is here
    runs = {"kickstart": [taught], "small": [make_run("small", 1, range(10))]}
    table = curves.learning(runs, points=10).set_index("line")
    assert table.loc["small", "x"].tolist() == [80, 160, 240, 320, 400]
    assert table.loc["kickstart", "x"].tolist() == [480, 560, 640, 720, 800]
    assert table.loc["kickstart", "y"].tolist() == table.loc["small", "y"].tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_agents_of_several_levels_have_a_curve_on_each_and_of_their_target_alone(tmp_path):
    settings = {"level": "a+b", "agent_steps": 100, "action_repeat": 4, "method": "mm_multitask", "seed": 1}
    with RunWriter(tmp_path, settings) as writer:
        writer.append("metrics", [{"frames": 400, "member": 0, "alpha": 0.5}])
        for record, more in (("episodes", 0.0), ("evaluations", 100.0)):
            row = {"member": 0, "length_frames": 40}
            rows = [
                row | {"frames": f, "return": more + f / 100 + 10 * (n == "b"), "level": n}
                for f in (200, 400)
                for n in "ab"
            ]
            writer.append(record, rows)
        writer.finish()
    table = curves.learning({"mm_multitask": [Run(tmp_path)]}, points=2).set_index(["line", "level"])["y"].sort_index()
    both = {line: [table[line, level].tolist() for level in "ab"] for line in ("mm_multitask", "mm_multitask/target")}
    assert both == {"mm_multitask": [[2, 4], [12, 14]], "mm_multitask/target": [[102, 104], [112, 114]]}


def test_curves_of_nothing_are_empty():
    assert len(curves.learning({"small": [], "mm": []})) == 0
    assert list(curves.normalised({}, lambda name, x: x).columns) == curves.COLUMNS


def test_bins_are_never_narrower_than_episodes(make_run):
    assert len(curves.learning({"mm": [make_run("mm", 1, range(10))]}, points=1000)) == 10


def test_normalised_curves_are_of_methods_on_every_level(make_run):
    one, two = {"mm": [make_run("mm", 1, range(10))], "small": [make_run("small", 1, range(10))]}, {}
    two["mm"] = [make_run("mm", 2, range(10)), make_run("mm", 3, range(10))]
    table = curves.normalised({"one": one, "two": two}, lambda name, x: x / 10 if name == "one" else x, points=2)
    assert set(table["line"]) == {"mm"}
    assert table[table["level"] == "one"]["y"].tolist() == [0.2, 0.7]
    assert table[table["seed"] == 3][["x", "y"]].values.tolist() == [[50, 2], [100, 7]]


def test_returns_early_and_at_the_end(make_run):
    run = make_run("mm", 1, range(10))
    assert curves.mean_returns(run, curves.EARLY) == {"a_level": 0.5}  # ends at 40 and 80 of the first 100 frames
    assert curves.mean_returns(run, curves.END) == {"a_level": 8.5}  # ends at 360 and 400
    assert curves.mean_returns(run, (0.0, 0.05)) == {}
    more = make_run("small", 1, range(1, 11))
    assert curves.best_ends({"a_level": {"mm": [run], "small": [more]}}) == {"a_level": 9.5}


def test_summary_of_runs_states_the_last_episodes(make_run, monkeypatch):
    monkeypatch.setattr(tables, "LAST", 4)
    row = tables.summary({"mm": [make_run("mm", 4, range(10))]}).iloc[0]
    assert (row["method"], row["seed"], row["frames"], row["episodes"]) == ("M&M", 4, 400, 10)
    assert (row["mean of the last 4"], row["minutes"], row["agent steps/s"]) == (7.5, 0.5, 3.5)


def test_minutes_are_of_all_the_processes_of_an_interrupted_run(make_run):
    run = make_run("mm", 1, range(10))
    lines = [
        f'{{"frames": {f}, "seconds": {s}, "agent_steps_per_second": 1}}\n' for f, s in enumerate((60, 120, 30, 90))
    ]
    (run.directory / "timing.jsonl").write_text("".join(lines))
    assert tables.summary({"mm": [run]}).iloc[0]["minutes"] == 3.5
