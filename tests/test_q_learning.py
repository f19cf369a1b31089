"""Mix & Match with Q-learning: its arithmetic by enumeration, what each gradient reaches, the replay, whole runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from divided import config as population
from divided import same_numbers, told
from test_shards import divided
from test_stack import SEEDS, places, same_run

from mmlib.alternatives.methods import METHODS
from mmlib.alternatives.q_learning import QLearner, greedy, n_step_targets
from mmlib.analysis.conditions import in_force
from mmlib.config import ConfigError, PBTConfig, QConfig, make_config
from mmlib.experiments import design
from mmlib.method import pbt
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters
from mmlib.method.policies import Factorised, Masked, OnSupport
from mmlib.method.trajectory import Trajectory
from mmlib.numerics.trees import tensors
from mmlib.runs.reader import Run, config_differences
from mmlib.runs.records import read_bytes
from mmlib.spaces import BIG_756, SMALL, embedding
from mmlib.training import checkpoint
from mmlib.training.fitting import OF_LEARNERS, check
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.shard import LEARNERS
from mmlib.training.stack import train_together

LEVEL = "explore_object_locations_small_mini"
SMALL_IN_BIG = embedding(SMALL, BIG_756)
T, N, S = 8, 4, 2


# --- Targets and action values ---


def paths(rewards, discounts, values, taken, n):
    """`n_step_targets` of one environment, each path walked by itself."""
    found = []
    for t in range(len(rewards)):
        total, factor, k = 0.0, 1.0, t
        while True:
            total, factor, k = total + factor * rewards[k], factor * discounts[k], k + 1
            if k == len(rewards) or k == t + n or not taken[k] or factor == 0:
                break
        found.append(total + factor * values[k])
    return found


@pytest.mark.parametrize("n", [1, 2, 5, 7, 20])
def test_targets_are_those_of_each_path_walked_by_itself(n):
    random = np.random.default_rng(n)
    rewards, values = random.normal(size=(7, 1, 40)), random.normal(size=(8, 1, 40))
    discounts, taken = 0.9 * (random.random((7, 1, 40)) < 0.8), random.random((7, 1, 40)) < 0.7
    got = n_step_targets(*map(torch.as_tensor, (rewards, discounts, values, taken)), n)
    for b in range(40):
        expected = paths(rewards[:, 0, b], discounts[:, 0, b], values[:, 0, b], taken[:, 0, b], n)
        np.testing.assert_allclose(got[:, 0, b], expected, rtol=1e-12)


def test_targets_by_hand():
    """Two rewards; a path that stops before an action that is not the policy's; the ends of episode and unroll."""
    rewards, values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]), torch.tensor([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    discounts, taken = torch.tensor([0.5, 0.5, 0.5, 0.0, 0.5]), torch.tensor([True, True, False, True, True])
    got = n_step_targets(rewards, discounts, values, taken, 2)
    assert got.tolist() == [1 + 1 + 0.25 * 20, 2 + 0.5 * 20, 4 + 4, 8, 16 + 0.5 * 50]


def policies(batch):
    torch.manual_seed(1)
    logits = 2 * torch.randn(*batch, sum(BIG_756.group_sizes), dtype=torch.float64)
    product = Factorised(logits, BIG_756.group_sizes)
    few = OnSupport(torch.randn(*batch, 9, dtype=torch.float64), torch.as_tensor(SMALL_IN_BIG), 756)
    return product, few, Masked(product, torch.as_tensor(SMALL_IN_BIG))


def test_the_best_action_is_the_best_of_all_that_there_are():
    for policy in policies((50,)):
        assert torch.equal(greedy(policy), policy.joint_log_probs().argmax(-1))


def test_a_policy_and_a_value_are_action_values_of_which_they_are_the_softmax_and_the_soft_value():
    tau, value = 0.3, torch.linspace(-2, 2, 50, dtype=torch.float64)
    for policy in policies((50,)):
        q = value[:, None] + tau * policy.joint_log_probs()
        torch.testing.assert_close(torch.softmax(q / tau, -1), policy.probs)
        torch.testing.assert_close(tau * torch.logsumexp(q / tau, -1), value)
    sizes = BIG_756.group_sizes  # a product's are a sum: what one group adds does not depend on the others
    q = (value[:, None] + tau * policies((50,))[0].joint_log_probs()).unflatten(-1, sizes)
    torch.testing.assert_close(q[:, 3] - q[:, 2], (q[:, 3] - q[:, 2])[(..., *[slice(0, 1)] * 5)].expand(50, *sizes[1:]))


# --- A world of two states, in which the action values are known ---


def config(method="q_mm", q=None, **overrides):
    base = dict(level=LEVEL, method=method, num_envs=N, unroll=T, learner_batches=2, width=48, height=36, conv1=(4, 2))
    base |= dict(agent_steps=15 * N * T, log_every=2 * N * T, checkpoint_every=5 * N * T, optimiser="adam")
    return check(make_config(base | {"q": {"replay": 4, "target_every": 2, **(q or {})}} | overrides))


def learner(settings, **changes):
    """A learner of one-hot observations without memory, with M&M's two policies."""
    torch.manual_seed(0)
    spec = METHODS["q_mm"]
    parts = tuple(replace(c, cores=("feed_forward",)) for c in spec.constituents)
    spec = replace(spec, **{"transfer": "none", "constituents": parts, **changes})
    return QLearner(MixMatchAgent(spec, settings.population, vector=S), settings)


FORWARD, JUMP = (BIG_756.unravel(np.arange(756))[:, i] == j for i, j in ((3, 2), (5, 1)))


def played(random, settings, elsewhere=0.5, small=SMALL_IN_BIG):
    """An unroll by Small's actions and, with probability `elsewhere`, by any: a jump has 0.3, and Small has none.

    Forward leads from state 0 to 1, and ends the episode there with a reward of 1.
    """
    shape = settings.population, settings.num_envs
    state, seen, first, actions, rewards = random.integers(S, size=shape), [], [np.ones(shape, bool)], [], []
    for _ in range(settings.unroll):
        action = np.where(
            random.random(shape) < elsewhere, random.integers(756, size=shape), random.choice(small, shape)
        )
        end = FORWARD[action] & (state == 1)
        seen.append(np.eye(S)[state])
        actions.append(action)
        rewards.append(0.3 * JUMP[action] + end)
        first.append(end)
        state = np.where(end, 0, np.where(FORWARD[action], 1, state))
    seen.append(np.eye(S)[state])
    action, reward = torch.as_tensor(np.stack(actions)), torch.as_tensor(np.stack(rewards)).float()
    before = [torch.cat([torch.zeros_like(x[:1]), x]) for x in (action, reward)]
    return Trajectory(
        torch.as_tensor(np.stack(seen)).float(),
        *before,
        torch.as_tensor(np.stack(first)),
        action,
        reward,
        log_prob=torch.zeros_like(reward),
        selected=torch.zeros_like(action),
        weights=torch.ones(shape[0], 2),
        cores={"feed_forward": None},
    )


def best(actions, discount):
    """Q* `[S, 756]` for an agent that has these actions, by value iteration."""
    q = np.zeros((S, 756))
    for _ in range(100):
        zero, one = discount * q[:, actions].max(1)
        q = 0.3 * JUMP + np.stack([np.where(FORWARD, one, zero), np.where(FORWARD, 1.0, one)])
    return q


def values_of(of, agent, batch):
    """The action values of each constituent, `[T+1, P, N, 756]`."""
    with torch.no_grad():
        out = agent.unroll(batch.observation, batch.last_action, batch.last_reward, batch.first, batch.cores)
    tau = of.settings.tau
    return [(v[..., None] + tau * p.joint_log_probs()).numpy() for p, v in zip(out.policies, out.values, strict=True)]


def hyper(of, rate=1e-3, alpha=0.0):
    return Hyperparameters(*(torch.full((of.agent.population,), x) for x in (rate, 0.0, alpha)))


def test_it_learns_the_best_action_values_of_each_action_space():
    """Small's are those of a world without jumps, though the replay is full of them."""
    settings = config(num_envs=64, discount=0.5, learning_rate=1e-3, q={"tau": 0.5, "n_steps": 1})
    of, random = learner(settings), np.random.default_rng(0)
    for _ in range(90):
        of.update([played(random, settings)], hyper(of))
    batch = played(random, settings)
    states = batch.observation.argmax(-1)
    for q, actions in zip(values_of(of, of.agent, batch), (SMALL_IN_BIG, np.arange(756)), strict=True):
        expected = best(actions, 0.5)[states][..., actions]
        assert np.ptp(expected) > 0.7
        np.testing.assert_allclose(q[..., actions], expected, atol=0.06)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_errors_are_double_q_learnings_by_enumeration(n):
    settings = config(population=2, q={"tau": 0.2, "n_steps": n})
    of, random = learner(settings), np.random.default_rng(4)
    for part in (*of.agent.parameters(), *of.target.parameters()):
        part.data += 0.2 * torch.randn_like(part)
    batch = played(random, settings)
    inputs = batch.observation, batch.last_action, batch.last_reward, batch.first, batch.cores
    one, two = of.agent.unroll(*inputs), of.target.unroll(*inputs)
    tables = zip(values_of(of, of.agent, batch), values_of(of, of.target, batch), strict=True)
    outside, differ = 0, 0
    for k, (q, target) in enumerate(tables):
        log_probs, errors = of._errors(batch, one.policies[k], one.values[k], two.policies[k], two.values[k])
        has = np.isin(batch.action.numpy(), SMALL_IN_BIG if k == 0 else np.arange(756))
        values = np.take_along_axis(target, q.argmax(-1)[..., None], -1)[..., 0]
        differ += (values != target.max(-1)).sum()
        chosen = np.take_along_axis(q[:-1], batch.action.numpy()[..., None], -1)[..., 0]
        discounts = settings.discount * ~batch.first[1:].numpy()
        for p, b in np.ndindex(2, N):
            expected = paths(*(x[:, p, b] for x in (batch.reward.numpy(), discounts, values, has)), n)
            expected = np.where(has[:, p, b], expected - chosen[:, p, b], 0)
            np.testing.assert_allclose(errors[:, p, b].detach(), expected, atol=1e-5)
        assert np.array_equal(torch.isfinite(log_probs), has)
        outside += (~has).sum()
    assert 10 < outside < 2 * T * N and differ > 10 and batch.first[1:].any()


def test_gradients_are_a_policys_and_a_baselines_by_hand():
    """Of (y - Q)^2 / 2: -(y - Q) by V, -tau (y - Q) (1_a - pi) by the logits; weighed by the cost, and by 1 / tau."""
    settings = config(baseline_cost=0.7, q={"tau": 0.25})
    of = learner(settings)
    batch = played(np.random.default_rng(5), settings)
    logits = torch.randn(T + 1, 1, N, 9, requires_grad=True)
    value = torch.randn(T + 1, 1, N, requires_grad=True)
    policy = OnSupport(logits, torch.as_tensor(SMALL_IN_BIG), 756)
    still = OnSupport(torch.randn(T + 1, 1, N, 9), torch.as_tensor(SMALL_IN_BIG), 756), torch.randn(T + 1, 1, N)
    _, errors = of._errors(batch, policy, value, *still)
    seen = torch.as_tensor(SMALL_IN_BIG) == batch.action[..., None]
    assert seen.any() and not seen.any(-1).all()
    taken = seen.any(-1, keepdim=True)
    outputs = of.agent.unroll(batch.observation, batch.last_action, batch.last_reward, batch.first, batch.cores)
    of.agent.unroll = lambda *_: outputs._replace(policies=[policy], values=value[None])
    of.target.unroll = lambda *_: outputs._replace(policies=[still[0]], values=still[1][None])
    of.agent.spec = replace(of.agent.spec, constituents=of.agent.spec.constituents[:1])
    loss, row = of._loss(batch, hyper(of), 0)
    loss.sum().backward()
    errors = errors.detach()
    torch.testing.assert_close(value.grad[:-1], -0.7 * errors)
    torch.testing.assert_close(
        logits.grad[:-1], -errors[..., None] * taken * (seen.float() - policy.probs[:-1][..., SMALL_IN_BIG])
    )
    assert not value.grad[-1].any() and not logits.grad[-1].any()
    torch.testing.assert_close(row["value_error"], errors.abs().mean((0, 2)))


def gradients(of, batch, alpha):
    for parameter in of.parameters.values():
        parameter.grad = None
    of._loss(batch, hyper(of, alpha=alpha), 0)[0].sum().backward()
    return {name: bool(p.grad is not None and p.grad.any()) for name, p in of.agent.named_parameters()}


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_each_learns_from_every_step_that_it_could_have_taken_whoever_acts(alpha):
    settings = config()
    of, random = learner(settings), np.random.default_rng(6)
    small, big = (
        {f"{part}.{name}.{x}" for part in ("heads", "baselines") for x in ("weight", "bias")}
        for name in ("small", "big")
    )
    reached = gradients(of, played(random, settings, elsewhere=0.0), alpha)
    assert all(reached[name] for name in small | big)
    reached = gradients(of, played(random, settings, small=np.flatnonzero(JUMP), elsewhere=0.0), alpha)
    assert all(reached[name] for name in big) and not any(reached[name] for name in small)
    assert all(p.grad is None for p in of.target.parameters())


def test_the_transfer_cost_is_added_with_the_weight_of_its_own():
    settings = config()
    batch = played(np.random.default_rng(7), settings)
    alone, _ = learner(settings)._loss(batch, hyper(learner(settings), alpha=0.25), 0)
    for weight in (1.0, 3.0):
        of = learner(settings, transfer="kl", transfer_weight=weight)
        loss, row = of._loss(batch, hyper(of, alpha=0.25), 0)
        torch.testing.assert_close(loss - alone, weight * row["transfer"] * T, rtol=1e-3, atol=1e-4)  # |S| = N
        assert row["transfer"] > 0.1


# --- The target network and the replay ---


def test_the_target_network_follows_at_every_second_unroll_alone():
    settings, random = config(), np.random.default_rng(8)
    of, copies = learner(settings), []
    for _ in range(5):
        before = [p.detach().clone() for p in of.agent.parameters()]
        of.update([played(random, settings)], hyper(of))
        copies.append(all(map(torch.equal, before, of.target.parameters())))
    assert copies == [True, False] * 2 + [True]


def test_the_replay_has_the_last_unrolls_of_every_environment():
    settings, random = config(population=2), np.random.default_rng(9)
    of, made = learner(settings), []
    for k in range(6):
        made.append(played(random, settings))
        of.update([made[-1]], hyper(of))
        (kept,) = of.replay
        for age in range(4):
            at = (k - age) % 4 * N
            there = kept.environments(slice(at, at + N))
            assert age > k or all(
                torch.equal(getattr(there, name), getattr(made[k - age], name))
                for name in ("observation", "last_action", "last_reward", "first", "action", "reward")
            )


def test_what_is_learned_from_is_uniform_over_what_there_is_and_the_seeds_alone():
    settings = config(learner_batches=4, q={"passes": 3})
    of, again, other = (learner(settings.model_copy(update={"seed": seed})) for seed in (1, 1, 2))
    counts = np.zeros(4 * N)
    for unroll in range(400):
        drawn = []
        for each in (of, again, other):
            each.updates = 12 * unroll
            drawn.append(each._batches())
        assert [part.shape for part in drawn[0]] == [(1, 1)] * 12
        assert all(map(torch.equal, *drawn[:2])) and (unroll == 0 or drawn[0] != drawn[2])
        places = torch.cat(drawn[0], 1).flatten().numpy()
        assert places.max() < N * (unroll + 1)
        counts += np.bincount(places, minlength=4 * N) * (unroll >= 4)
    assert (np.abs(counts / counts.mean() - 1) < 0.25).all()


# --- Runs ---


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "overrides",
    [
        {"method": "q_mm", "alpha": [[0, 0.2]]},
        {"method": "q_small", "lag": 1},
        pytest.param({"method": "q_big756", "dtype": "bfloat16"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_goes_on_exactly_where_it_was(overrides, tmp_path):
    given, rows = config(agent_steps=11 * N * T, log_every=N * T, checkpoint_every=5 * N * T, **overrides), []

    def killed(row):
        rows.append(row)
        if len(rows) == 8:  # the replay is full, the target network behind; the last checkpoint is of the fifth unroll
            raise Killed

    train(given, tmp_path / "whole")
    with pytest.raises(Killed):
        train(given, tmp_path / "parts", killed)
    train(given, tmp_path / "parts")
    for name in ("metrics", "episodes"):
        assert read_bytes(tmp_path / "whole", name) == read_bytes(tmp_path / "parts", name)
    one, two = (checkpoint.load(tmp_path / run)["loop"]["learner"] for run in ("whole", "parts"))
    assert all(map(torch.equal, tensors(one), tensors(two))) and one["updates"] == two["updates"] == 22
    assert Run(tmp_path / "whole").metrics()["value_error"].gt(0).all()


def test_a_population_is_one_run_however_it_is_divided_and_copies_the_target_network(tmp_path):
    run = population(method="q_mm", q={"replay": 3, "target_every": 3}, agent_steps=80 * 9)
    fleets = {"whole": divided(), "three": divided(1, 2)}
    for name, fleet in fleets.items():
        train(run, tmp_path / name, make_fleet=fleet)
    assert told(tmp_path / "three") == told(tmp_path / "whole")
    assert same_numbers(*(checkpoint.load(tmp_path / name)["loop"] for name in fleets))
    loop = TrainingLoop(run)
    mine = loop.fleet.shard.learner
    for _ in range(2):  # the target network is behind now
        loop.iterate()
    mine.replace(2, mine.member(0))
    for one, two in zip(mine.agent.parameters(), mine.target.parameters(), strict=True):
        assert torch.equal(one[0], one[2]) and torch.equal(two[0], two[2])
    assert any(
        not torch.equal(one, two) for one, two in zip(mine.agent.parameters(), mine.target.parameters(), strict=True)
    )
    loop.close()


def test_seeds_side_by_side_are_the_runs_that_each_would_have_been(tmp_path):
    alone = {"pbt": None, "population": 1, "alpha": [[0, 0.0], [1000, 1.0]], "method": "q_mm", "q": {"replay": 3}}
    configs = [population(**alone, seed=seed, agent_steps=80 * 6) for seed in SEEDS]
    for given, where in zip(configs, places(tmp_path / "alone"), strict=True):
        train(given, where)
    assert not train_together(configs, places(tmp_path / "together"))
    assert all(map(same_run, places(tmp_path / "alone"), places(tmp_path / "together")))


# --- Settings ---


def test_settings_of_another_learner_are_refused_and_play_no_part(tmp_path):
    assert LEARNERS.keys() == OF_LEARNERS.keys()
    quick = design.PRESETS["quick"]
    for method, name, value in (
        ("q_mm", "entropy_cost", 1e-3),
        ("q_mm", "value_targets", "each"),
        ("mm", "q", {"tau": 1}),
    ):
        with pytest.raises(
            design.ExperimentError, match=f"setting {name!r} plays no part: method {method!r} learns by"
        ):
            design.configure(quick, LEVEL, method, 1, {name: value})
    assert design.configure(quick, LEVEL, "q_mm", 1, {"q": {"tau": 1}, "baseline_cost": 1.0}).q == QConfig(tau=1)
    given = {"q": {"tau": 1}, "entropy_cost": 1.0}
    jobs = design.plan("alternatives", "quick", None, ["mm", "q_mm"], [1], given, tmp_path)
    assert [(job.config.q.tau, job.config.entropy_cost) for job in jobs] == [(QConfig().tau, 1.0), (1, 2e-3)]
    settings = [in_force(job.config.model_dump(mode="json")) for job in jobs]
    assert "q" not in settings[0] and "entropy_cost" in settings[0]
    assert "q" in settings[1] and not {"entropy_cost", "value_targets"} & settings[1].keys()
    assert pbt.adapted(PBTConfig(), METHODS["q_mm"]) == ("learning_rate", "alpha")


def test_runs_from_before_there_was_q_learning_are_the_runs_that_they_were():
    recorded = config("mm", q={}).model_copy(update={"q": QConfig()}).model_dump(mode="json")
    assert config_differences({n: value for n, value in recorded.items() if n != "q"}, recorded) == []
    assert config_differences({**recorded, "q": {}}, recorded) == []
    assert config_differences({**recorded, "q": {"tau": 9.0}}, recorded) == ["q"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learner": "r2d2"}, "method 'own': unknown learner 'r2d2'; learners: vtrace, q"),
        ({"alpha": "gradient"}, "method 'own': alpha is learned by vtrace's policy gradient, not by 'q'"),
    ],
)
def test_an_entry_that_cannot_learn_is_refused_before_any_work(changed, said, monkeypatch):
    monkeypatch.setitem(METHODS, "own", replace(METHODS["q_mm"], **changed))
    with pytest.raises(ConfigError, match=said):
        config("own")


@pytest.mark.parametrize(
    ("q", "said"),
    [
        ({"tau": 0}, "q.tau = 0"),
        ({"n_steps": 0}, "q.n_steps = 0"),
        ({"taw": 1}, r"'q.taw'; settings: q.tau, q.n_steps"),
    ],
)
def test_settings_out_of_range_are_named(q, said):
    with pytest.raises(ConfigError, match=said):
        config(q=q)
