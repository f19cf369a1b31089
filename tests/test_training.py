"""The loop on a real miniature level: determinism, lag, resuming, what is recorded."""

import json

import numpy as np
import pytest
import torch
from dying import train_until

from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.runs.reader import Run
from mmlib.runs.records import read_bytes
from mmlib.training import checkpoint
from mmlib.training.loop import TrainingLoop, train

LEVEL = "explore_object_locations_small_mini"


def learner_of(loop):
    return loop.fleet.shard.learner


def config(**overrides):
    base = dict(level=LEVEL, method="mm", num_envs=4, unroll=10, learner_batches=2, width=48, height=36, conv1=(4, 2))
    base |= dict(agent_steps=480, log_every=80, checkpoint_every=160, alpha=[[0, 0.0], [400, 1.0]])
    return make_config(base | overrides)


def records(directory):
    """Everything that must not depend on when or where a run was made."""
    return [read_bytes(directory, name) for name in ("metrics", "episodes")]


@pytest.mark.parametrize("lag", [0, 1])
def test_a_seed_gives_one_curve(tmp_path, lag):
    for name in ("one", "two"):
        train(config(lag=lag), tmp_path / name)
    assert records(tmp_path / "one") == records(tmp_path / "two")
    train(config(lag=lag, seed=1), tmp_path / "other")
    assert records(tmp_path / "one") != records(tmp_path / "other")


ADAM = {"optimiser": "adam", "learning_rate": 3e-4, "anneal": True, "value_targets": "each"}


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("settings", [{}, {"method": "small"}, ADAM], ids=["mm", "small", "adam"])
def test_resumed_is_as_if_never_interrupted(tmp_path, monkeypatch, lag, settings):
    train(config(lag=lag, **settings), tmp_path / "whole")

    class Killed(Exception):
        pass

    # After the checkpoint at 160 agent steps, and some records that it does not cover.
    train_until(7, config(lag=lag, **settings), tmp_path / "broken", error=Killed)
    assert Run(tmp_path / "broken").state == "failed"
    train(config(lag=lag, **settings), tmp_path / "broken")

    assert records(tmp_path / "broken") == records(tmp_path / "whole")
    one, two = (checkpoint.load(tmp_path / name)["loop"]["learner"] for name in ("broken", "whole"))
    for mine, its in ((one["agent"], two["agent"]), *zip(one["optimiser"].values(), two["optimiser"].values())):
        assert all(torch.equal(value, its[name]) for name, value in mine.items())


def test_what_is_recorded(tmp_path):
    train(config(population=2, agent_steps=2000, unroll=25), tmp_path)
    run = Run(tmp_path)
    assert run.state == "done" and run.config["method"] == "mm" and run.config["backend_in_force"] == "minilab"
    metrics, episodes = run.metrics(), run.episodes()
    assert set(metrics.member) == {0, 1} == set(episodes.member)
    assert metrics.frames.max() == 8000 and (metrics.agent_steps * 4 == metrics.frames).all()
    assert len(episodes) == 8 and set(episodes.length_frames) == {1800}  # 2 members, 4 environments, one each
    assert metrics.alpha.iloc[-1] == 1.0 and metrics.alpha.iloc[0] < 0.5
    assert (metrics.grad_norm > 0).all() and metrics.rho_mean.between(0.2, 1).all()
    assert (metrics.entropy >= metrics.collision_entropy).all()
    assert metrics.action_marginals.map(lambda x: sum(x)).between(5.99, 6.01).all()  # six groups
    for member, rows in metrics.groupby("member"):
        own = episodes[episodes.member == member]
        for before, row in zip([0, *rows.frames], rows.itertuples()):
            ended = own["return"][(own.frames > before) & (own.frames <= row.frames)]
            assert row.episodes == len(ended) and row.return_mean == pytest.approx(ended.mean(), nan_ok=True)
    stages = json.loads((tmp_path / "timing.jsonl").read_text().splitlines()[0])["stages"]
    assert {"act", "engine", "learn"} <= set(stages)


def test_updates_change_only_what_was_used(tmp_path):
    """At alpha = 0 without transfer the target's head gets no gradient; with transfer it does (eq. 1)."""
    changed = {}
    for cost in (0.0, 1.0):
        loop = TrainingLoop(config(alpha=[[0, 0.0]], transfer_cost=cost))
        before = {name: p.clone() for name, p in learner_of(loop).parameters.items()}
        loop.iterate()
        loop.close()
        changed[cost] = {name for name, p in learner_of(loop).parameters.items() if not torch.equal(p, before[name])}
    assert "heads.small.weight" in changed[0.0] and "heads.big.weight" not in changed[0.0]
    assert {"heads.small.weight", "heads.big.weight"} <= changed[1.0]


@pytest.mark.parametrize("method", ["mm", "mm_sampled", "kl_no_mixing", "mm_ff_lstm"])
def test_learner_sees_what_acted(method):
    """On policy, V-trace's weights are 1, in every batch: log-probabilities, recurrent states and who acted are those
    of the steps. Policies are far from uniform, which is alike for every state."""
    settings = dict(learner_batches=2, learning_rate=1e-9, alpha=[[0, 0.5]], reward_clip=1e-3)
    loop = TrainingLoop(config(method=method, **settings))
    with torch.no_grad():
        for name, value in learner_of(loop).parameters.items():
            if name.startswith("heads") and name.endswith("weight"):
                value.mul_(100)
    for _ in range(3):
        (row,) = loop.iterate().diagnostics
        assert row["rho_mean"].item() == pytest.approx(1.0, abs=1e-4)
    loop.close()


def test_with_lag_what_acts_is_what_learned_until_then():
    loop = TrainingLoop(config(lag=1, learner_batches=1, alpha=[[0, 0.3]], learning_rate=0.05))
    agent = learner_of(loop).agent
    for _ in range(3):
        before = {name: value.clone() for name, value in agent.state_dict().items()}
        loop.iterate()
    loop.close()
    (made,), now = loop.fleet.shard.pending, agent.state_dict()
    assert not all(torch.allclose(before[name], value, atol=1e-3) for name, value in now.items())
    agent.load_state_dict(before)
    with torch.no_grad():
        outputs = agent.unroll(made.observation, made.last_action, made.last_reward, made.first, made.cores)
        torch.testing.assert_close(learner_of(loop)._at_steps(outputs, made.weights, made), made.log_prob)


def test_the_target_alone_plays_where_it_is_evaluated():
    """At alpha 0, where Small acts beside it, which never jumps."""
    loop = TrainingLoop(config(alpha=[[0, 0.0]], evaluation_envs=4))
    shard, jumps = loop.fleet.shard, {"trained": [], "evaluated": []}
    for seen, actor in zip(jumps.values(), (*shard.actors, *shard.evaluators), strict=True):
        step = actor.level.step
        actor.level.step = lambda taken, seen=seen, step=step: seen.append(taken[:, 5].copy()) or step(taken)
    loop.iterate()
    loop.close()
    assert np.concatenate(jumps["evaluated"]).any() and not np.concatenate(jumps["trained"]).any()


def test_a_directory_of_another_run_is_refused(tmp_path):
    train(config(agent_steps=80), tmp_path)
    with pytest.raises(ResultsError, match="learning_rate"):
        train(config(agent_steps=80, learning_rate=0.5), tmp_path)


@pytest.mark.slow
def test_several_levels_with_evaluation_and_decisions_resume_exactly(tmp_path, monkeypatch):
    """Everything that a checkpoint may hold at once, the trajectory that is not yet learned from included."""
    pbt = {"ready": 1, "window": 2, "p_value": 0.9, "explore_probability": 0.6}
    settings = dict(level=f"{LEVEL}+nav_maze_static_01_mini", method="multitask", population=2, num_envs=1, lag=1)
    settings |= dict(evaluation_envs=1, unroll=20, learner_batches=1, staggered=True, pbt=pbt, alpha=[[0, 0.0]])
    settings |= dict(level_settings={"episode_seconds": 2}, log_every=80, checkpoint_every=40)
    whole = config(**settings, agent_steps=40 * 12)
    train(whole, tmp_path / "whole")
    for iteration in (4, 6):
        train_until(iteration, whole, tmp_path / "broken")
    train(whole, tmp_path / "broken")
    for name in ("metrics", "episodes", "evaluations", "decisions"):
        one, two = (read_bytes(tmp_path / run, name) for run in ("whole", "broken"))
        assert one == two and one
    one, two = (checkpoint.load(tmp_path / name)["loop"] for name in ("broken", "whole"))
    assert all(torch.equal(value, two["learner"]["agent"][name]) for name, value in one["learner"]["agent"].items())


@pytest.mark.slow
def test_episodes_of_the_target_alone_are_stamped_with_the_frames_trained_on(tmp_path):
    settings = dict(level=f"{LEVEL}+nav_maze_static_01_mini", method="multitask", num_envs=4, evaluation_envs=2)
    settings |= dict(level_settings={"episode_seconds": 6}, unroll=50, log_every=400)
    train(config(**settings, agent_steps=1600), tmp_path)
    trained, alone = Run(tmp_path).episodes(), Run(tmp_path).evaluations()
    assert trained["frames"].iloc[0] == 90 * 4 * 4 * 2  # an episode's agent steps, action repeat, environments, levels
    assert (
        alone["frames"].tolist() == trained["frames"].tolist()[::2]
    )  # half as many environments, and they end together


@pytest.mark.parametrize("method", ["mm_ff_lstm", "mm_three"])
@pytest.mark.parametrize("ties", [{"transfer": "cross_entropy", "mixing": "sampled"}, {"transfer": "mixture_kl"}])
def test_any_agent_can_be_tied_in_any_way(tmp_path, method, ties):
    train(config(method=method, agent_steps=80, alpha=[[0, 0.5]], stop_gradient=True, **ties), tmp_path)
    row = Run(tmp_path).metrics().iloc[-1]
    assert row["transfer"] > 0 and row["grad_norm"] > 0


def _changes(**settings) -> tuple[dict, dict]:
    """What one iteration changes in a learner: its parameters before, and after."""
    loop = TrainingLoop(config(**settings))
    before = {name: value.detach().clone() for name, value in learner_of(loop).parameters.items()}
    loop.iterate()
    loop.close()
    return before, learner_of(loop).parameters


def test_the_value_of_a_constituent_that_does_not_act_is_trained_where_each_is():
    """At alpha = 0 the mixture's value is V_1 alone, and V_2 has no gradient but by the setting."""
    for targets, trained in (("mixture", False), ("each", True)):
        before, after = _changes(alpha=[[0, 0.0]], value_targets=targets)
        assert torch.equal(before["baselines.big.weight"], after["baselines.big.weight"]) != trained
        assert not torch.equal(before["baselines.small.weight"], after["baselines.small.weight"])


def test_lambda_is_the_methods_unless_the_run_says_otherwise_and_s_counts_what_it_says():
    """The two readings of |S| differ by T: lambda = 1 a trajectory is lambda = T a step."""
    with_cores = TrainingLoop(config(method="mm_ff_lstm"))
    assert learner_of(with_cores).agent.spec.transfer_weight == 100.0
    with_cores.close()
    _, one = _changes(transfer_cost=1.0)
    _, same = _changes(transfer_cost=10.0, transfer_normalisation="steps")  # unroll 10
    _, other = _changes(transfer_cost=1.0, transfer_normalisation="steps")
    assert all(torch.allclose(one[name], same[name], atol=1e-7) for name in one)
    assert not all(torch.allclose(one[name], other[name], atol=1e-7) for name in one)


def test_updates_of_an_unroll_deal_the_environments_out_anew():
    loop = TrainingLoop(config())
    seen = []
    for _ in range(3):
        seen.append([part[0].tolist() for part in learner_of(loop)._batches()])
        loop.iterate()
    loop.close()
    assert all(sorted(i for part in parts for i in part) == [0, 1, 2, 3] for parts in seen)
    assert len({str(parts) for parts in seen}) > 1


def test_an_annealed_learning_rate_is_recorded_as_it_was_in_force(tmp_path):
    train(config(anneal=True, agent_steps=400, log_every=80, learning_rate=1e-3), tmp_path)
    rates = Run(tmp_path).metrics()["learning_rate"].tolist()  # of the last iteration, begun 40 agent steps before
    assert rates == pytest.approx([9e-4, 7e-4, 5e-4, 3e-4, 1e-4])


def test_an_annealed_learning_rate_falls_to_nothing():
    before, after = _changes(anneal=True)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    loop = TrainingLoop(config(anneal=True, agent_steps=80))
    while loop.agent_steps < 80:
        loop.iterate()
    at_end = {name: value.detach().clone() for name, value in learner_of(loop).parameters.items()}
    loop.iterate()
    loop.close()
    assert all(torch.equal(value, at_end[name]) for name, value in learner_of(loop).parameters.items())
