"""A population of agents built from a specification of `methods.METHODS`: acting, and running over
time.

Shape letters: T time, P population, N environments of a member, A joint actions, K constituents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mmlib.method.methods import AgentSpec, Constituent
from mmlib.method.mixture import mix, mixture_weights, target_weights
from mmlib.method.networks import (
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
from mmlib.method.policies import Factorised, Masked, OnSupport, Policy
from mmlib.numerics.logspace import Generators, group_layout, gumbel
from mmlib.numerics.precision import DTYPES
from mmlib.numerics.spline import LogSpline
from mmlib.spaces import ActionSpace, embedding

# A learned alpha is sigmoid(30 x), from 0.05 on: an optimiser's step for x is made for weights of a
# network, and some 500 of 3e-4 take alpha from there to 0.8 (stated choice).
FIRST_ALPHA, ALPHA_GAIN = 0.05, 30.0


class AgentState(NamedTuple):
    """What an agent carries from step to step."""

    last_action: Tensor  # int64 [P, N], joint index in the agent's space
    last_reward: Tensor  # float32 [P, N], clipped
    cores: dict[str, State | None]  # by core name


class Acted(NamedTuple):
    """One step of the control policy."""

    action: Tensor  # int64 [P, N]
    log_prob: Tensor  # [P, N], of the action under the policy that the RL loss is on
    selected: Tensor  # int64 [P, N], the constituent that acted under sampled mixing, else 0
    outputs: Outputs  # of the forward pass that it came from, T = 1


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
      dtype: "float32", or "bfloat16" for the products of torsos and cores (precision.py).
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
        self.value_features: Tensor  # float32 [C, F] of the space, a buffer
        self.spec, self.space, self.population = spec, spec.space, population
        inputs = FEATURES + self.space.features.shape[1] + 1  # torso, last action, last reward
        parts, precise = spec.constituents, DTYPES[dtype]

        def torso() -> nn.Module:
            if vector is not None:
                return VectorTorso(population, vector, precise)
            return Torso(population, height, width, conv1, precise)

        self.torsos = nn.ModuleDict({n: torso() for n in _names(c.torso for c in parts)})
        core_names = _names(name for c in parts for name in c.cores)
        if odd := [name for name in core_names if name.split("/")[0] not in CORES]:
            raise ValueError(f"unknown kind of core {odd[0]!r}; kinds: {', '.join(CORES)}")
        cores = {n: CORES[n.split("/")[0]](population, inputs, precise) for n in core_names}
        self.cores = nn.ModuleDict(cores)

        def head(outputs: int) -> Linear:
            return Linear(population, FEATURES, outputs, gain=HEAD_GAIN)

        def policy_head(space: ActionSpace) -> nn.Module:
            linear = head(space.features.shape[1])
            return nn.Sequential(linear, LogSpline(space)) if space.knots else linear

        heads = {name: policy_head(spec.heads[name]) for name in _names(c.head for c in parts)}
        self.heads = nn.ModuleDict(heads)
        self.baselines = nn.ModuleDict({n: head(1) for n in _names(c.baseline for c in parts)})
        if spec.alpha == "gradient":
            self.alpha = nn.Parameter(torch.full((population, 1), FIRST_ALPHA).logit() / ALPHA_GAIN)
        self.register_buffer("value_features", torch.tensor(self.space.features), persistent=False)
        used = dict.fromkeys(space for c in parts for space in (c.space, spec.heads[c.head]))
        self.spaces = [s for s in used if s != self.space or len(s.group_sizes) == 1]
        for k, space in enumerate(self.spaces):  # numbered: a level may name its spaces anyhow
            support = torch.as_tensor(embedding(space, self.space))
            self.register_buffer(f"support_{k}", support, persistent=False)

    def alpha_in_force(self, alpha: Tensor) -> Tensor:
        """Alpha `[P]`: the agent's own where it learns it, else as it is given."""
        learned = self.spec.alpha == "gradient"
        return torch.sigmoid(ALPHA_GAIN * self.alpha[:, 0]) if learned else alpha

    def control_weights(self, alpha: Tensor) -> Tensor:
        """Weights `[P, K]` of the constituents in the policy that acts, from alpha `[P]`."""
        weights = self.mixture_weights(alpha)
        return target_weights(weights) if self.spec.mixing == "none" else weights

    def mixture_weights(self, alpha: Tensor) -> Tensor:
        """Weights `[P, K]` of the constituents in pi_mm, from alpha `[P]`."""
        return mixture_weights(alpha, len(self.spec.active()))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.value_features.device

    def initial_state(self, num_envs: int, task: int = 0) -> AgentState:
        """The state before an episode of level `task`, N = `num_envs` environments a member."""
        shape, names = (self.population, num_envs), [c.cores for c in self.spec.active(task)]
        return AgentState(
            last_action=torch.zeros(shape, dtype=torch.int64, device=self.device),
            last_reward=torch.zeros(shape, device=self.device),
            cores={n: self._core(n).initial_state(num_envs) for n in _names(chain(*names))},
        )

    def unroll(
        self,
        observation: Tensor,
        last_action: Tensor,
        last_reward: Tensor,
        first: Tensor,
        cores: Mapping[str, State | None],
        task: int = 0,
    ) -> Outputs:
        """Runs the constituents of level `task` over time.

        Args:
          observation: uint8 `[T, P, N, 3, H, W]`.
          last_action: int64 `[T, P, N]`; last_reward: float `[T, P, N]`. Both count as zero where
            `first`.
          first: bool `[T, P, N]`, the step is the first of an episode.
          cores: each core's state before step 0.
        """
        steps, parts = observation.shape[0], self.spec.active(task)
        begun = (~first).to(torch.float32)[..., None]
        columns = group_layout(self.space.group_sizes, self.device).columns(last_action)
        features = self.value_features[columns].sum(-2) * begun  # of the last actions' values
        reward = last_reward[..., None] * begun
        # Colours last in memory, as the actors' buffers and the convolutions have them.
        observed = flatten_time(observation.movedim(3, -1)).movedim(-1, 2)
        inputs = {}
        for name in _names(c.torso for c in parts):
            seen = unflatten_time(self.torsos[name](observed), steps).float()
            inputs[name] = torch.cat([seen, features, reward], dim=-1)  # (T, P, N, inputs)
        outputs: dict[str, Tensor] = {}
        after: dict[str, State | None] = {}
        for c in parts:
            for name in c.cores:
                if name not in outputs:
                    core = self._core(name)
                    outputs[name], after[name] = core(inputs[c.torso], first, cores[name])
        hidden = [flatten_time(_add(outputs[name].float() for name in c.cores)) for c in parts]
        policies = [self._policy(c, h, steps) for c, h in zip(parts, hidden, strict=True)]
        values = torch.stack([self._value(c, h, steps) for c, h in zip(parts, hidden, strict=True)])
        return Outputs(policies, values, after)

    def step(
        self,
        observation: Tensor,
        first: Tensor,
        state: AgentState,
        weights: Tensor,
        generator: Generators = None,
        task: int = 0,
    ) -> Acted:
        """Acts once on level `task` with the mixture.

        Args:
          observation: uint8 `[P, N, 3, H, W]`; first: bool `[P, N]`; state: before this step.
          weights: `[P, K]`, the control policy's.
        """
        last_action, last_reward = state.last_action[None], state.last_reward[None]
        seen = (observation[None], last_action, last_reward, first[None])  # T = 1
        out = self.unroll(*seen, state.cores, task)
        if self.spec.mixing == "sampled":
            log_weights = weights.log()[:, None].expand(*first.shape, -1)  # (P, N, K)
            selected = gumbel(log_weights, generator).argmax(-1)[None]  # (1, P, N), c ~ Cat(alpha)
            actions = torch.stack([policy.sample(generator=generator) for policy in out.policies])
            action = actions.gather(0, selected[None])[0]
        else:
            selected = torch.zeros_like(last_action)
            action = mix(out.policies, weights).sample(generator=generator)
        log_prob = self.control_log_probs(out.policies, weights, action, selected)
        return Acted(action[0], log_prob[0], selected[0], out)

    def control_log_probs(
        self, policies: list[Policy], weights: Tensor, action: Tensor, selected: Tensor
    ) -> Tensor:
        """log pi(a) `[T, P, N]` under the policy that the RL loss is on (`methods.MIXINGS`)."""
        if self.spec.mixing == "sampled":
            of_each = torch.stack([policy.log_prob(action) for policy in policies])
            return of_each.gather(0, selected[None])[0]
        return mix(policies, weights).log_prob(action)

    def _core(self, name: str) -> LSTM | FeedForward:
        return cast("LSTM | FeedForward", self.cores[name])

    def support(self, space: ActionSpace) -> Tensor:
        """The joint actions, int64 `[S]`, of a smaller space in the agent's."""
        return self.get_buffer(f"support_{self.spaces.index(space)}")

    def _policy(self, c: Constituent, hidden: Tensor, steps: int) -> Policy:
        """The head's in the agent's space, masked where the constituent has fewer actions."""
        logits = unflatten_time(self.heads[c.head](hidden), steps)  # (T, P, N, logits)
        head = self.spec.heads[c.head]
        if len(head.group_sizes) == 1:
            policy = self._within(head, logits)
        else:
            policy = Factorised(logits, head.group_sizes, validate_args=False)
            if head != self.space:
                policy = self._within(head, policy.joint_log_probs())
        if c.space == head:
            return policy
        return Masked(policy, self.support(c.space), validate_args=False)

    def _within(self, space: ActionSpace, logits: Tensor) -> Policy:
        return OnSupport(logits, self.support(space), self.space.num_actions, validate_args=False)

    def _value(self, c: Constituent, hidden: Tensor, steps: int) -> Tensor:
        return unflatten_time(self.baselines[c.baseline](hidden), steps)[..., 0]  # (T, P, N)


def _names(names: Iterable[str]) -> list[str]:
    """The names in order of their first appearance, each once."""
    return list(dict.fromkeys(names))


def _add(tensors: Iterable[Tensor]) -> Tensor:
    first, *rest = tensors
    return sum(rest, first)
