"""Action spaces of the action curriculum (paper section 4.1) and how one is embedded in another.

An action of DeepMind Lab is a vector of seven integers (`VECTOR`), held for every repeated frame; other levels have
vectors of their own. A space is a product of groups of values, one for each part of the vector, and keeps nothing for
each joint action, of which there may be millions. The index of a joint action is row-major in the groups, the first
slowest:

    index = ((((yaw·3 + pitch)·3 + strafe)·3 + move)·2 + fire)·2 + jump

Values within a group rise: turning right, looking down, right and forward are the positive ends.
Shapes: A joint actions, G groups, C values of all groups one after another, F features of all groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]

VECTOR = ("yaw", "pitch", "strafe", "move", "fire", "jump", "crouch")
"""Parts of an action: pixels a frame (right, down positive); −1, 0, 1 (right, forward positive); 0, 1."""

ENUMERABLE = 100_000  # joint actions at most, where they are gone through one by one


@dataclass(frozen=True)
class ActionSpace:
    """A finite set of action vectors, DeepMind Lab's unless said otherwise, as a product of groups.

    The vector of a joint action is the sum of its values': each group sets parts of its own. A network reads and writes
    features of values: one-hots, or, where a group has `knots`, how near a value is to each (`hats`).
    Two spaces are equal when their names, groups and labels are.
    """

    name: str
    group_names: tuple[str, ...]  # [G]
    group_labels: tuple[tuple[str, ...], ...]  # [G][size of the group]
    vectors: npt.NDArray[np.int32] = field(compare=False, repr=False)  # [C, length of a vector], read-only
    unsaid: tuple[str, ...] = ()  # labels that go without saying in a joint action's
    knots: Mapping[str, Sequence[int]] = field(default_factory=dict, compare=False)  # of groups of ordered values

    def __post_init__(self) -> None:
        if len(self.vectors) != sum(self.group_sizes):
            raise ValueError(
                f"action space {self.name!r}: groups of {self.group_sizes} need {sum(self.group_sizes)} vectors, one "
                f"a value; got {len(self.vectors)}"
            )
        for name, knots in self.knots.items():
            known = dict(zip(self.group_names, self.values)).get(name, [])
            if list(knots) != sorted(set(knots) & set(known)):
                raise ValueError(f"action space {self.name!r}: knots {tuple(knots)} are no rising values of {name!r}")
        self.vectors.flags.writeable = False

    @cached_property
    def group_sizes(self) -> tuple[int, ...]:
        """Number of values of each group, [G]; their product is A, their sum C."""
        return tuple(len(labels) for labels in self.group_labels)

    @cached_property
    def num_actions(self) -> int:
        """Number of joint actions, A."""
        return prod(self.group_sizes)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """Where the values of each group begin among all C, [G]."""
        return np.cumsum([0, *self.group_sizes[:-1]])

    @property
    def by_group(self) -> list[npt.NDArray[np.int32]]:
        """The vectors of each group's values, [G][size of the group, length of a vector]."""
        return np.split(self.vectors, self._starts[1:])

    @property
    def values(self) -> list[list[int]]:
        """The values of each group that sets one part of the vector, [G][size of the group]."""
        return [vectors.sum(-1).tolist() for vectors in self.by_group]

    @cached_property
    def feature_labels(self) -> tuple[tuple[str, ...], ...]:
        """The labels of each group's features: of all its values, or of those at its knots."""
        groups = zip(self.group_names, self.group_labels, self.values)
        return tuple(tuple(ls[vs.index(k)] for k in self.knots.get(name, ())) or ls for name, ls, vs in groups)

    @cached_property
    def features(self) -> npt.NDArray[np.float32]:
        """The features of each value, float32 [C, F]: a block a group, each row adding up to 1.

        The network's last-action input (paper appendix A) has those of a joint action's values.
        """
        groups = zip(self.group_names, self.values)
        blocks = [hats(v, self.knots[name]) if name in self.knots else np.eye(len(v)) for name, v in groups]
        widths = [block.shape[1] for block in blocks]
        before = np.cumsum([0, *widths])
        padded = [np.pad(block, ((0, 0), (a, before[-1] - a - w))) for block, a, w in zip(blocks, before, widths)]
        return np.concatenate(padded).astype(np.float32)

    @cached_property
    def log_widths(self) -> npt.NDArray[np.float32]:
        """Of ordered values the log of the room that each has on the axis of `warp`, float32 [C]; else 0."""
        groups = zip(self.group_names, map(np.array, self.values))
        widths = [warp(v + 0.5) - warp(v - 0.5) if name in self.knots else np.ones(len(v)) for name, v in groups]
        return np.log(np.concatenate(widths)).astype(np.float32)

    def label(self, action: int) -> str:
        """A joint action in words: its values' labels, but for those that go without saying."""
        words = [labels[i] for labels, i in zip(self.group_labels, self.unravel(action))]
        said = [word for word in words if word not in self.unsaid]
        return (" + " if self.unsaid else ", ").join(said) or "stay"

    def encode(self, actions: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the action vectors, int32 [..., 7 or another length], of joint indices, integer [...].

        Raises:
          ValueError: an index is not an integer, or lies outside 0 … A − 1.
        """
        return self.vectors[self.columns(actions)].sum(-2, dtype=np.int32)

    def columns(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return where the values of joint actions stand among all C, int64 [..., G] (see `unravel`)."""
        return self.unravel(actions) + self._starts

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


def warp(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The axis on which ordered values are far apart: sign(v) log(1 + |v|), of pixels a frame.

    Steps count by what they change: from 1 to 2 pixels is about as far as from 200 to 300 (stated choice).
    """
    return np.sign(values) * np.log1p(np.abs(values))


def hats(values: npt.ArrayLike, knots: Sequence[int]) -> npt.NDArray[np.float64]:
    """Features of values, [n, knots]: 1 at the own knot, 0 at the others, linear in `warp` between."""
    return np.stack([np.interp(warp(values), warp(knots), at) for at in np.eye(len(knots))], axis=-1)


def one_part_each(groups: Sequence[Sequence[int]], parts: int) -> npt.NDArray[np.int32]:
    """The vectors, int32 [C, parts], of groups of values each of which sets one part, the first group the first."""
    entries = np.eye(parts, dtype=np.int32)
    return np.concatenate([np.outer(values, entry) for values, entry in zip(groups, entries)], dtype=np.int32)


def _big(
    name: str, yaw: Sequence[int], pitch: Sequence[int] = (-10, 0, 10), knots: Sequence[int] | None = None
) -> ActionSpace:
    """Return the product space of paper section 4.1 with these values of yaw and pitch, pixels a frame."""

    def turns(word_negative: str, word_positive: str, values: Sequence[int]) -> dict[int, str]:
        return {v: f"{word_negative if v < 0 else word_positive} {abs(v)}" if v else "" for v in values}

    groups: dict[str, dict[int, str]] = {
        "yaw": turns("look left", "look right", yaw),
        "pitch": turns("look up", "look down", pitch),
        "strafe": {-1: "strafe left", 0: "", 1: "strafe right"},
        "move": {-1: "back", 0: "", 1: "forward"},
        "fire": {0: "", 1: "fire"},
        "jump": {0: "", 1: "jump"},
    }
    return ActionSpace(
        name=name,
        group_names=tuple(groups),
        group_labels=tuple(tuple(w or f"no {g}" for w in values.values()) for g, values in groups.items()),
        vectors=one_part_each([[*values] for values in groups.values()], len(VECTOR)),  # the last is 0: no crouching
        unsaid=tuple(f"no {g}" for g in groups),
        knots={} if knots is None else {"yaw": knots, "pitch": knots},
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
    return ActionSpace("small", ("action",), (labels,), vectors)


SMALL = _small()
"""π₁ of the action curriculum: nine joint actions, one group."""

BIG_540 = _big("big540", (-60, -20, 0, 20, 60))
"""Five yaw values, 540 joint actions: the core curricula's space. Its values are a stated choice."""

BIG_756 = _big("big756", (-60, -20, -5, 0, 5, 20, 60))
"""Seven yaw values, 756 joint actions: π₂ of the action curriculum.

The paper says 756 actions "with 5 values of rotation about z", which would be 540. Stated choice: both.
"""

_TURNS = (1, 2, 5, 10, 20, 50, 100, 200, 512)
WHOLE = _big("whole", range(-512, 513), range(-512, 513), knots=(*(-v for v in _TURNS[::-1]), 0, *_TURNS))
"""Every value that DeepMind Lab takes but crouching: 1,025 of yaw and of pitch, 37,822,500 joint actions.

The paper says "around 4·10¹³"; 1,025² · 3² · 2² is 3.8·10⁷. The knots of its turns are a stated choice.
"""

SPACES: dict[str, ActionSpace] = {space.name: space for space in (SMALL, BIG_540, BIG_756, WHOLE)}


def embedding(small: ActionSpace, big: ActionSpace) -> npt.NDArray[np.int64]:
    """Return the joint index in `big` of each of `small`'s actions, int64 [A of small] (paper section 4.1).

    Raises:
      ValueError: `big` lacks one of `small`'s actions, or these are too many.
    """
    if small.num_actions > ENUMERABLE:
        raise ValueError(
            f"space {small.name!r} has {small.num_actions:,} joint actions, too many to be found in {big.name!r}"
        )
    parts = small.vectors.shape[1]
    if parts != big.vectors.shape[1]:
        raise ValueError(f"space {small.name!r} is no subset of {big.name!r}: its vectors have {parts} parts")
    wanted = small.encode(np.arange(small.num_actions))
    groups = []
    for vectors in big.by_group:
        own = vectors.any(axis=0)  # the parts that the group sets
        groups.append((wanted[:, None, own] == vectors[:, own]).all(-1).argmax(-1))  # the first where none is alike
    found = big.ravel(np.stack(groups, axis=-1))
    if len(missing := np.flatnonzero((big.encode(found) != wanted).any(-1))):
        raise ValueError(
            f"space {small.name!r} is no subset of {big.name!r}, which lacks {len(missing)} of its actions: "
            f"{', '.join(map(small.label, missing[:5]))}{', …' if len(missing) > 5 else ''}"
        )
    return found
