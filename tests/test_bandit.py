"""Alpha moved by a bandit: Exp3.S against its formulas, its clock, and what it does to real members."""

import copy
import dataclasses
from math import e, exp, log

import numpy as np
import pytest
from divided import config as population
from divided import same_numbers, told
from dying import train_until
from hypothesis import given
from hypothesis import strategies as st

from mmlib.alternatives import bandit
from mmlib.config import BanditConfig, ConfigError
from mmlib.experiments.clock import episode_steps
from mmlib.experiments.design import ExperimentError, configure, plan
from mmlib.experiments.presets import PRESETS
from mmlib.method import pbt
from mmlib.method.trajectory import Episode
from mmlib.runs.lineage import history
from mmlib.runs.reader import Run, config_differences
from mmlib.training import checkpoint
from mmlib.training.fitting import check
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.stack import train_together
from mmlib.training.trained import load
from mmlib.widgets.run_browser import pictures

MINI, LEVEL = "explore_object_locations_small_mini", "nav_maze_static_02_mini"
SMALL = BanditConfig(window=2)


def config(**overrides):
    """Eighteen iterations of 20 steps; an episode takes 15."""
    base = {"method": "mm_bandit", "pbt": None, "population": 2, "bandit": {"window": 4}}
    return check(population(**base | overrides))


def round_of(state, settings, returns, now=0, member=0):
    """Puts returns into a member's windows and lets it decide."""
    state.windows[member] = [[(now, float(x)) for x in returns] for _ in state.windows[member]]
    decision = bandit.decide(state, settings, member)
    bandit.apply(state, decision, now)
    return decision


# --- Exp3.S ---


def test_probabilities_by_hand():
    got = bandit.probabilities(np.log([1.0, 2.0, 5.0]), 0.4)
    np.testing.assert_allclose(got, [0.6 / 8 + 0.4 / 3, 1.2 / 8 + 0.4 / 3, 3.0 / 8 + 0.4 / 3])
    assert bandit.probabilities(np.array([0.0, 0.0, 2000.0]), 0.3) == pytest.approx([0.1, 0.1, 0.8])


def test_an_update_by_hand():
    weights, gamma, share = (1.0, 2.0, 5.0), 0.4, 0.06
    p = 0.6 * 2 / 8 + 0.4 / 3
    given = e * share / 3 * 8
    expected = np.array([1 + given, 2 * exp(gamma / 3 * 0.7 / p) + given, 5 + given])
    got = bandit.exp3s(np.log(weights), 1, 0.7, gamma=gamma, share=share)
    np.testing.assert_allclose(np.exp(got), expected / expected.max())


def test_a_reward_weighs_the_more_the_less_likely_its_arm_was():
    """Over the draw, each arm's logarithm gains gamma / K times its reward: the estimate has no bias."""
    log_weights, rewards = np.log([1.0, 2.0, 5.0]), np.array([0.9, 0.2, 0.5])
    p, gains = bandit.probabilities(log_weights, 0.4), np.zeros(3)
    for arm in range(3):
        after = bandit.exp3s(log_weights, arm, rewards[arm], gamma=0.4, share=1e-200)
        gain = after - log_weights
        gains[arm] = p[arm] * (gain[arm] - gain[arm - 1])
    np.testing.assert_allclose(gains, 0.4 / 3 * rewards)


def test_many_rounds_are_the_algorithm_as_it_is_printed():
    random, gamma, share = np.random.default_rng(0), 0.3, 0.02
    state, weights, settings = bandit.start(1, seed=5), np.ones(3), BanditConfig(window=2, gamma=gamma, share=share)
    means, slopes, alpha, arm = [], [], 0.05, None
    for number in range(60):
        means.append(float(random.normal(number)))
        made = round_of(state, settings, [means[-1] - 1, means[-1] + 1], number)
        reward = None
        if arm is not None:
            slope, earlier = means[-1] - means[-2], slopes[-10:]
            below = sum(x < slope for x in earlier) + sum(x == slope for x in earlier) / 2
            reward = below / len(earlier) if earlier else 0.5
            slopes.append(slope)
            p = (1 - gamma) * weights / weights.sum() + gamma / 3
            estimate = np.where(np.arange(3) == arm, reward / p, 0.0)
            weights = weights * np.exp(gamma * estimate / 3) + e * share / 3 * weights.sum()
        p = (1 - gamma) * weights / weights.sum() + gamma / 3
        arm = int(np.random.default_rng([5, 1, number]).choice(3, p=p))
        before, alpha = alpha, min(1.0, max(0.0, alpha + (arm - 1) * 0.1))
        assert made.reward == (None if reward is None else pytest.approx(reward))
        assert made.probabilities == pytest.approx(p.tolist()) and made.arm == arm - 1
        assert (made.old, made.new) == pytest.approx((before, alpha)) and state.hyper == [{"alpha": made.new}]


def test_a_rank_by_hand():
    assert bandit.rank(3.0, []) == 0.5 and bandit.rank(0.0, [0.0, 0.0]) == 0.5
    assert [bandit.rank(x, [1.0, 2.0, 2.0, 5.0]) for x in (0, 1, 2, 3, 6)] == [0, 0.125, 0.5, 0.75, 1]


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=10), st.integers(-50, 50), st.sampled_from([1e-6, 0.5, 1e6]))
def test_a_reward_has_no_scale(earlier, slope, scale):
    reward = bandit.rank(slope, earlier)
    assert 0 <= reward <= 1 and bandit.rank(slope * scale, [x * scale for x in earlier]) == reward


# --- The clock ---


def episode(began, value=1.0, member=0, task=0):
    return Episode(member=member, task=task, steps=began + 5, began=began, episode_return=value, length_frames=20)


def test_a_round_is_fresh_episodes_of_every_level():
    state = bandit.start(2, seed=0, num_levels=2)

    def observe(*episodes):
        pbt.observe(state, SMALL, episodes, episodes)
        return bandit.ready(state, SMALL)

    assert observe(*(episode(0, task=task) for task in (0, 1) for _ in range(9))) == []  # cut where `staggered`
    assert observe(episode(1, 7), episode(2, 9), episode(3, 5)) == []
    assert observe(episode(4, 20, task=1)) == [] and observe(episode(4, 40, task=1)) == [0]
    made = bandit.decide(state, SMALL, 0)
    assert made.mean == pytest.approx(((9 + 5) / 2 + 30) / 2) and made.reward is None
    bandit.apply(state, made, 10)
    assert bandit.ready(state, SMALL) == [] and observe(*[episode(9), episode(9, task=1)] * 3) == []
    assert observe(*[episode(10), episode(10, task=1)] * 2) == [0] and state.changed == [10, 1]


def test_a_round_begins_anew_whatever_the_arm():
    state, arms = bandit.start(1, seed=1), set()
    for now in range(1, 40):
        made = round_of(state, SMALL, [1, 2], now)
        arms.add(made.arm)
        assert state.changed == [now] and state.windows == [[[]]] and state.episodes == [0]
    assert arms == {-1, 0, 1}


def test_deciding_changes_nothing_and_alpha_stays_within_its_ends():
    state, seen = bandit.start(1, seed=3), []
    settings = BanditConfig(window=2, step=0.6)
    for now in range(30):
        state.windows[0][0] = [(now, 1.0), (now, 2.0)]
        before = copy.deepcopy(state)
        made = bandit.decide(state, settings, 0)
        assert state == before and made == bandit.decide(state, settings, 0)
        bandit.apply(state, made, now)
        seen.append(made.new)
    assert min(seen) == 0 and max(seen) == 1
    assert type(state)(**dataclasses.asdict(state)) == state


def test_the_defaults_are_what_their_docstring_says():
    settings, quick = BanditConfig(), configure(PRESETS["quick"], LEVEL, "mm_bandit", 1)
    a_round = (settings.window + quick.num_envs) * episode_steps(quick, LEVEL)  # agent steps
    assert 10 * a_round <= quick.agent_steps / 2 < 11 * a_round
    assert 0.05 + 10 * settings.step >= 1 > 0.05 + 9 * settings.step
    rounds = 1_200_000 // a_round
    assert rounds == 41 and settings.share == pytest.approx(1 / rounds, abs=1e-3)
    assert settings.gamma == pytest.approx((3 * (log(3 * rounds) + e) / ((e - 1) * rounds)) ** 0.5, abs=5e-3)


# --- Whether it finds the way ---


def walk(gain, rounds, deviation, seed, learning=0.0):
    """Alpha after each round where a return is 200 + gain(t) alpha, rises by `learning` in all, and has noise."""
    settings, random = BanditConfig(), np.random.default_rng([9, seed])
    state, alphas = bandit.start(1, seed), []
    for t in range(rounds):
        mean = 200 + gain(t / rounds) * state.hyper[0]["alpha"] + learning * (1 - exp(-6 * t / rounds))
        alphas.append(round_of(state, settings, random.normal(mean, deviation, settings.window), t).new)
    return np.array(alphas)


def test_it_finds_the_way_where_rounds_are_many_and_turns_when_the_way_does():
    up, down = (np.mean([walk(lambda t, g=g: g, 1000, 30, seed)[500:] for seed in range(5)]) for g in (200, -200))
    assert up > 0.8 and down < 0.2
    turned = np.array([walk(lambda t: 200 if t < 0.5 else -200, 1000, 30, seed) for seed in range(5)])
    assert turned[:, 250:500].mean() > 0.75 and turned[:, 750:].mean() < 0.25


@pytest.mark.parametrize(("gain", "low", "high"), [(0, 0.36, 0.50), (50, 0.40, 0.60), (200, 0.55, 0.75)])
def test_in_forty_rounds_with_the_noise_of_a_miniature_it_hardly_does(gain, low, high):
    """docs/learning.md has these numbers: an episode's return has a deviation of 30 there."""
    last = [walk(lambda t: gain, 41, 30, seed, learning=200)[-1] for seed in range(200)]
    assert low < np.mean(last) < high and np.std(last) > 0.2


# --- Real members ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two members, to its end."""
    directory = tmp_path_factory.mktemp("whole")
    train(config(), directory)
    return directory


def test_alpha_is_the_bandits_at_every_round_and_is_recorded(whole):
    run = Run(whole)
    rounds, metrics = run.rounds(), run.metrics()
    assert set(rounds["member"]) == {0, 1} and set(rounds["arm"]) == {-1, 0, 1} and not len(run.decisions())
    for member, rows in rounds.groupby("member"):
        assert rows["old"].iloc[0] == 0.05 and rows["old"].tolist()[1:] == rows["new"].tolist()[:-1]
        moved = np.clip(rows["old"] + 0.1 * rows["arm"], 0, 1)
        np.testing.assert_allclose(rows["new"], moved)
        for _, row in metrics[metrics["member"] == member].iterrows():
            alpha = [0.05, *rows["new"][rows["frames"] <= row["frames"]]][-1]
            assert row["alpha"] == pytest.approx(alpha, rel=1e-5)
        assert load(whole).hyper.alpha[member] == pytest.approx(rows["new"].iloc[-1])
    assert rounds.groupby("member")["reward"].first().notna().all() and rounds["reward"].isna().sum() == 2
    np.testing.assert_allclose(rounds["probabilities"].map(sum), 1)


def test_the_means_of_rounds_are_those_of_fresh_episodes(whole):
    """Counted again from the records: no episode of a round began before the round did."""
    run = Run(whole)
    episodes, a_step = run.episodes(), 4 * 4  # frames of a member while each environment takes an agent step
    for member, rounds in run.rounds().groupby("member"):
        mine, began = episodes[episodes["member"] == member], a_step
        for frames, mean in zip(rounds["frames"], rounds["mean"]):
            fresh = mine[(mine["began"] >= began) & (mine["frames"] <= frames)]
            assert len(fresh) >= 4 and fresh["return"].tail(4).mean() == pytest.approx(mean)
            began = frames


def test_members_act_with_their_own_alpha():
    loop, seen = TrainingLoop(config()), set()
    for _ in range(18):
        loop.iterate()
        alphas = [hyper["alpha"] for hyper in loop.population.hyper]
        assert (
            loop.hyper.alpha.tolist() == pytest.approx(alphas) == loop.hyperparameters(loop.agent_steps).alpha.tolist()
        )
        seen.add(tuple(alphas))
    loop.close()
    assert len({one for one, _ in seen}) > 1 and any(one != two for one, two in seen)


@pytest.mark.parametrize("lag", [0, 1])
def test_rounds_resume_as_if_never_interrupted(tmp_path, lag, whole):
    if lag:
        train(config(lag=1), tmp_path / "whole")
    train_until(15, config(lag=lag), tmp_path / "broken")
    train(config(lag=lag), tmp_path / "broken")
    there = tmp_path / "whole" if lag else whole
    assert told(there) == told(tmp_path / "broken") and told(there)["rounds"].count("\n") >= 8
    assert same_numbers(*(checkpoint.load(each)["loop"] for each in (there, tmp_path / "broken")))


def test_seeds_side_by_side_have_an_alpha_each(tmp_path):
    runs = [config(population=1, seed=seed) for seed in (3, 4)]
    alone, together = ([tmp_path / where / str(run.seed) for run in runs] for where in ("alone", "together"))
    for run, directory in zip(runs, alone):
        train(run, directory)
    assert train_together(runs, together) == {}
    assert [told(each) for each in together] == [told(each) for each in alone]
    one, two = (Run(each).rounds()["new"].tolist() for each in together)
    assert one != two
    with pytest.raises(ConfigError, match=r"lag = 1: .* 'mm_bandit' drains when a round .* one by one, or with lag 0"):
        train_together([config(population=1, seed=seed, lag=1) for seed in (3, 4)], [tmp_path / "a", tmp_path / "b"])


def test_nothing_takes_rounds_for_decisions(whole):
    run = Run(whole)
    line = history(run, 1, "alpha")
    mine = run.metrics().query("member == 1")["alpha"]
    assert line.values.tolist() == [mine.iloc[0], *mine] and pictures([run], "Lineage") == b""


# --- What is refused ---


def test_a_bandit_goes_without_population_based_training():
    with pytest.raises(
        ConfigError, match="'mm_bandit' moves alpha by a bandit, which goes without PBT: pbt must be nu"
    ):
        config(pbt={})
    assert configure(PRESETS["population"], LEVEL, "mm_bandit", 1, {"pbt": None}).population == 4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"window": 1}, "bandit.window = 1"),
        ({"step": 0}, "bandit.step = 0"),
        ({"gamma": 1.5}, "bandit.gamma = 1.5"),
        ({"share": 0}, "bandit.share = 0"),
        ({"gama": 0.5}, "unknown setting 'bandit.gama'; settings: bandit.window, .*did you mean 'bandit.gamma'"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        config(bandit=setting)


def test_settings_of_a_bandit_are_its_methods_alone(tmp_path):
    given = {"bandit": {"step": 0.2}}
    with pytest.raises(
        ExperimentError, match="'bandit' plays no part: method 'mm' has none; methods with one: mm_band"
    ):
        configure(PRESETS["quick"], LEVEL, "mm", 1, given)
    with pytest.raises(ExperimentError, match="'alpha' plays no part: method 'mm_bandit' has its own"):
        configure(PRESETS["quick"], LEVEL, "mm_bandit", 1, {"alpha": [[0, 0.5]]})
    one, two = plan("alternatives", "quick", [LEVEL], ["mm", "mm_bandit"], [1], given, tmp_path)
    assert one.config.bandit == BanditConfig()
    assert two.config.bandit == BanditConfig(step=0.2)
    old = {name: value for name, value in one.config.model_dump().items() if name != "bandit"}
    assert config_differences(old, one.config.model_dump()) == []  # recorded before there were bandits
    assert config_differences(one.config.model_dump(), two.config.model_dump()) == ["alpha", "bandit", "method"]
