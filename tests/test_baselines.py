"""The random policy's scores: measured by playing whole episodes, kept with how they were made."""

import json

import numpy as np
import pytest

from mmlib import baselines, levels
from mmlib.baselines import random_return, random_scores
from mmlib.results import ResultsError
from mmlib.spaces import BIG_756, SMALL

MINI = "explore_object_locations_small_mini"


def test_random_return_is_repeatable_and_larger_in_big():
    small, again = (random_return(MINI, SMALL, episodes=16, seed=3) for _ in range(2))
    big = random_return(MINI, BIG_756, episodes=16, seed=3)
    assert small == again and small.episodes == 16
    assert 0 < small.mean < big.mean  # holding strafe and jump covers more ground
    assert 0 < small.standard_error < small.mean


class TwoFrameLevel:
    """Pays 1 for looking left; an episode is two steps."""

    def __init__(self, num_envs):
        self.total, self.steps, self.closed = np.zeros(num_envs, np.float32), 0, False

    def reset(self):
        return None

    def step(self, actions):
        assert actions.dtype == np.int32
        self.steps += 1
        self.total += actions[:, 0] < 0
        done = np.full(len(self.total), self.steps % 2 == 0)
        returned = np.where(done, self.total, np.nan).astype(np.float32)
        self.total[done] = 0
        return levels.Step(None, self.total, done, returned, None)

    def close(self):
        self.closed = True


def test_random_return_by_hand(monkeypatch):
    """Small looks left in 2 of 9 actions, so two steps pay 4/9 on average."""
    made = []

    def make(name, backend, *, num_envs, **settings):
        made.append(TwoFrameLevel(num_envs))
        return made[0]

    monkeypatch.setattr(levels, "make", make)
    score = random_return("any", SMALL, episodes=4000)
    assert score.mean == pytest.approx(4 / 9, abs=0.05) and score.episodes == 4000
    assert score.standard_error == pytest.approx(np.sqrt(2 * 2 / 9 * 7 / 9 / 4000), rel=0.1)
    assert made[0].closed


def test_scores_are_measured_once_and_kept(tmp_path, monkeypatch):
    calls = []

    def measure(level, space, **settings):
        calls.append(space.name)
        return baselines.RandomScore(len(calls), 0.5, 16)

    monkeypatch.setattr(baselines, "random_return", measure)
    first = random_scores(tmp_path, MINI)
    assert (first["small"].mean, first["big756"].mean) == (1, 2)
    assert random_scores(tmp_path, MINI) == first
    assert random_scores(tmp_path, MINI, ("small", "big540"))["big540"].mean == 3
    assert calls == ["small", "big756", "big540"]
    recorded = json.loads((tmp_path / "baselines" / f"{MINI}.json").read_text())
    assert recorded["minilab"]["small"]["mean"] == 1
    assert "seed 0" in recorded["minilab"]["small"]["made_by"]


def test_scores_that_cannot_be_kept_are_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "random_return", lambda *a, **k: pytest.fail("measured"))
    (tmp_path / "baselines").write_text("a file where a directory should be")
    with pytest.raises(ResultsError, match="cannot write"):
        random_scores(tmp_path, MINI)
