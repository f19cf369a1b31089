"""RMSProp and Adam for parameters with a leading population axis.

Every parameter is `[P, ...]`; each member has a learning rate of its own, given at each step. What
an optimiser remembers stands in `slots`, by slot and parameter, each with a leading P: population
based training copies a member's rows of them together with its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from mmlib.numerics import fused

if TYPE_CHECKING:
    from mmlib.config import RunConfig

Slots = dict[str, dict[str, Tensor]]


class RMSProp:
    """RMSProp as the public IMPALA agent ran it (appendix D: decay 0.99, epsilon 0.1, no momentum).

    TensorFlow's differs from PyTorch's in two ways that decide whether IMPALA learns: epsilon is
    INSIDE the square root, and the mean square starts at 1, not 0:

        mean_square <- decay * mean_square + (1 - decay) * g^2
        parameter   <- parameter - learning_rate * g / sqrt(mean_square + epsilon)
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], *, decay: float = 0.99, epsilon: float = 0.1
    ):
        self.decay, self.epsilon = decay, epsilon
        ones = {name: torch.ones_like(p) for name, p in parameters.items()}
        self.slots: Slots = {"mean_square": ones}

    @torch.no_grad()
    def step(self, parameters: Mapping[str, Tensor], learning_rate: Tensor) -> None:
        """Updates `parameters` in place with `learning_rate` `[P]`; their gradients are used up."""
        names, params, grads = _trained(parameters)
        squares = [self.slots["mean_square"][name] for name in names]
        if all(fused.fits(p) for p in params):
            for rows in zip(params, grads, squares, strict=True):
                p, g, square = _memory(*rows)
                fused.rmsprop(p, g, square, learning_rate.float().numpy(), self.decay, self.epsilon)
            return
        torch._foreach_mul_(squares, self.decay)
        torch._foreach_addcmul_(squares, grads, grads, 1.0 - self.decay)
        denominators = torch._foreach_add(squares, self.epsilon)
        torch._foreach_sqrt_(denominators)
        torch._foreach_mul_(grads, [_per_member(learning_rate, p) for p in params])
        torch._foreach_addcdiv_(params, grads, denominators, value=-1.0)


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), a departure that learns faster on the miniatures.

        mean   <- beta_1 * mean + (1 - beta_1) * g
        square <- beta_2 * square + (1 - beta_2) * g^2
        parameter <- parameter - learning_rate * (mean / (1 - beta_1^n)) / (sqrt(square / (1 -
        beta_2^n)) + epsilon)

    n counts a parameter's steps, for each member: a copied member takes the donor's along.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-5,
    ):
        self.betas, self.epsilon = betas, epsilon
        rows = parameters.items()
        self.slots: Slots = {
            "mean": {name: torch.zeros_like(p) for name, p in rows},
            "square": {name: torch.zeros_like(p) for name, p in rows},
            "count": {name: p.new_zeros(p.shape[0], dtype=torch.float64) for name, p in rows},
        }

    @torch.no_grad()
    def step(self, parameters: Mapping[str, Tensor], learning_rate: Tensor) -> None:
        """Updates `parameters` in place with `learning_rate` `[P]`; their gradients are used up."""
        names, params, grads = _trained(parameters)
        means, squares, counts = ([self.slots[slot][name] for name in names] for slot in self.slots)
        (beta_1, beta_2), rate = self.betas, learning_rate.double()
        torch._foreach_add_(counts, 1.0)
        if all(fused.fits(p) for p in params):
            for *rows, count in zip(params, grads, means, squares, counts, strict=True):
                p, g, mean, square = _memory(*rows)
                numbers = (count.numpy(), rate.numpy(), beta_1, beta_2, self.epsilon)
                fused.adam(p, g, mean, square, *numbers)
            return
        torch._foreach_lerp_(means, grads, 1.0 - beta_1)
        torch._foreach_mul_(squares, beta_2)
        torch._foreach_addcmul_(squares, grads, grads, 1.0 - beta_2)
        denominators = torch._foreach_sqrt(squares)
        # The bias correction, [P] for each parameter.
        roots = [(1.0 - beta_2**n).sqrt() for n in counts]
        steps = [rate * root / (1.0 - beta_1**n) for root, n in zip(roots, counts, strict=True)]
        epsilons = map(_per_member, [self.epsilon * root for root in roots], params)
        torch._foreach_add_(denominators, list(epsilons))
        scaled = torch._foreach_mul(means, list(map(_per_member, steps, params)))
        torch._foreach_addcdiv_(params, scaled, denominators, value=-1.0)


def make_optimiser(parameters: Mapping[str, Tensor], config: RunConfig) -> RMSProp | Adam:
    """The optimiser that a configuration names, with nothing remembered yet."""
    if config.optimiser == "adam":
        return Adam(parameters, betas=config.adam_betas, epsilon=config.adam_epsilon)
    return RMSProp(parameters, decay=config.rms_decay, epsilon=config.rms_epsilon)


def annealed(config: RunConfig, agent_steps: int) -> float:
    """What multiplies every learning rate after `agent_steps`: 1, or a line from 1 to 0."""
    return max(0.0, 1.0 - agent_steps / config.agent_steps) if config.anneal else 1.0


def _trained(parameters: Mapping[str, Tensor]) -> tuple[list[str], list[Tensor], list[Tensor]]:
    """Names, values and gradients of the parameters that have a gradient."""
    rows = [(name, p, p.grad) for name, p in parameters.items() if p.grad is not None]
    return [name for name, _, _ in rows], [p for _, p, _ in rows], [g for _, _, g in rows]


def _memory(parameter: Tensor, gradient: Tensor, *slots: Tensor) -> list[np.ndarray]:
    """What a fused step reads and writes, as arrays `[P, M]`; PyTorch is told of the change."""
    increment_version(parameter)
    rows = [x.detach().view(len(x), -1) for x in (parameter, *slots)]
    return [x.numpy() for x in (rows[0], gradient.reshape(len(gradient), -1), *rows[1:])]


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    """`[P]` values shaped to broadcast against a parameter `[P, ...]`."""
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


@torch.no_grad()
def clip_by_global_norm(parameters: Mapping[str, Tensor], max_norm: float | None) -> Tensor:
    """Each member's global gradient norm `[P]`; scales gradients down to `max_norm` where given."""
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    norms = torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()
    if max_norm is not None:
        scale = (max_norm / norms.clamp(min=1e-12)).clamp(max=1.0)
        torch._foreach_mul_(grads, [_per_member(scale, g) for g in grads])
    return norms
