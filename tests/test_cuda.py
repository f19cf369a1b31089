"""Acting and learning on a GPU, in replayed graphs, are what they are on a CPU. Skipped where there is none."""

import gc

import numpy as np
import pytest
import torch

from mmlib.alternatives.methods import METHODS
from mmlib.config import make_config
from mmlib.method.learner import Hyperparameters
from mmlib.numerics.replay import WARM_UP, Replayed
from mmlib.numerics.trees import mapped
from mmlib.runs.reader import Run
from mmlib.training.checkpoint import load
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.shard import LEARNERS, Shard, initial_agent, make_agent
from mmlib.training.stack import train_together

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

LEVEL = "explore_object_locations_small_mini"
P, N, T = 3, 4, 6


@pytest.fixture(autouse=True)
def whole_floats(monkeypatch):
    """Convolutions in float32, not in TF32, so that rounding is a CPU's."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def config(method="mm", **settings):
    base = dict(level="+".join([LEVEL] * (METHODS[method].tasks or 1)), method=method, population=P, num_envs=N)
    base |= dict(unroll=T, width=48, height=36, conv1=(4, 2), alpha=[[0, 0.3]], device="cuda")
    return make_config(base | settings)


def everything(learner):
    return [value.detach().cpu().clone() for value in learner._everything()]


def close(one, other, tolerance):
    """Whether tensors differ by no more than `tolerance` of the largest number of each, and float32's grain."""
    return all((a - b).abs().max() <= tolerance * b.abs().max() + 1e-6 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_updates_are_those_of_a_cpu(method):
    """Six updates, of which the last are replayed, with other numbers each time."""
    here = Shard(config(method, device="cpu", max_grad_norm=40.0))
    agent = initial_agent(here.config, range(P))  # a teacher in it does not learn
    agent.load_state_dict(here.learner.agent.state_dict())
    there = LEARNERS[agent.spec.learner](agent.to("cuda"), config(method, max_grad_norm=40.0))
    for update in range(WARM_UP + 3):
        alpha = torch.full((P,), 0.1 * (update + 1))
        hyper = Hyperparameters(torch.full((P,), 1e-2), torch.tensor([1e-3, 2e-3, 0.0]), alpha)
        weights = here.learner.agent.control_weights(alpha)
        made = [actor.rollout(weights)[0] for actor in here.actors]
        mine = here.learner.update(made, hyper)
        theirs = there.update([mapped(lambda x: x.to("cuda"), each) for each in made], hyper.on("cuda"))
        assert close([theirs[name].cpu() for name in mine], list(mine.values()), 2e-3), update
    assert there.updates == WARM_UP + 3 and close(everything(there), everything(here.learner), 1e-3)
    here.close()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_recorded_is_what_acted(method, dtype):
    """log pi(a|s) of a rollout, replayed for the most part, against one unroll of all of it by a CPU."""
    shard = Shard(config(method, dtype=dtype, unroll=20, level_settings={"episode_seconds": 0.5}))
    cpu = make_agent(shard.config.model_copy(update={"device": "cpu"}))
    alpha = torch.tensor([0.2, 0.5, 1.0])
    for _ in range(2):
        with torch.no_grad():
            for parameter in shard.learner.agent.parameters():  # what a replayed step acts with follows
                parameter += 0.05 * torch.randn_like(parameter) * parameter.abs().mean()
        cpu.load_state_dict({name: value.cpu() for name, value in shard.learner.agent.state_dict().items()})
        for task, actor in enumerate(shard.actors):
            made, _ = actor.rollout(shard.learner.agent.control_weights(alpha.to("cuda")))
            made = mapped(lambda x: x.cpu(), made)
            seen = made.observation, made.last_action, made.last_reward, made.first
            assert made.first[1:].any() and not made.first.all()
            with torch.no_grad():
                out = cpu.unroll(*seen, made.cores, task)
                at = (torch.cat([x, x[-1:]]) for x in (made.action, made.selected))
                log_prob = cpu.control_log_probs(out.policies, cpu.control_weights(alpha), *at)[:-1]
            torch.testing.assert_close(made.log_prob, log_prob, rtol=0, atol=1e-3 if dtype == "float32" else 0.1)
    shard.close()


def test_replayed_draws_are_new_and_fair():
    """Nine actions of an untrained Small are about as likely; members and steps draw for themselves."""
    shard = Shard(config("small", unroll=200, num_envs=16))
    (actor,) = shard.actors
    made, _ = actor.rollout(shard.learner.agent.control_weights(torch.zeros(P, device="cuda")))
    taken = made.action.cpu()
    assert (taken[1:] != taken[:-1]).float().mean() > 0.8 and (taken[:, 0] != taken[:, 1]).float().mean() > 0.8
    actions = shard.learner.agent.support(METHODS["small"].space).cpu()
    counts = np.array([(taken == action).sum().item() for action in actions])
    expected = taken.numel() / len(actions)
    assert ((counts - expected) ** 2 / expected).sum() < 40  # p = 3e-6 of chi square with eight degrees
    shard.close()


@pytest.mark.parametrize("lag", [0, 1])
def test_a_run_trains_and_goes_on(tmp_path, lag):
    """With evaluation, decisions and several updates an unroll; then on a CPU from the GPU's checkpoint."""
    pbt = {"ready": 1, "window": 2, "p_value": 0.9, "explore_probability": 0.6}
    settings = dict(lag=lag, learner_batches=2, evaluation_envs=2, pbt=pbt, optimiser="adam", agent_steps=40 * N * T)
    settings |= dict(level_settings={"episode_seconds": 1}, log_every=4 * N * T, checkpoint_every=8 * N * T)
    train(config(**settings), tmp_path)
    run = Run(tmp_path)
    assert run.done and set(run.episodes().member) == set(range(P)) and len(run.metrics()) == 10 * P
    assert np.isfinite(run.metrics().select_dtypes("number").to_numpy()).all()
    saved = load(tmp_path)["loop"]
    loop = TrainingLoop(config(**settings).model_copy(update={"device": "cpu", "agent_steps": 10**6}))
    loop.load_state_dict(saved)
    before = everything(loop.fleet.shard.learner)
    assert loop.updates == 80
    for _ in range(1 + lag):
        loop.iterate()
    assert not all(map(torch.equal, before, everything(loop.fleet.shard.learner)))
    loop.close()


def test_both_threads_record_in_the_same_iteration(tmp_path):
    """As where a run of lag 1 goes on: the learner has enough batches to record as its actors do."""
    settings = dict(lag=1, learner_batches=4, evaluation_envs=2, agent_steps=20 * N * T, checkpoint_every=4 * N * T)
    train(config(**settings), tmp_path)
    train(config(**settings).model_copy(update={"agent_steps": 40 * N * T}), tmp_path)
    assert Run(tmp_path).done and load(tmp_path)["loop"]["learner"]["updates"] == 160


def test_seeds_side_by_side_are_runs_of_their_own(tmp_path):
    """Then one of them goes on alone, and meets the other again."""
    settings = dict(population=1, learner_batches=2, agent_steps=20 * N * T, log_every=2 * N * T)
    settings |= dict(level_settings={"episode_seconds": 1}, checkpoint_every=8 * N * T)
    runs, where = [config(**settings, seed=seed) for seed in (3, 4)], [tmp_path / "3", tmp_path / "4"]
    assert train_together(runs, where) == {}
    longer = [run.model_copy(update={"agent_steps": 40 * N * T}) for run in runs]
    train(runs[0].model_copy(update={"agent_steps": 30 * N * T}), where[0])
    assert train_together(longer, where) == {}
    for run, directory in zip(map(Run, where), where, strict=True):
        assert run.done and run.config["population"] == 1 and run.metrics().agent_steps.max() == 40 * N * T
        measured = run.metrics().drop(columns="return_mean")  # which is not known before an episode ends
        assert np.isfinite(measured.select_dtypes("number").to_numpy()).all() and len(run.episodes()) > 0
        assert load(directory)["loop"]["learner"]["updates"] == 80
    assert not Run(where[0]).metrics().equals(Run(where[1]).metrics())


def test_a_recording_goes_on_where_a_graph_is_garbage():
    """As a notebook leaves one that trains again: in a cycle, so that it goes whenever Python collects garbage."""

    def recorded(function):
        graph = Replayed(function)
        for _ in range(WARM_UP + 2):
            result = graph(torch.ones(3, device="cuda"))
        assert (result == function(torch.ones(3, device="cuda"))).all()
        return graph

    def littering(x):
        if torch.cuda.is_current_stream_capturing():
            kept.clear()
            for _ in range(1000):
                cycle = []
                cycle.append(cycle)
        return 2 * x

    cycle = [recorded(torch.exp)]
    cycle.append(cycle)
    kept = [cycle]
    del cycle
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        recorded(littering)
    finally:
        gc.set_threshold(*thresholds)
    assert gc.isenabled()


def test_on_policy_weights_are_one():
    """Every update is on policy with lag 0 and one batch: V-trace's weights are 1 while parameters change."""
    loop = TrainingLoop(config(learning_rate=1e-2))
    for _ in range(WARM_UP + 4):
        (row,) = loop.iterate().diagnostics
        torch.testing.assert_close(row["rho_mean"], torch.ones(P), rtol=0, atol=1e-3)
    loop.close()


def test_a_diverged_member_stops_while_the_rest_goes_on():
    loop = TrainingLoop(config(lag=0))
    learner = loop.fleet.shard.learner
    for iteration in range(WARM_UP + 4):
        if iteration == WARM_UP + 2:
            with torch.no_grad():
                for value in learner.parameters.values():
                    value[1] = float("nan")
        before = everything(learner)
        loop.iterate()
        after = everything(learner)
        assert any(not torch.equal(a[0], b[0]) for a, b in zip(before, after, strict=True))
    assert set(loop.stopped) == {1} and f"loss nan at update {WARM_UP + 2}" in loop.stopped[1]
    assert all(value[0].isfinite().all() and value[2].isfinite().all() for value in after)
    loop.close()


def test_a_replayed_function_sees_new_numbers_and_its_own_state():
    total = torch.zeros((), device="cuda")

    def add(x, pair):
        total.add_(x.sum())
        return {"sum": total + pair[0], "double": 2 * x}

    function, expected = Replayed(add), 0.0
    for call in range(WARM_UP + 3):
        x = torch.full((4,), float(call), device="cuda").expand(2, 4)
        expected += 8.0 * call
        made = function(x, (torch.tensor(1.0, device="cuda"), None))
        assert made["sum"].item() == expected + 1 and made["double"].tolist() == [[2.0 * call] * 4] * 2
