"""Action spaces: the paper's sizes, DeepMind Lab's vectors, the embedding, and index arithmetic."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlib.levels.base import LAB_ACTIONS
from mmlib.spaces import BIG_540, BIG_756, SMALL, SPACES, VECTOR, WHOLE, ActionSpace, embedding, hats

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def some(space):
    """All joint actions, or some of very many, the first and the last among them."""
    few = np.random.default_rng(0).integers(space.num_actions, size=1000)
    return np.arange(space.num_actions) if space.num_actions < 1000 else np.unique([0, *few, space.num_actions - 1])


def test_sizes_are_the_papers():
    assert {name: space.num_actions for name, space in SPACES.items()} == {
        "small": 9,
        "big540": 540,
        "big756": 756,
        "whole": 1025**2 * 3 * 3 * 2 * 2,
    }
    assert SMALL.group_sizes == (9,)
    assert BIG_540.group_sizes == (5, 3, 3, 3, 2, 2)
    assert BIG_756.group_sizes == (7, 3, 3, 3, 2, 2)
    assert BIG_756.group_names == ("yaw", "pitch", "strafe", "move", "fire", "jump")


def test_small_is_the_public_impala_agents():
    expected = [
        [0, 0, 0, 1, 0, 0, 0],  # forward
        [0, 0, 0, -1, 0, 0, 0],  # back
        [0, 0, -1, 0, 0, 0, 0],  # strafe left
        [0, 0, 1, 0, 0, 0, 0],  # strafe right
        [-20, 0, 0, 0, 0, 0, 0],  # look left
        [20, 0, 0, 0, 0, 0, 0],  # look right
        [-20, 0, 0, 1, 0, 0, 0],  # look left + forward
        [20, 0, 0, 1, 0, 0, 0],  # look right + forward
        [0, 0, 0, 0, 1, 0, 0],  # fire
    ]
    np.testing.assert_array_equal(SMALL.vectors, expected)
    assert SMALL.label(6) == "look left + forward"


def test_big_enumerates_the_groups_with_the_first_slowest():
    yaw = (-60, -20, -5, 0, 5, 20, 60)
    joint = product(yaw, (-10, 0, 10), (-1, 0, 1), (-1, 0, 1), (0, 1), (0, 1))
    np.testing.assert_array_equal(BIG_756.encode(np.arange(756)), [(*values, 0) for values in joint])
    np.testing.assert_array_equal(np.unique(BIG_540.encode(np.arange(540))[:, 0]), [-60, -20, 0, 20, 60])


def test_documented_index_order():
    yaw, pitch, strafe, move, fire, jump = 5, 2, 0, 1, 1, 0
    index = ((((yaw * 3 + pitch) * 3 + strafe) * 3 + move) * 2 + fire) * 2 + jump
    assert BIG_756.ravel([yaw, pitch, strafe, move, fire, jump]) == index
    np.testing.assert_array_equal(BIG_756.encode(index), [20, 10, -1, 0, 1, 0, 0])
    assert BIG_756.label(index) == "look right 20 + look down 10 + strafe left + fire"
    assert BIG_756.label(BIG_756.ravel([3, 1, 1, 1, 0, 0])) == "stay"


@every_space
def test_vectors_are_distinct_and_legal(space):
    actions = some(space)
    vectors = space.encode(actions)
    assert vectors.dtype == np.int32 and vectors.shape == (len(actions), len(VECTOR))
    assert len({tuple(vector) for vector in vectors.tolist()}) == len({*map(space.label, actions)}) == len(actions)
    low, high = [-512, -512, -1, -1, 0, 0, 0], [512, 512, 1, 1, 1, 1, 1]
    assert (vectors >= low).all() and (vectors <= high).all()
    with pytest.raises(ValueError, match="read-only"):
        space.vectors[0, 0] = 1


def test_the_whole_space_is_all_that_deepmind_lab_takes_but_crouching():
    ends = WHOLE.encode([0, WHOLE.num_actions - 1])
    np.testing.assert_array_equal(ends, [LAB_ACTIONS.low, [*LAB_ACTIONS.high[:-1], 0]])
    assert [len(set(values)) for values in WHOLE.encode(some(WHOLE)).T][2:] == [3, 3, 2, 2, 1]
    wanted = [512 + 7, 512 - 300, 1, 2, 0, 1]
    assert WHOLE.label(WHOLE.ravel(wanted)) == "look right 7 + look up 300 + forward + jump"


@pytest.mark.parametrize("space", [SMALL, BIG_540, BIG_756])
def test_features_are_the_groups_one_hots(space):
    features = space.features[space.columns(np.arange(space.num_actions))].sum(1)
    assert features.dtype == np.float32 and features.shape[1] == sum(space.group_sizes)
    starts = np.cumsum([0, *space.group_sizes[:-1]])
    for action, row in enumerate(features):
        np.testing.assert_array_equal(np.flatnonzero(row) - starts, space.unravel(action))
        assert row.sum() == len(space.group_sizes)
    assert space.feature_labels == space.group_labels


def test_features_of_values_in_order_are_linear_between_knots_by_hand():
    between = np.log(4 / 3) / np.log(6 / 3)  # 3 lies between the knots 2 and 5
    row = WHOLE.features[512 + 3]
    expected = {"look right 2": 1 - between, "look right 5": between}
    names = [label for group in WHOLE.feature_labels for label in group]
    assert {names[i]: row[i] for i in np.flatnonzero(row)} == pytest.approx(expected)
    np.testing.assert_allclose(np.add.reduceat(WHOLE.features, [0, 19, 38, 41, 44, 46], axis=1).sum(1), 1, rtol=1e-6)
    for group, start in enumerate((0, 19)):  # a knot has its own alone
        for i, label in enumerate(WHOLE.feature_labels[group]):
            value = WHOLE.group_labels[group].index(label)
            assert np.flatnonzero(WHOLE.features[1025 * group + value]).tolist() == [start + i]
    assert hats([-9, 9], (-2, 2)).tolist() == [[1, 0], [0, 1]]  # beyond the last knot, as at it


@given(st.sampled_from(list(SPACES.values())), st.data())
def test_ravel_inverts_unravel(space, data):
    shape = data.draw(st.sampled_from([(), (3,), (2, 2)]))
    size = int(np.prod(shape))
    action = st.integers(0, space.num_actions - 1)
    actions = np.array(data.draw(st.lists(action, min_size=size, max_size=size))).reshape(shape)
    groups = space.unravel(actions)
    assert groups.shape == (*shape, len(space.group_sizes))
    np.testing.assert_array_equal(space.ravel(groups), actions)
    assert space.encode(actions).shape == (*shape, len(VECTOR))


@pytest.mark.parametrize(
    ("small", "big"), [(SMALL, BIG_540), (SMALL, BIG_756), (BIG_540, BIG_756), (SMALL, WHOLE), (BIG_756, WHOLE)]
)
def test_embedding_keeps_the_vectors(small, big):
    index = embedding(small, big)
    assert index.dtype == np.int64
    np.testing.assert_array_equal(big.encode(index), small.encode(np.arange(small.num_actions)))


def test_embedding_of_a_space_in_itself_is_the_identity():
    np.testing.assert_array_equal(embedding(BIG_756, BIG_756), np.arange(756))


def test_embedding_names_what_is_missing():
    with pytest.raises(ValueError, match=r"'big756' is no subset of 'big540', which lacks 216 .*look left 5"):
        embedding(BIG_756, BIG_540)
    with pytest.raises(ValueError, match=r"'whole' has 37,822,500 joint actions, too many to be found in 'big756'"):
        embedding(WHOLE, BIG_756)


@every_space
@pytest.mark.parametrize("method", ["encode", "unravel"])
def test_actions_outside_the_space_are_refused(space, method):
    for action in (-1, space.num_actions):
        with pytest.raises(ValueError, match=rf"action {action} is not in .*0 … {space.num_actions - 1}"):
            getattr(space, method)([0, action])
    with pytest.raises(ValueError, match="must be integers; got float64"):
        getattr(space, method)([0.0])


def test_bad_group_indices_are_refused():
    with pytest.raises(ValueError, match=r"\[0, 3, 0, 0, 0, 0\] lie outside the sizes \(7, 3, 3, 3, 2, 2\)"):
        BIG_756.ravel([[0, 0, 0, 0, 0, 0], [0, 3, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"shape \[..., 6\].*got \[2\]"):
        BIG_756.ravel([0, 0])
    with pytest.raises(ValueError, match="must be integers"):
        BIG_756.ravel([0.0] * 6)


def test_a_space_whose_parts_do_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"need 9 vectors, one a value; got 8"):
        dataclasses.replace(SMALL, vectors=SMALL.vectors[:8].copy())


@pytest.mark.parametrize("knots", [{"yaw": (0, 21)}, {"yaw": (5, 0)}, {"roll": (0,)}])
def test_knots_are_rising_values_of_a_group(knots):
    with pytest.raises(ValueError, match=r"'big756': knots \(.*\) are no rising values of '(yaw|roll)'"):
        dataclasses.replace(BIG_756, knots=knots)


def test_vectors_of_another_length_are_no_subset():
    other = ActionSpace(
        "other", ("a", "b"), (("0", "1"), ("0", "1")), np.array([[0, 0], [1, 0], [0, 0], [0, 1]], np.int32)
    )
    assert [other.label(a) for a in (0, 1, 3)] == ["0, 0", "0, 1", "1, 1"]
    np.testing.assert_array_equal(other.encode([1, 2]), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="'small' is no subset of 'other': its vectors have 7 parts"):
        embedding(SMALL, other)


def test_equality_and_hash_are_by_value():
    same = dataclasses.replace(SMALL, vectors=SMALL.vectors.copy())
    assert same == SMALL
    assert hash(same) == hash(SMALL)
    assert len({SMALL, BIG_540, BIG_756, WHOLE}) == 4
