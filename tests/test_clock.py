"""The clock of population based training: what a configuration promises, and whether records kept the rule."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmlib.config import make_config
from mmlib.errors import ResultsError
from mmlib.experiments import clock
from mmlib.experiments.design import configure
from mmlib.experiments.presets import FIGURES, PRESETS
from mmlib.method import pbt
from mmlib.method.trajectory import Episode
from mmlib.runs.reader import Run
from mmlib.runs.records import read_rows
from mmlib.runs.writer import RunWriter
from mmlib.training.loop import train
from tools.clock import check

ROOT = Path(__file__).parent.parent
MINI = "explore_object_locations_small_mini"
MULTITASK = f"{MINI}+lt_horseshoe_color_mini+lt_chasm_mini"


class Environments:
    """A level's environments on a simulated clock: episodes of one length, the first cut at a random step."""

    def __init__(self, members, num_envs, length, task, random):
        self.length, self.task, self.random = length, task, random
        self.members = np.repeat(np.arange(members), num_envs)
        self.began = np.full(len(self.members), -1)
        self.ends = random.integers(1, length + 1, len(self.members))

    def until(self, now):
        found = []
        while len(due := np.flatnonzero(self.ends <= now)):
            for b in due[np.argsort(self.ends[due], kind="stable")]:
                if self.began[b] >= 0:  # else it was cut and has no return
                    member, ends = int(self.members[b]), int(self.ends[b])
                    value = float(self.random.normal())
                    found.append(Episode(member, int(self.began[b]), ends, value, 4 * self.length, self.task))
                self.began[b], self.ends[b] = self.ends[b], self.ends[b] + self.length
        return sorted(found, key=lambda e: e.steps)


def simulate(config, directory, apply=pbt.apply, seed=0):
    """A run of members that are all alike: the real rules of PBT, invented returns, real records."""
    random, members = np.random.default_rng(seed), config.population
    state = pbt.PopulationState.start(config.pbt, members, seed, len(config.levels))
    frames = config.num_envs * len(config.levels) * config.action_repeat

    def make(num_envs):
        lengths = [round(clock.episode_steps(config, level)) for level in config.levels]
        return [Environments(members, num_envs, length, task, random) for task, length in enumerate(lengths)]

    def rows(episodes):
        for e in episodes:
            row = {"frames": e.steps * frames, "member": e.member, "return": e.episode_return}
            yield row | {"began": e.began * frames, "level": config.levels[e.task]}

    training, watched = make(config.num_envs), make(config.evaluation_envs)
    with RunWriter(directory, config.model_dump(mode="json")) as writer:
        for now in range(config.unroll, config.agent_steps * config.action_repeat // frames + 1, config.unroll):
            episodes, evaluations = ([e for level in kind for e in level.until(now)] for kind in (training, watched))
            pbt.observe(state, config.pbt, episodes, evaluations if config.evaluation_envs else episodes)
            writer.append("episodes", rows(episodes))
            writer.append("evaluations", rows(evaluations))
            for member in pbt.ready(state, config.pbt):
                decision = pbt.decide(state, config.pbt, member)
                apply(state, decision, now)
                writer.append("decisions", [decision.as_row(now * frames, frames)])
        writer.finish("done")
    return Run(directory)


def the_old_rule(state, decision, now):
    """Of before episodes had a begin: a copy takes the donor's window along, whatever is in flight counts."""
    state.hyper[decision.member], state.episodes[decision.member] = dict(decision.new), 0
    if decision.copied:
        state.windows[decision.member] = [list(window) for window in state.windows[decision.opponent]]
    state.decisions += 1


def stale_window(state, decision, now):
    """Only the window is forgotten to be emptied."""
    windows = state.windows[decision.member]
    pbt.apply(state, decision, now)
    state.windows[decision.member] = windows


def changes_nothing_but_begins_anew(state, decision, now):
    pbt.apply(state, decision, now)
    state.changed[decision.member], state.windows[decision.member] = now, [[]]


def small(**settings):
    base = {"level": MINI, "method": "mm", "population": 3, "num_envs": 4, "unroll": 20, "agent_steps": 60_000}
    base["pbt"] = {"ready": 6, "window": 4, "explore_probability": 0.4, "p_value": 0.3}
    return make_config(base | settings)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pbt_settings=st.fixed_dictionaries(
        {
            "ready": st.integers(1, 12),
            "window": st.integers(2, 8),
            "explore_probability": st.sampled_from([0.0, 0.3, 1.0]),
            "p_value": st.sampled_from([0.05, 0.5]),
            "alpha_step": st.sampled_from([0.05, 1.0]),
        }
    ),
    unroll=st.integers(1, 300),
    evaluation_envs=st.integers(0, 2),
    level=st.sampled_from([MINI, MULTITASK]),
    seed=st.integers(0, 99),
)
def test_whatever_the_settings_the_records_keep_the_rule(tmp_path, pbt_settings, unroll, evaluation_envs, level, seed):
    method = "mm" if level == MINI else "mm_multitask"
    config = small(pbt=pbt_settings, unroll=unroll, evaluation_envs=evaluation_envs, level=level, method=method)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert check(simulate(config, tmp_path / "run", seed=seed)) == []


@pytest.mark.parametrize("rule", [the_old_rule, stale_window, changes_nothing_but_begins_anew])
def test_another_rule_is_noticed(tmp_path, rule):
    assert len(read_rows(simulate(small(), tmp_path / "right").directory, "decisions")) > 30
    wrong = check(simulate(small(), tmp_path / "wrong", rule))
    assert len(wrong) > 5 and all(line.startswith("decision ") for line in wrong)
    if rule is the_old_rule:
        assert any("make ready" in line for line in wrong) and any("was not full" in line for line in wrong)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("changed", 4, "changed is 4"),
        ("began", 0, "began is 0"),
        ("opponent_episodes", 3, "opponent_episodes is 3"),
        ("mean", 9.5, "mean is 9.5"),
    ],
)
def test_a_false_log_is_noticed(tmp_path, column, value, said):
    run = simulate(small(), tmp_path)
    rows = read_rows(tmp_path, "decisions")
    rows[-1][column] = value
    (tmp_path / "decisions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wrong = check(run)
    assert len(wrong) == 1 and said in wrong[0] and wrong[0].startswith(f"decision {len(rows)} ")


@pytest.mark.parametrize(("figure", "method"), [("3", "mm"), ("9", "mm_multitask")])
@pytest.mark.parametrize("preset", ["population", "paper"])
def test_expected_ticks_are_those_of_a_simulated_clock(tmp_path, preset, figure, method):
    chosen, drawn = PRESETS[preset], FIGURES[figure]
    share = 20 if preset == "paper" else 1
    settings = {"agent_steps": chosen.settings["agent_steps"] // share}
    config = configure(chosen, drawn.level_names(chosen.miniature)[0], method, 1, settings, drawn)
    ticks, run = clock.expected(config), simulate(config, tmp_path)
    rows, members = read_rows(run.directory, "decisions"), config.population
    assert len(read_rows(run.directory, "episodes")) / members == pytest.approx(ticks.episodes, rel=0.05)
    assert len(rows) / members == pytest.approx(ticks.decisions, rel=0.12)
    assert sum(row["p"] is not None for row in rows) / members == pytest.approx(ticks.compared, rel=0.15)
    assert sum(row["explored"] for row in rows) / members == pytest.approx(ticks.perturbations, rel=0.15)
    assert check(run) == []


def test_the_papers_clock():
    ticks = clock.expected(configure(PRESETS["paper"], "explore_object_locations_small", "mm", 1))
    assert ticks.episodes == pytest.approx(1e9 / 5400)
    assert 140 < ticks.perturbations < 160 and ticks.decisions == pytest.approx(ticks.compared, rel=0.001)
    with pytest.raises(ValueError, match="no decisions"):
        clock.expected(configure(PRESETS["quick"], MINI, "mm", 1))


@pytest.mark.slow
@pytest.mark.parametrize(("lag", "evaluation_envs"), [(0, 0), (1, 2)])
def test_a_real_population_keeps_the_rule(tmp_path, lag, evaluation_envs):
    settings = {"width": 32, "height": 24, "conv1": (4, 2), "staggered": True, "lag": lag, "population": 3}
    settings |= {"evaluation_envs": evaluation_envs, "level_settings": {"episode_seconds": 2}, "agent_steps": 2400}
    train(small(**settings, pbt={"ready": 8, "window": 4, "p_value": 0.5}), tmp_path)
    run = Run(tmp_path)
    assert check(run) == []
    rows, episodes = read_rows(tmp_path, "decisions"), read_rows(tmp_path, "episodes")
    compared = [row for row in rows if row["p"] is not None]
    assert any(row["copied"] for row in compared) and any(row["changed"] for row in compared)
    assert all(row["began"] >= row["changed"] and row["opponent_began"] >= row["opponent_changed"] for row in compared)
    stretch = 4  # environments of a member step together: frames of the member for a frame of an episode
    assert Counter(row["frames"] - row["began"] - stretch * row["length_frames"] for row in episodes) == {
        0: len(episodes)
    }


def test_runs_without_the_columns_are_readable_and_not_checked(tmp_path):
    for path in ROOT.glob(f"results/*/figure3/{MINI}/mm/seed1/decisions.jsonl.gz"):
        old = Run(path.parent)
        assert len(old.decisions()) > 100 and "changed" not in read_rows(path.parent, "decisions")[0]
        with pytest.raises(ResultsError, match="an older version wrote it"):
            check(old)
        break
    else:
        raise AssertionError("no committed population")
    RunWriter(tmp_path, {**old.config, "pbt": None}).close()
    with pytest.raises(ResultsError, match="without population based training"):
        check(Run(tmp_path))
    assert math.isfinite(old.episodes()["return"].mean())


def test_the_documents_table_is_the_computed_one():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `p")]
    documented = {}
    for preset, names, *numbers in rows:
        for level in [MULTITASK] if "figure 9" in names else names.split(", "):
            level = level.replace("_mini", "") if preset == "`paper`" else level
            documented[preset.strip("`"), level] = [int(number) for number in numbers]
    computed = {}
    for row in clock.table():
        preset, level = row.pop("preset"), row.pop("level")
        computed[preset, level] = list(row.values())
    assert documented == computed
