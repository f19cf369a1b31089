"""The one contract of every level, whatever engine is behind it: DeepMind Lab's interface, batched.

B is the number of environments of a level. A level step is `action_repeat` frames of
1/60 s with one action held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# DeepMind Lab's action vector: inclusive bounds of its seven integers, in order.
ACTION_NAMES = (
    "LOOK_LEFT_RIGHT_PIXELS_PER_FRAME",
    "LOOK_DOWN_UP_PIXELS_PER_FRAME",
    "STRAFE_LEFT_RIGHT",
    "MOVE_BACK_FORWARD",
    "FIRE",
    "JUMP",
    "CROUCH",
)
ACTION_LOW = np.array([-512, -512, -1, -1, 0, 0, 0], np.int32)
ACTION_HIGH = np.array([512, 512, 1, 1, 1, 1, 1], np.int32)

FRAMES_PER_SECOND = 60


class Step(NamedTuple):
    """What one level step returns."""

    observation: NDArray[np.uint8]  # [B, 3, H, W], planar RGB; a buffer that the next step overwrites
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
    pitch: float  # positive looks down; within ±87.89


@dataclass(frozen=True)
class LevelInfo:
    """A level's entry in `mmlib.levels.LEVELS`."""

    name: str
    description: str
    episode_frames: int
    miniature: bool  # a smaller, shorter sibling of a level of the paper: never to be reported under its name


@runtime_checkable
class Level(Protocol):
    """A batch of B environments of one level.

    Episodes end by time only; one that ends earlier, for a reason outside the level, is *cut* and has no return.
    When an episode ends inside a step, the rest of that step's frames are not played, `done` is set, and the
    observation is the first of the next episode.
    """

    name: str
    backend: str
    num_envs: int
    action_repeat: int
    width: int
    height: int
    episode_frames: int

    def reset(self) -> NDArray[np.uint8]:
        """Begins the first episode of every environment again; returns the observation `[B, 3, H, W]`."""

    def step(self, actions: NDArray[np.int32]) -> Step:
        """Holds `actions` `[B, 7]` for `action_repeat` frames.

        Raises:
          ValueError: wrong shape, type or range; nothing has moved then.
        """

    def pose(self, i: int) -> Pose:
        """Pose of the agent of environment i."""

    def set_pose(self, i: int, x: float, y: float, yaw_degrees: float) -> None:
        """Puts the agent of environment i at rest on the floor at (x, y), looking level."""

    def render(self, i: int, width: int, height: int) -> NDArray[np.uint8]:
        """Environment i seen by its agent, `[height, width, 3]`."""

    def map_image(self, i: int, pixels: int) -> NDArray[np.uint8]:
        """Environment i from above, `[h, w, 3]` with max(h, w) = pixels: walls, objects, agent."""

    def state_dict(self) -> dict[str, NDArray]:
        """Copies of everything that determines the future."""

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Continues exactly where `state` was taken, in a level made with the same arguments."""

    def close(self) -> None:
        """Releases threads and processes; the level cannot be stepped afterwards."""


def check_actions(actions: NDArray, num_envs: int) -> None:
    """Raises ValueError unless `actions` is int32 `[num_envs, 7]` within DeepMind Lab's bounds."""
    if not isinstance(actions, np.ndarray) or actions.dtype != np.int32:
        kind = actions.dtype if isinstance(actions, np.ndarray) else type(actions).__name__
        raise ValueError(f"actions must be a NumPy array of int32, not {kind}")
    if actions.shape != (num_envs, 7):
        raise ValueError(f"actions have shape {actions.shape}; expected ({num_envs}, 7)")
    outside = (actions < ACTION_LOW) | (actions > ACTION_HIGH)
    if outside.any():
        i, k = (int(v) for v in np.argwhere(outside)[0])
        raise ValueError(
            f"action {int(actions[i, k])} of environment {i} is outside {ACTION_NAMES[k]}'s range "
            f"[{ACTION_LOW[k]}, {ACTION_HIGH[k]}]"
        )
