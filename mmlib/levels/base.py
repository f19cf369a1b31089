"""The one contract of every level, whatever engine is behind it: DeepMind Lab's interface, batched.

B is the number of environments of a level. A level step is `action_repeat` frames of
1/60 s with one action held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mmlib.spaces import ActionSpace

FRAMES_PER_SECOND = 60


class Unsupported(NotImplementedError):
    """The backend cannot do this; the message says which one can."""


@dataclass(frozen=True)
class ActionBounds:
    """A level's action vector: the names and inclusive bounds of its G integers."""

    names: tuple[str, ...]  # [G]
    low: NDArray[np.int32]  # [G]
    high: NDArray[np.int32]  # [G]


LAB_ACTIONS = ActionBounds(
    names=(
        "LOOK_LEFT_RIGHT_PIXELS_PER_FRAME",
        "LOOK_DOWN_UP_PIXELS_PER_FRAME",
        "STRAFE_LEFT_RIGHT",
        "MOVE_BACK_FORWARD",
        "FIRE",
        "JUMP",
        "CROUCH",
    ),
    low=np.array([-512, -512, -1, -1, 0, 0, 0], np.int32),
    high=np.array([512, 512, 1, 1, 1, 1, 1], np.int32),
)


class Step(NamedTuple):
    """What one level step returns."""

    observation: NDArray[Any]  # [B, 3, H, W] uint8, planar RGB, or [B, n] float32; the next step overwrites it
    reward: NDArray[np.float32]  # [B], summed over the repeated frames, not clipped
    done: NDArray[np.bool_]  # [B], an episode ended; its successor's first frame is in `observation`
    episode_return: NDArray[np.float32]  # [B], of the episode that ended in this step; NaN if none did or it was cut
    episode_frames: NDArray[np.int32]  # [B], its length in frames, else 0


class Pose(NamedTuple):
    """Where an agent is: DeepMind Lab's units and degrees."""

    x: float  # east
    y: float  # north
    z: float  # of the body's origin: 24.1 above the floor at rest; the eye is 26 higher
    yaw: float  # 0 looks along +x, 90 along +y; in [-180, 180)
    pitch: float  # positive looks down; within ±87.89 (DeepMind Lab: ±87.890625)


@dataclass(frozen=True)
class LevelInfo:
    """A level's entry in `mmlib.levels.LEVELS`."""

    name: str
    description: str
    episode_frames: int
    miniature: bool  # a smaller, shorter sibling of a level of the paper: never to be reported under its name


@dataclass(frozen=True)
class Interface:
    """What an agent must know of a level before the level is made."""

    info: LevelInfo
    observation_shape: tuple[int, ...]  # (3, H, W): planar RGB, uint8; (n,): a vector, float32
    actions: ActionBounds
    spaces: Mapping[str, ActionSpace] | None = None  # "big" and perhaps "small"; None: those of `mmlib.spaces`


@runtime_checkable
class Level(Protocol):
    """A batch of B environments of one level.

    Episodes end by time only; one that ends earlier, for a reason outside the level, is *cut* and has no return.
    The episodes of backend gymnasium may also end before time, where the environment says so; there a time limit
    is an end like any other.
    When an episode ends inside a step, the rest of that step's frames are not played, `done` is set, and the
    observation is the first of the next episode.

    Observations are planar RGB `[B, 3, H, W]` and actions DeepMind Lab's `[B, 7]`; backend gymnasium may have
    vectors `[B, n]` and other actions `[B, G]` (see `Interface`). Methods that a backend cannot offer raise
    `Unsupported`.
    """

    name: str
    backend: str
    num_envs: int
    action_repeat: int
    width: int
    height: int
    episode_frames: int  # 0: no time limit

    def reset(self) -> NDArray[Any]:
        """Begins the first episode of every environment again; returns the observation `[B, 3, H, W]`."""

    def step(self, actions: NDArray[np.int32]) -> Step:
        """Holds `actions` `[B, 7]` for `action_repeat` frames.

        Raises:
          ValueError: wrong shape, type or range; nothing has moved then.
        """

    def pose(self, i: int) -> Pose:
        """Pose of the agent of environment i."""

    def render(self, i: int, width: int, height: int) -> NDArray[np.uint8]:
        """Environment i seen by its agent, `[height, width, 3]`."""

    def map_image(self, i: int, pixels: int) -> NDArray[np.uint8]:
        """Environment i from above, `[h, w, 3]` with max(h, w) = pixels: walls, objects, agent."""

    def state_dict(self) -> dict[str, NDArray]:
        """Copies of everything that determines the future."""

    def load_state_dict(self, state: dict[str, NDArray]) -> NDArray[Any] | None:
        """Continues exactly where `state` was taken, in a level made with the same arguments; returns None.

        A backend that cannot continue an episode begins the next one in every environment, and returns its first
        observation `[B, 3, H, W]`; what was played of the old one is not counted.
        """

    def close(self) -> None:
        """Releases threads and processes; the level cannot be stepped afterwards."""


def check_arguments(
    num_envs: int,
    seed: int,
    action_repeat: int,
    width: int,
    height: int,
    episode_seconds: float | None = None,
    first_env: int = 0,
    threads: int = 1,
) -> None:
    """Raises ValueError, naming it, for an argument of a level outside its range."""
    for what, value in (("num_envs", num_envs), ("action_repeat", action_repeat), ("threads", threads)):
        if value < 1:
            raise ValueError(f"{what} is {value}; it must be at least 1")
    if width < 8 or height < 8:
        raise ValueError(f"a picture of {width} x {height} pixels is too small; both sides need 8")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed} is outside [0, 2**63)")
    if first_env < 0:
        raise ValueError(f"first_env is {first_env}; environments are numbered from 0")
    if episode_seconds is not None:
        check_seconds(episode_seconds)


def check_seconds(episode_seconds: float) -> None:
    """Raises ValueError for an episode of less than a frame."""
    if episode_seconds * FRAMES_PER_SECOND < 1:
        raise ValueError(f"episode_seconds is {episode_seconds}; an episode needs one frame, 1/60 s")


def check_index(i: int, num_envs: int) -> None:
    """Raises ValueError unless there is an environment i."""
    if not 0 <= i < num_envs:
        raise ValueError(f"no environment {i}; there are {num_envs}, numbered from 0")


def check_state(state: Mapping[str, NDArray], mine: Mapping[str, NDArray], name: str) -> None:
    """Raises ValueError unless `state` is of the same level (`name`), seed and number of environments as `mine`."""
    if state.keys() != mine.keys():
        odd = ", ".join(sorted(state.keys() ^ mine.keys()))
        raise ValueError(f"not a state of {name}; missing or unknown: {odd}")
    if int(state["seed"]) != int(mine["seed"]):
        raise ValueError(f"the state is of seed {int(state['seed'])}, the level of seed {int(mine['seed'])}")
    for what, value in mine.items():
        if state[what].shape != value.shape:
            raise ValueError(f"{what} has shape {state[what].shape}; this level's is {value.shape}")


def check_actions(actions: NDArray, num_envs: int, bounds: ActionBounds = LAB_ACTIONS) -> None:
    """Raises ValueError unless `actions` is int32 `[num_envs, G]` within `bounds`, DeepMind Lab's by default."""
    if not isinstance(actions, np.ndarray) or actions.dtype != np.int32:
        kind = actions.dtype if isinstance(actions, np.ndarray) else type(actions).__name__
        raise ValueError(f"actions must be a NumPy array of int32, not {kind}")
    expected = (num_envs, len(bounds.names))
    if actions.shape != expected:
        raise ValueError(f"actions have shape {actions.shape}; expected {expected}")
    outside = (actions < bounds.low) | (actions > bounds.high)
    if outside.any():
        i, k = (int(v) for v in np.argwhere(outside)[0])
        raise ValueError(
            f"action {int(actions[i, k])} of environment {i} is outside {bounds.names[k]}'s range "
            f"[{bounds.low[k]}, {bounds.high[k]}]"
        )
