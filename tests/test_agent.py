"""Agents as data: acting and learning see the same policy, members are independent, wiring shares what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib.alternatives.methods import METHODS
from mmlib.method.agent import AgentState, MixMatchAgent
from mmlib.method.mixture import mix, mix_values, mixture_weights
from mmlib.spaces import SMALL, ActionSpace, one_part_each
from mmlib.training.fitting import fit

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


EVERY = [(method, task) for method, spec in METHODS.items() for task in range(max(1, spec.tasks))]


@pytest.mark.parametrize(("method", "task"), EVERY)
def test_step_and_unroll_agree(method, task):
    """The log-probability that the actor stores is the one the learner would compute, across episode ends."""
    agent, T, N = make(method), 6, 3
    observation, _, _, first = inputs(agent, T, N)
    weights = agent.control_weights(torch.tensor([0.3, 0.8]))
    state, generator = agent.initial_state(N, task), torch.Generator().manual_seed(2)
    start, rows = state, []
    for t in range(T):
        with torch.no_grad():
            acted = agent.step(observation[t], first[t], state, weights, generator, task)
        rows.append((state.last_action, state.last_reward, acted.action, acted.log_prob, acted.selected))
        state = AgentState(acted.action, torch.randn(2, N, generator=generator), acted.outputs.cores)
    last_action, last_reward, actions, stored, selected = (torch.stack(column) for column in zip(*rows, strict=True))
    out = agent.unroll(observation, last_action, last_reward, first, start.cores, task)
    log_probs = agent.control_log_probs(out.policies, weights, actions, selected)
    torch.testing.assert_close(log_probs, stored, rtol=1e-4, atol=1e-5)
    assert out.cores.keys() == state.cores.keys()
    for name, core in out.cores.items():
        torch.testing.assert_close(core, state.cores[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "method", ["small", "mm", "mm_shared_head", "mm_three", "ff_lstm", "mm_lstm_lstm", "mm_multitask"]
)
def test_members_do_not_mix(method):
    """A loss on member 0 has no gradient in member 1's parameters; a member alone computes the same."""
    agent = make(method)
    batch = inputs(agent, 3, 2)
    out = agent.unroll(*batch, agent.initial_state(2).cores)
    weights = agent.mixture_weights(torch.tensor([0.3, 0.8]))
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
    support = agent.support(SMALL)
    on_support = big.probs[..., support]
    torch.testing.assert_close(small.probs[..., support], on_support / on_support.sum(-1, keepdim=True))
    assert small.probs.sum(-1).allclose(torch.ones(2, 2, 2))


def bound(*groups):
    """A space with groups of so many values, and an easy one within it."""
    names, sizes = [f"group {k}" for k in range(len(groups))], [range(n) for n in groups]
    vectors = one_part_each(sizes, len(groups))
    big = ActionSpace("big of it", tuple(names), tuple(tuple(map(str, size)) for size in sizes), vectors)
    few = np.array([[0] * len(groups), [n - 1 for n in groups]], np.int32)
    return {"big": big, "small": ActionSpace("small of it", ("action",), (("least", "most"),), few)}


@pytest.mark.parametrize("spaces", [bound(3), bound(3, 2)], ids=["one group", "two groups"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_a_levels_own_spaces(method, spaces):
    spec = fit(method, spaces)
    agent = MixMatchAgent(spec, 1, vector=4)
    zeros = torch.zeros(2, 1, 3)
    out = agent.unroll(torch.randn(2, 1, 3, 4), zeros.long(), zeros, zeros.bool(), agent.initial_state(3).cores)
    for c, policy in zip(spec.active(), out.policies, strict=True):
        assert policy.probs.shape[-1] == spec.space.num_actions
        torch.testing.assert_close(policy.probs.sum(-1), torch.ones(2, 1, 3))
        assert (policy.probs > 0).sum(-1).eq(c.space.num_actions).all()


def test_a_head_between_the_two_spaces_is_masked_and_embedded():
    """Small as a part of the head of 540 actions, in an agent of 756."""
    mm = METHODS["mm_three"]
    small = replace(mm.constituents[0], head="medium")
    agent = MixMatchAgent(replace(mm, constituents=(small, *mm.constituents[1:])), 1, vector=4)
    zeros = torch.zeros(2, 1, 3)
    out = agent.unroll(torch.randn(2, 1, 3, 4), zeros.long(), zeros, zeros.bool(), agent.initial_state(3).cores)
    few, middle, _ = out.policies
    there = agent.support(SMALL)
    expected = middle.probs[..., there] / middle.probs[..., there].sum(-1, keepdim=True)
    torch.testing.assert_close(few.probs[..., there], expected)
    torch.testing.assert_close(few.probs.sum(-1), torch.ones(2, 1, 3))


def test_wiring_a_shares_all_but_the_heads():
    agent = make("mm")
    assert list(agent.torsos) == ["torso"] and list(agent.cores) == ["lstm"]
    assert list(agent.heads) == ["small", "big"] and list(agent.baselines) == ["small", "big"]


def test_wiring_b_shares_all_but_the_cores():
    agent = make("mm_ff_lstm")
    assert list(agent.torsos) == ["torso"] and list(agent.cores) == ["feed_forward", "lstm"]
    assert list(agent.heads) == ["policy"] and list(agent.baselines) == ["value"]
    batch = inputs(agent, 2, 2)
    easy, target = agent.unroll(*batch, agent.initial_state(2).cores).policies
    for method, policy in (("ff", easy), ("lstm", target)):  # each is the plain agent with the same parameters
        alone = make(method)
        alone.load_state_dict(agent.state_dict(), strict=False)
        (same,) = alone.unroll(*batch, alone.initial_state(2).cores).policies
        torch.testing.assert_close(same.logits, policy.logits)


def test_ff_lstm_adds_activations_before_one_head():
    both, batch = make("ff_lstm"), inputs(make("ff_lstm"), 2, 2)
    (policy,) = both.unroll(*batch, both.initial_state(2).cores).policies
    hidden = _hidden(both, batch)
    total = both.heads["policy"](hidden["feed_forward"] + hidden["lstm"]).unflatten(1, (2, -1)).transpose(0, 1)
    groups = [torch.log_softmax(group, -1) for group in total.split(both.space.group_sizes, -1)]
    torch.testing.assert_close(policy.logits, torch.cat(groups, -1))


def _hidden(agent, batch):
    """Each core's activations `[P, T * N, 256]`."""
    observation, action, reward, first = batch
    begun = (~first).float()[..., None]
    seen = agent.torsos["torso"](observation.transpose(0, 1).flatten(1, 2)).unflatten(1, (2, -1)).transpose(0, 1)
    x = torch.cat(
        [seen, agent.value_features[agent.space.columns(action)].sum(-2) * begun, reward[..., None] * begun], -1
    )
    state = agent.initial_state(2).cores
    return {name: core(x, first, state[name])[0].transpose(0, 1).flatten(1, 2) for name, core in agent.cores.items()}


def test_wiring_c_mixes_each_levels_specialist_with_the_centre():
    agent = make("mm_multitask")
    assert list(agent.torsos) == ["torso"] and len(agent.cores) == len(agent.heads) == 4
    batch = inputs(agent, 2, 2)
    first = [agent.unroll(*batch, agent.initial_state(2, task).cores, task).policies for task in range(3)]
    for specialist, central in first:
        torch.testing.assert_close(central.logits, first[0][1].logits)
        assert not torch.allclose(specialist.logits, central.logits)
    assert list(agent.initial_state(2, 1).cores) == ["lstm/task2", "lstm/central"]
    first[1][0].logits.square().sum().backward()  # level 2's specialist learns; the others' parameters do not
    learned = {name.split(".")[1] for name, p in agent.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned == {"torso", "lstm/task2", "task2"}


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.0, [1, 0, 0]), (0.25, [0.5, 0.5, 0]), (0.5, [0, 1, 0]), (0.9, [0, 0.2, 0.8])]
)
def test_alpha_walks_along_a_chain(alpha, expected):
    torch.testing.assert_close(mixture_weights(torch.tensor([alpha]), 3), torch.tensor([expected], dtype=torch.float32))
    assert mixture_weights(torch.tensor([alpha]), 1).tolist() == [[1.0]]


def test_without_mixing_the_target_acts():
    agent = make("kl_no_mixing")
    assert agent.control_weights(torch.tensor([0.2, 0.7])).tolist() == [[0, 1], [0, 1]]
    torch.testing.assert_close(agent.mixture_weights(torch.tensor([0.2, 0.7]))[:, 0], torch.tensor([0.8, 0.3]))


def test_sampled_mixing_selects_with_the_weights():
    """c ~ Cat(alpha) at each step, and the stored log-probability is that of pi_c."""
    agent, N = make("mm_sampled"), 4000
    observation, _, _, first = inputs(agent, 1, 1)
    many = observation.expand(1, 2, N, 3, 36, 48)
    weights = agent.control_weights(torch.tensor([0.3, 1.0]))
    state, generator = agent.initial_state(N), torch.Generator().manual_seed(0)
    with torch.no_grad():
        acted = agent.step(many[0], first[0].expand(2, N), state, weights, generator)
    share = acted.selected.float().mean(-1)
    assert abs(share[0] - 0.3) < 4 * (0.21 / N) ** 0.5 and share[1] == 1
    small = acted.action[0][acted.selected[0] == 0]
    assert set(small.tolist()) <= set(agent.support(SMALL).tolist())


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
