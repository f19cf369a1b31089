"""Population based training: the rules of appendix B, and what they do to real members."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from dying import train_until
from hypothesis import given
from hypothesis import strategies as st

from mmlib.alternatives import simplex
from mmlib.alternatives.methods import METHODS
from mmlib.config import ConfigError, PBTConfig, make_config
from mmlib.errors import ResultsError
from mmlib.method import pbt
from mmlib.method.schedule import piecewise
from mmlib.method.trajectory import Episode
from mmlib.runs.lineage import AlphaSchedule, history
from mmlib.runs.reader import Run
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.trained import open_subject

PAPER = PBTConfig()


def learner_of(loop):
    return loop.fleet.shard.learner


def iterated(loop):
    """The trajectories that an iteration made."""
    shard, made = loop.fleet.shard, []
    act = shard._act

    def acting(weights):
        made.append(act(weights))
        return made[-1]

    shard._act = acting
    try:
        loop.iterate()
    finally:
        shard._act = act
    return made[-1][0]


def population(windows, hyper=None, config=PAPER, seed=0):
    state = pbt.PopulationState.start(config, len(windows), seed)
    state.windows = [[[(0, value) for value in w]] for w in windows]
    state.hyper = hyper or [
        {"learning_rate": 1.0 + m, "entropy_cost": 10.0 + m, "alpha": 0.5} for m in range(len(windows))
    ]
    return state


def test_defaults_are_the_papers():
    assert (PAPER.ready, PAPER.window, PAPER.p_value, PAPER.explore_probability) == (300, 30, 0.05, 0.25)
    assert (PAPER.factors, PAPER.alpha_step) == ((1.2, 0.8), 0.05)
    assert (PAPER.learning_rate, PAPER.entropy_cost, PAPER.alpha) == ((1e-5, 1e-3), (1e-4, 1e-2), (1e-3, 1e-2))


def test_the_start_is_log_uniform():
    state = pbt.PopulationState.start(PAPER, 4000, seed=3)
    for name in pbt.HYPER:
        low, high = getattr(PAPER, name)
        logs = (np.log([h[name] for h in state.hyper]) - np.log(low)) / (np.log(high) - np.log(low))
        assert scipy.stats.kstest(logs, "uniform").pvalue > 0.001


def ended(member, value, began=0, task=0):
    return Episode(member, began, began + 450, value, 1800, task)


def observe(state, config, returns):
    """Fresh episodes that are trained on and compared, as on a single level."""
    episodes = [ended(member, value, state.changed[member]) for member, value in returns]
    pbt.observe(state, config, episodes, episodes)


def returns_of(state, member):
    return [[value for _, value in window] for window in state.windows[member]]


def test_nothing_before_ready():
    state = population([[1.0]] * 2)
    observe(state, PAPER, [(0, 1.0)] * 299 + [(1, 2.0)] * 10)
    assert pbt.ready(state, PAPER) == []
    observe(state, PAPER, [(0, 5.0)])
    assert pbt.ready(state, PAPER) == [0]
    assert returns_of(state, 0) == [[1.0] * 29 + [5.0]] and len(state.windows[1][0]) == 11


def test_episodes_trained_on_make_ready_and_those_of_the_target_alone_are_compared():
    state = population([[1.0]] * 2)
    pbt.observe(state, PAPER, [ended(0, 3.0)] * 300, [ended(1, 7.0)] * 400)
    assert pbt.ready(state, PAPER) == [0] and state.episodes == [300, 0]
    assert [returns_of(state, m) for m in (0, 1)] == [[[1.0]], [[7.0] * 30]]


def test_episodes_that_began_before_the_last_change_count_for_nothing():
    state = population([[], []])
    state.changed = [1000, 0]
    before, after = [ended(0, 1.0, 999)] * 40, [ended(0, 2.0, 1000), ended(0, 3.0, 1500)]
    pbt.observe(state, PAPER, before + after, [ended(0, 9.0, 999), ended(0, 4.0, 1000), ended(1, 5.0, 999)])
    assert state.episodes == [2, 0] and state.windows == [[[(1000, 4.0)]], [[(999, 5.0)]]]


def test_exploit_copies_a_better_member_and_begins_anew():
    random = np.random.default_rng(0)
    low, high = random.normal(0, 1, 30), random.normal(2, 1, 30)
    state = population([low, high])
    decision = pbt.decide(state, PBTConfig(explore_probability=0.0), 0)
    expected = scipy.stats.ttest_ind(high, low, equal_var=False, alternative="greater").pvalue
    assert decision.copied and decision.p == pytest.approx(expected) and decision.opponent == 1
    assert (decision.mean, decision.opponent_mean) == pytest.approx((low.mean(), high.mean()))
    assert (decision.episodes, decision.opponent_episodes, decision.began, decision.changed) == (30, 30, 0, 0)
    assert decision.old["learning_rate"] == 1.0 and decision.new == state.hyper[1]
    state.episodes = [300, 200]
    pbt.apply(state, decision, now=777)
    assert state.hyper[0] == state.hyper[1] and state.windows[0] == [[]] and len(state.windows[1][0]) == 30
    assert (state.changed, state.episodes, state.decisions) == ([777, 0], [0, 200], 1)
    nobody = pbt.decide(state, PAPER, 1)  # the copy has no window: it is nobody's donor, and there is no third
    assert not nobody.copied and nobody.opponent == 1 and math.isnan(nobody.p)


@pytest.mark.parametrize(("explore", "changed"), [(0.0, 0), (1.0, 777)])
def test_a_decision_that_changes_nothing_leaves_the_window(explore, changed):
    state = population([[2.0, 3.0] * 15, [0.0, 1.0] * 15])
    state.episodes = [300, 300]
    decision = pbt.decide(state, PBTConfig(explore_probability=explore), 0)
    assert decision.changes is decision.explored is (explore == 1.0) and not decision.copied
    pbt.apply(state, decision, now=777)
    assert (state.episodes, state.changed[0]) == ([0, 300], changed)
    assert returns_of(state, 0) == ([[]] if decision.changes else [[2.0, 3.0] * 15])


def test_an_exploration_that_alpha_cannot_follow_is_no_change():
    config = PBTConfig(explore_probability=1.0, adapt=("alpha",))
    state = population([[2.0] * 30, [2.0] * 30], [{"alpha": 1.0}] * 2)
    decisions = [pbt.decide(state, config, 0) for state.decisions in range(50)]
    assert all(d.explored for d in decisions)
    assert {d.changes: d.new["alpha"] for d in decisions} == {False: 1.0, True: 0.95}


def test_a_worse_opponent_is_not_copied():
    decision = pbt.decide(population([[2.0, 3.0] * 15, [0.0, 1.0] * 15]), PAPER, 0)
    assert not decision.copied and decision.p > 0.99


@pytest.mark.parametrize(
    ("mine", "theirs", "copied"),
    [
        ([1.0] * 30, [2.0] * 30, True),  # no variance: the means decide
        ([2.0] * 30, [2.0] * 30, False),
        ([1.0] * 30, [9.0] * 29, False),  # too few to compare
        ([], [9.0] * 30, False),
    ],
)
def test_degenerate_windows_decide_sanely(mine, theirs, copied):
    decision = pbt.decide(population([mine, theirs]), PAPER, 0)
    assert decision.copied is copied
    assert math.isnan(decision.p) == (min(len(mine), len(theirs)) < 30)
    assert decision.episodes == len(mine) and decision.opponent == (len(theirs) == 30)


def test_only_members_with_a_full_window_are_met_but_revival_needs_none():
    state = population([[1.0] * 30, [9.0] * 29, [2.0] * 30])
    assert {pbt.decide(state, PAPER, 0).opponent for state.decisions in range(50)} == {2}
    revived = [pbt.decide(state, PAPER, 0, stopped={0, 2}) for state.decisions in range(50)]
    assert {d.opponent for d in revived} == {1} and all(d.copied for d in revived)


@given(alpha=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_explore_perturbs_by_the_papers_factors(alpha, seed):
    old = {"learning_rate": 1e-3, "entropy_cost": 1e-2, "alpha": alpha}
    new = pbt.explore(old, PAPER, np.random.default_rng(seed))
    for name in ("learning_rate", "entropy_cost"):
        assert new[name] / old[name] == pytest.approx(1.2) or new[name] / old[name] == pytest.approx(0.8)
    assert 0 <= new["alpha"] <= 1
    assert new["alpha"] in (pytest.approx(min(1, alpha + 0.05)), pytest.approx(max(0, alpha - 0.05)))


WEIGHTS = tuple(simplex.names(3))


@given(weights=st.tuples(*[st.integers(0, 10)] * 3).filter(any), seed=st.integers(0, 2**32 - 1))
def test_weights_move_along_one_edge_of_their_simplex(weights, seed):
    old = dict(zip(WEIGHTS, (w / sum(weights) for w in weights)))
    new = simplex.explore({"entropy_cost": 1e-2, **old}, PAPER, np.random.default_rng(seed))
    moves = {name: new[name] - old[name] for name in WEIGHTS}
    assert sum(new[name] for name in WEIGHTS) == pytest.approx(1) and min(new.values()) >= 0
    (giver,) = {name for name in WEIGHTS if moves[name] < 0} or {""}
    assert len([move for move in moves.values() if move]) == (2 if giver else 0)
    if giver:
        assert -moves[giver] == pytest.approx(min(PAPER.alpha_step, old[giver]))


def test_every_edge_is_taken_as_often():
    old, ends = dict.fromkeys(WEIGHTS, 1 / 3), []
    for seed in range(1200):
        new = simplex.explore(old, PAPER, np.random.default_rng(seed))
        ends.append((min(WEIGHTS, key=new.__getitem__), max(WEIGHTS, key=new.__getitem__)))
    edges, counts = np.unique(ends, axis=0, return_counts=True)
    assert len(edges) == 6 and scipy.stats.chisquare(counts).pvalue > 0.001


def test_explore_probability_and_opponents():
    state = population([[1.0, 2.0] * 15] * 4)
    decisions = []
    for state.decisions in range(600):
        decisions.append(pbt.decide(state, PAPER, 2))
    assert abs(np.mean([d.explored for d in decisions]) - 0.25) < 0.05
    counts = np.bincount([d.opponent for d in decisions], minlength=4)
    assert counts[2] == 0 and scipy.stats.chisquare(counts[[0, 1, 3]]).pvalue > 0.001


def test_several_levels_are_compared_by_their_mean():
    state, config = pbt.PopulationState.start(PAPER, 2, 0, num_levels=2), PBTConfig(window=2)
    first = [ended(0, value) for value in (9.0, 1.0, 2.0)]
    pbt.observe(state, config, [], [*first, ended(0, 10.0, task=1)])
    assert len(pbt.scores(state, config, 0)) == 0
    pbt.observe(state, config, [], [ended(0, 20.0, began=7, task=1)])
    np.testing.assert_allclose(pbt.scores(state, config, 0), [5.5, 11.0])
    decision = pbt.decide(state, config, 0)
    assert (decision.episodes, decision.began, decision.mean) == (4, 0, 8.25)


@pytest.mark.parametrize(
    ("adapt", "method", "names"),
    [
        (pbt.HYPER, "mm", pbt.HYPER),
        (("alpha", "entropy_cost"), "mm", ("entropy_cost", "alpha")),
        (pbt.HYPER, "small", ("learning_rate", "entropy_cost")),  # nothing to mix
        (pbt.HYPER, "small_kl", ("learning_rate", "entropy_cost")),  # its alpha is its own
        (("alpha",), "big756", ()),
    ],
)
def test_what_plays_no_part_is_not_adapted(adapt, method, names):
    config = PBTConfig(adapt=adapt, explore_probability=1.0)
    assert pbt.adapted(config, METHODS[method]) == names
    state = pbt.PopulationState.start(config, 3, 0, adapted=names)
    assert all(tuple(hyper) == names for hyper in state.hyper)
    decision = pbt.decide(state, config, 0)
    assert set(decision.new) == set(decision.old) == set(names) and decision.changes is bool(names)


def test_a_population_finds_a_known_best_learning_rate():
    """Members climb a noisy quadratic: only learning rates near 0.3 get far, and PBT's end there."""
    config = PBTConfig(ready=5, window=5, learning_rate=(1e-4, 1.0), explore_probability=0.5)
    random = np.random.default_rng(1)
    state = pbt.PopulationState.start(config, 8, seed=1)
    start = [h["learning_rate"] for h in state.hyper]
    for round in range(200):
        for member in range(8):
            distance = abs(np.log(state.hyper[member]["learning_rate"] / 0.3))
            observe(state, config, [(member, -distance + random.normal(0, 0.1)) for _ in range(5)])
        for member in pbt.ready(state, config):
            pbt.apply(state, pbt.decide(state, config, member), now=round + 1)
    end = [h["learning_rate"] for h in state.hyper]
    assert np.abs(np.log(np.array(start) / 0.3)).mean() > 2
    assert np.abs(np.log(np.array(end) / 0.3)).mean() < 0.3


FAST = {"ready": 6, "window": 3, "p_value": 0.5, "explore_probability": 0.5}


def config(**overrides):
    base = dict(level="explore_object_locations_small_mini", method="mm", population=3, num_envs=4, unroll=20)
    base |= dict(learner_batches=2, width=32, height=24, conv1=(4, 2), staggered=True, pbt=FAST)
    base |= dict(agent_steps=80 * 20, log_every=160, checkpoint_every=480, level_settings={"episode_seconds": 1})
    return make_config(base | overrides)


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 1])
def test_a_copy_is_whole_and_the_logged_hyperparameters_are_in_force(lag):
    loop = TrainingLoop(config(lag=lag))
    copies = 0
    try:
        for _ in range(20):
            decisions = loop.iterate().decisions
            for decision in decisions:
                for name, value in decision.new.items():
                    assert getattr(loop.hyper, name)[decision.member] == pytest.approx(value)
            for place, decision in enumerate(decisions):
                member, donor = decision.member, decision.opponent
                if not decision.copied or any(d.copied and d.member == donor for d in decisions[place:]):
                    continue
                copies += 1
                for tensors in (learner_of(loop).parameters, *learner_of(loop).optimiser.slots.values()):
                    assert all(torch.equal(value[member], value[donor]) for value in tensors.values())
                for hidden, cell in (loop.fleet.shard.actors[0].state.cores["lstm"],):
                    assert not hidden[member].any() and not cell[member].any() and hidden[donor].any()
    finally:
        loop.close()
    assert copies


def test_the_hyperparameters_in_force_are_what_the_update_uses():
    """One update with a copied member's hyperparameters moves it exactly as it moves the donor on the same data."""
    loop = TrainingLoop(config(population=2, method="small"))
    try:
        trajectory = iterated(loop)[0]
        for name in pbt.HYPER:
            getattr(loop.hyper, name)[0] = getattr(loop.hyper, name)[1]
        twin = type(trajectory)(
            **{n: v[:, [1, 1]] for n, v in vars(trajectory).items() if n not in ("weights", "cores")},
            weights=trajectory.weights[[1, 1]],
            cores={n: tuple(x[[1, 1]] for x in s) for n, s in trajectory.cores.items()},
        )
        loop.copy(1, 0)
        learner_of(loop).update([twin], loop.hyper)
        assert all(torch.allclose(v[0], v[1], rtol=1e-4, atol=1e-7) for v in learner_of(loop).parameters.values())
        loop.hyper.learning_rate[0] *= 2
        learner_of(loop).update([twin], loop.hyper)
        assert not all(torch.allclose(v[0], v[1], rtol=1e-4, atol=1e-7) for v in learner_of(loop).parameters.values())
    finally:
        loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 1])
def test_decisions_resume_as_if_never_interrupted(tmp_path, lag):
    train(config(lag=lag), tmp_path / "whole")
    whole = Run(tmp_path / "whole").decisions()
    assert len(whole) >= 6 and whole["copied"].any() and whole["explored"].any()
    train_until(12, config(lag=lag), tmp_path / "broken")
    train(config(lag=lag), tmp_path / "broken")
    for name in ("metrics", "episodes", "decisions"):
        one, two = ((tmp_path / run / f"{name}.jsonl").read_text() for run in ("whole", "broken"))
        assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, 1])
def test_what_is_not_adapted_keeps_the_runs_value(tmp_path, lag):
    knots = ((0, 0.0), (1500, 1.0))
    run = config(lag=lag, pbt={**FAST, "adapt": ("entropy_cost",)}, learning_rate=7e-4, alpha=knots)
    train(run, tmp_path)
    metrics, decisions = Run(tmp_path).metrics(), Run(tmp_path).decisions()
    assert set(metrics["learning_rate"]) == {7e-4} and len(set(metrics["entropy_cost"])) > 3
    acted = metrics["agent_steps"] - run.steps_per_iteration  # at the start of the last rollout
    np.testing.assert_allclose(metrics["alpha"], [piecewise(knots, steps) for steps in acted], rtol=1e-5)
    assert all(set(new) == {"entropy_cost"} for new in decisions["new"])
    line = history(Run(tmp_path), 1, "alpha")
    assert line.values[-1] == 1.0 and len(line.values) == len(metrics) // 3 + 1


@pytest.mark.parametrize("adapted", [True, False])
def test_a_methods_own_alpha_is_in_force_and_logged(tmp_path, adapted):
    """alpha is resolved once: what is logged for `small_kl` is what acts and weighs the loss, under PBT too."""
    run = config(method="small_kl", pbt=FAST if adapted else None, alpha=((0, 0.7),), agent_steps=1500)
    loop = TrainingLoop(run)
    try:
        for _ in range(2):
            (trajectory,) = iterated(loop)
            assert loop.hyper.alpha.tolist() == [0.0] * 3 and trajectory.weights.tolist() == [[1.0, 0.0]] * 3
    finally:
        loop.close()
    train(run, tmp_path)
    assert set(Run(tmp_path).metrics()["alpha"]) == {0.0}
    if adapted:
        assert all(set(new) == {"learning_rate", "entropy_cost"} for new in Run(tmp_path).decisions()["new"])


@pytest.mark.slow
def test_a_population_walks_a_simplex_and_resumes_as_if_never_interrupted(tmp_path):
    """The weights that a decision sets are those that act and that are recorded; a copy takes them along."""
    run = config(method="mm_three_simplex", pbt={**FAST, "alpha": (0.01, 0.5)})
    train(run, tmp_path / "whole")
    whole = Run(tmp_path / "whole")
    metrics, decisions = whole.metrics(), whole.decisions()
    np.testing.assert_allclose(metrics[[*WEIGHTS]].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(metrics["alpha"], metrics["weight_2"] / 2 + metrics["weight_3"], atol=1e-5)
    begun = decisions.groupby("member")["old"].first()
    assert all(old["weight_3"] == 0 for old in begun) and metrics["weight_3"].max() > 0
    assert decisions["copied"].any() and all("alpha" not in new for new in decisions["new"])
    copied = decisions[decisions["copied"] & ~decisions["explored"]]
    before = [decisions[:row].query("member == @donor")["new"].tolist() for row, donor in copied["opponent"].items()]
    assert any(its for its in before) and all(n == its[-1] for n, its in zip(copied["new"], before) if its)
    line = history(whole, 0, "weight_3")
    assert line.values[0] == 0 and len(line.values) > 1
    with pytest.raises(ResultsError, match="moved weights on their simplex"):
        AlphaSchedule.recorded(whole)
    train_until(12, run, tmp_path / "broken")
    train(run, tmp_path / "broken")
    for name in ("metrics", "episodes", "decisions"):
        one, two = ((tmp_path / place / f"{name}.jsonl").read_text() for place in ("whole", "broken"))
        assert one == two
    subject = open_subject(tmp_path / "whole", member=1)
    last = metrics[metrics["member"] == 1].iloc[-1]
    assert subject.acting_weights == pytest.approx([last[name] for name in WEIGHTS], abs=1e-5)
    assert subject.alpha == pytest.approx(last["alpha"], abs=1e-5)


def test_a_population_of_one_is_refused():
    with pytest.raises(ConfigError, match="population 1 cannot be trained by PBT; it needs 2"):
        config(population=1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"window": 1}, "pbt.window = 1"),
        ({"alpha": (0.5, 0.1)}, "lower end"),
        ({"redy": 3}, "pbt.redy"),
        ({"adapt": ("alpah",)}, "pbt.adapt"),
        ({"adapt": ()}, "pbt.adapt"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        config(pbt=setting)
