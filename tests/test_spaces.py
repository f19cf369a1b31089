"""Action spaces: the paper's sizes, DeepMind Lab's vectors, the embedding, and index arithmetic."""

import dataclasses
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlib.spaces import BIG_540, BIG_756, SMALL, SPACES, VECTOR, embedding, get_space

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def test_sizes_are_the_papers():
    assert {name: space.num_actions for name, space in SPACES.items()} == {
        "small": 9,
        "big540": 540,
        "big756": 756,
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
    assert SMALL.labels[6] == "look left + forward"


def test_big_enumerates_the_groups_with_the_first_slowest():
    yaw = (-60, -20, -5, 0, 5, 20, 60)
    joint = product(yaw, (-10, 0, 10), (-1, 0, 1), (-1, 0, 1), (0, 1), (0, 1))
    np.testing.assert_array_equal(BIG_756.vectors, [(*values, 0) for values in joint])
    np.testing.assert_array_equal(np.unique(BIG_540.vectors[:, 0]), [-60, -20, 0, 20, 60])


def test_documented_index_order():
    yaw, pitch, strafe, move, fire, jump = 5, 2, 0, 1, 1, 0
    index = ((((yaw * 3 + pitch) * 3 + strafe) * 3 + move) * 2 + fire) * 2 + jump
    assert BIG_756.ravel([yaw, pitch, strafe, move, fire, jump]) == index
    np.testing.assert_array_equal(BIG_756.encode(index), [20, 10, -1, 0, 1, 0, 0])
    assert BIG_756.labels[index] == "look right 20 + look down 10 + strafe left + fire"


@every_space
def test_vectors_are_distinct_legal_and_read_only(space):
    assert space.vectors.dtype == np.int32
    assert space.vectors.shape == (space.num_actions, len(VECTOR))
    assert len({tuple(vector) for vector in space.vectors.tolist()}) == space.num_actions
    assert len(set(space.labels)) == space.num_actions
    low, high = [-512, -512, -1, -1, 0, 0, 0], [512, 512, 1, 1, 1, 1, 1]
    assert (space.vectors >= low).all()
    assert (space.vectors <= high).all()
    with pytest.raises(ValueError, match="read-only"):
        space.vectors[0, 0] = 1


@every_space
def test_features_are_the_groups_one_hots(space):
    features = space.features
    assert features.dtype == np.float32
    assert features.shape == (space.num_actions, sum(space.group_sizes))
    starts = np.cumsum([0, *space.group_sizes[:-1]])
    for action in range(0, space.num_actions, 7):
        hot = np.flatnonzero(features[action])
        np.testing.assert_array_equal(hot - starts, space.unravel(action))
        assert features[action].sum() == len(space.group_sizes)


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


@pytest.mark.parametrize(("small", "big"), [(SMALL, BIG_540), (SMALL, BIG_756), (BIG_540, BIG_756)])
def test_embedding_keeps_the_vectors(small, big):
    index = embedding(small, big)
    assert index.dtype == np.int64
    np.testing.assert_array_equal(big.encode(index), small.vectors)


def test_embedding_of_a_space_in_itself_is_the_identity():
    np.testing.assert_array_equal(embedding(BIG_756, BIG_756), np.arange(756))


def test_embedding_names_what_is_missing():
    with pytest.raises(ValueError, match=r"'big756' is no subset of 'big540', which lacks 216 .*look left 5"):
        embedding(BIG_756, BIG_540)


def test_get_space():
    assert get_space("big756") is BIG_756
    with pytest.raises(ValueError, match="unknown action space 'big'; action spaces: small, big540, big756"):
        get_space("big")


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
    with pytest.raises(ValueError, match=r"need 9 labels and vectors of shape \(9, 7\); got 9 and \(8, 7\)"):
        dataclasses.replace(SMALL, vectors=SMALL.vectors[:8].copy())


def test_equality_and_hash_are_by_value():
    same = dataclasses.replace(SMALL, vectors=SMALL.vectors.copy())
    assert same == SMALL
    assert hash(same) == hash(SMALL)
    assert len({SMALL, BIG_540, BIG_756}) == 3
