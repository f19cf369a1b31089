"""The alternatives to Mix & Match: their arithmetic by enumeration, and what each trains and leaves alone."""

import dataclasses
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib.alternatives import simplex
from mmlib.alternatives.methods import ALTERNATIVES, DECAY, JUMP, METHODS, teacher_of
from mmlib.analysis import stats, tables
from mmlib.analysis.conditions import in_force
from mmlib.config import ConfigError, PBTConfig, make_config
from mmlib.experiments import design, jobs
from mmlib.method import losses, pbt
from mmlib.method.learner import Hyperparameters
from mmlib.method.mixture import mix, mixture_weights
from mmlib.method.policies import Factorised, OnSupport
from mmlib.method.schedule import piecewise
from mmlib.runs.reader import OtherRun, Run, check_same_run, seen_from
from mmlib.runs.records import read_bytes
from mmlib.spaces import BIG_756, SMALL, embedding
from mmlib.training import checkpoint, teacher
from mmlib.training.fitting import check, definition
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.shard import initial_agent, names_of
from mmlib.training.trained import load

LEVEL = "explore_object_locations_small_mini"
THREE = f"{LEVEL}+lt_horseshoe_color_mini+lt_chasm_mini"
TAUGHT = dict.fromkeys(("kickstart", "distil"), "small_teacher")
TAUGHT |= dict.fromkeys(("kickstart_ff_lstm", "distil_ff_lstm"), "ff_teacher")


def config(method, **overrides):
    base = dict(level=LEVEL, method=method, num_envs=4, unroll=10, learner_batches=2, width=48, height=36, conv1=(4, 2))
    base |= dict(agent_steps=480, log_every=80, checkpoint_every=160)
    if method in TAUGHT:
        base["teacher"] = f"../../{TAUGHT[method]}/seed0"
    return check(make_config(base | overrides))


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """The finished runs that teach."""
    root = tmp_path_factory.mktemp("teachers")
    for method in set(TAUGHT.values()):
        train(config(method, seed=5), root / method / "seed0")
    return root


@pytest.fixture
def place(teachers, tmp_path):
    """A folder of runs with the teachers' among them."""
    shutil.copytree(teachers, tmp_path / "runs")
    return tmp_path / "runs"


def named(agent, part):
    return {name: agent.get_parameter(name).detach().clone() for name in names_of(agent, part)}


def unchanged(before, agent):
    return {name for name, value in before.items() if torch.equal(value, agent.get_parameter(name))}


# --- alpha ---


def test_alpha_jumps_where_two_knots_have_one_time():
    assert [piecewise(JUMP, x) for x in (0, 0.25, np.nextafter(0.5, 0), 0.5, 0.75, 1)] == [0, 0, 0, 1, 1, 1]
    assert [piecewise(((0.1, 0.0), (0.3, 0.5), (0.3, 0.7), (0.5, 0.9)), x) for x in (0.2, 0.3, 0.4)] == pytest.approx(
        [0.25, 0.7, 0.8]
    )
    assert [piecewise(DECAY, x) for x in (0, 0.25, 0.5, 1)] == [0, 0.5, 1, 1]


def test_a_methods_own_alpha_is_in_shares_of_the_run_and_wins_over_the_runs():
    given = config("finetune", agent_steps=600, alpha=[[0, 0.3]])
    alphas = [float(Hyperparameters.in_force(given, METHODS["finetune"], step).alpha) for step in (0, 299, 300, 600)]
    assert alphas == [0, 0, 1, 1]
    assert float(Hyperparameters.in_force(given, METHODS["mm"], 300).alpha) == pytest.approx(0.3)


def test_the_loop_jumps_at_the_iteration_that_begins_at_half_of_the_run_and_records_it(tmp_path):
    train(config("finetune", log_every=40), tmp_path)
    rows = Run(tmp_path).metrics()
    assert dict(zip(rows["agent_steps"], rows["alpha"])) == {n: float(n > 240) for n in range(40, 481, 40)}


@pytest.mark.parametrize("method", ["finetune", "distil", "kickstart", "small_teacher", "distral"])
def test_population_based_training_leaves_an_own_alpha_alone(method):
    names = pbt.adapted(PBTConfig(), METHODS[method])
    assert "alpha" not in names and "alpha" in pbt.adapted(PBTConfig(), METHODS["mm_three_cores"])


def test_another_length_is_another_run_where_alpha_moves_with_the_share_of_it(tmp_path):
    for method, another in (("finetune", True), ("small_teacher", False)):
        given = {**config(method).model_dump(mode="json"), "backend_in_force": "minilab"}
        (tmp_path / method).mkdir()
        (tmp_path / method / "config.json").write_text(json.dumps(given))
        if another:
            with pytest.raises(
                OtherRun, match=r"agent_steps \(480 there, 960 here\).*alpha.*another length another run"
            ):
                check_same_run(tmp_path / method, {**given, "agent_steps": 960})
        else:
            assert check_same_run(tmp_path / method, {**given, "agent_steps": 960}) == given


# --- What learns, and when ---


@pytest.mark.parametrize("optimiser", ["rmsprop", "adam"])
@pytest.mark.parametrize("method", ["finetune", "finetune_ff_lstm"])
def test_fine_tuning_trains_what_acts_and_what_it_shares(method, optimiser):
    loop = TrainingLoop(config(method, optimiser=optimiser, learning_rate=1e-3))
    agent = loop.fleet.shard.learner.agent
    easy, target = (named(agent, part) for part in agent.spec.constituents)
    shared = easy.keys() & target.keys()
    while loop.agent_steps < 240:
        loop.iterate()
    assert unchanged(target, agent) == target.keys() - shared  # new when it takes over
    assert not unchanged(easy, agent) & shared and len(unchanged(easy, agent)) == 0
    easy = named(agent, agent.spec.constituents[0])
    before = named(agent, agent.spec.constituents[1])
    for _ in range(8 if optimiser == "rmsprop" else 3):
        loop.iterate()
    assert not unchanged(before, agent)
    if optimiser == "rmsprop":  # Adam's running means move what has no gradient for a while
        assert unchanged(easy, agent) == easy.keys() - shared
    loop.close()


def test_net2net_takes_over_with_the_function_that_there_is_and_learns_beyond_it():
    loop = TrainingLoop(config("net2net", optimiser="adam"))
    agent = loop.fleet.shard.learner.agent
    seen = torch.randint(0, 256, (5, 1, 3, 3, 36, 48), dtype=torch.uint8)
    first = torch.tensor([True, False, False, True, False])[:, None, None].expand(5, 1, 3)
    past = torch.randint(0, 9, (5, 1, 3)), torch.rand(5, 1, 3), first

    def outputs():
        return agent.unroll(seen, *past, agent.initial_state(3).cores)

    while loop.agent_steps < 240:
        loop.iterate()
    before = outputs()
    torch.testing.assert_close(before.policies[0].joint_log_probs(), before.policies[1].joint_log_probs())
    assert torch.equal(*before.values)
    for _ in range(3):
        loop.iterate()
    after = outputs()
    assert (after.policies[0].joint_log_probs() - after.policies[1].joint_log_probs()).abs().max() > 1e-4
    loop.close()


def test_the_weights_of_a_mixture_have_the_gradient_of_the_advantage_by_hand():
    """d/dw_i of -sum A log sum_i w_i p_i(a) is -sum A p_i(a) / pi_mm(a)."""
    weights = torch.tensor([[0.7, 0.3]], dtype=torch.float64, requires_grad=True)
    logits = torch.randn(4, 1, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    policies = [Factorised(logits, (3, 3)), Factorised(-2 * logits, (3, 3))]
    action = torch.randint(0, 9, (4, 1, 3), generator=torch.Generator().manual_seed(1))
    advantage = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 1, 3)
    loss = losses.policy_gradient_loss(mix(policies, weights).log_prob(action), advantage)
    (got,) = torch.autograd.grad(loss.sum(), weights)
    each = torch.stack([p.joint_log_probs().exp().gather(-1, action[..., None])[..., 0] for p in policies], -1)
    expected = -(advantage[..., None] * each / (each @ weights[0])[..., None]).sum((0, 2))
    torch.testing.assert_close(got, expected)


def test_a_learned_alpha_has_the_policy_gradient_alone():
    gradients = []
    for changed in ({}, {"baseline_cost": 7.0, "entropy_cost": 3.0, "transfer_cost": 90.0, "alpha": [[0, 0.9]]}):
        loop = TrainingLoop(config("mm_learned_alpha", **changed))
        learner = loop.fleet.shard.learner
        made, _, _ = loop.fleet.shard._act(torch.tensor([[0.95, 0.05]]))
        loss, row = learner._loss(made[0], loop.hyper, 0)
        assert row["alpha"].tolist() == pytest.approx([0.05])
        gradients.append(torch.autograd.grad(loss.sum(), learner.parameters["alpha"])[0].item())
        loop.close()
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4) and gradients[0] != 0


def test_a_learned_alpha_is_recorded_as_it_was_in_force_and_found_again(place):
    where = place / "mm_learned_alpha" / "seed1"
    train(config("mm_learned_alpha", optimiser="adam", learning_rate=0.01, seed=1), where)
    alphas = Run(where).metrics()["alpha"]
    assert alphas.iloc[0] == pytest.approx(0.05, abs=0.04) and alphas.nunique() == len(alphas)
    assert load(where).hyper.alpha.item() == pytest.approx(alphas.iloc[-1], abs=0.1)


@pytest.mark.parametrize("method", ["distil", "distil_ff_lstm"])
def test_distillation_trains_the_students_policy_alone_until_the_jump_and_then_all_of_it(method):
    loop = TrainingLoop(config(method))
    agent = loop.fleet.shard.learner.agent
    teacher, student = agent.spec.constituents
    before, theirs = named(agent, student), named(agent, teacher)
    loop.iterate()
    assert unchanged(before, agent) == {name for name in before if name.startswith("baselines.")}
    jumps = 0
    while loop.agent_steps < 240:
        jumps += loop.iterate().values[:, -1].sum()
    assert bool(jumps) == (method == "distil_ff_lstm")  # the teacher acts, and Small has none
    before = named(agent, student)
    made = loop.iterate()
    assert made.diagnostics[0]["transfer"] == 0 and not unchanged(before, agent)
    assert unchanged(theirs, agent) == theirs.keys()
    loop.close()


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimiser": "adam", "value_targets": "each", "lag": 1}, {"population": 2, "stop_gradient": False}],
    ids=["rmsprop", "adam, values apart", "population"],
)
@pytest.mark.parametrize("method", TAUGHT)
def test_a_teacher_is_the_finished_runs_policy_to_the_last_bit_and_stays_so(method, settings, place):
    train(config(method, **settings), place / method / "seed0")
    trained, taught = load(place / method / "seed0").agent, load(place / TAUGHT[method] / "seed0").agent
    teacher, student = trained.spec.constituents
    pairs = list(zip(names_of(trained, teacher), names_of(taught, taught.spec.constituents[0]), strict=True))
    for mine, its in pairs:
        value = taught.get_parameter(its)
        assert torch.equal(trained.get_parameter(mine), value.expand_as(trained.get_parameter(mine)))
    begun = initial_agent(config(method, **settings), range(settings.get("population", 1)))
    assert not unchanged(named(begun, student), trained)
    assert len(unchanged(named(begun, teacher), trained)) < len(pairs)  # it is not what the seed would have made


@pytest.mark.parametrize("method", TAUGHT)
def test_a_teacher_acts_in_the_students_agent_as_it_did_in_its_own(method, place):
    train(config(method), place / method / "seed0")
    agents = [load(place / name / "seed0").agent for name in (method, TAUGHT[method])]
    torch.manual_seed(1)
    steps, count = 6, agents[0].space.num_actions
    seen = torch.randint(0, 256, (steps, 1, 3, 3, 36, 48), dtype=torch.uint8)
    inputs = seen, torch.randint(0, count, (steps, 1, 3)), torch.rand(steps, 1, 3), torch.rand(steps, 1, 3) < 0.3
    with torch.no_grad():
        one, two = (agent.unroll(*inputs, agent.initial_state(3).cores) for agent in agents)
    torch.testing.assert_close(one.policies[0].joint_log_probs(), two.policies[0].joint_log_probs())
    torch.testing.assert_close(one.values[0], two.values[0])


def test_no_gradient_is_asked_for_a_teachers_parameters_whichever_members_a_shard_has():
    given = config("kickstart", population=3)
    for members in (range(3), range(1, 2)):
        agent = initial_agent(given, members)
        teachers = set(names_of(agent, teacher_of(agent.spec)))
        assert {name for name, p in agent.named_parameters() if not p.requires_grad} == teachers


@pytest.mark.parametrize("method", TAUGHT)
def test_a_teacher_shares_no_module(method):
    spec, taught_by = METHODS[method], teacher_of(METHODS[method])
    mine, (other,) = {taught_by.torso, taught_by.head, taught_by.baseline, *taught_by.cores}, spec.constituents[1:]
    assert spec.constituents[0] is taught_by and not mine & {other.torso, other.head, other.baseline, *other.cores}


def test_the_best_member_of_a_population_teaches(place):
    where = place / "small_teacher" / "population"
    train(config("small_teacher", population=2), where)
    rows = [{"frames": 400, "member": m, "return": float(m), "length_frames": 40, "began": 0} for m in (0, 1)]
    (where / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = config("kickstart", teacher="../../small_teacher/population")
    taught, best = teacher.weights(given, place / "kickstart" / "seed0"), load(where).alone(1)
    theirs = names_of(best, best.spec.constituents[0])
    assert len(theirs) == len(taught) > 0
    assert all(
        torch.equal(best.get_parameter(name), value) for name, value in zip(theirs, taught.values(), strict=True)
    )
    other = load(where).alone(0)
    assert not all(torch.equal(other.get_parameter(n), value) for n, value in zip(theirs, taught.values(), strict=True))


def test_the_student_acts_alone_while_the_cost_falls(place):
    loop = TrainingLoop(config("kickstart"))
    agent = loop.fleet.shard.learner.agent
    assert agent.control_weights(torch.tensor([0.0, 0.7])).tolist() == [[0, 1], [0, 1]]
    beyond = 0
    costs = []
    while loop.agent_steps < 480:
        made = loop.iterate()
        beyond += made.values[:, -1].sum()  # jumps
        costs.append(float(made.diagnostics[0]["transfer"]))
    assert beyond > 0  # actions that the teacher does not have
    assert all(cost > 1 for cost in costs[:5]) and costs[6:] == [0.0] * 6  # nats; from half of the run on nothing
    loop.close()


# --- Arithmetic ---


def test_kickstarting_is_the_cross_entropy_with_gradients_in_the_student_alone():
    torch.manual_seed(2)
    support = torch.as_tensor(embedding(SMALL, BIG_756))
    theirs = torch.randn(2, 1, 3, 9, dtype=torch.float64, requires_grad=True)
    mine = torch.randn(2, 1, 3, sum(BIG_756.group_sizes), dtype=torch.float64, requires_grad=True)
    teacher, student = OnSupport(theirs, support, 756), Factorised(mine, BIG_756.group_sizes)
    weights = mixture_weights(torch.tensor([0.25], dtype=torch.float64), 2)
    spec = METHODS["kickstart"]
    cost = losses.transfer_cost(spec.transfer, [teacher, student], weights, stop_gradient=spec.stop_gradient)

    groups = [torch.softmax(part, -1) for part in mine.split(BIG_756.group_sizes, -1)]
    places = torch.as_tensor(BIG_756.unravel(support.numpy()))  # [9, 6]
    chosen = torch.stack([group[..., places[:, g]] for g, group in enumerate(groups)]).prod(0)
    expected = -0.75 * (torch.softmax(theirs, -1).detach() * chosen.log()).sum(-1)
    torch.testing.assert_close(cost, expected)
    (gradient,) = torch.autograd.grad(expected.sum(), mine)
    cost.sum().backward()
    torch.testing.assert_close(mine.grad, gradient)
    assert theirs.grad is None


def test_distral_in_episodes_of_one_step_is_its_papers_objective():
    """The gradient of our loss, in expectation over the action, against that of the objective written out."""
    torch.manual_seed(3)
    actions, c_kl, c_ent = 7, 0.3, 0.2
    reward, size = torch.randn(actions, dtype=torch.float64), 5
    logits = [torch.randn(actions, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    log_pi, log_prior = (torch.log_softmax(x, -1) for x in logits)
    regularised = reward - c_kl * (log_pi - log_prior) - c_ent * log_pi
    expected = torch.autograd.grad(-(log_pi.exp() * regularised).sum(), logits)

    spec = METHODS["distral"]
    every = torch.arange(actions)  # each action in an environment of its own, [T=1, P=1, N=actions]
    specialist, central = (OnSupport(x.expand(1, 1, actions, -1), every, actions) for x in logits)
    weights = mixture_weights(torch.tensor([piecewise(spec.alpha, 0.9)], dtype=torch.float64), 2)
    assert weights.tolist() == [[1, 0]]
    probable = log_pi.exp().detach()  # what an environment counts for
    loss = losses.policy_gradient_loss(specialist.log_prob(every), probable * (reward - 1.7))  # any baseline
    loss = loss + c_ent * losses.entropy_loss(specialist.entropy()) / actions
    cost = losses.transfer_cost(spec.transfer, [specialist, central], weights, stop_gradient=spec.stop_gradient)
    loss = loss + c_kl * size * losses.transfer_loss(cost, size) / actions
    for mine, its in zip(torch.autograd.grad(loss.sum(), logits), expected):
        torch.testing.assert_close(mine, its)


def test_in_distral_specialists_act_and_the_central_policy_is_distilled_from_them_alone():
    given = dict(level=THREE, num_envs=2, learner_batches=1, evaluation_envs=1, agent_steps=480)
    for cost in (0.0, 1.0):
        loop = TrainingLoop(config("distral", transfer_cost=cost, **given))
        agent = loop.fleet.shard.learner.agent
        central = agent.spec.constituents[-1]
        own = {name: value for name, value in named(agent, central).items() if not name.startswith("torsos.")}
        loop.iterate()
        value = {name for name in own if name.startswith("baselines.")}  # nobody acts by it
        assert unchanged(own, agent) == (value if cost else own.keys())
        assert agent.control_weights(loop.hyper.alpha).tolist() == [[1, 0]]
        loop.close()


def test_the_chain_of_three_cores_walks_by_both():
    spec = METHODS["mm_three_cores"]
    assert [c.cores for c in spec.constituents] == [("feed_forward",), ("feed_forward", "lstm"), ("lstm",)]
    alphas = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert mixture_weights(alphas, 3).tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]


def test_weights_on_the_simplex_are_the_mixtures():
    """Each member acts with its own three weights, and they are what is recorded."""
    given = config("mm_three_simplex", population=2, pbt={"adapt": ("alpha",)})
    loop = TrainingLoop(given)
    try:
        names = simplex.names(3)
        loop.population.hyper = [dict(zip(names, weights)) for weights in ((0.5, 0.0, 0.5), (0.2, 0.7, 0.1))]
        loop.iterate()
        assert loop.hyper.alpha.tolist() == [pytest.approx((0.5, 0.0, 0.5)), pytest.approx((0.2, 0.7, 0.1))]
        agent = loop.fleet.shard.learner.agent
        assert torch.equal(agent.control_weights(loop.hyper.alpha), loop.hyper.alpha)
        assert simplex.row(loop.hyper, 1) == pytest.approx(
            {"learning_rate": given.learning_rate, "entropy_cost": given.entropy_cost, "alpha": 0.45}
            | dict(zip(names, (0.2, 0.7, 0.1)))
        )
    finally:
        loop.close()


# --- Runs ---


TRAINED_HERE = "finetune_ff_lstm", "net2net", "mm_three_cores", "mm_three_cores_simplex", "distral"
TRAINED_HERE += "mm_three_simplex", "distil_ff_lstm", "kickstart_ff_lstm"  # others are elsewhere


@pytest.mark.parametrize("method", TRAINED_HERE)
def test_every_alternative_trains_and_leaves_records(method, place):
    more = {"level": THREE, "num_envs": 2, "agent_steps": 480} if METHODS[method].tasks else {}
    where = place / method / "seed7"
    given = config(method, seed=7, **more)
    train(given, where)
    run = Run(where)
    logged = [-(-80 * k // given.steps_per_iteration) * given.steps_per_iteration for k in range(1, 7)]
    assert run.done and run.metrics()["agent_steps"].tolist() == logged  # at the ends of iterations
    began = [(step - given.steps_per_iteration) / 480 for step in (logged[0], logged[-1])]
    alphas = [piecewise(METHODS[method].knots or ((0, 0.0),), share) for share in began]
    assert [run.metrics()["alpha"].iloc[i] for i in (0, -1)] == pytest.approx(alphas, abs=1e-6)
    assert load(where).agent_steps == 480


class Killed(BaseException):  # an Exception of a report is not let through
    pass


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("method", ["finetune", "distil", "kickstart", "mm_learned_alpha", "mm_whole"])
def test_resumed_is_as_if_never_interrupted_and_without_the_teachers_run(method, lag, place):
    given = config(method, lag=lag, log_every=40)
    for name in ("seed1", "seed2"):
        rows = []

        def report(row, rows=rows, fatal=name == "seed2"):
            rows.append(row)
            if fatal and len(rows) == 5:  # past the checkpoint at 160 agent steps, before the jump
                raise Killed

        with pytest.raises(Killed) if name == "seed2" else nullcontext():
            train(given, place / method / name, report)
    assert Run(place / method / "seed2").state == "failed"
    shutil.rmtree(place / "small_teacher")
    train(given, place / method / "seed2")
    for record in ("metrics", "episodes"):
        assert read_bytes(place / method / "seed1", record) == read_bytes(place / method / "seed2", record)
    one, two = (checkpoint.load(place / method / name)["loop"]["learner"]["agent"] for name in ("seed1", "seed2"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_what_cannot_teach_is_refused_before_any_work(place):
    where = place / "kickstart" / "seed0"
    train(config("big756"), place / "big756" / "seed0")
    for name, state in (("stopped", "stopped"), ("bare", "done")):
        shutil.copytree(place / "small_teacher" / "seed0", place / name)
        (place / name / "state.json").write_text(json.dumps({"state": state}))
    (place / "bare" / checkpoint.FILE).unlink()
    (place / "bare" / checkpoint.PREVIOUS).unlink(missing_ok=True)
    choices = r"finished runs of 'small_teacher' beside it, with a checkpoint: seed0$"
    wrong = {
        "../../nobody": r"teacher = '../../nobody': there is no run in .*nobody; " + choices,
        str(place / "stopped"): r"the run .*stopped is not finished but stopped; " + choices,
        str(place / "bare"): r"bare has no checkpoint .*; " + choices,
        "../../big756/seed0": r"is big756 in big756, lstm, .* is taught by small in big756, lstm, .*; " + choices,
        "../../ff_teacher/seed0": r"is big540 in big540, feed_forward, .* is taught by small in big756.*; " + choices,
    }
    for chosen, message in wrong.items():
        with pytest.raises(ConfigError, match=message):
            train(config("kickstart", teacher=chosen), where)
    with pytest.raises(ConfigError, match=r"40x30 frames .* is taught by .* 48x36 frames"):
        train(config("small_teacher", width=40, height=30), place / "other" / "seed0")
        train(config("kickstart", teacher="../../other/seed0"), where)
    shutil.rmtree(place / "small_teacher")
    with pytest.raises(
        ConfigError, match=r"there is no finished run of 'small_teacher' .* mmlib train --method small_t"
    ):
        train(config("kickstart"), where)
    assert not where.exists()


def with_cores(cores):
    return tuple(replace(c, cores=cores) for c in METHODS["mm"].constituents)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mixing": "expl"}, "unknown mixing 'expl'; choices: explicit"),
        ({"transfer": "kls"}, "unknown transfer 'kls'; choices: kl"),
        ({"heads": {"big": METHODS["mm"].heads["big"]}}, "method 'own' has no head 'small'; its heads: big"),
        ({"constituents": METHODS["mm"].constituents[::-1]}, "'own': .* go from few actions to many: .* of 'small'"),
        ({"constituents": ()}, r"'own': constituents are a tuple of one or more Constituent, not \(\)"),
        ({"constituents": METHODS["mm"].constituents[0]}, "'own': constituents are a tuple of one or more"),
        ({"constituents": with_cores(("gru",))}, "'own': cores are a tuple of lstm, .*, not gru"),
        ({"constituents": with_cores("lstm")}, "'own': cores are a tuple of .*, not 'lstm'"),
        ({"alpha": ((0.5, 0.0), (0.2, 1.0))}, r"alpha .* knots in order"),
        ({"alpha": ((0.5, 0.0), (1.0, 1.5))}, r"alpha .* knots in order"),
        ({"alpha": ()}, r"alpha \(\) is not .* knots in order"),
        ({"alpha": "bandits"}, r"unknown alpha 'bandits'; choices: run, simplex, gradient, bandit, or knots"),
    ],
)
def test_an_entry_that_is_no_agent_is_refused_before_any_work(changed, said, monkeypatch):
    monkeypatch.setitem(METHODS, "own", replace(METHODS["mm"], **changed))
    with pytest.raises(ConfigError, match=said):
        config("own")


def test_an_agent_that_was_changed_does_not_go_on_as_what_it_was(tmp_path, monkeypatch):
    given, where = {"alpha": [[0, 0.5]]}, tmp_path / "own" / "seed0"
    monkeypatch.setitem(METHODS, "own", replace(METHODS["mm"], label="Own", after="nobody"))
    train(config("own", **given), where)
    monkeypatch.setitem(METHODS, "own", replace(METHODS["mm"], label="The same"))
    train(config("own", **given), where)
    assert Run(where).config["agent"] == definition(METHODS["mm"])
    for changed in ({"transfer": "cross_entropy"}, {"mixing": "none"}, {"transfer_weight": 2.0}):
        monkeypatch.setitem(METHODS, "own", replace(METHODS["mm"], **changed))
        with pytest.raises(OtherRun, match=r"another configuration: agent \('small\[9\] .*transfer kl; "):
            train(config("own", **given), where)
    recorded = json.loads((where / "config.json").read_text())
    del recorded["agent"]  # as runs of earlier versions are
    (where / "config.json").write_text(json.dumps(recorded))
    train(config("own", **given), where)


def test_definitions_differ_as_agents_do():
    plain = [replace(spec, label="", after="") for spec in METHODS.values()]
    for one, first in enumerate(plain):
        for second in plain[one + 1 :]:
            assert (definition(first) == definition(second)) == (first == second)


def test_a_teacher_that_is_missing_or_too_much_is_refused():
    with pytest.raises(
        ConfigError, match=r"method 'kickstart' needs the setting teacher, .* finished run of 'small_teach"
    ):
        config("kickstart", teacher=None)
    with pytest.raises(
        ConfigError, match="teacher = 'x': method 'mm' has none; methods with one: distil, kickstart, distil_f"
    ):
        config("mm", teacher="x")
    with pytest.raises(ConfigError, match=r"teacher = ''"):
        config("kickstart", teacher="")


def test_a_plan_finds_the_teacher_beside_each_run_and_makes_it_first(tmp_path):
    plan = design.plan("alternatives", "smoke", None, ["kickstart", "mm", "small_teacher"], [1, 2], results=tmp_path)
    first, second = ("../../small_teacher/seed1", None, None), ("../../small_teacher/seed2", None, None)
    assert [job.config.teacher for job in plan] == [*first, *second]
    assert plan[0].teacher == plan[2].directory and seen_from(plan[0].directory, "/a/b").as_posix() == "/a/b"
    waiting, order = [jobs.Progress(job) for job in plan], []
    running = []
    while chosen := jobs._next(waiting, running, 1) if waiting else None:  # everything is started, nothing ends
        waiting.remove(*chosen)
        running += chosen
        order += [(each.job.config.method, each.job.config.seed) for each in chosen]
    assert order == [("mm", 1), ("small_teacher", 1), ("mm", 2), ("small_teacher", 2)]
    running = [progress for progress in running if progress.job.config.seed != 2]
    assert [each.job.config.seed for each in jobs._next(waiting, running, 1)] == [2]  # its teacher has ended
    alone = [jobs.Progress(plan[0]._replace(config=plan[0].config.model_copy(update={"teacher": "../seed1"})))]
    assert jobs._next(alone, [], 1) == alone  # its own teacher: it says itself what is wrong


def test_runs_that_differ_in_the_seed_of_their_teacher_are_of_one_condition():
    one, two = (config("kickstart", seed=n, teacher=f"../../small_teacher/seed{n}").model_dump() for n in (1, 2))
    assert in_force(one) == in_force(two) and "alpha" not in in_force(one)
    assert in_force(one) != in_force({**two, "stop_gradient": True})


def test_figures_have_alternatives_when_they_are_asked_for_them(tmp_path):
    assert {job.config.method for job in design.plan("9", "population", results=tmp_path)} == {
        "multitask",
        "mm_multitask",
    }
    (job,) = design.plan("9", "smoke", None, ["distral"], results=tmp_path)
    assert job.config.evaluation_envs == 4 and job.config.level == THREE
    assert design.default_level(design.PRESETS["smoke"], "distral") == THREE


# --- The table ---


def test_the_table_by_hand(make_run, place):
    runs = {"mm": [make_run("mm", 1, range(1, 11), 0.5), make_run("mm", 2, range(2, 12), 1.0)]}
    runs["small"] = [make_run("small", 1, [1] * 10)]
    runs["big756"] = [make_run("big756", 1, [3] * 10), make_run("big756", 2, [5] * 10)]
    table = tables.side_by_side(runs, {"a_level": 10.0}).set_index("method")
    mm = table.loc["M&M"]
    # 400 frames, 100 agent steps: episodes end every 40 frames; 8 of 10 is reached by the 8th and the 7th.
    assert [tables.steps_to(run, 8.0) for run in runs["mm"]] == [80.0, 70.0]
    assert mm["agent steps to 80% of the expert's"] == "75 (2 of 2 runs)" and mm["runs"] == 2
    assert table.loc["Small action space", "agent steps to 80% of the expert's"] == "not reached (0 of 1 runs)"
    assert (
        mm["return, last fifth"].startswith("10.0 [") and table.loc["Small action space", "return, last fifth"] == "1.0"
    )
    assert mm["over its target alone"] == f"{stats.difference_interval([[9.5, 10.5]], [[3, 5]]):+.1f}"
    assert mm["over its target alone"].startswith("+6.0 [") and set(table["over its target alone"].iloc[1:]) == {""}
    assert mm["agent steps to 50% of the expert's"] == "45 (2 of 2 runs)" and mm["α at the end"] == "0.75"
    assert table.loc["Small action space", "α at the end"] == ""
    assert set(tables.side_by_side(runs, {})["agent steps to 80% of the expert's"]) == {""}


def test_a_target_alone_is_that_policy_by_the_same_learner():
    plain = [name for name, spec in METHODS.items() if spec.single]
    expected = {"mm": "big756", "finetune": "big756", "mm_whole": "whole", "q_mm": "q_big756"}
    expected |= {"mm_ff_lstm": "lstm", "kickstart_ff_lstm": "lstm", "net2net": "ff_lstm", "small": None}
    assert {method: tables.target_alone(method, plain) for method in expected} == expected
    assert tables.target_alone("distral", ["multitask"]) == "multitask"
    assert tables.target_alone("q_mm", ["q_small", "big756"]) is None


def test_the_table_has_a_row_a_level_of_runs_on_several(place):
    train(config("distral", level=THREE, num_envs=2, agent_steps=480), place / "distral" / "seed0")
    table = tables.side_by_side({"distral": [Run(place / "distral" / "seed0")]}, {})
    assert table["level"].tolist() == THREE.split("+") and set(table["runs"]) == {1}


def test_the_steps_of_a_teachers_run_count(make_run, place):
    taught = make_run("kickstart", 1, range(1, 11), teacher="../../small/seed1")
    assert np.isnan(tables.steps_to(taught, 8.0)) and np.isinf(tables.steps_to(taught, 80.0))
    make_run("small", 1, [1] * 10)
    assert tables.steps_to(taught, 8.0) == 80.0 + 100


def test_the_table_says_what_is_frozen_and_what_was_before_it(place):
    train(config("kickstart"), place / "kickstart" / "seed0")
    run = Run(place / "kickstart" / "seed0")
    agent = load(run.directory).agent
    frozen = sum(agent.get_parameter(name).numel() for name in names_of(agent, agent.spec.constituents[0]))
    assert tables.parameters(run) == (sum(p.numel() for p in agent.parameters()) - frozen, frozen)
    (row,) = tables.side_by_side({"kickstart": [run]}, {}).to_dict("records")
    assert row["after"] == "Schmitt et al. 2018" and row["before it"] == "Small, as a teacher: 480 agent steps"
    assert row["parameters"].endswith(f"{frozen:,} frozen")
    shutil.rmtree(place / "small_teacher")
    assert "not here" in tables.side_by_side({"kickstart": [run]}, {})["before it"][0]


def test_every_alternative_that_is_somebodys_says_whose():
    ours = {"small_teacher", "ff_teacher", "mm_learned_alpha"}
    ours |= {"mm_three_cores", "mm_three_simplex", "mm_three_cores_simplex"}
    assert {name for name, spec in METHODS.items() if spec.after} == ALTERNATIVES.keys() - ours
    assert all(dataclasses.replace(spec, after="") != METHODS["mm"] for spec in ALTERNATIVES.values())
