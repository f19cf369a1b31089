"""V-trace: off-policy corrected values and advantages (Espeholt et al. 2018, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class VTrace(NamedTuple):
    """What V-trace returns, each `[T, ...]` and without gradient."""

    vs: Tensor  # value targets v_s
    advantages: Tensor  # rho_s (r_s + gamma_s v_{s+1} - V(x_s)), the factor of grad log pi
    rhos: Tensor  # truncated importance weights min(rho_bar, pi / mu)


@torch.no_grad()
def vtrace(
    log_rhos: Tensor,
    discounts: Tensor,
    rewards: Tensor,
    values: Tensor,
    bootstrap_value: Tensor,
    *,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> VTrace:
    """Computes V-trace targets by the recursion of Espeholt et al., remark 1.

    v_s = V(x_s) + delta_s + gamma_s c_s (v_{s+1} - V(x_{s+1})),
    delta_s = rho_s (r_s + gamma_s V(x_{s+1}) - V(x_s)).

    Args:
      log_rhos: `[T, ...]` log pi(a_s|x_s) - log mu(a_s|x_s), target over behaviour policy. -inf
        means weight 0.
      discounts: `[T, ...]` gamma_s, the discount after step s; 0 where the episode ended.
      rewards: `[T, ...]` r_s.
      values: `[T, ...]` V(x_s).
      bootstrap_value: `[...]` V(x_T).
      clip_rho: rho_bar, the truncation of the weights in the temporal differences and advantages.
      clip_c: c_bar, the truncation of the trace weights.

    Returns:
      `VTrace` of targets, advantages and truncated weights, `[T, ...]` each.
    """
    shapes = [tuple(x.shape) for x in (log_rhos, discounts, rewards, values)]
    if len(set(shapes)) > 1 or tuple(bootstrap_value.shape) != shapes[0][1:]:
        raise ValueError(
            "log_rhos, discounts, rewards, values must have one shape [T, ...] and bootstrap_value "
            f"[...]; got {', '.join(map(str, shapes))} and {tuple(bootstrap_value.shape)}"
        )

    weights = log_rhos.exp()
    rhos, cs = weights.clamp(max=clip_rho), weights.clamp(max=clip_c)
    values_t = torch.cat([values[1:], bootstrap_value[None]])  # V(x_{s+1})
    deltas = rhos * (rewards + discounts * values_t - values)

    vs = values + _backwards(deltas, discounts * cs)
    vs_t = torch.cat([vs[1:], bootstrap_value[None]])  # v_{s+1}
    return VTrace(vs=vs, advantages=rhos * (rewards + discounts * vs_t - values), rhos=rhos)


def _backwards(terms: Tensor, decays: Tensor) -> Tensor:
    """The recursion e_s = terms_s + decays_s e_{s+1} over `[T, ...]`, with e_T = 0.

    By doubling, log2 T passes in place of T steps: after each, e_s is the sum of twice as many
    terms from s on, and decays_s the product of as many decays.
    """
    reach, steps = 1, len(terms)
    while reach < steps:
        near = terms[:-reach] + decays[:-reach] * terms[reach:]
        decays = torch.cat([decays[:-reach] * decays[reach:], decays[-reach:]])
        terms = torch.cat([near, terms[-reach:]])  # no more than `reach` steps were left of these
        reach *= 2
    return terms
