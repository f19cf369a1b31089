"""Reference scores: measured by playing whole episodes, kept with how they were made; the scale that they make."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmlib import levels
from mmlib.analysis import baselines
from mmlib.analysis.baselines import Scale, Score, measure, scale, scores
from mmlib.cli.main import app
from mmlib.errors import ResultsError
from mmlib.levels import dmlab, dmlab_found

AS_IT_COMES = {"level_settings": {}, "action_repeat": 4}
MINI = "explore_object_locations_small_mini"
COMMITTED = Path(__file__).parents[1] / "results"


def test_random_play_is_repeatable_and_scores_more_in_big():
    small, again = (measure(MINI, "small", 16, "minilab") for _ in range(2))
    big = measure(MINI, "big756", 16, "minilab")
    assert small == again and small.episodes == 16
    assert 0 < small.mean < big.mean  # holding strafe and jump covers more ground
    assert 0 < small.standard_error < small.mean


class TwoStepLevel:
    """Pays 1 for looking left; an episode is two steps, and the first of each environment is cut."""

    name, backend = "two_steps", "elsewhere"

    def __init__(self, num_envs):
        self.total, self.steps, self.closed = np.zeros(num_envs, np.float32), 0, False

    def reset(self):
        return None

    def step(self, actions):
        assert actions.dtype == np.int32
        self.steps += 1
        self.total += actions[:, 0] < 0
        done = np.full(len(self.total), self.steps % 2 == 0)
        returned = np.where(done & (self.steps > 2), self.total, np.nan).astype(np.float32)
        self.total[done] = 0
        return levels.Step(None, self.total, done, returned, None)

    def close(self):
        self.closed = True


@pytest.fixture
def made(monkeypatch):
    """Levels that were made: all are `TwoStepLevel`."""
    made = []

    def make(name, backend, *, num_envs, **settings):
        made.append(TwoStepLevel(num_envs))
        return made[-1]

    monkeypatch.setattr(levels, "make", make)
    return made


def test_a_random_score_by_hand(made):
    """Small looks left in 2 of 9 actions, so two steps pay 4/9 on average."""
    score = measure("any", "small", 4000, "elsewhere")
    assert score.mean == pytest.approx(4 / 9, abs=0.05) and score.episodes == 4000
    assert score.standard_error == pytest.approx(np.sqrt(2 * 2 / 9 * 7 / 9 / 4000), rel=0.1)
    assert made[0].closed and made[0].steps == 2 * (1 + 4000 // 16)


def test_policies_that_do_not_exist_or_cannot_play_say_so(made):
    with pytest.raises(ResultsError, match="unknown policy 'medium'; policies: small, big540, big756, whole, expert"):
        measure(MINI, "medium", 16, "minilab")
    assert not made
    with pytest.raises(ResultsError, match="minilab's levels only, not two_steps of elsewhere"):
        measure("any", "expert", 16, "elsewhere")


@pytest.fixture
def unknown(tmp_path, monkeypatch):
    """The package brings no scores."""
    monkeypatch.setattr(baselines, "SHIPPED", tmp_path / "none")


def test_scores_are_measured_once_and_kept(unknown, tmp_path, monkeypatch):
    calls = []

    def fake(level, policy, episodes, backend):
        calls.append(policy)
        return Score(len(calls), 0.5, episodes)

    monkeypatch.setattr(baselines, "measure", fake)
    first = scores(tmp_path, MINI, ["small", "big756"])
    assert (first["small"].mean, first["big756"].mean) == (1, 2)
    assert scores(tmp_path, MINI, ["small", "big756"]) == first
    assert scores(tmp_path, MINI)["expert"].mean == 3
    assert calls == ["small", "big756", "expert"]
    recorded = json.loads((tmp_path / "baselines" / f"{MINI}.json").read_text())
    assert recorded["minilab"]["small"]["mean"] == 1
    assert "uniform actions of small" in recorded["minilab"]["small"]["made_by"]
    assert "scripted expert" in recorded["minilab"]["expert"]["made_by"]
    assert scores(tmp_path, MINI, ["small"], episodes=500)["small"] == Score(4, 0.5, 500)  # too few were kept
    assert scores(tmp_path, MINI, ["small"], again=True)["small"].mean == 5
    assert scores(tmp_path, MINI, ["expert"], again=True)["expert"].mean == 6
    assert scale(tmp_path, MINI, "minilab", AS_IT_COMES)[:2] == (5, 6)


def test_the_package_brings_scores_and_those_of_the_results_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "measure", lambda *a, **k: Score(7.0, 0.5, 128))
    level = "nav_maze_static_01"  # without big540's
    committed = scores(COMMITTED, level)
    assert scores(tmp_path / "new", level) == committed and not (tmp_path / "new").exists()
    assert scores(tmp_path, level, ["big540"])["big540"].mean == 7
    assert scores(tmp_path, level, ["small"], again=True)["small"].mean == 7
    assert scores(tmp_path, level) == {**committed, "small": Score(7.0, 0.5, 128)}


def test_scores_that_cannot_be_kept_are_not_measured(unknown, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "measure", lambda *a, **k: pytest.fail("measured"))
    (tmp_path / "baselines").write_text("a file where a directory should be")
    with pytest.raises(ResultsError, match="cannot write"):
        scores(tmp_path, MINI, ["small", "big756"])


@pytest.mark.parametrize("level", levels.LEVELS)
def test_the_committed_table_has_every_level_and_the_expert_is_ahead(level):
    table = json.loads((COMMITTED / "baselines" / f"{level}.json").read_text())["minilab"]
    assert set(table) >= set(baselines.POLICIES)
    assert all(score["episodes"] >= 100 and score["made_by"] for score in table.values())
    margin = 5 * (table["expert"]["standard_error"] + table["big756"]["standard_error"])
    assert table["expert"]["mean"] > max(table["big756"]["mean"], table["small"]["mean"]) + margin


def test_the_scale_of_a_level():
    small, expert = scores(COMMITTED, MINI, ("small", "expert")).values()
    measured = scale(COMMITTED, MINI, "minilab", AS_IT_COMES)
    assert (measured.zero, measured.one) == (small.mean, expert.mean)
    assert measured.normalise([small.mean, expert.mean]).tolist() == [0, 1]
    by_hand = Scale(2.0, 6.0, "").normalise([[2.0, 4.0], [0.0, 10.0]])
    np.testing.assert_array_equal(by_hand, [[0.0, 0.5], [-0.5, 2.0]])


@pytest.fixture
def lab(monkeypatch):
    """Backend auto is dmlab for its levels."""
    monkeypatch.setattr(dmlab_found, "problem", lambda: None)


def test_deepmind_lab_has_a_published_scale_for_one_level():
    published = scale(COMMITTED, "explore_object_locations_small", "dmlab", AS_IT_COMES)
    assert (published.zero, published.one) == (3.575, 74.45)
    assert published.normalise(74.45) == 1.0 and published.absolute


def test_where_there_is_no_expert_the_scale_ends_at_the_best_run_and_says_so(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "measure", lambda *a, **k: Score(2.0, 0.5, 128))
    name = "nav_maze_static_01"
    known = scale(tmp_path, name, "dmlab", AS_IT_COMES, best=12.0)
    assert known == (2.0, 12.0, "0 random, 1 the best run here") and not known.absolute
    nothing_learned = Scale(2.0, 3.0, "reward above random, of which no run here has any")
    assert (
        scale(tmp_path, name, "dmlab", AS_IT_COMES, best=1.5)
        == scale(tmp_path, name, "dmlab", AS_IT_COMES)
        == nothing_learned
    )
    assert baselines.meaning({"a": known, "b": nothing_learned, "c": known}).count(";") == 1


def test_a_run_forced_to_minilab_is_compared_with_minilab(lab):
    level = "nav_maze_static_01"
    on_record = json.loads((COMMITTED / "baselines" / f"{level}.json").read_text())["minilab"]
    assert scores(COMMITTED, level, ["small"], "minilab")["small"].mean == on_record["small"]["mean"]
    assert scale(COMMITTED, level, "minilab", AS_IT_COMES, best=1e9).one == on_record["expert"]["mean"]


def test_random_play_of_deepmind_lab_has_a_budget(lab, made):
    """128 episodes, but of at most 200,000 agent steps: 9,000 are an episode of lasertag."""
    found = [baselines.affordable(name, "dmlab") for name in dmlab.LEVELS]
    assert dict(zip(dmlab.LEVELS, found)) == {
        "explore_object_locations_small": 128,
        "nav_maze_static_01": 128,
        "nav_maze_static_02": 88,
        "lt_horseshoe_color": 22,
        "lt_chasm": 22,
    }
    assert baselines.affordable("lt_chasm", "minilab") == 128
    measure("lt_chasm", "small", 2, "dmlab")
    assert len(made[0].total) == 4  # processes


def test_the_command_prints_what_is_on_record_and_refuses_bad_input(monkeypatch):
    def mmlib(*arguments):
        return CliRunner().invoke(app, ["baselines", "--results", str(COMMITTED), *arguments])

    monkeypatch.setattr(baselines, "measure", lambda *a, **k: pytest.fail("measured"))
    printed = mmlib("--level", MINI, "--episodes", "100").output
    assert f"{scores(COMMITTED, MINI)['expert'].mean:.2f} ± " in printed and printed.count("\n") == 2
    read = json.loads(mmlib("--level", MINI, "--episodes", "100", "--json").output)
    assert read == {MINI: {policy: score._asdict() for policy, score in scores(COMMITTED, MINI).items()}}
    for message, arguments in {
        "unknown level 'doom'; levels: nav_maze_static_01": ["--level", "doom"],
        "unknown backend 'doom'; backends: auto, dmlab, gymnasium, minilab": ["--backend", "doom"],
        "--episodes 1: a standard error needs at least 2": ["--episodes", "1"],
    }.items():
        result = mmlib(*arguments)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
