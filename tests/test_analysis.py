"""From records to curves and verdicts, on runs whose numbers are known."""

import numpy as np
import pytest

from mmlib import analysis
from mmlib.results import Run, RunWriter

CONFIG = {"level": "a_level", "agent_steps": 100, "action_repeat": 4}


@pytest.fixture
def make_run(tmp_path):
    """Makes a run of 400 frames from the returns of its episodes, one ending every 40 frames."""

    def make(method, seed, returns):
        directory = tmp_path / method / f"seed{seed}"
        with RunWriter(directory, {**CONFIG, "method": method, "seed": seed}) as writer:
            writer.metrics({"frames": 400, "member": 0})
            writer.timing({"frames": 400, "seconds": 30.0, "agent_steps_per_second": 3.5})
            ends = range(40, 401, 40)
            rows = [{"frames": f, "member": 0, "return": float(r), "length_frames": 40} for f, r in zip(ends, returns)]
            writer.episodes(rows)
            writer.finish()
        return Run(directory)

    return make


def test_curves_share_a_grid_and_average_seeds(make_run):
    runs = {"small": [make_run("small", 1, range(10)), make_run("small", 2, range(2, 12))], "mm": []}
    curves = analysis.curves(runs, points=5)
    assert list(curves) == ["small"]  # a method without runs has no curve
    np.testing.assert_array_equal(curves["small"].frames, [80, 160, 240, 320, 400])
    np.testing.assert_array_equal(curves["small"].mean, [1.5, 3.5, 5.5, 7.5, 9.5])
    np.testing.assert_array_equal(curves["small"].low, [0.5, 2.5, 4.5, 6.5, 8.5])


def test_curves_of_nothing_are_none():
    assert analysis.curves({"small": [], "mm": []}) == {}


def test_bins_are_never_narrower_than_episodes(make_run):
    curve = analysis.curves({"mm": [make_run("mm", 1, range(10))]}, points=1000)["mm"]
    assert len(curve.frames) == 10


def test_returns_early_and_at_the_end(make_run):
    run = make_run("mm", 1, range(10))
    assert analysis.returns_in([run], analysis.EARLY) == [0.5]  # ends at 40 and 80 of the first 100 frames
    assert analysis.returns_in([run], analysis.END) == [8.5]  # ends at 360 and 400
    assert len(analysis.returns_in([run], (0.0, 0.05))) == 0


def test_verdicts_by_hand():
    low, high, spread = np.array([1.0, 1.1, 0.9]), np.array([5.0, 5.1, 4.9]), np.array([0.0, 5.0, 10.0])
    assert analysis.verdict(">", high, low) == "holds here"
    assert analysis.verdict(">", low, high) == "does not hold here"
    assert analysis.verdict(">", spread, low) == "undecided"
    assert analysis.verdict(">=", high, low) == "holds here"
    assert analysis.verdict(">=", low, high) == "does not hold here"
    assert analysis.verdict(">", high[:2], low) == "not enough data"


def test_as_high_allows_five_percent_and_no_more():
    reference = np.array([10.0, 10.001, 9.999])
    assert analysis.verdict(">=", reference - 0.4, reference) == "holds here"
    assert analysis.verdict(">", reference - 0.4, reference) == "does not hold here"
    assert analysis.verdict(">=", reference - 0.6, reference) == "does not hold here"


def test_unknown_relations_are_refused():
    with pytest.raises(ValueError, match="relations: >, >="):
        analysis.verdict("<", np.ones(3), np.ones(3))


def test_claims_table_of_three_seeds(make_run):
    """Small leaps ahead and stays; Big starts at nothing and ends above; M&M does both."""
    level = {"small": [5] * 10, "big756": [0] * 5 + [9] * 5, "mm": [5] * 5 + [9] * 5}
    runs = {
        method: [make_run(method, seed, np.array(returns) + 0.01 * seed) for seed in (1, 2, 3)]
        for method, returns in level.items()
    }
    table = analysis.claims_table(runs).set_index("claim")
    assert table.loc[["1a", "1b", "2a", "2b"], "verdict"].tolist() == ["holds here"] * 4
    assert table.loc[["3a", "3b"], "verdict"].tolist() == ["not enough data"] * 2
    assert table.loc["1b", "measured"].startswith("at the end: Big action space 9.02 [9.00, 9.04] (3 seeds) against")
    assert table.loc["1b", "difference"].startswith("4.00 [")
    assert "M&M (Masked KL) (no run)" in table.loc["3a", "measured"]


def test_claims_table_of_one_seed_gives_no_verdict(make_run):
    runs = {"small": [make_run("small", 1, range(10))], "big756": [make_run("big756", 1, [])]}
    table = analysis.claims_table(runs).set_index("claim")
    assert set(table["verdict"]) == {"not enough data"}
    assert table.loc["1b", "measured"] == (
        "at the end: Big action space (no episode ended) against Small action space 8.50 (1 seed)"
    )


def test_runs_table_states_the_last_episodes(make_run):
    row = analysis.runs_table({"mm": [make_run("mm", 4, range(10))]}, last=4).iloc[0]
    assert (row["method"], row["seed"], row["frames"], row["episodes"]) == ("M&M", 4, 400, 10)
    assert (row["mean of the last 4"], row["minutes"], row["agent steps/s"]) == (7.5, 0.5, 3.5)
