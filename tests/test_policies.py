"""Policies against enumeration of all joint actions in float64: values, gradients, samples.

`build` makes a policy of each kind and, apart from it, its probabilities by a loop over joint actions.
"""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.distributions import kl_divergence

from mmlib.method.mixture import Mixture
from mmlib.method.policies import Factorised, Masked, OnSupport, masked_kl
from mmlib.spaces import BIG_756, SMALL, embedding

KINDS = ("on_support", "factorised", "masked", "mixture1", "mixture2", "mixture3", "two_dense", "nested")
SIZES = ((4,), (3, 2), (2, 3, 2))
BATCHES = ((), (2,), (3, 1, 2))

kinds = st.sampled_from(KINDS)
sizes_ = st.sampled_from(SIZES)
batches = st.sampled_from(BATCHES)
seeds = st.integers(0, 2**31)
scales = st.sampled_from((0.0, 1.0, 6.0))  # of the logits, from uniform to almost deterministic
every_kind = pytest.mark.parametrize("kind", KINDS)


def softmax(logits):
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def product_probs(logits, sizes):
    """Probabilities [..., A] of a factorised policy: one product for each joint action."""
    groups = [softmax(part) for part in np.split(logits, np.cumsum(sizes)[:-1], axis=-1)]
    joint = product(*(range(n) for n in sizes))
    return np.stack([math.prod(g[..., i] for g, i in zip(groups, index)) for index in joint], axis=-1)


def build(kind, seed, sizes, batch=(), scale=1.0):
    """Return a float64 policy of this kind and its probabilities [..., A], computed apart."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    num_actions = math.prod(sizes)

    def on_support():
        support = rng.permutation(num_actions)[: max(2, num_actions // 2)]
        logits = scale * rng.normal(size=(*batch, len(support)))
        probs = np.zeros((*batch, num_actions))
        probs[..., support] = softmax(logits)
        return OnSupport(torch.tensor(logits), torch.tensor(support), num_actions), probs

    def factorised():
        logits = scale * rng.normal(size=(*batch, sum(sizes)))
        return Factorised(torch.tensor(logits), sizes), product_probs(logits, sizes)

    def masked():
        base, probs = factorised()
        support = rng.permutation(num_actions)[:3]
        kept = np.zeros_like(probs)
        kept[..., support] = probs[..., support]
        return Masked(base, torch.tensor(support)), kept / kept.sum(-1, keepdims=True)

    def mixture(*makers):
        weights = rng.dirichlet(np.ones(len(makers)), size=batch)
        parts = [make() for make in makers]
        probs = sum(weights[..., k, None] * p for k, (_, p) in enumerate(parts))
        return Mixture(torch.tensor(weights), [policy for policy, _ in parts]), probs

    return {
        "on_support": on_support,
        "factorised": factorised,
        "masked": masked,
        "mixture1": lambda: mixture(factorised),
        "mixture2": lambda: mixture(on_support, factorised),
        "mixture3": lambda: mixture(on_support, masked, factorised),
        "two_dense": lambda: mixture(factorised, factorised),
        "nested": lambda: mixture(on_support, lambda: mixture(on_support, masked)),
    }[kind]()


def kl_by_loop(p, q):
    """KL of two arrays [..., A], over the actions one by one."""
    total = np.zeros(np.broadcast_shapes(p.shape, q.shape)[:-1])
    for a in range(p.shape[-1]):
        with np.errstate(divide="ignore", invalid="ignore"):
            total = total + np.where(p[..., a] > 0, p[..., a] * np.log(p[..., a] / q[..., a]), 0)
    return total


def close(actual, expected):
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-9, atol=1e-11)


@given(kinds, seeds, sizes_, batches, scales)
@settings(max_examples=60)
def test_every_quantity_is_the_enumerations(kind, seed, sizes, batch, scale):
    policy, probs = build(kind, seed, sizes, batch, scale)
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs)
    assert policy.num_actions == math.prod(sizes)
    assert policy.batch_shape == batch
    assert policy.event_shape == ()
    close(policy.probs, probs)
    close(policy.joint_log_probs(), log_probs)
    for action in range(policy.num_actions):
        close(policy.log_prob(torch.full(batch, action)), log_probs[..., action])
    some = torch.arange(0, policy.num_actions, 2)
    close(policy.log_probs_at(some), log_probs[..., ::2])
    close(policy.entropy(), -kl_by_loop(probs, np.ones_like(probs)))
    close(policy.collision_entropy(), -np.log((probs**2).sum(-1)))
    joint = probs.reshape(*batch, *sizes)
    axes = range(len(batch), joint.ndim)
    each = [joint.sum(axis=tuple(a for a in axes if a != keep)) for keep in axes]
    close(policy.marginals(sizes), np.concatenate(each, axis=-1))


@pytest.mark.parametrize("q_kind", KINDS)
@pytest.mark.parametrize("p_kind", KINDS)
@given(seeds, sizes_, scales)
@settings(max_examples=4)
def test_kl_and_masked_kl_of_every_pair(p_kind, q_kind, seed, sizes, scale):
    (p, p_probs), (q, q_probs) = (
        build(p_kind, seed, sizes, (2,), scale),
        build(q_kind, seed + 1, sizes, (2,), scale),
    )
    close(kl_divergence(p, q), kl_by_loop(p_probs, q_probs))

    kept = np.where(p_probs > 0, q_probs, 0)
    if (kept.sum(-1) == 0).any():
        with pytest.raises(ValueError, match="the base has no probability there"):
            masked_kl(p, q)
    else:
        close(masked_kl(p, q), kl_by_loop(p_probs, kept / kept.sum(-1, keepdims=True)))


@given(seeds, sizes_, st.floats(0, 1), scales)
@settings(max_examples=50)
def test_transfer_cost_bounds_the_kl_of_the_mixture(seed, sizes, alpha, scale):
    """Appendix G: (1 − α) KL(π₁‖π₂) ≥ KL(π_mm‖π₂)."""
    simple, _ = build("on_support", seed, sizes, (4,), scale)
    target, _ = build("factorised", seed, sizes, (4,), scale)
    mixture = Mixture(torch.tensor([1 - alpha, alpha], dtype=torch.float64), [simple, target])
    bound = (1 - alpha) * kl_divergence(simple, target)
    assert (bound - kl_divergence(mixture, target) >= -1e-12).all()


def test_hand_computed_constants():
    support = torch.tensor(embedding(SMALL, BIG_756))
    small = OnSupport(torch.zeros(9), support, 756)
    big = Factorised(torch.zeros(20), BIG_756.group_sizes)
    mixture = Mixture(torch.tensor([0.5, 0.5]), [small, big])
    expected = {
        small.entropy(): math.log(9),
        big.entropy(): math.log(756),
        big.collision_entropy(): math.log(756),
        kl_divergence(small, big): math.log(84),  # 756 / 9
        masked_kl(small, big): 0,
        mixture.log_prob(support[4]): math.log((1 / 9 + 1 / 756) / 2),
        mixture.log_prob(torch.tensor(0)): math.log(1 / 1512),
        kl_divergence(big, small): math.inf,
    }
    for actual, value in expected.items():
        assert actual.item() == pytest.approx(value, abs=1e-5)


def test_a_mixture_of_factorised_policies_is_not_factorised():
    """Half of (0, 0) and half of (1, 1) never takes (0, 1), though the product of its marginals would."""
    first = Factorised(torch.tensor([0.0, -math.inf, 0.0, -math.inf]), (2, 2))
    second = Factorised(torch.tensor([-math.inf, 0.0, -math.inf, 0.0]), (2, 2))
    mixture = Mixture(torch.tensor([0.5, 0.5]), [first, second])
    assert mixture.probs.tolist() == [0.5, 0, 0, 0.5]
    assert mixture.marginals((2, 2)).tolist() == [0.5] * 4
    assert mixture.log_prob(torch.tensor(1)) == -math.inf
    assert mixture.entropy().item() == pytest.approx(math.log(2))


def gradients(kind, sizes=(3, 2)):
    """Yield named functions of the logits (and weights) of a policy of this kind, with their inputs."""
    num_actions, rng = math.prod(sizes), torch.Generator().manual_seed(0)
    first, second, weights = (
        torch.randn(n, dtype=torch.float64, generator=rng, requires_grad=True) for n in (3, sum(sizes), 2)
    )
    support = torch.tensor([4, 0, 3])
    target, _ = build("factorised", 5, sizes)
    action = torch.tensor(4)

    def policy(x, y, w):
        parts = [OnSupport(x, support, num_actions), Factorised(y, sizes)]
        masked = Masked(parts[1], support)
        mixture = Mixture(w.softmax(-1), parts)
        shared = Mixture(w.softmax(-1), [masked, parts[1]])
        dense = Mixture(w.softmax(-1), [parts[1], target])
        all_ = {"on_support": parts[0], "factorised": parts[1], "masked": masked}
        return {**all_, "mixture2": mixture, "shared": shared, "two_dense": dense}[kind]

    functions = {
        "log_prob": lambda p: p.log_prob(action),
        "log_probs_at": lambda p: p.log_probs_at(support),
        "probs": lambda p: p.probs,
        "entropy": lambda p: p.entropy(),
        "collision_entropy": lambda p: p.collision_entropy(),
        "kl": lambda p: kl_divergence(p, target),
        "masked_kl": lambda p: masked_kl(p, target),
        "reverse_masked_kl": lambda p: masked_kl(Masked(target, support), p),
    }
    for name, function in functions.items():
        yield name, lambda x, y, w, function=function: function(policy(x, y, w)), (first, second, weights)


@pytest.mark.parametrize("kind", ["on_support", "factorised", "masked", "mixture2", "shared", "two_dense"])
def test_gradients_are_the_finite_differences(kind):
    for name, function, inputs in gradients(kind):
        assert torch.autograd.gradcheck(function, inputs), name


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("quantity", ["log_prob", "outside", "joint_log_probs", "entropy", "collision", "kl"])
def test_gradients_are_finite_at_the_ends_of_the_mixture(alpha, quantity):
    """A constituent of weight 0 gets gradient exactly 0, the other what it gets alone."""
    sizes, support = (3, 2), torch.tensor([4, 0, 3])
    first, second = torch.randn(2, 3, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    weights = torch.tensor([1 - alpha, alpha], requires_grad=True)
    parts = [OnSupport(first, support, 6), Factorised(second, sizes)]

    def value(policy):
        if quantity == "log_prob":
            return policy.log_prob(torch.tensor([0, 4]))
        if quantity == "outside":  # the first constituent cannot take these
            return policy.log_prob(torch.tensor([1, 5]))
        if quantity == "joint_log_probs":
            joint = policy.joint_log_probs()
            return torch.where(joint == -math.inf, 0, joint)
        if quantity == "kl":
            return kl_divergence(policy, Factorised(torch.zeros(2, 5), sizes))
        return policy.entropy() if quantity == "entropy" else policy.collision_entropy()

    actual = value(Mixture(weights, parts))
    alone = value(parts[int(alpha)])
    torch.testing.assert_close(actual, alone)
    inputs = (first, second, weights)
    grads = torch.autograd.grad(actual.sum(), inputs, allow_unused=True, retain_graph=True)
    expected = torch.autograd.grad(alone.sum(), (first, second)[int(alpha)])[0]
    assert all(g is None or torch.isfinite(g).all() for g in grads)
    torch.testing.assert_close(grads[int(alpha)], expected)
    assert grads[1 - int(alpha)] is None or (grads[1 - int(alpha)] == 0).all()
    if quantity == "outside" and alpha == 0:
        assert (actual == -math.inf).all()


def test_gradient_of_a_weight_is_the_constituents_share():
    """∂ log π_mm / ∂α_k = π_k / π_mm, at a weight of 0 too."""
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    parts = [build("factorised", seed, (3, 2))[0] for seed in (0, 1)]
    action = torch.tensor(3)
    (grad,) = torch.autograd.grad(Mixture(weights, parts).log_prob(action), weights)
    expected = torch.stack([(p.log_prob(action) - parts[0].log_prob(action)).exp() for p in parts])
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_weight_of_zero_on_a_far_likelier_constituent(alpha):
    """In float32 e^200 overflows and e^−200 vanishes; neither may touch the constituent of weight 1."""
    rare = torch.tensor([0.0, 200.0], requires_grad=True)
    common = torch.tensor([200.0, 0.0], requires_grad=True)
    logits = [rare, common] if alpha == 0 else [common, rare]
    mixture = Mixture(torch.tensor([1 - alpha, alpha]), [Factorised(x, (2,)) for x in logits])
    log_prob = mixture.log_prob(torch.tensor(0))
    assert log_prob.item() == -200
    log_prob.backward()
    torch.testing.assert_close(rare.grad, torch.tensor([1.0, -1.0]))
    assert (common.grad == 0).all()


def test_kl_where_both_are_zero():
    zero = torch.tensor([0.0, -math.inf, 0.0])
    p = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
    policy, other = Factorised(p + zero, (3,)), Factorised(zero, (3,))
    kl = kl_divergence(policy, other)
    first = 1 / (1 + math.exp(-1))
    assert kl.item() == pytest.approx(first * math.log(2 * first) + (1 - first) * math.log(2 * (1 - first)))
    kl.backward()
    assert torch.isfinite(p.grad).all()


def test_extreme_logits_in_float32():
    logits = torch.tensor([1e4, 0.0, -1e4, 0.0, 1e4], requires_grad=True)
    policy = Factorised(logits, (3, 2))
    mixture = Mixture(torch.tensor([0.3, 0.7]), [OnSupport(logits[:3], torch.tensor([4, 0, 3]), 6), policy])
    assert mixture.log_prob(torch.tensor(5)).item() == pytest.approx(-2e4, abs=1)
    total = mixture.log_prob(torch.arange(6).view(6)).clamp(min=-1e6).sum() + mixture.entropy()
    total = total + mixture.collision_entropy() + kl_divergence(mixture, policy)
    (grad,) = torch.autograd.grad(total, logits)
    assert torch.isfinite(grad).all()


@every_kind
def test_samples_follow_the_probabilities(kind):
    policy, probs = build(kind, 3, (3, 2), (2,))
    actions = policy.sample((20_000,), generator=torch.Generator().manual_seed(1))
    assert actions.shape == (20_000, 2)
    assert actions.dtype == torch.int64
    for i in range(2):
        counts = np.bincount(actions[:, i], minlength=6)
        possible = probs[i] > 0
        assert (counts[~possible] == 0).all()
        assert chisquare(counts[possible], 20_000 * probs[i][possible]).pvalue > 1e-3


@every_kind
def test_a_generator_makes_samples_reproducible(kind):
    policy, _ = build(kind, 3, (3, 2), (2,))

    def sample(seed):
        return policy.sample((50,), generator=torch.Generator().manual_seed(seed))

    before = torch.get_rng_state()
    torch.testing.assert_close(sample(1), sample(1))
    assert (sample(1) != sample(2)).any()
    assert torch.equal(before, torch.get_rng_state())


def test_a_weight_of_zero_is_never_sampled():
    parts = [OnSupport(torch.zeros(2), torch.tensor(s), 4) for s in ([0, 1], [2, 3])]
    for alpha, allowed in ((0.0, {0, 1}), (1.0, {2, 3})):
        actions = Mixture(torch.tensor([1 - alpha, alpha]), parts).sample((500,))
        assert set(actions.tolist()) == allowed
