"""The appendices: hand-computed values, properties, brute force against closed forms, and gradients by autograd."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inspected import train_run
from torch.distributions import kl_divergence

from mmlib import levels
from mmlib.errors import ResultsError
from mmlib.experiments.design import ExperimentError
from mmlib.method.mixture import mix
from mmlib.method.policies import Factorised, OnSupport
from mmlib.method.trajectory import Trajectory
from mmlib.runs.writer import RunWriter
from mmlib.theory import facts, gradients, worlds

SIZES = (2, 3)
numbers = st.floats(-6, 6)


def joint(logits):
    return OnSupport(torch.tensor(logits, dtype=torch.float64), torch.arange(len(logits)), len(logits))


policies = st.lists(numbers, min_size=6, max_size=6).map(joint)


@given(policies, policies, st.floats(0, 1))
@settings(deadline=None)
def test_appendix_g_is_an_upper_bound_and_its_gap_an_identity(first, second, alpha):
    both = worlds.bound(first, second, alpha)
    assert both.proposed >= both.alternative - 1e-12
    assert both.proposed - both.alternative == pytest.approx(float(both.gap), abs=1e-9)
    assert both.gap <= -sum(p * math.log(p) for p in (alpha, 1 - alpha) if p > 0) + 1e-9


def test_the_printed_last_line_of_appendix_g_is_false_for_a_point_and_a_uniform_policy():
    point, uniform = OnSupport(torch.zeros(1), torch.tensor([0]), 2), joint([0.0, 0.0])
    both = worlds.bound(point, uniform, 0.5)  # the mixture is (3/4, 1/4)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert both.printed == pytest.approx(0.5 * (entropy - math.log(2)))
    assert both.printed < 0 < both.gap


@given(policies, st.lists(numbers, min_size=5, max_size=5))
@settings(max_examples=50)
def test_total_correlation_is_the_least_kl_of_a_product(policy, logits):
    floor = worlds.total_correlation(policy, SIZES)
    table = policy.probs.reshape(SIZES)
    best = (table.sum(1, keepdim=True) * table.sum(0, keepdim=True)).flatten()
    assert floor == pytest.approx(float((policy.probs * (policy.probs / best).log()).sum()), abs=1e-9)
    other = Factorised(torch.tensor(logits, dtype=torch.float64), SIZES)
    assert kl_divergence(policy, other) >= floor - 1e-9


def test_two_actions_on_a_diagonal_cost_a_product_log_2():
    diagonal = OnSupport(torch.zeros(2), torch.tensor([0, 4]), 6)  # (0, 0) and (1, 1)
    assert worlds.total_correlation(diagonal, SIZES) == pytest.approx(math.log(2))


def test_visits_count_every_step_and_follow_the_policy():
    generator = torch.Generator().manual_seed(0)
    world = worlds.random_world(2, 4, 3, generator)
    action = torch.full((2, 4, 1), 7)
    policy = OnSupport(torch.zeros(2, 4, 1), torch.tensor([7]), 756)
    counts = worlds.visits(world, policy, 3, 5, generator)
    expected, state = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
    for _ in range(5):  # one action, so one path
        expected[torch.arange(2), state] += 3
        state = world.successor.gather(2, action)[torch.arange(2), state, 0]
    assert torch.equal(counts, expected)


def test_remark_1_softmax_reaches_the_teacher_and_a_product_its_floor():
    size = {"seeds": 2, "states": 6, "updates": 150, "records": 3}
    softmax = worlds.distil(worlds.Distillation(hidden=(32,)), **size)
    assert softmax.updates == [0, 50, 100, 150]
    assert (softmax.kl[-1] < 0.02 * softmax.kl[0]).all()
    assert torch.equal(softmax.entropy[0], softmax.entropy[-1])  # the teacher stays
    product = worlds.distil(worlds.Distillation("factorised", hidden=(32,)), **size)
    assert (product.kl >= product.floor - 1e-5).all() and (product.kl[-1] < product.floor[-1] + 0.1).all()


def test_with_a_product_the_transfer_cost_lowers_the_teachers_entropy():
    size = {"seeds": 2, "states": 6, "updates": 150, "records": 3}
    before, *_, after = worlds.distil(facts.PULL["factorised"], **size).entropy
    assert (after < before - 0.5).all()
    before, *_, after = worlds.distil(facts.PULL["softmax"], **size).entropy
    assert (after > before - 0.15).all()


@pytest.mark.parametrize("alpha", [0.2, 0.7])
def test_enumerated_gradient_is_the_gradient_of_the_expected_return(alpha):
    problem = gradients.random_problem(3)
    logits = problem.logits[0].clone().requires_grad_()
    small = torch.cat([torch.softmax(logits[:2], 0), torch.zeros(2, dtype=torch.float64)])
    mixture = (1 - alpha) * small + alpha * torch.softmax(logits[2:], 0)
    (by_logits,) = torch.autograd.grad((mixture * problem.rewards[0]).sum(), logits)
    exact = gradients.enumerate_mixing(problem, alpha, steps=1)
    torch.testing.assert_close(exact.mean_explicit, by_logits @ problem.jacobian[0])


def test_enumerated_estimators_share_their_mean_and_explicit_mixing_varies_less():
    for seed in range(3):
        exact = gradients.enumerate_mixing(gradients.random_problem(seed), 0.4)
        torch.testing.assert_close(exact.mean_explicit, exact.mean_sampled)
        assert exact.variance_sampled > 1.01 * exact.variance_explicit > 0


@pytest.fixture(scope="module")
def trajectories():
    agent = facts.untrained("mm")
    level = levels.make(facts.LEVEL, num_envs=2, seed=1, staggered=True, **facts.FRAME)
    with torch.no_grad():
        agent.heads["small"].weight.mul_(100)  # policies that differ from uniform
        agent.baselines["big"].bias.fill_(0.3)  # and advantages that are not 0
    return agent, gradients.collect(agent, level, 0.5, unrolls=1, unroll=12, seed=1, warm_up=0)


def test_a_trajectorys_gradient_is_the_one_that_it_has_alone(trajectories):
    agent, (batch,) = trajectories
    generator = torch.Generator().manual_seed(0)
    both, _ = gradients._gradients(gradients._population(agent, 2), batch, generator)
    for i in (0, 1):
        tensors = {n: v[:, i : i + 1] for n, v in vars(batch).items() if n not in ("weights", "cores")}
        cores = {n: s and (s[0][i : i + 1], s[1][i : i + 1]) for n, s in batch.cores.items()}
        alone, _ = gradients._gradients(agent, Trajectory(**tensors, weights=batch.weights[:1], cores=cores), generator)
        assert alone.abs().max() > 0
        torch.testing.assert_close(both[i], alone[0], rtol=1e-3, atol=1e-6)


def test_the_networks_ratio_is_made_of_the_gram_matrix_and_the_differences(trajectories):
    agent, batches = trajectories
    measured = gradients.compare_mixing(agent, batches)
    first, _ = gradients._gradients(gradients._population(agent, 2), batches[0], torch.Generator().manual_seed(0))
    variance = float((first - first.mean(0)).square().sum(1).mean())
    assert measured.ratio == pytest.approx(1 + measured.squares.mean() / variance, rel=1e-3)
    assert measured.ratio > 1
    low, high = measured.interval(resamples=50)
    assert 1 <= low <= high


def test_what_is_compared_was_played_by_the_explicit_mixture(trajectories):
    agent, (batch,) = trajectories
    out = gradients._population(agent, 2).unroll(
        batch.observation, batch.last_action, batch.last_reward, batch.first, batch.cores
    )
    played = gradients._log_prob(mix(out.policies, batch.weights), batch.action)
    torch.testing.assert_close(played, batch.log_prob, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["mm_sampled", "mm_learned_alpha", "mm_three", "q_mm", "big756"])
def test_agents_without_two_estimators_are_refused(method, tmp_path):
    with pytest.raises(ExperimentError, match=f"method '{method}' does not mix two policies explicitly"):
        facts.all_facts(tmp_path, "smoke", [method])


def test_a_run_whose_policies_are_tied_otherwise_is_refused(tmp_path):
    """The table's agent mixes explicitly, this run's does not."""
    train_run(tmp_path, "mm", mixing="sampled")
    with pytest.raises(ExperimentError, match="method 'mm' does not mix two policies explicitly"):
        facts.all_facts(tmp_path, "smoke", [], [str(tmp_path / "mm" / "seed0")])


def test_a_run_without_checkpoint_is_refused(tmp_path):
    with RunWriter(tmp_path, {"method": "mm", "seed": 1, "level": facts.LEVEL}) as writer:
        writer.finish()
    with pytest.raises(ResultsError, match="has no checkpoint"):
        facts.all_facts(tmp_path / "results", "smoke", [], [str(tmp_path)])
