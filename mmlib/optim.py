"""RMSProp with TensorFlow's semantics, for parameters with a leading population axis."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class RMSProp:
    """RMSProp as the public IMPALA agent ran it (appendix D: decay 0.99, epsilon 0.1, no momentum).

    TensorFlow's differs from PyTorch's in two ways that decide whether IMPALA learns: epsilon is INSIDE the square
    root, and the mean square starts at 1, not 0:

        mean_square <- decay * mean_square + (1 - decay) * g^2
        parameter   <- parameter - learning_rate * g / sqrt(mean_square + epsilon)

    Every parameter is `[P, ...]`; each member has a learning rate of its own, given at each step.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, decay: float = 0.99, epsilon: float = 0.1):
        self.decay, self.epsilon = decay, epsilon
        self.mean_square = {name: torch.ones_like(p) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, parameters: Mapping[str, Tensor], learning_rate: Tensor) -> None:
        """Updates `parameters` in place with `learning_rate` `[P]`; their gradients are used up."""
        trained = [(name, p, p.grad) for name, p in parameters.items() if p.grad is not None]
        params, grads = [p for _, p, _ in trained], [g for _, _, g in trained]
        squares = [self.mean_square[name] for name, _, _ in trained]
        torch._foreach_mul_(squares, self.decay)
        torch._foreach_addcmul_(squares, grads, grads, 1.0 - self.decay)
        denominators = torch._foreach_add(squares, self.epsilon)
        torch._foreach_sqrt_(denominators)
        torch._foreach_mul_(grads, [_per_member(learning_rate, p) for p in params])
        torch._foreach_addcdiv_(params, grads, denominators, value=-1.0)


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    """`[P]` values shaped to broadcast against a parameter `[P, ...]`."""
    return values.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


@torch.no_grad()
def clip_by_global_norm(parameters: Mapping[str, Tensor], max_norm: float | None) -> Tensor:
    """Returns each member's global gradient norm `[P]`; scales gradients down to `max_norm` where given."""
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    norms = torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()
    if max_norm is not None:
        scale = (max_norm / norms.clamp(min=1e-12)).clamp(max=1.0)
        torch._foreach_mul_(grads, [_per_member(scale, g) for g in grads])
    return norms
