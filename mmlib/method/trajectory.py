"""What acting leaves for learning: trajectories, and the episodes that ended.

Shape letters: T time, P population, N environments of a member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from mmlib.method.networks import State


@dataclass(frozen=True)
class Trajectory:
    """The contract between actors and learner: T agent steps of every environment, time-major."""

    # The last of the T+1 is the next trajectory's first.
    observation: Tensor  # uint8 [T+1, P, N, 3, H, W] or float32 [T+1, P, N, n]
    last_action: Tensor  # int64 [T+1, P, N], the action before each observation
    last_reward: Tensor  # float32 [T+1, P, N], the (clipped) reward with each observation
    first: Tensor  # bool [T+1, P, N], the observation begins an episode
    action: Tensor  # int64 [T, P, N], joint index in the agent's space
    reward: Tensor  # float32 [T, P, N], clipped
    log_prob: Tensor  # float32 [T, P, N], of the action under the policy that acted
    selected: Tensor  # int64 [T, P, N], the constituent that acted under sampled mixing, else 0
    weights: Tensor  # float32 [P, K], the constituents' weights when they acted
    cores: dict[str, State | None]  # each core's state before the first observation, [P, N, 256]

    def environments(self, part: Tensor | slice) -> Trajectory:
        """The trajectories of some environments of each member.

        part: their places in N, a slice or each member's own, int64 `[P, n]`.
        """
        population, envs = self.first.shape[1:]
        if not isinstance(part, slice):
            first = envs * torch.arange(population, device=part.device)[:, None]
            places = (first + part).flatten()  # in P * N

        def cut(x: Tensor, axis: int = 1) -> Tensor:  # axis: the members'
            if isinstance(part, slice):
                return x[(slice(None),) * (axis + 1) + (part,)]
            taken = x.flatten(axis, axis + 1).index_select(axis, places)
            return taken.unflatten(axis, part.shape)

        observation = cut(self.observation.movedim(3, -1)).movedim(-1, 3)  # in the order of memory
        others = {"observation", "weights", "cores"}
        rows = {f.name: cut(getattr(self, f.name)) for f in fields(self) if f.name not in others}
        cores = {n: s and (cut(s[0], 0), cut(s[1], 0)) for n, s in self.cores.items()}
        return Trajectory(observation=observation, **rows, weights=self.weights, cores=cores)


def members_first(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A `Trajectory`'s fields, of which members are the first axis, not time: its own inverse."""
    return {n: x if n in ("weights", "cores") else x.transpose(0, 1) for n, x in fields.items()}


@dataclass(frozen=True)
class Episode:
    """A finished episode; its return is not clipped.

    Times are agent steps of its own environment: those of every environment, which step together.
    """

    member: int
    began: int
    steps: int  # when it ended
    episode_return: float
    length_frames: int
    task: int = 0  # the level's place in the run's list
