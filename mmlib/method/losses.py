"""The terms of Mix & Match's loss, L = L_RL(theta | pi_mm) + lambda L_mm(theta) (section 3), for
each member.

All take time-major tensors `[T, P, N]`. A cost is one number a step, `[T, P, N]`; a loss is one a
member, `[P]`. IMPALA's terms are summed over time and environments; the transfer loss is eq. (1)'s:
summed over time, averaged over the trajectories S.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from mmlib.method.mixture import Mixture
from mmlib.method.policies import Policy, masked_kl


def cross_entropy(teacher: Policy, student: Policy) -> Tensor:
    """H(pi_1, pi_2) = -sum_a pi_1(a) log pi_2(a), lowers the teacher's entropy too (appendix H)."""
    return kl_divergence(teacher, student) + teacher.entropy()


# Between a constituent and the next, weighted by 1 - alpha; and between the mixture and the target.
PAIR_COSTS = {
    "kl": kl_divergence,  # eq. (1): D_KL(pi_1 || pi_2)
    "masked_kl": masked_kl,  # section 4.1: pi_2 masked to pi_1's support and renormalised
    "cross_entropy": cross_entropy,  # appendix H
}
MIXTURE_COST = "mixture_kl"  # appendix G: D_KL(pi_mm || pi_2)


def policy_gradient_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """-sum log pi_mm(a_t|s_t) advantage_t, the gradient of which is V-trace's policy gradient.

    An action that the current mixture cannot take (log-probability -inf, when alpha reached 0 or 1
    since it was taken) has importance weight 0, hence advantage 0, and no gradient.
    """
    possible = torch.isfinite(log_probs)
    terms = torch.where(possible, log_probs, torch.zeros_like(log_probs)) * advantages
    return -terms.sum((0, 2))


def baseline_loss(values: Tensor, targets: Tensor) -> Tensor:
    """1/2 sum (v_t - V(x_t))^2, as IMPALA's."""
    return 0.5 * (targets - values).square().sum((0, 2))


def entropy_loss(entropy: Tensor) -> Tensor:
    """-sum H(pi_mm(.|s_t)): minimising it raises the entropy."""
    return -entropy.sum((0, 2))


def transfer_cost(
    name: str, policies: list[Policy], weights: Tensor, *, stop_gradient: bool = False
) -> Tensor:
    """The transfer cost of each step, `[T, P, N]`: (1 - alpha) D(pi_1 || pi_2) for two constituents
    (eq. 1).

    For K > 2 consecutive pairs are summed, D(pi_i || pi_{i+1}) weighted by alpha_1 + ... + alpha_i,
    which is 1 - alpha for K = 2 (stated choice). Gradients flow into both policies (appendix C).

    Args:
      name: one of PAIR_COSTS, or MIXTURE_COST: D_KL(pi_mm || pi_K), which needs no factor 1 -
        alpha, since it vanishes by itself as alpha goes to 1.
      policies: K of batch shape `[T, P, N]`.
      weights: `[P, K]`, of the mixture.
      stop_gradient: hold the teacher (the first of each pair, the mixture) constant: a control, not
        the paper's.
    """
    teachers = [_constant(policy) for policy in policies] if stop_gradient else policies
    if name == MIXTURE_COST:
        return kl_divergence(Mixture(weights[:, None], teachers, validate_args=False), policies[-1])
    before = weights.cumsum(-1)  # mass not yet past constituent i
    pairs = enumerate(zip(teachers, policies[1:], strict=False))
    return torch.stack([before[:, i, None] * PAIR_COSTS[name](p, q) for i, (p, q) in pairs]).sum(0)


def _constant(policy: Policy) -> Policy:
    """The same distribution, through which no gradient flows."""
    new = policy.expand(policy.batch_shape)
    for name in policy.arg_constraints:
        setattr(new, name, getattr(new, name).detach())
    return new


def transfer_loss(cost: Tensor, size: int) -> Tensor:
    """Eq. (1): the cost `[T, P, N]` summed over time, divided by `size` = |S|.

    S is the set of trajectories of one unroll, one an environment of the member, on all levels of a
    multitask run together (stated choice): splitting an unroll into several updates leaves the
    weight of the transfer cost beside the RL loss, which is summed, as it was. The other reading
    counts the agent steps of those trajectories.
    """
    return cost.sum((0, 2)) / size
