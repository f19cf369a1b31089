"""Agents as data: acting and learning see the same policy, members are independent, wiring shares what it says."""

import pytest
import torch

from mmlib.agent import METHODS, AgentState, MixMatchAgent, mix, mix_values, mixture_weights

SIZE = {"height": 36, "width": 48, "conv1": (4, 2)}


def make(method="mm", population=2, **kwargs):
    torch.manual_seed(0)
    return MixMatchAgent(METHODS[method], population, **SIZE, **kwargs)


def inputs(agent, steps, num_envs, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, agent.population, num_envs)
    return (
        torch.randint(0, 256, (*shape, 3, 36, 48), generator=generator, dtype=torch.uint8),
        torch.randint(0, agent.space.num_actions, shape, generator=generator),
        torch.randn(shape, generator=generator),
        torch.rand(shape, generator=generator) < 0.3,  # episodes end inside the unroll
    )


@pytest.mark.parametrize("method", METHODS)
def test_step_and_unroll_agree(method):
    """The log-probability that the actor stores is the one the learner would compute, across episode ends."""
    agent, T, N = make(method), 6, 3
    observation, _, _, first = inputs(agent, T, N)
    weights = mixture_weights(torch.tensor([0.3, 0.8]), agent.num_constituents)
    state, generator = agent.initial_state(N), torch.Generator().manual_seed(2)
    start, rows = state, []
    for t in range(T):
        with torch.no_grad():
            action, log_prob, cores = agent.step(observation[t], first[t], state, weights, generator)
        rows.append((state.last_action, state.last_reward, action, log_prob))
        state = AgentState(action, torch.randn(2, N, generator=generator), cores)
    last_action, last_reward, actions, log_probs = (torch.stack(column) for column in zip(*rows, strict=True))
    out = agent.unroll(observation, last_action, last_reward, first, start.cores)
    torch.testing.assert_close(mix(out.policies, weights).log_prob(actions), log_probs, rtol=1e-4, atol=1e-5)
    for name, core in out.cores.items():
        torch.testing.assert_close(core, state.cores[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_members_do_not_mix(method):
    """A loss on member 0 has no gradient in member 1's parameters; a member alone computes the same."""
    agent = make(method)
    batch = inputs(agent, 3, 2)
    out = agent.unroll(*batch, agent.initial_state(2).cores)
    weights = mixture_weights(torch.tensor([0.3, 0.8]), agent.num_constituents)
    mixture = mix(out.policies, weights)
    loss = mixture.entropy()[:, 0].sum() + mix_values(out.values, weights)[:, 0].sum()
    loss.backward()
    touched = 0
    for parameter in agent.parameters():
        if parameter.grad is not None:
            assert not parameter.grad[1].any()
            touched += int(parameter.grad[0].any())
    assert touched >= 10

    alone = make(method, population=1)
    with torch.no_grad():
        for mine, theirs in zip(alone.parameters(), agent.parameters(), strict=True):
            mine.copy_(theirs[1:])
    one = alone.unroll(*(x[:, 1:] for x in batch), alone.initial_state(2).cores)
    torch.testing.assert_close(one.values[:, :, 0], out.values[:, :, 1], rtol=1e-4, atol=1e-5)


def test_shared_head_is_the_masked_big_policy():
    agent = make("mm_shared_head")
    small, big = agent.unroll(*inputs(agent, 2, 2), agent.initial_state(2).cores).policies
    support = agent.support_0
    on_support = big.probs[..., support]
    torch.testing.assert_close(small.probs[..., support], on_support / on_support.sum(-1, keepdim=True))
    assert small.probs.sum(-1).allclose(torch.ones(2, 2, 2))


def test_wiring_a_shares_all_but_the_heads():
    agent = make("mm")
    assert list(agent.torsos) == ["torso"] and list(agent.cores) == ["lstm"]
    assert list(agent.heads) == ["small", "big"] and list(agent.baselines) == ["small", "big"]


def test_mixture_value_is_the_selectors_mean():
    values = torch.tensor([[[[1.0, 2.0]]], [[[5.0, 6.0]]]])  # K=2, T=1, P=1, N=2
    weights = mixture_weights(torch.tensor([0.25]), 2)
    torch.testing.assert_close(mix_values(values, weights), torch.tensor([[[2.0, 3.0]]]))


def test_first_observation_ignores_what_came_before():
    agent = make()
    observation, action, reward, _ = inputs(agent, 1, 2)
    first, fresh = torch.ones(1, 2, 2, dtype=torch.bool), agent.initial_state(2)
    dirty = {"lstm": tuple(torch.randn(2, 2, 256) for _ in range(2))}
    one = agent.unroll(observation, action, reward, first, dirty)
    two = agent.unroll(observation, action * 0, reward * 0, first, fresh.cores)
    torch.testing.assert_close(one.values, two.values)


def test_bfloat16_is_close_to_float32():
    agent, rough = make(), make(dtype="bfloat16")
    batch = inputs(agent, 3, 2)
    exact = agent.unroll(*batch, agent.initial_state(2).cores)
    other = rough.unroll(*batch, rough.initial_state(2).cores)
    assert other.values.dtype == torch.float32
    torch.testing.assert_close(other.values, exact.values, rtol=0.1, atol=0.05)
    assert not torch.equal(other.values, exact.values)
