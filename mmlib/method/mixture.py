"""The mixture of constituents (section 3): the weights that alpha gives them, its policy and value.

Shapes: [...] the batch, T time, P population, N environments of a member, K constituents, S actions
of a support.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from mmlib.method.policies import Policy
from mmlib.numerics import logspace


class Mixture(Policy):
    """The Mix & Match policy π_mm(a|s) = Σᵢ αᵢ πᵢ(a|s) (section 3), exact in the joint space.

    Its log-probability is the log-sum-exp over the constituents' log-probabilities of the same
    joint action: a mixture of factorised policies is not factorised. A weight of exactly 0 takes
    its constituent out (no gradient reaches it), and K = 1 is the constituent itself.

    Args:
      weights: [..., K], non-negative and adding up to 1; broadcast against the constituents' batch.
      components: K policies over the same A joint actions, whose batches broadcast.

    Raises:
      ValueError: there are no components, or not as many as weights, or they differ in A, or
        (validated) the weights are not on the simplex.
      RuntimeError: the batches do not broadcast.
    """

    arg_constraints: ClassVar = {"weights": constraints.simplex}

    def __init__(
        self, weights: Tensor, components: Sequence[Policy], validate_args: bool | None = None
    ):
        actions = [c.num_actions for c in components]
        if not components or weights.ndim == 0 or weights.shape[-1] != len(components):
            raise ValueError(
                f"weights of shape {list(weights.shape)} do not fit {len(components)} components: "
                "they must be [..., K] for K ≥ 1 components"
            )
        if len(set(actions)) > 1:
            raise ValueError(
                f"components must have the same number of joint actions; got {actions}"
            )
        batches = [weights.shape[:-1], *(c.batch_shape for c in components)]
        batch_shape = torch.Size(np.broadcast_shapes(*batches))
        self.num_actions = actions[0]
        self.weights = weights.expand(*batch_shape, -1)
        self.components = [
            c if c.batch_shape == batch_shape else c.expand(batch_shape) for c in components
        ]
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def support_actions(self) -> Tensor | None:  # type: ignore[override]
        """Union of the components' supports, int64 [S], whatever the weights; None: any."""
        return None if any(c.support_actions is None for c in self.components) else self._supports()

    def _supports(self) -> Tensor:
        """Union of those of the components' supports that are not every action, int64 [S]."""
        supports = [c.support_actions for c in self.components if c.support_actions is not None]
        return supports[0] if len(supports) == 1 else logspace.union(tuple(supports))

    def joint_log_probs(self) -> Tensor:
        each = [c.joint_log_probs() for c in self.components]
        return logspace.mix(self.weights.unsqueeze(-2), each)

    def log_probs_at(self, actions: Tensor) -> Tensor:
        each = [c.log_probs_at(actions) for c in self.components]
        return logspace.mix(self.weights.unsqueeze(-2), each)

    def entropy(self) -> Tensor:
        """The entropy, [...]; enumerates supports alone if one component has all actions."""
        dense = self._only_dense()
        if dense is None:
            return super().entropy()
        return logspace.mixture_entropy(dense.entropy(), *self._around(dense))

    def collision_entropy(self) -> Tensor:
        """−log Σ_a π_mm(a)², [...]; enumerates as `entropy` does."""
        dense = self._only_dense()
        if dense is None:
            return super().collision_entropy()
        return logspace.mixture_collision_entropy(dense.collision_entropy(), *self._around(dense))

    def marginals(self, sizes: Sequence[int]) -> Tensor:
        """The mixture of the components' marginals, [..., C]."""
        each = torch.stack([c.marginals(sizes) for c in self.components], dim=-1)
        return (each * self.weights.unsqueeze(-2)).sum(-1)

    def _only_dense(self) -> Policy | None:
        """The component that has every action, if it is the only one of several."""
        dense = [c for c in self.components if c.support_actions is None]
        return dense[0] if len(dense) == 1 and len(self.components) > 1 else None

    def _around(self, dense: Policy) -> tuple[Tensor, Tensor, Tensor]:
        """Its weight, [...], and its and the mixture's log-probs at the others' actions."""
        supports, k = self._supports(), self.components.index(dense)
        return self.weights[..., k], dense.log_probs_at(supports), self.log_probs_at(supports)

    def _log_prob(self, value: Tensor) -> Tensor:
        return logspace.mix(self.weights, [c._log_prob(value) for c in self.components])

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        """The policy with its batch expanded (a view)."""
        new = super().expand(batch_shape, _instance)
        new.components = [c.expand(batch_shape) for c in self.components]
        return new

    def _draw(self, generator: logspace.Generators) -> Tensor:
        noisy = logspace.gumbel(self.weights.log(), generator)
        selected = noisy.argmax(-1, keepdim=True)  # c ~ Cat(α)
        actions = torch.stack([c._draw(generator) for c in self.components], dim=-1)
        return actions.gather(-1, selected).squeeze(-1)  # a ~ π_c


def mix(policies: Sequence[Policy], weights: Tensor) -> Policy:
    """pi_mm = sum_i alpha_i pi_i (section 3); pi_1 alone if K = 1.

    Args:
      policies: K of them, batch shape `[T, P, N]`, or any.
      weights: `[P, K]`, or `[K]`: the same everywhere.
    """
    if len(policies) == 1:
        return policies[0]
    return Mixture(
        weights if weights.ndim == 1 else weights[:, None], policies, validate_args=False
    )


def mix_values(values: Tensor, weights: Tensor) -> Tensor:
    """V_mm = sum_i alpha_i V_i `[T, P, N]`, the value under the selector (stated choice)."""
    return (values * weights.T[:, None, :, None]).sum(0)


def mixture_weights(alpha: Tensor, num_constituents: int) -> Tensor:
    """Weights `[P, K]` from alpha `[P]`, which walks along the chain of constituents, or given.

    K = 2: (1 - alpha, alpha), the paper's. K = 1: all on pi_1. K > 2: the two constituents around
    alpha (K - 1) share the weight linearly (stated choice).
    """
    places = torch.arange(num_constituents, device=alpha.device)  # (K,)
    if alpha.ndim == 2:
        return alpha
    if num_constituents == 2:
        return torch.stack([1 - alpha, alpha], dim=-1)
    distance = (alpha[:, None] * (num_constituents - 1) - places).abs()
    return (1 - distance).clamp(min=0)


def target_weights(weights: Tensor) -> Tensor:
    """Weights `[P, K]`, like `weights`, of the target alone."""
    return torch.eye(weights.shape[-1], device=weights.device)[-1].expand_as(weights)
