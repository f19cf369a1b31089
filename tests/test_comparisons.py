"""Verdicts on claims about two methods' returns, on intervals and runs whose numbers are known."""

import numpy as np
import pytest

from mmlib.analysis import comparisons, stats


def verdict(relation, first, second):
    """The verdict on two lists of returns."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    enough = min(len(first), len(second)) >= comparisons.MIN_RUNS
    return comparisons.judge_difference(relation, stats.difference_interval(first, second), second.mean(), enough)


def test_verdicts_by_hand():
    low, high, spread = [1.0, 1.1, 0.9], [5.0, 5.1, 4.9], [0.0, 5.0, 10.0]
    assert verdict(">", high, low) == verdict(">=", high, low) == "holds"
    assert verdict(">", low, high) == verdict(">=", low, high) == "does not hold"
    assert verdict(">", spread, low) == "not enough data"  # the interval contains 0
    assert verdict(">", high[:2], low) == "not enough data"


def test_as_high_allows_five_percent_and_no_more():
    reference = np.array([10.0, 10.001, 9.999])
    assert verdict(">=", reference - 0.4, reference) == "holds"
    assert verdict(">", reference - 0.4, reference) == "does not hold"
    assert verdict(">=", reference - 0.6, reference) == "does not hold"


def test_alike_allows_ten_percent_on_either_side():
    reference = np.array([10.0, 10.001, 9.999])
    for sign in (-1, 1):
        assert verdict("~", reference + sign * 0.9, reference) == "holds"
        assert verdict("~", reference + sign * 1.1, reference) == "does not hold"
    assert verdict("~", [9.2, 10.0, 10.9], reference) == "not enough data"


def test_unknown_relations_are_refused():
    with pytest.raises(ValueError, match="relations: >, >=, ~"):
        verdict("<", np.ones(3), np.ones(3))


def test_table_of_three_runs(make_run):
    """Small leaps ahead and stays; Big starts at nothing and ends above; M&M does both."""
    level = {"small": [5] * 10, "big756": [0] * 5 + [9] * 5, "mm": [5] * 5 + [9] * 5}
    runs = {
        method: [make_run(method, seed, np.array(returns) + 0.01 * seed) for seed in (1, 2, 3)]
        for method, returns in level.items()
    }
    table = comparisons.table(runs, comparisons.ACTION).set_index("claim")
    assert table.loc[["1a", "1b", "2a", "2b"], "verdict"].tolist() == ["holds"] * 4
    assert table.loc[["3a", "3b"], "verdict"].tolist() == ["not enough data"] * 2
    assert table.loc["1b", "measured"].startswith("at the end: Big action space 9.02 [9.00, 9.04] (3 runs) against")
    assert table.loc["1b", "difference"].startswith("4.00 [")
    assert "M&M (Masked KL) (no run)" in table.loc["3a", "measured"]


def test_table_of_one_run_gives_no_verdict(make_run):
    runs = {"small": [make_run("small", 1, range(10))], "big756": [make_run("big756", 1, [])]}
    table = comparisons.table(runs, comparisons.ACTION).set_index("claim")
    assert set(table["verdict"]) == {"not enough data"}
    assert table.loc["1b", "measured"] == (
        "at the end: Big action space (no episode ended) against Small action space 8.50 (1 run)"
    )
