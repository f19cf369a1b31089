"""Statistics against values worked by hand and against scipy."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mmlib.analysis import stats


def test_learning_curve_by_hand():
    """Bins (0, 10], (10, 20], (20, 30]; the episode at 31 ended after the last."""
    frames, returns = [1, 10, 11, 12, 13, 31], [2.0, 4.0, 1.0, 2.0, 6.0, 9.0]
    np.testing.assert_array_equal(stats.learning_curve(frames, returns, [0, 10, 20, 30]), [3.0, 3.0, np.nan])


def test_learning_curve_of_no_episodes_is_empty_everywhere():
    assert np.isnan(stats.learning_curve([], [], [0, 10, 20])).all()


def test_learning_curve_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="one length"):
        stats.learning_curve([1, 2], [1.0], [0, 10])


@given(
    st.lists(st.tuples(st.integers(1, 100), st.floats(-5, 5)), min_size=1),
    st.integers(1, 12),
)
def test_curve_weighted_by_its_counts_is_the_mean_of_all_episodes(episodes, points):
    frames, returns = np.array(episodes).T
    edges = stats.frame_edges(100, points)
    curve = stats.learning_curve(frames, returns, edges)
    counts = np.histogram(-frames, bins=-edges[::-1])[0][::-1]  # bins closed on the right
    assert np.nansum(curve * counts) == pytest.approx(returns.sum(), abs=1e-9)
    assert (np.isnan(curve) == (counts == 0)).all()


def test_bins_are_as_wide_as_the_gap_between_batches_of_episodes():
    """All environments' episodes end together every 30 frames: of 100 frames in 10 bins, 3 bins are left."""
    ends = np.repeat([30, 60, 90], 4)
    np.testing.assert_allclose(stats.frame_edges(90, 10, [ends]), [0, 30, 60, 90])
    np.testing.assert_allclose(stats.frame_edges(90, 2, [ends]), [0, 45, 90])
    np.testing.assert_allclose(stats.frame_edges(90, 3, [[]]), [0, 30, 60, 90])
    with pytest.raises(ValueError, match="positive, not 0"):
        stats.frame_edges(0, 10)


def test_one_seed_has_no_interval():
    assert all(np.isnan(stats.bootstrap(stats.mean_of_means, [[1.0]])))
    assert all(np.isnan(stats.bootstrap(stats.mean_of_means, [np.ones((4, 3)), np.ones((4, 1))])[0]))
    assert np.isnan(stats.mean_interval([3.0])[1:]).all()
    assert np.isnan(stats.difference_interval([[3.0]], [[1.0, 2.0]])[1:]).all()


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).normal(size=20)
    low, high = stats.bootstrap(stats.mean_of_means, [values], resamples=20_000)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)


def test_bootstrap_draws_within_strata():
    """Two strata without spread have an interval without width, however far apart they are."""
    low, high = stats.bootstrap(stats.mean_of_means, [np.zeros(3), np.full(5, 10.0)])
    assert (low, high) == (5.0, 5.0)


def test_bootstrap_is_repeatable():
    values = np.arange(8.0)
    (low, high), again = (stats.bootstrap(stats.mean_of_means, [values]) for _ in range(2))
    assert (low, high) == again
    assert low < 3.5 < high


def test_bootstrap_of_curves_is_that_of_each_point():
    values = np.random.default_rng(1).normal(size=(4, 6))  # points, seeds
    low, high = stats.bootstrap(stats.mean_of_means, [values])
    each = [stats.bootstrap(stats.mean_of_means, [row]) for row in values]
    np.testing.assert_allclose(np.stack([low, high], axis=1), each)


def test_iqm_by_hand():
    assert stats.iqm([[100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]]) == 3.5
    assert stats.iqm([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, -100.0]]) == 3.5  # over all levels
    assert stats.iqm([[1.0, 2.0, 6.0]]) == 3.0  # of three values nothing is left out


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_iqm_is_the_mean_without_a_quarter_at_either_end(values):
    out = len(values) // 4
    assert stats.iqm([values]) == pytest.approx(np.sort(values)[out : len(values) - out].mean(), abs=1e-6)


def test_iqm_difference_leaves_an_outlier_out():
    first, second = [[0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0]], [[0.5] * 8]
    found = stats.iqm_difference(first, second)
    assert found.mean == 0.5 and 0 < found.low < 0.5 < found.high < 15


def test_probability_of_improvement_by_hand():
    """Of six pairs four are above and one is equal, which counts half; on another level all are above."""
    found = stats.improvement([[1.0, 3.0]], [[0.0, 1.0, 2.0]])
    assert found.mean == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 1) / 6)
    assert 0 <= found.low < found.mean < found.high <= 1
    assert stats.improvement([[1.0, 3.0], [9.0, 9.0]], [[0.0, 1.0, 2.0], [1.0, 1.0]]).mean == pytest.approx(7 / 8)
    assert stats.improvement([[2.0, 2.0]], [[1.0, 1.0]]) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="zip"):
        stats.improvement([[1.0, 3.0], [2.0, 4.0]], [[0.0, 1.0]])


def test_mean_interval_by_hand():
    """1, 2, 3: standard error 1/sqrt(3), t(0.975, 2) = 4.3027."""
    assert stats.mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_difference_interval_is_welchs():
    one, two = [5.0, 7.0, 9.0, 6.0], [1.0, 2.5, 2.0]
    expected = scipy.stats.ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    assert stats.difference_interval([one], [two])[1:] == pytest.approx((expected.low, expected.high))
    assert stats.difference_interval([[2.0, 2.0]], [[1.0, 1.0]]) == (1.0, 1.0, 1.0)


def test_stratified_intervals_by_hand():
    both = stats.mean_interval([0.0, 2.0], [10.0, 12.0])
    # variance 2 each: standard error sqrt(2/2/4 + 2/2/4) = sqrt(1/2); freedom 2: t = 4.3027
    assert both.mean == 6 and both.high - both.mean == pytest.approx(4.30265 * 0.5**0.5, rel=1e-5)
    assert np.isnan(stats.mean_interval([1.0], [2.0, 3.0]).low)
    apart = stats.difference_interval([[0.0, 2.0], [10.0, 12.0]], [[1.0, 3.0]])  # strata of other numbers
    assert apart.mean == 4 and apart.high > both.high - 2


def test_share_interval_is_of_tables():
    assert stats.share_interval(1, 3) == pytest.approx((1 / 3, 0.0084, 0.9057), abs=1e-4)
