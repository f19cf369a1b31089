"""What policies promise as distributions: shapes, broadcasting, validation, no needless enumeration."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

from mmlib.method.mixture import Mixture
from mmlib.method.policies import Factorised, Masked, OnSupport, Policy, masked_kl
from mmlib.spaces import BIG_756, SMALL, embedding

SUPPORT = torch.tensor(embedding(SMALL, BIG_756))


def make(*batch):
    """Return the action curriculum's π₁, π₂, π₂ masked, and mixture, of one batch shape."""
    simple = OnSupport(torch.randn(*batch, 9), SUPPORT, 756)
    target = Factorised(torch.randn(*batch, 20), BIG_756.group_sizes)
    mixture = Mixture(torch.rand(*batch, 1) * torch.tensor([1, -1]) + torch.tensor([0, 1]), [simple, target])
    return {"simple": simple, "target": target, "masked": Masked(target, SUPPORT), "mixture": mixture}


NAMES = ("simple", "target", "masked", "mixture")
every_policy = pytest.mark.parametrize("name", NAMES)


@every_policy
@pytest.mark.parametrize("batch", [(), (3,), (4, 2, 3)])
def test_shapes(name, batch):
    policy = make(*batch)[name]
    assert (policy.batch_shape, policy.event_shape) == (batch, ())
    sample = policy.sample((5,))
    assert sample.shape == (5, *batch)
    assert sample.dtype == torch.int64
    assert policy.sample().shape == batch
    assert policy.log_prob(sample).shape == (5, *batch)
    assert torch.isfinite(policy.log_prob(sample)).all()
    assert policy.probs.shape == policy.joint_log_probs().shape == (*batch, 756)
    assert policy.entropy().shape == policy.collision_entropy().shape == batch
    assert policy.marginals(BIG_756.group_sizes).shape == (*batch, 20)
    torch.testing.assert_close(policy.probs.sum(-1), torch.ones(batch))


@every_policy
def test_one_action_broadcasts_over_the_batch(name):
    policy = make(4, 2)[name]
    torch.testing.assert_close(policy.log_prob(SUPPORT[3]), policy.joint_log_probs()[..., SUPPORT[3]])


@every_policy
def test_expand(name):
    policy = make(2, 1)[name]
    expanded = policy.expand((5, 2, 3))
    assert type(expanded) is type(policy)
    assert expanded.batch_shape == (5, 2, 3)
    assert policy.batch_shape == (2, 1)
    torch.testing.assert_close(expanded.probs, policy.probs.expand(5, 2, 3, -1))
    torch.testing.assert_close(expanded.entropy(), policy.entropy().expand(5, 2, 3))
    actions = expanded.sample()
    torch.testing.assert_close(expanded.log_prob(actions), policy.log_prob(actions))


def test_weights_of_members_broadcast_against_time_and_environments():
    parts = make(5, 2, 3)
    weights = torch.tensor([[[0.2, 0.8]], [[1.0, 0.0]]])  # (P, 1, K)
    mixture = Mixture(weights, [parts["simple"], parts["target"]])
    assert mixture.batch_shape == (5, 2, 3)
    first, second = parts["simple"].probs, parts["target"].probs
    torch.testing.assert_close(mixture.probs[:, 0], (0.2 * first + 0.8 * second)[:, 0])
    torch.testing.assert_close(mixture.probs[:, 1], first[:, 1])
    actions = mixture.sample()
    expected = mixture.probs.gather(-1, actions[..., None])[..., 0].log()
    torch.testing.assert_close(mixture.log_prob(actions), expected)
    assert mixture.sample((7,)).shape == (7, 5, 2, 3)


def test_components_of_other_batches_broadcast():
    one, many = make(1, 3), make(4, 1)
    mixture = Mixture(torch.tensor([0.5, 0.5]), [one["simple"], many["target"]])
    assert mixture.batch_shape == (4, 3)
    torch.testing.assert_close(mixture.probs, (one["simple"].probs + many["target"].probs) / 2)


def test_the_ends_are_the_constituents_exactly():
    parts = make(6)
    components = [parts["simple"], parts["target"]]
    actions = parts["simple"].sample()
    for k, weights in enumerate(([1.0, 0.0], [0.0, 1.0])):
        mixture = Mixture(torch.tensor(weights), components)
        assert torch.equal(mixture.log_prob(actions), components[k].log_prob(actions))
    alone = Mixture(torch.ones(1), components[1:])
    assert torch.equal(alone.log_prob(actions), components[1].log_prob(actions))


def test_learning_never_enumerates_the_joint_space(monkeypatch):
    policies = make(4)

    def enumerated(self):
        raise AssertionError(f"{type(self).__name__} enumerated the joint actions")

    for cls in (OnSupport, Factorised, Mixture):
        monkeypatch.setattr(cls, "joint_log_probs", enumerated)
    for policy in policies.values():
        policy.log_prob(policy.sample())
        policy.entropy()
        policy.collision_entropy()
    kl_divergence(policies["simple"], policies["target"])
    kl_divergence(policies["masked"], policies["mixture"])
    masked_kl(policies["simple"], policies["target"])


def test_inference_mode_does_not_spoil_later_gradients():
    sizes = (2, 5, 2)  # used in no other test, so that its layout is made here
    with torch.inference_mode():
        Factorised(torch.zeros(9), sizes).sample()
    logits = torch.zeros(9, requires_grad=True)
    Factorised(logits, sizes).log_prob(torch.tensor(3)).backward()
    assert torch.isfinite(logits.grad).all()


def test_weights_off_the_simplex_are_refused_when_validated():
    parts = make()
    components = [parts["simple"], parts["target"]]
    for weights in ([0.5, 0.6], [-0.5, 1.5]):
        with pytest.raises(ValueError, match=r"parameter weights .* constraint Simplex"):
            Mixture(torch.tensor(weights), components)
        Mixture(torch.tensor(weights), components, validate_args=False)


def test_parameters_and_actions_are_validated():
    with pytest.raises(ValueError, match="parameter logits"):
        Factorised(torch.tensor([math.nan, 0.0]), (2,))
    with pytest.raises(ValueError, match="parameter logits"):
        OnSupport(torch.tensor([math.nan, 0.0]), torch.tensor([0, 1]), 4)
    for policy in make().values():
        for action in (-1, 756):
            with pytest.raises(ValueError, match="within the support"):
                policy.log_prob(torch.tensor(action))


@pytest.mark.parametrize("support", [[0, 0], [0, 4], [-1, 2]])
def test_a_support_is_distinct_actions_of_the_space(support):
    message = r"distinct joint actions in 0 … 3; got \["
    with pytest.raises(ValueError, match=message):
        OnSupport(torch.zeros(2), torch.tensor(support), 4)
    with pytest.raises(ValueError, match=message):
        Masked(Factorised(torch.zeros(4), (2, 2)), torch.tensor(support))


def test_a_mask_outside_the_base_is_refused():
    base = OnSupport(torch.zeros(2), torch.tensor([0, 1]), 4)
    with pytest.raises(ValueError, match=r"cannot mask to support \[2, 3\]: the base has no probability there"):
        Masked(base, torch.tensor([2, 3]))


def test_a_mask_validates_if_its_base_does():
    base = OnSupport(torch.zeros(2), torch.tensor([0, 1]), 4, validate_args=False)
    masked = Masked(base, torch.tensor([0, 0]))
    masked.log_prob(torch.tensor(7))  # neither the support nor the action is looked at
    with pytest.raises(ValueError, match="distinct joint actions"):
        Masked(base, torch.tensor([0, 0]), validate_args=True)


@pytest.mark.parametrize("sizes", [(3, 3), (), (5, 0), (6, -1)])
def test_sizes_that_do_not_fit_the_logits_are_refused(sizes):
    with pytest.raises(ValueError, match=r"group sizes .* do not fit logits of shape \[2, 5\]"):
        Factorised(torch.zeros(2, 5), sizes)


def test_shapes_that_do_not_fit_are_refused():
    parts = make(2)
    components = [parts["simple"], parts["target"]]
    with pytest.raises(ValueError, match=r"logits of shape \[2, 5\] do not fit a support of shape \[3\]"):
        OnSupport(torch.zeros(2, 5), torch.tensor([0, 1, 2]), 6)
    with pytest.raises(ValueError, match=r"weights of shape \[3\] do not fit 2 components"):
        Mixture(torch.ones(3) / 3, components)
    with pytest.raises(ValueError, match="do not fit 0 components"):
        Mixture(torch.ones(0), [])
    with pytest.raises(ValueError, match=r"(?i)shape"):
        Mixture(torch.ones(3, 2) / 2, components)


def test_policies_over_other_spaces_do_not_mix():
    small, big = Factorised(torch.zeros(9), (9,)), make()["target"]
    with pytest.raises(ValueError, match=r"same number of joint actions; got \[9, 756\]"):
        Mixture(torch.tensor([0.5, 0.5]), [small, big])
    for p, q in ((small, big), (make()["simple"], small)):
        with pytest.raises(ValueError, match="KL needs one action space; got"):
            kl_divergence(p, q)
    with pytest.raises(ValueError, match=r"group sizes \(7, 3\) make 21 joint actions, not 756"):
        big.marginals((7, 3))


def test_factorised_policies_with_other_groups_compare_by_their_joint_actions():
    p, q = Factorised(torch.randn(5), (3, 2)), Factorised(torch.randn(5), (2, 3))
    expected = (p.probs * (p.probs / q.probs).log()).sum()
    torch.testing.assert_close(kl_divergence(p, q), expected)


def test_every_policy_is_a_distribution_of_discrete_actions():
    for policy in make().values():
        assert isinstance(policy, Policy)
        assert policy.support.is_discrete
        assert policy.support.check(torch.tensor([0, 755, 756])).tolist() == [True, True, False]
