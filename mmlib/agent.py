"""Mix & Match agents as data: which constituents an agent has, and what they share (figure 2).

An agent is a list of constituents from easy to hard to train. Each names a torso, its cores, a policy head and a
baseline head; two constituents that name the same module share it. The part of a core's name before "/" is its kind
(`networks.CORES`); the activations of several cores are added (FF+LSTM of section 4.2). A constituent whose action
space is smaller than its head's is the head's policy masked to that space and renormalised (shared head).
Shape letters: T time, P population, N environments of a member, A joint actions, K constituents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.networks import (
    CORES,
    FEATURES,
    HEAD_GAIN,
    LSTM,
    FeedForward,
    Linear,
    State,
    Torso,
    VectorTorso,
    flatten_time,
    unflatten_time,
)
from mmlib.policies import Factorised, Masked, Mixture, OnSupport, Policy
from mmlib.spaces import BIG_756, SMALL, ActionSpace, embedding


@dataclass(frozen=True)
class Constituent:
    """One policy pi_i: the modules that it names, and the actions that it may take."""

    space: ActionSpace
    head: str
    baseline: str
    cores: tuple[str, ...] = ("lstm",)
    torso: str = "torso"


@dataclass(frozen=True)
class AgentSpec:
    """An agent: constituents from simple to target, the action space of each head, and the transfer cost."""

    label: str
    constituents: tuple[Constituent, ...]
    heads: Mapping[str, ActionSpace]
    transfer: str = "none"  # a key of losses.TRANSFER_COSTS

    @property
    def space(self) -> ActionSpace:
        """The target's action space, in which the mixture acts."""
        return self.constituents[-1].space


_SMALL = Constituent(SMALL, head="small", baseline="small")
_BIG = Constituent(BIG_756, head="big", baseline="big")
_SMALL_OF_BIG = Constituent(SMALL, head="big", baseline="big")
_BOTH = {"small": SMALL, "big": BIG_756}

METHODS: dict[str, AgentSpec] = {
    # Wiring (a), figure 3: everything is shared but the last linear layers to policy and value.
    "small": AgentSpec("Small action space", (_SMALL,), {"small": SMALL}),
    "big756": AgentSpec("Big action space", (_BIG,), {"big": BIG_756}),
    "mm": AgentSpec("M&M", (_SMALL, _BIG), _BOTH, transfer="kl"),
    "mm_masked_kl": AgentSpec("M&M (Masked KL)", (_SMALL, _BIG), _BOTH, transfer="masked_kl"),
    # pi_1 has no weights of its own, nor has its value (stated choice).
    "mm_shared_head": AgentSpec("M&M (Shared Head)", (_SMALL_OF_BIG, _BIG), {"big": BIG_756}, transfer="kl"),
}


class AgentState(NamedTuple):
    """What an agent carries from step to step."""

    last_action: Tensor  # int64 [P, N], joint index in the agent's space
    last_reward: Tensor  # float32 [P, N], clipped
    cores: dict[str, State | None]  # by core name


class Outputs(NamedTuple):
    """What a forward pass gives: everything the losses need."""

    policies: list[Policy]  # K, batch shape [T, P, N]
    values: Tensor  # [K, T, P, N]
    cores: dict[str, State | None]  # states after the last step


class MixMatchAgent(nn.Module):
    """A population of P agents of one specification.

    Args:
      spec: constituents and wiring.
      population: P.
      height, width: of the frames.
      conv1: kernel size and stride of the first convolution.
      vector: n, for observations float32 `[T, P, N, n]` in place of frames.
      dtype: "float32", or "bfloat16" for autocast convolutions and linear layers.
    """

    def __init__(
        self,
        spec: AgentSpec,
        population: int = 1,
        *,
        height: int = 72,
        width: int = 96,
        conv1: tuple[int, int] = (8, 4),
        vector: int | None = None,
        dtype: str = "float32",
    ):
        super().__init__()
        self.action_features: Tensor  # float32 [A, features], a buffer
        self.spec, self.space, self.population, self.dtype = spec, spec.space, population, dtype
        inputs = FEATURES + self.space.features.shape[1] + 1  # torso, last action, last reward
        parts = spec.constituents
        self.torsos = nn.ModuleDict(
            {
                n: Torso(population, height, width, conv1) if vector is None else VectorTorso(population, vector)
                for n in _names(c.torso for c in parts)
            }
        )
        core_names = _names(name for c in parts for name in c.cores)
        self.cores = nn.ModuleDict({n: CORES[n.split("/")[0]](population, inputs) for n in core_names})
        head_sizes = {n: sum(spec.heads[n].group_sizes) for n in _names(c.head for c in parts)}
        self.heads = nn.ModuleDict(
            {n: Linear(population, FEATURES, size, gain=HEAD_GAIN) for n, size in head_sizes.items()}
        )
        self.baselines = nn.ModuleDict(
            {n: Linear(population, FEATURES, 1, gain=HEAD_GAIN) for n in _names(c.baseline for c in parts)}
        )
        self.register_buffer("action_features", torch.as_tensor(self.space.features), persistent=False)
        for i, c in enumerate(parts):
            support = torch.as_tensor(embedding(c.space, self.space))
            self.register_buffer(f"support_{i}", support, persistent=False)

    @property
    def num_constituents(self) -> int:
        """K."""
        return len(self.spec.constituents)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.action_features.device

    def initial_state(self, num_envs: int) -> AgentState:
        """The state before an episode, for N = `num_envs` environments of each member."""
        shape, device = (self.population, num_envs), self.device
        return AgentState(
            last_action=torch.zeros(shape, dtype=torch.int64, device=device),
            last_reward=torch.zeros(shape, device=device),
            cores={name: self._core(name).initial_state(num_envs) for name in self.cores},
        )

    def unroll(
        self,
        observation: Tensor,
        last_action: Tensor,
        last_reward: Tensor,
        first: Tensor,
        cores: Mapping[str, State | None],
    ) -> Outputs:
        """Runs the agent over time.

        Args:
          observation: uint8 `[T, P, N, 3, H, W]`.
          last_action: int64 `[T, P, N]`; last_reward: float `[T, P, N]`. Both count as zero where `first`.
          first: bool `[T, P, N]`, the step is the first of an episode.
          cores: each core's state before step 0.
        """
        steps = observation.shape[0]
        begun = (~first).to(torch.float32)[..., None]
        features = self.action_features[last_action] * begun
        reward = last_reward[..., None] * begun
        with torch.autocast(observation.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            inputs = {}
            for name, torso in self.torsos.items():
                seen = unflatten_time(torso(flatten_time(observation)), steps).float()
                inputs[name] = torch.cat([seen, features, reward], dim=-1)  # (T, P, N, inputs)
            outputs: dict[str, Tensor] = {}
            after: dict[str, State | None] = {}
            for c in self.spec.constituents:
                for name in c.cores:
                    if name not in outputs:
                        outputs[name], after[name] = self._core(name)(inputs[c.torso], first, cores[name])
        hidden = [flatten_time(_add(outputs[name].float() for name in c.cores)) for c in self.spec.constituents]
        policies = [self._policy(i, h, steps) for i, h in enumerate(hidden)]
        values = torch.stack([self._value(c, h, steps) for c, h in zip(self.spec.constituents, hidden, strict=True)])
        return Outputs(policies, values, after)

    def step(
        self,
        observation: Tensor,
        first: Tensor,
        state: AgentState,
        weights: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, dict[str, State | None]]:
        """Acts once with the mixture.

        Args:
          observation: uint8 `[P, N, 3, H, W]`; first: bool `[P, N]`; state: before this step.
          weights: `[P, K]`, the mixture's.

        Returns:
          action int64 `[P, N]`, its log-probability under the mixture `[P, N]`, and the cores' new state.
        """
        last_action, last_reward = state.last_action[None], state.last_reward[None]
        out = self.unroll(observation[None], last_action, last_reward, first[None], state.cores)
        policy = mix(out.policies, weights)
        action = policy.sample(generator=generator)
        return action[0], policy.log_prob(action)[0], out.cores

    def _core(self, name: str) -> LSTM | FeedForward:
        return cast("LSTM | FeedForward", self.cores[name])

    def _policy(self, i: int, hidden: Tensor, steps: int) -> Policy:
        c = self.spec.constituents[i]
        support: Tensor = getattr(self, f"support_{i}")
        logits = unflatten_time(self.heads[c.head](hidden), steps)  # (T, P, N, logits)
        head_space = self.spec.heads[c.head]
        if len(head_space.group_sizes) == 1:
            return OnSupport(logits, support, self.space.num_actions, validate_args=False)
        policy = Factorised(logits, head_space.group_sizes, validate_args=False)
        return policy if c.space == head_space else Masked(policy, support, validate_args=False)

    def _value(self, c: Constituent, hidden: Tensor, steps: int) -> Tensor:
        return unflatten_time(self.baselines[c.baseline](hidden), steps)[..., 0]  # (T, P, N)


def mix(policies: list[Policy], weights: Tensor) -> Policy:
    """pi_mm = sum_i alpha_i pi_i (section 3) of policies `[T, P, N]` with weights `[P, K]`; pi_1 alone if K = 1."""
    return policies[0] if len(policies) == 1 else Mixture(weights[:, None], policies, validate_args=False)


def mix_values(values: Tensor, weights: Tensor) -> Tensor:
    """V_mm = sum_i alpha_i V_i, the value under the mixture's selector (stated choice): `[K, T, P, N] -> [T, P, N]`."""
    return torch.einsum("ktpn,pk->tpn", values, weights)


def mixture_weights(alpha: Tensor, num_constituents: int) -> Tensor:
    """Weights `[P, K]` from alpha `[P]`: all on pi_1 if K = 1, (1 - alpha, alpha) if K = 2 (PAPER: alpha = alpha_2)."""
    if num_constituents == 1:
        return torch.ones_like(alpha)[:, None]
    if num_constituents == 2:
        return torch.stack([1 - alpha, alpha], dim=-1)
    raise ValueError(f"a single alpha mixes one or two constituents, not {num_constituents}")


def parameter_count(agent: nn.Module) -> int:
    """Numbers that one member learns."""
    return sum(int(np.prod(p.shape[1:])) for p in agent.parameters())


def _names(names: Iterable[str]) -> list[str]:
    """The names in order of their first appearance, each once."""
    return list(dict.fromkeys(names))


def _add(tensors: Iterable[Tensor]) -> Tensor:
    first, *rest = tensors
    return sum(rest, first)
