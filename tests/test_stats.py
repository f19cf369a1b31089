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


def test_mean_return_between_excludes_its_start():
    assert stats.mean_return_between([10, 20, 30], [1.0, 3.0, 5.0], 10, 30) == 4.0


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


def test_mean_curve_by_hand():
    curve = stats.mean_curve([[1.0, 2.0, np.nan], [3.0, 2.0, 5.0]], [0, 10, 20, 30])
    np.testing.assert_array_equal(curve.frames, [10, 20])  # the second seed alone has a point at 30
    np.testing.assert_array_equal(curve.mean, [2.0, 2.0])
    np.testing.assert_array_equal(curve.low, [1.0, 2.0])  # two equal draws of two have probability 1/4 > 2.5 %
    np.testing.assert_array_equal(curve.high, [3.0, 2.0])


def test_curves_without_a_common_point_have_an_empty_mean():
    curve = stats.mean_curve([[1.0, np.nan], [np.nan, 5.0]], [0, 10, 20])
    assert all(part.shape == (0,) for part in curve)


def test_one_seed_has_no_interval():
    curve = stats.mean_curve([[1.0, 2.0]], [0, 10, 20])
    np.testing.assert_array_equal(curve.mean, [1.0, 2.0])
    assert np.isnan(curve.low).all() and np.isnan(curve.high).all()
    assert np.isnan(stats.mean_interval([3.0])[1:]).all()
    assert np.isnan(stats.difference_interval([3.0], [1.0, 2.0])[1:]).all()


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).normal(size=(20, 1))
    low, high = stats.bootstrap_interval([values], resamples=20_000)
    expected = scipy.stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    assert (low[0], high[0]) == pytest.approx(tuple(expected), abs=0.02)


def test_bootstrap_draws_within_strata():
    """Two strata without spread have an interval without width, however far apart they are."""
    low, high = stats.bootstrap_interval([np.zeros((3, 1)), np.full((5, 1), 10.0)])
    assert (low, high) == (5.0, 5.0)


def test_bootstrap_is_repeatable_and_narrows_with_confidence():
    values = np.arange(8.0)[:, None]
    wide, again = stats.bootstrap_interval([values]), stats.bootstrap_interval([values])
    narrow = stats.bootstrap_interval([values], confidence=0.5)
    assert wide == again
    assert wide[0] < narrow[0] < 3.5 < narrow[1] < wide[1]


def test_iqm_by_hand():
    assert stats.iqm([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]) == 3.5
    assert stats.iqm([1.0, 2.0, 6.0]) == 3.0  # of three values nothing is left out


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_iqm_is_scipys_trimmed_mean(values):
    assert stats.iqm(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), abs=1e-6)


def test_bootstrap_of_the_iqm_uses_it():
    values = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0])[:, None]
    assert stats.bootstrap_interval([values], stats.iqm)[1] < stats.bootstrap_interval([values])[1]


def test_mean_interval_by_hand():
    """1, 2, 3: standard error 1/sqrt(3), t(0.975, 2) = 4.3027."""
    assert stats.mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_difference_interval_is_welchs():
    one, two = [5.0, 7.0, 9.0, 6.0], [1.0, 2.5, 2.0]
    expected = scipy.stats.ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    assert stats.difference_interval(one, two)[1:] == pytest.approx((expected.low, expected.high))
    assert stats.difference_interval([2.0, 2.0], [1.0, 1.0]) == (1.0, 1.0, 1.0)
