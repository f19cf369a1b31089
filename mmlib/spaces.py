"""Action spaces of the action curriculum (paper section 4.1) and how one is embedded in another.

An action of DeepMind Lab is a vector of seven integers (`VECTOR`), held for every repeated frame; other levels have
vectors of their own. A space is
a list of A such vectors, its joint actions. A factorised space is a product of groups, one for each part of
the vector; the index of a joint action is row-major in the groups, the first slowest:

    index = ((((yaw·3 + pitch)·3 + strafe)·3 + move)·2 + fire)·2 + jump

Values within a group rise: turning right, looking down, right and forward are the positive ends.
Shapes: A joint actions, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]

VECTOR = ("yaw", "pitch", "strafe", "move", "fire", "jump", "crouch")
"""Parts of an action: pixels a frame (right, down positive); −1, 0, 1 (right, forward positive); 0, 1."""


@dataclass(frozen=True)
class ActionSpace:
    """A finite set of action vectors, DeepMind Lab's unless said otherwise, as a product of groups.

    Two spaces are equal when their names, groups and labels are.
    """

    name: str
    group_names: tuple[str, ...]  # [G]
    group_labels: tuple[tuple[str, ...], ...]  # [G][size of the group]
    labels: tuple[str, ...]  # [A], of the joint actions
    vectors: npt.NDArray[np.int32] = field(compare=False, repr=False)  # [A, length of a vector], read-only

    def __post_init__(self) -> None:
        expected = (prod(self.group_sizes), self.vectors.shape[-1])
        if self.vectors.shape != expected or len(self.labels) != expected[0]:
            raise ValueError(
                f"action space {self.name!r}: groups of {self.group_sizes} need {expected[0]} labels and "
                f"vectors of shape {expected}; got {len(self.labels)} and {self.vectors.shape}"
            )
        self.vectors.flags.writeable = False

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Number of values of each group, [G]; their product is A."""
        return tuple(len(labels) for labels in self.group_labels)

    @property
    def num_actions(self) -> int:
        """Number of joint actions, A."""
        return len(self.labels)

    @property
    def features(self) -> npt.NDArray[np.float32]:
        """Concatenated one-hots of each joint action's groups, a new float32 [A, sum(group_sizes)].

        The network's last-action input (paper appendix A).
        """
        groups = self.unravel(np.arange(self.num_actions))
        parts = [np.eye(size, dtype=np.float32)[groups[:, i]] for i, size in enumerate(self.group_sizes)]
        return np.concatenate(parts, axis=1)

    def encode(self, actions: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the action vectors, int32 [..., 7 or another length], of joint indices, integer [...].

        Raises:
          ValueError: an index is not an integer, or lies outside 0 … A − 1.
        """
        return self.vectors[self._checked(actions)]

    def unravel(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the groups' indices, int64 [..., G], of joint indices, integer [...].

        Raises:
          ValueError: an index is not an integer, or lies outside 0 … A − 1.
        """
        groups = np.unravel_index(self._checked(actions), self.group_sizes)
        return np.stack(groups, axis=-1).astype(np.int64, copy=False)

    def ravel(self, groups: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the joint indices, int64 [...], of the groups' indices, integer [..., G].

        Raises:
          ValueError: the last dimension is not G, or an index lies outside its group.
        """
        groups = np.asarray(groups)
        if groups.ndim == 0 or groups.shape[-1] != len(self.group_sizes):
            raise ValueError(
                f"group indices of space {self.name!r} have shape [..., {len(self.group_sizes)}] "
                f"{self.group_names}; got {list(groups.shape)}"
            )
        if not np.issubdtype(groups.dtype, np.integer):
            raise ValueError(f"group indices must be integers; got {groups.dtype}")
        outside = (groups < 0) | (groups >= np.array(self.group_sizes))
        if outside.any():
            raise ValueError(
                f"group indices {groups[outside.any(axis=-1)][0].tolist()} lie outside the sizes "
                f"{self.group_sizes} of space {self.name!r}"
            )
        return np.ravel_multi_index(tuple(np.moveaxis(groups, -1, 0)), self.group_sizes).astype(np.int64)

    def _checked(self, actions: npt.ArrayLike) -> IntArray:
        indices = np.asarray(actions)
        if not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"action indices must be integers; got {indices.dtype}")
        if indices.size and (indices.min() < 0 or indices.max() >= self.num_actions):
            outside = indices[(indices < 0) | (indices >= self.num_actions)]
            raise ValueError(
                f"action {outside.flat[0]} is not in space {self.name!r}; actions: 0 … {self.num_actions - 1}"
            )
        return indices


def _big(name: str, yaw_pixels: Sequence[int]) -> ActionSpace:
    """Return the product space of paper section 4.1 with the given yaw values, pixels a frame."""

    def turns(word_negative: str, word_positive: str, values: Sequence[int]) -> dict[int, str]:
        return {v: f"{word_negative if v < 0 else word_positive} {abs(v)}" if v else "" for v in values}

    groups: dict[str, dict[int, str]] = {
        "yaw": turns("look left", "look right", yaw_pixels),
        "pitch": turns("look up", "look down", (-10, 0, 10)),
        "strafe": {-1: "strafe left", 0: "", 1: "strafe right"},
        "move": {-1: "back", 0: "", 1: "forward"},
        "fire": {0: "", 1: "fire"},
        "jump": {0: "", 1: "jump"},
    }
    neutral = {name: f"no {name}" for name in groups}
    joint = list(product(*groups.values()))
    words = [[w for w in words if w] for words in product(*(values.values() for values in groups.values()))]
    return ActionSpace(
        name=name,
        group_names=tuple(groups),
        group_labels=tuple(tuple(w or neutral[g] for w in values.values()) for g, values in groups.items()),
        labels=tuple(" + ".join(w) or "stay" for w in words),
        vectors=np.array([(*values, 0) for values in joint], dtype=np.int32),  # never crouches
    )


def _small() -> ActionSpace:
    """Return the nine joint actions of the public IMPALA agent (paper section 4.1)."""
    actions: dict[str, tuple[int, ...]] = {
        "forward": (0, 0, 0, 1, 0, 0, 0),
        "back": (0, 0, 0, -1, 0, 0, 0),
        "strafe left": (0, 0, -1, 0, 0, 0, 0),
        "strafe right": (0, 0, 1, 0, 0, 0, 0),
        "look left": (-20, 0, 0, 0, 0, 0, 0),
        "look right": (20, 0, 0, 0, 0, 0, 0),
        "look left + forward": (-20, 0, 0, 1, 0, 0, 0),
        "look right + forward": (20, 0, 0, 1, 0, 0, 0),
        "fire": (0, 0, 0, 0, 1, 0, 0),
    }
    labels = tuple(actions)
    vectors = np.array(list(actions.values()), dtype=np.int32)
    return ActionSpace("small", ("action",), (labels,), labels, vectors)


SMALL = _small()
"""π₁ of the action curriculum: nine joint actions, one group."""

BIG_540 = _big("big540", (-60, -20, 0, 20, 60))
"""Five yaw values, 540 joint actions: the core curricula's space. Its values are a stated choice."""

BIG_756 = _big("big756", (-60, -20, -5, 0, 5, 20, 60))
"""Seven yaw values, 756 joint actions: π₂ of the action curriculum.

The paper says 756 actions "with 5 values of rotation about z", which would be 540. Stated choice: both.
"""

SPACES: dict[str, ActionSpace] = {space.name: space for space in (SMALL, BIG_540, BIG_756)}


def get_space(name: str) -> ActionSpace:
    """Return the action space of that name.

    Raises:
      ValueError: no space has that name.
    """
    if name not in SPACES:
        raise ValueError(f"unknown action space {name!r}; action spaces: {', '.join(SPACES)}")
    return SPACES[name]


def embedding(small: ActionSpace, big: ActionSpace) -> npt.NDArray[np.int64]:
    """Return the joint index in `big` of each of `small`'s actions, int64 [A of small] (paper section 4.1).

    Raises:
      ValueError: `big` lacks one of `small`'s actions.
    """
    index = {tuple(vector): i for i, vector in enumerate(big.vectors.tolist())}
    missing = [label for label, vector in zip(small.labels, small.vectors.tolist()) if tuple(vector) not in index]
    if missing:
        raise ValueError(
            f"space {small.name!r} is no subset of {big.name!r}, which lacks {len(missing)} of its actions: "
            f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}"
        )
    return np.array([index[tuple(vector)] for vector in small.vectors.tolist()], dtype=np.int64)
