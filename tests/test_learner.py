"""The learner's loss as a whole, and its gradients, against the paper's formulas written out step by step."""

from dataclasses import replace

import pytest
import torch

from mmlib.alternatives.methods import METHODS
from mmlib.config import make_config
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters, Learner
from mmlib.method.trajectory import Trajectory

T, P, N = 7, 2, 3
SETTINGS = {"discount": 0.9, "baseline_cost": 0.7, "transfer_cost": 3.0}


@pytest.fixture
def learner():
    """Agents of two policies that are far from uniform, on observations of five numbers."""
    torch.manual_seed(0)
    agent = MixMatchAgent(METHODS["mm"], P, vector=5)
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(0.3 * torch.randn_like(p) * (p.abs().mean() + 0.05))
    values = {"level": "explore_object_locations_small_mini", "method": "mm"}
    return Learner(agent, make_config({**values, "population": P, "num_envs": N, "unroll": T, **SETTINGS}))


@pytest.fixture
def batch(learner):
    """Steps of another policy, on episodes that end inside; some actions are Small's."""
    agent = learner.agent
    first = torch.rand(T + 1, P, N) < 0.3
    small = agent.support(agent.spec.constituents[0].space)
    either = torch.randint(0, agent.space.num_actions, (T, P, N)), small[torch.randint(0, 9, (T, P, N))]
    action, reward = torch.where(torch.rand(T, P, N) < 0.5, *either), torch.randn(T, P, N).clamp(-1, 1)
    return Trajectory(
        observation=torch.randn(T + 1, P, N, 5),
        last_action=torch.cat([torch.zeros(1, P, N, dtype=torch.int64), action]),
        last_reward=torch.cat([torch.zeros(1, P, N), reward]),
        first=first,
        action=action,
        reward=reward,
        log_prob=-6 + torch.rand(T, P, N),
        selected=torch.zeros(T, P, N, dtype=torch.int64),
        weights=torch.ones(P, 2),
        cores=agent.initial_state(N).cores,
    )


def written_out(learner, batch, alphas, entropy_costs):
    """The loss of each member: IMPALA's three terms on pi_mm, and lambda times eq. (1), in loops, of probabilities."""
    outputs = learner.agent.unroll(batch.observation, batch.last_action, batch.last_reward, batch.first, batch.cores)
    losses = []
    for m, (alpha, entropy_cost) in enumerate(zip(alphas.tolist(), entropy_costs.tolist(), strict=True)):
        one, two = (policy.probs[:, m] for policy in outputs.policies)
        mixture = (1 - alpha) * one + alpha * two
        value = (1 - alpha) * outputs.values[0][:, m] + alpha * outputs.values[1][:, m]
        loss = torch.zeros(())
        for n in range(N):
            log_pi = [mixture[t, n, batch.action[t, m, n]].log() for t in range(T)]
            rho = [min(1.0, float((log_pi[t].detach() - batch.log_prob[t, m, n]).exp())) for t in range(T)]
            gamma = [0.0 if batch.first[t + 1, m, n] else SETTINGS["discount"] for t in range(T)]
            v, reward = value[:, n].tolist(), batch.reward[:, m, n].tolist()
            vs = [*[0.0] * T, v[T]]
            for t in reversed(range(T)):  # Espeholt et al. (2018), eq. (1) as a recursion
                delta = rho[t] * (reward[t] + gamma[t] * v[t + 1] - v[t])
                vs[t] = v[t] + delta + gamma[t] * rho[t] * (vs[t + 1] - v[t + 1])
            for t in range(T):
                advantage = rho[t] * (reward[t] + gamma[t] * vs[t + 1] - v[t])
                loss = loss - log_pi[t] * advantage
                loss = loss + SETTINGS["baseline_cost"] * 0.5 * (vs[t] - value[t, n]) ** 2
                taken = mixture[t, n][mixture[t, n] > 0]
                loss = loss + entropy_cost * (taken * taken.log()).sum()
                small = one[t, n] > 0
                kl = (one[t, n][small] * (one[t, n][small] / two[t, n][small]).log()).sum()
                loss = loss + SETTINGS["transfer_cost"] * (1 - alpha) * kl / N  # S: N trajectories
        losses.append(loss)
    return torch.stack(losses)


def test_the_loss_and_its_gradients_are_those_written_out(learner, batch):
    learner.agent.spec = replace(METHODS["mm"], transfer_weight=SETTINGS["transfer_cost"])
    alphas, entropy_costs = torch.tensor([0.25, 0.8]), torch.tensor([0.01, 0.3])
    loss, _ = learner._loss(batch, Hyperparameters(torch.ones(P), entropy_costs, alphas), 0)
    expected = written_out(learner, batch, alphas, entropy_costs)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    parameters = list(learner.parameters.values())
    got, wanted = (torch.autograd.grad(each.sum(), parameters) for each in (loss, expected))
    for mine, theirs in zip(got, wanted, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_levels_add_up_and_share_lambda(learner, batch):
    """Of three levels the loss is the sum, and |S| counts the trajectories of all."""
    agent, values = learner.agent, learner.config.model_dump()
    three = Learner(agent, make_config({**values, "level": "+".join([values["level"]] * 3)}))
    hyper = Hyperparameters(torch.ones(P), torch.full((P,), 0.1), torch.full((P,), 0.4))
    (alone, _), (shared, rows) = (each._loss(batch, hyper, 0) for each in (learner, three))
    transfer = agent.spec.transfer_weight * rows["transfer"] * T  # of N trajectories, a step each time
    torch.testing.assert_close(alone - shared, 2 / 3 * transfer, rtol=1e-4, atol=1e-4)
    together, _ = three._descend([batch] * 3, hyper)
    torch.testing.assert_close(together, 3 * shared.detach())


def test_one_step_of_one_environment_has_finite_diagnostics(learner, batch):
    cut = {
        name: value[:2] if name in ("observation", "last_action", "last_reward", "first") else value[:1]
        for name, value in vars(batch).items()
        if name not in ("weights", "cores")
    }
    alone = Trajectory(
        **{name: value[:, :, :1] for name, value in cut.items()},
        weights=batch.weights,
        cores=learner.agent.initial_state(1).cores,
    )
    hyper = Hyperparameters(torch.ones(P), torch.ones(P), torch.full((P,), 0.5))
    _, rows = learner._loss(alone, hyper, 0)
    assert all(value.isfinite().all() for value in rows.values())
