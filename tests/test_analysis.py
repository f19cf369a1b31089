"""From records to curves and tables, on runs whose numbers are known."""

import numpy as np

from mmlib.analysis import aggregate


def test_curves_share_a_grid_and_average_seeds(make_run):
    runs = {"small": [make_run("small", 1, range(10)), make_run("small", 2, range(2, 12))], "mm": []}
    curves = aggregate.curves(runs, points=5)
    assert list(curves) == ["small"]  # a method without runs has no curve
    np.testing.assert_array_equal(curves["small"].frames, [80, 160, 240, 320, 400])
    np.testing.assert_array_equal(curves["small"].mean, [1.5, 3.5, 5.5, 7.5, 9.5])
    np.testing.assert_array_equal(curves["small"].low, [0.5, 2.5, 4.5, 6.5, 8.5])


def test_curves_of_nothing_are_none():
    assert aggregate.curves({"small": [], "mm": []}) == {}


def test_bins_are_never_narrower_than_episodes(make_run):
    curve = aggregate.curves({"mm": [make_run("mm", 1, range(10))]}, points=1000)["mm"]
    assert len(curve.frames) == 10


def test_returns_early_and_at_the_end(make_run):
    run = make_run("mm", 1, range(10))
    assert aggregate.returns_in([run], aggregate.EARLY) == [0.5]  # ends at 40 and 80 of the first 100 frames
    assert aggregate.returns_in([run], aggregate.END) == [8.5]  # ends at 360 and 400
    assert len(aggregate.returns_in([run], (0.0, 0.05))) == 0


def test_summary_of_runs_states_the_last_episodes(make_run):
    row = aggregate.summary_of_runs({"mm": [make_run("mm", 4, range(10))]}, last=4).iloc[0]
    assert (row["method"], row["seed"], row["frames"], row["episodes"]) == ("M&M", 4, 400, 10)
    assert (row["mean of the last 4"], row["minutes"], row["agent steps/s"]) == (7.5, 0.5, 3.5)


def test_minutes_are_of_all_the_processes_of_an_interrupted_run(make_run):
    run = make_run("mm", 1, range(10))
    lines = [
        f'{{"frames": {f}, "seconds": {s}, "agent_steps_per_second": 1}}\n' for f, s in enumerate((60, 120, 30, 90))
    ]
    (run.directory / "timing.jsonl").write_text("".join(lines))
    assert aggregate.summary_of_runs({"mm": [run]}).iloc[0]["minutes"] == 3.5
