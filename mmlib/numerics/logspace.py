"""Arithmetic of log-probabilities, where −inf is a probability of 0 and passes no gradient.

Pure functions on tensors: [...] is any batch, the last dimension enumerates actions. In nats.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor


def finite(log_p: Tensor) -> Tensor:
    """Put 0 for −inf, so that 0 · log 0 is 0 and its gradient too."""
    return log_p.masked_fill(log_p == -math.inf, 0)


def entropy(log_p: Tensor) -> Tensor:
    """Return −Σ p log p over the last dimension, [...]."""
    return -(log_p.exp() * finite(log_p)).sum(-1)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return Σ p (log p − log q), [...]; +inf, without gradient, where q is 0 and p is not."""
    terms = log_p.exp() * (finite(log_p) - finite(log_q))
    return terms.masked_fill(log_q == -math.inf, math.inf).masked_fill(log_p == -math.inf, 0).sum(-1)


def mix(weights: Tensor, log_probs: Sequence[Tensor]) -> Tensor:
    """Return log Σ_k w_k exp(l_k), [...], of weights [..., K] on the simplex and K log-probabilities [...].

    The largest l_k of positive weight is taken out of the sum, so a weight of 1 gives its l_k exactly.
    An l_k of weight 0 may exceed it: e^80 bounds the gradient of that weight, and the gradient of l_k is 0.
    Where every term is 0 the result is −inf without gradient.
    """
    stacked = torch.stack(tuple(log_probs))  # (K, ...)
    weights = weights.expand(*stacked.shape[1:], -1).movedim(-1, 0)
    top = finite(stacked.detach().masked_fill(weights <= 0, -math.inf).amax(0))
    total = (weights * (stacked - top).clamp(max=80).exp()).sum(0)
    impossible = total == 0
    return (top + total.masked_fill(impossible, 1).log()).masked_fill(impossible, -math.inf)


def mixture_entropy(dense_entropy: Tensor, weight: Tensor, dense_at: Tensor, mixture_at: Tensor) -> Tensor:
    """Return the entropy, [...], of a mixture of which one component has actions that the others have not.

    Elsewhere the mixture is w·q: −Σ w q log w q = w H(q) − w log w, less its terms at the others' actions.

    Args:
      dense_entropy: [...], H(q).
      weight: [...], w.
      dense_at, mixture_at: [..., S], log q and the mixture's log-probability at the others' actions.
    """
    w_log_w = weight * weight.masked_fill(weight == 0, 1).log()
    elsewhere = weight * (dense_entropy - entropy(dense_at)) - w_log_w * (1 - dense_at.exp().sum(-1))
    return elsewhere + entropy(mixture_at)


def mixture_collision_entropy(
    dense_collision_entropy: Tensor, weight: Tensor, dense_at: Tensor, mixture_at: Tensor
) -> Tensor:
    """Return −log Σ_a p(a)², [...], of the mixture of `mixture_entropy`."""
    elsewhere = weight**2 * ((-dense_collision_entropy).exp() - (2 * dense_at).exp().sum(-1))
    return -(elsewhere + (2 * mixture_at).exp().sum(-1)).log()


Generators = Generator | Sequence[Generator] | None  # one, one for each member, or PyTorch's own


def gumbel(logits: Tensor, generator: Generators) -> Tensor:
    """Add Gumbel noise: the argmax over the last dimension draws from the softmax, never what is at −inf.

    Several generators share logits [..., P, N, C] out by members, so that what one draws is its member's own affair.
    """
    noise = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    if generator is None or isinstance(generator, Generator):
        noise.exponential_(generator=generator)
    else:
        for part, own in zip(noise.chunk(len(generator), dim=-3), generator, strict=True):
            part.exponential_(generator=own)
    return logits - noise.clamp_(min=torch.finfo(logits.dtype).tiny).log_()


def align(index: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast the batches of [..., G] and [..., C] against each other."""
    shape = np.broadcast_shapes(index.shape[:-1], logits.shape[:-1])
    return index.expand(*shape, -1), logits.expand(*shape, -1)


def positions(actions: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """Return where in the support [S] each action stands (anywhere if it does not), and whether it does."""
    ordered, position = support.sort()
    place = torch.searchsorted(ordered, actions).clamp(max=len(support) - 1)
    return position[place], ordered[place] == actions


@cache
def union(supports: tuple[Tensor, ...]) -> Tensor:
    """Return the actions, int64 [S], of any of some supports; made once for the same tensors."""
    return torch.cat(supports).unique()


class GroupLayout(NamedTuple):
    """Where the groups of a joint action lie in C concatenated logits."""

    starts: Tensor  # int64 [G], the first of each group's columns
    sizes: Tensor  # int64 [G]
    strides: Tensor  # int64 [G], of the joint index: row-major, the first group slowest

    def columns(self, actions: Tensor) -> Tensor:
        """The columns, int64 [..., G], of joint actions, int64 [...]."""
        return actions.unsqueeze(-1) // self.strides % self.sizes + self.starts


@cache
def group_layout(sizes: tuple[int, ...], device: torch.device) -> GroupLayout:
    """Return the layout of groups of these sizes; made once for each device."""
    with torch.inference_mode(False):  # the tensors outlive the caller's mode
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
        return GroupLayout(*(torch.tensor(part, device=device) for part in (starts, sizes, strides)))


def marginals(log_p: Tensor, actions: Tensor | None, sizes: tuple[int, ...]) -> Tensor:
    """Return the groups' probabilities, [..., C], of log-probabilities [..., S] of joint actions [S], or of all."""
    if actions is None:
        actions = torch.arange(math.prod(sizes), device=log_p.device)
    columns = group_layout(sizes, log_p.device).columns(actions)
    return log_p.exp() @ torch.nn.functional.one_hot(columns, sum(sizes)).sum(-2).to(log_p.dtype)
