"""The loss's terms against the paper's formulas written out, and what the learner does with them."""

import pytest
import torch
from torch.distributions import kl_divergence

from mmlib.method import losses
from mmlib.method.mixture import Mixture
from mmlib.method.policies import Factorised, OnSupport

SIZES = (3, 2)


def policies(seed=0, batch=(4, 2, 3)):
    generator = torch.Generator().manual_seed(seed)
    support = torch.tensor([0, 3, 5])
    small = torch.randn(*batch, 3, generator=generator, dtype=torch.float64).requires_grad_()
    big = torch.randn(*batch, 5, generator=generator, dtype=torch.float64).requires_grad_()
    return small, big, OnSupport(small, support, 6), Factorised(big, SIZES)


def test_transfer_is_eq_1():
    """(1 - alpha) / |S| * sum over trajectories and time of KL(pi_1 || pi_2), by enumeration, member by member."""
    _, _, p, q = policies()
    alpha = torch.tensor([0.25, 1.0], dtype=torch.float64)
    weights = torch.stack([1 - alpha, alpha], -1)
    got = losses.transfer_loss(losses.transfer_cost("kl", [p, q], weights), 3)
    terms = p.probs * (p.joint_log_probs() - q.joint_log_probs())
    kl = torch.where(p.probs > 0, terms, torch.zeros_like(terms)).sum(-1)  # (T, P, N)
    torch.testing.assert_close(got, (1 - alpha) / 3 * kl.sum((0, 2)))
    assert got[1] == 0


def test_transfer_flows_into_both_policies():
    small, big, p, q = policies()
    weights = torch.tensor([[0.5, 0.5]] * 2, dtype=torch.float64)
    losses.transfer_loss(losses.transfer_cost("kl", [p, q], weights), 3).sum().backward()
    assert small.grad.abs().min() > 0 and big.grad.abs().max() > 0


def test_masked_transfer_ignores_mass_outside_the_support():
    _, _, p, q = policies()
    weights = torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64)
    plain = losses.transfer_cost("kl", [p, q], weights)
    masked = losses.transfer_cost("masked_kl", [p, q], weights)
    mass = q.probs[..., [0, 3, 5]].sum(-1)
    torch.testing.assert_close(plain - masked, -mass.log())  # the whole difference is the mass outside


def test_three_constituents_sum_consecutive_pairs():
    _, _, p, q = policies(0)
    _, _, _, r = policies(1)
    weights = torch.tensor([[0.5, 0.3, 0.2]] * 2, dtype=torch.float64)
    got = losses.transfer_cost("kl", [p, q, r], weights)
    torch.testing.assert_close(got, 0.5 * kl_divergence(p, q) + 0.8 * kl_divergence(q, r))


def test_cross_entropy_by_enumeration():
    _, _, p, q = policies()
    weights = torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64)
    terms = torch.where(p.probs > 0, -p.probs * q.joint_log_probs(), 0.0)
    torch.testing.assert_close(losses.transfer_cost("cross_entropy", [p, q], weights), terms.sum(-1))


def test_mixture_kl_by_enumeration_and_below_eq_1():
    """Appendix G: KL(pi_mm || pi_2) is at most (1 - alpha) KL(pi_1 || pi_2)."""
    _, _, p, q = policies()
    weights = torch.tensor([[0.7, 0.3], [0.0, 1.0]], dtype=torch.float64)
    got = losses.transfer_cost("mixture_kl", [p, q], weights)
    mixed = weights[:, 0, None, None] * p.probs + weights[:, 1, None, None] * q.probs
    torch.testing.assert_close(got, (mixed * (mixed.log() - q.joint_log_probs())).sum(-1))
    assert (got <= losses.transfer_cost("kl", [p, q], weights) + 1e-12).all()
    assert got[:, 1].abs().max() < 1e-12


@pytest.mark.parametrize("name", (*losses.PAIR_COSTS, losses.MIXTURE_COST))
def test_stop_gradient_leaves_the_teacher_alone(name):
    small, big, p, q = policies()
    weights = torch.tensor([[0.5, 0.5]] * 2, dtype=torch.float64)
    held = losses.transfer_cost(name, [p, q], weights, stop_gradient=True)
    torch.testing.assert_close(held, losses.transfer_cost(name, [p, q], weights))
    held.sum().backward(retain_graph=True)
    assert small.grad is None
    # The student's gradient is that of the cost written out, with the teacher's probabilities as numbers.
    teacher = p.probs if name != losses.MIXTURE_COST else 0.5 * p.probs + 0.5 * q.probs
    share, log_q = (1.0 if name == losses.MIXTURE_COST else 0.5), q.joint_log_probs()
    if name == "masked_kl":
        log_q = log_q - q.probs[..., [0, 3, 5]].sum(-1, keepdim=True).log()
    written = -share * (teacher.detach() * log_q).sum()
    torch.testing.assert_close(big.grad, torch.autograd.grad(written, big)[0])


def test_policy_gradient_is_the_mixtures():
    """The gradient of the loss is -sum advantage * grad log(sum_i alpha_i pi_i(a|s)) of the explicit mixture."""
    small, big, p, q = policies()
    weights = torch.tensor([[0.4, 0.6], [0.9, 0.1]], dtype=torch.float64)
    actions = torch.randint(0, 6, (4, 2, 3), generator=torch.Generator().manual_seed(3))
    advantages = torch.randn(4, 2, 3, dtype=torch.float64)
    loss = losses.policy_gradient_loss(Mixture(weights[:, None], [p, q]).log_prob(actions), advantages)
    got = torch.autograd.grad(loss.sum(), [small, big], retain_graph=True)
    chosen = [x.probs.gather(-1, actions[..., None])[..., 0] for x in (p, q)]
    joint = weights[:, 0, None] * chosen[0] + weights[:, 1, None] * chosen[1]
    expected = torch.autograd.grad(-(joint.log() * advantages).sum(), [small, big])
    torch.testing.assert_close(got, expected)


def test_an_impossible_action_has_no_gradient():
    small, big, p, q = policies()
    weights = torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64)  # all simple: actions 1, 2, 4 are impossible
    actions = torch.ones(4, 2, 3, dtype=torch.int64)
    log_probs = Mixture(weights[:, None], [p, q]).log_prob(actions)
    losses.policy_gradient_loss(log_probs, torch.zeros(4, 2, 3, dtype=torch.float64)).sum().backward()
    assert torch.isneginf(log_probs).all()
    assert (small.grad == 0).all() and (big.grad == 0).all()


def test_sums_run_over_time_and_environments():
    values = torch.arange(6.0).view(3, 1, 2)
    assert losses.baseline_loss(values, torch.zeros(3, 1, 2)).item() == pytest.approx(0.5 * 55)
    assert losses.entropy_loss(values).item() == -15
    assert losses.policy_gradient_loss(-values, torch.ones(3, 1, 2)).item() == 15
