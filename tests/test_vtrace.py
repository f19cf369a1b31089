"""V-trace against the paper's sum written out, and against the n-step return on policy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmlib.method.vtrace import vtrace


def vtrace_by_the_sum(log_rhos, discounts, rewards, values, bootstrap, clip_rho, clip_c):
    """Equation (1) of Espeholt et al.: v_s = V(x_s) + sum_t gamma^(t-s) (prod_i c_i) delta_t, an O(T^2) sum."""
    steps = len(rewards)
    rhos, cs = np.minimum(np.exp(log_rhos), clip_rho), np.minimum(np.exp(log_rhos), clip_c)
    after = np.concatenate([values[1:], bootstrap[None]])
    deltas = rhos * (rewards + discounts * after - values)
    vs = []
    for s in range(steps):
        total = values[s].copy()
        for t in range(s, steps):
            total += np.prod(discounts[s:t], axis=0) * np.prod(cs[s:t], axis=0) * deltas[t]
        vs.append(total)
    vs = np.array(vs)
    advantages = rhos * (rewards + discounts * np.concatenate([vs[1:], bootstrap[None]]) - values)
    return vs, advantages, rhos


@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 12),
    clip_rho=st.floats(0.3, 4.0),
    clip_c=st.floats(0.3, 4.0),
)
def test_equals_the_sum(seed, steps, clip_rho, clip_c):
    rng = np.random.default_rng(seed)
    shape = (steps, 2, 3)
    log_rhos = rng.normal(size=shape) * 1.5
    discounts = 0.9 * (rng.random(shape) > 0.2)  # some episodes end
    rewards, values = rng.normal(size=shape), rng.normal(size=shape)
    bootstrap = rng.normal(size=shape[1:])
    expected = vtrace_by_the_sum(log_rhos, discounts, rewards, values, bootstrap, clip_rho, clip_c)
    inputs = [torch.from_numpy(x) for x in (log_rhos, discounts, rewards, values, bootstrap)]
    got = vtrace(*inputs, clip_rho=clip_rho, clip_c=clip_c)
    for g, e in zip((got.vs, got.advantages, got.rhos), expected, strict=True):
        np.testing.assert_allclose(g.numpy(), e, rtol=1e-9, atol=1e-10)


def test_on_policy_is_the_n_step_return():
    rewards = torch.tensor([1.0, 0.0, 2.0, -1.0], dtype=torch.float64)[:, None]
    discounts = torch.tensor([0.9, 0.9, 0.0, 0.9], dtype=torch.float64)[:, None]  # the third step ends an episode
    values = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64)[:, None]
    got = vtrace(torch.zeros_like(rewards), discounts, rewards, values, torch.tensor([2.0], dtype=torch.float64))
    last = -1.0 + 0.9 * 2.0
    third = 2.0
    second = 0.0 + 0.9 * third
    np.testing.assert_allclose(got.vs[:, 0].numpy(), [1.0 + 0.9 * second, second, third, last])


def test_an_impossible_action_has_weight_zero():
    log_rhos = torch.tensor([[-np.inf], [0.0]])
    got = vtrace(log_rhos, torch.ones(2, 1), torch.ones(2, 1), torch.zeros(2, 1), torch.zeros(1))
    assert got.rhos[0, 0] == 0 and got.advantages[0, 0] == 0 and got.vs[0, 0] == 0
    assert torch.isfinite(got.vs).all()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="one shape"):
        vtrace(torch.zeros(3, 1), torch.zeros(2, 1), torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(1))
    with pytest.raises(ValueError, match="bootstrap_value"):
        vtrace(*[torch.zeros(3, 2)] * 4, torch.zeros(3))
