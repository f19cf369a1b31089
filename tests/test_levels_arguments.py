"""What cannot be made says what can: levels, backends, settings, arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmlib import levels
from mmlib.config import ConfigError, make_config
from mmlib.training.fitting import check

FAKE_DMLAB = Path(__file__).parent / "fake_dmlab"


def test_unknown_names_say_what_is_known():
    with pytest.raises(ValueError, match=r"unknown level 'nav_maze'; levels: nav_maze_static_01, "):
        levels.make("nav_maze")
    with pytest.raises(ValueError, match=r"unknown backend 'doom'; backends: auto, dmlab, gymnasium, minilab"):
        levels.make("nav_maze_static_01", "doom")
    with pytest.raises(ValueError, match=r"unknown setting 'gravity' of minilab; settings: .*threads"):
        levels.make("nav_maze_static_01", "minilab", gravity=1)
    with pytest.raises(ValueError, match=r"unknown level 'Nope-v0' of gymnasium"):
        levels.make("Nope-v0", "gymnasium")
    with pytest.raises(ValueError, match=r"CartPole-v1 refuses the setting gravity:"):
        levels.make("CartPole-v1", "gymnasium", gravity=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"action_repeat": 0}, "action_repeat is 0"),
        ({"width": 4}, "4 x 72"),
        ({"height": 0}, "96 x 0"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**63}, "seed"),
        ({"episode_seconds": 0}, "episode_seconds is 0"),
        ({"episode_seconds": -3.0}, "episode_seconds is -3.0"),
    ],
)
@pytest.mark.parametrize("backend", ["minilab", "dmlab"])
def test_arguments_outside_their_range_are_named(backend, arguments, message, monkeypatch):
    monkeypatch.syspath_prepend(str(FAKE_DMLAB))
    with pytest.raises(ValueError, match=message):
        levels.make("nav_maze_static_01", backend, **arguments)


def test_settings_of_minilab_outside_their_range_are_named():
    with pytest.raises(ValueError, match="threads is 0"):
        levels.make("nav_maze_static_01", "minilab", threads=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skill": "hard"}, "skill is 'hard'; it must be a number"),
        ({"episode_seconds": "ten"}, "episode_seconds is 'ten'; it must be a number"),
        ({"episode_seconds": 0}, "episode_seconds is 0"),
        ({"staggered": True}, "staggered is a setting of the run itself"),
    ],
)
def test_a_runs_level_settings_are_refused_before_any_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        check(make_config({"level": "lt_chasm_mini", "method": "small", "level_settings": settings}))
