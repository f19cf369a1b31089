"""The lasertag levels as wholes: arenas, bots, settings, the expert."""

from __future__ import annotations

import numpy as np
import pytest
from lasertag_scenes import FORWARD, IDLE, Duel

from mmlib import levels
from mmlib.levels.arenas import CHASM_ARENA, HORSESHOE_ARENA, plan
from mmlib.levels.minilab.lasertag.navigation import routes
from mmlib.levels.minilab.marksman import marksman
from mmlib.levels.table import SPECS

NAMES = [name for name, spec in SPECS.items() if spec.arena is not None]


def test_the_horseshoe_has_the_measured_walls():
    duel = Duel("lt_horseshoe_color", bots=0)
    x0, y0 = HORSESHOE_ARENA.origin
    stops = {  # from DeepMind Lab's (x, y), looking that way: the coordinate of the wall
        (600, 64, 0): 704, (-700, 64, 180): -832, (300, 448, 180): 128, (300, 900, 90): 1024, (300, 0, -90): -128,
        (-400, 100, 90): 256, (-400, 900, -90): 640,
    }  # fmt: skip
    for (x, y, yaw), wall in stops.items():
        duel.place(0, x - x0, y - y0, yaw)
        for _ in range(200):
            duel.step(FORWARD)
        pose = duel.level.pose(0)
        at = pose.x + x0 if yaw in (0, 180) else pose.y + y0
        assert abs(at - wall) == pytest.approx(16.125, abs=1e-6)


def test_the_chasm_has_the_measured_pit_and_spawns():
    floor = plan(CHASM_ARENA).floor_z
    assert floor.shape == (5, 5)
    assert CHASM_ARENA.cell == 128
    assert (floor[:, 2] == -48).all()
    assert (np.delete(floor, 2, axis=1) == 0).all()
    level = levels.make("lt_chasm", "minilab", num_envs=64, width=8, height=8)
    x = np.array([level.pose(i).x for i in range(64)]) - 320
    assert set(x.tolist()) == {-272, 272}


def test_shortest_paths_go_round_the_divider_and_over_the_pit():
    for arena, start, goal, moves in ((HORSESHOE_ARENA, 0, 40, 13), (CHASM_ARENA, 1, 3, 1)):
        parts = plan(arena)
        table, here, count = routes(*parts), start, 0
        while here != goal:
            here, count = table[here, goal], count + 1
            assert parts.floor_z.ravel()[here] == 0
        assert count == moves


def test_spawns_are_free_and_everybody_starts_with_the_kit():
    for name in NAMES:
        level = levels.make(name, "minilab", num_envs=32, width=8, height=8, bot_count=4)
        body = level._fight.body[:, :5]
        places = np.stack([body["x"], body["y"]], axis=-1)
        gaps = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1) + 1e9 * np.eye(5)
        assert gaps.min() > 60
        assert (body[:, 0]["health"] == 125).all()
        assert (body[:, 1:]["health"] == SPECS[name].arena.bot_health).all()


def test_looks_are_redrawn_where_the_level_says_so():
    for name, several in (("lt_horseshoe_color", True), ("lt_chasm", False)):
        level = levels.make(name, "minilab", num_envs=16, width=8, height=8)
        assert (len(set(level._fight.look.tolist())) > 1) == several


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bot_count": 7}, "bot_count is 7; it must be a whole number from 0 to 6"),
        ({"bot_count": -1}, "bot_count is -1"),
        ({"bot_count": 1.5}, "bot_count is 1.5"),
        ({"skill": 0.5}, "skill is 0.5; it must be from 1 to 5"),
        ({"skill": 6}, "skill is 6"),
        ({"bots": 3}, "unknown setting 'bots'.*bot_count"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        levels.make("lt_chasm", "minilab", **settings)


def test_mazes_refuse_lasertag_settings():
    for setting in ("bot_count", "skill"):
        with pytest.raises(ValueError, match=f"nav_maze_static_01 takes no setting '{setting}'; settings: episode_s"):
            levels.make("nav_maze_static_01", "minilab", **{setting: 2})


def play(name: str, seconds: int, num_envs: int, **settings):
    """The bodies after `seconds` in which the agent stands still and taps FIRE."""
    level = levels.make(
        name, "minilab", num_envs=num_envs, width=8, height=8, episode_seconds=seconds + 1, bot_count=4, **settings
    )
    for k in range(seconds * 15):
        actions = np.repeat(IDLE, num_envs, axis=0)
        actions[:, 4] = k % 8 == 0
        level.step(actions)
    return level._fight.body


def test_idle_agents_die_about_as_often_as_measured():
    for name, low, high in (("lt_horseshoe_color", 55, 90), ("lt_chasm", 28, 52)):  # measured: 69 and 39 in 600 s
        body = play(name, 120, 16)
        assert low < 5 * body[:, 0]["deaths"].mean() < high
        assert (body[:, 0]["own"] == 0).all()
        if name == "lt_chasm":  # bots fall, but not the agent that stands still
            assert body[:, 1:5]["own"].mean() > 5
            assert body[:, 1:5]["score"].mean() < 0
        else:
            assert body[:, 1:5]["score"].mean() > 8


def test_skill_makes_bots_dangerous():
    weak, strong = (play("lt_horseshoe_color", 60, 16, skill=skill)[:, 0]["deaths"].mean() for skill in (1, 5))
    assert strong > 1.3 * weak


def test_a_level_without_bots_is_quiet():
    body = play_alone()
    assert (body[:, :]["deaths"] == 0).all()


def play_alone() -> np.ndarray:
    level = levels.make("lt_chasm", "minilab", num_envs=4, width=8, height=8, bot_count=0)
    for _ in range(100):
        assert (level.step(np.repeat(IDLE, 4, axis=0)).reward == 0).all()
    return level._fight.body


@pytest.mark.parametrize("name", NAMES)
def test_the_marksman_scores(name):
    level = levels.make(name, "minilab", num_envs=8, width=8, height=8, episode_seconds=30)
    total = np.zeros(8)
    for _ in range(450):
        total += level.step(marksman(level)).reward
    assert total.mean() > 3


def test_the_marksman_plays_lasertag_only():
    with pytest.raises(ValueError, match="nav_maze_static_01 is not a lasertag level"):
        marksman(levels.make("nav_maze_static_01", "minilab"))


def test_an_environment_stays_under_two_megabytes():
    level = levels.make("lt_horseshoe_color", "minilab", num_envs=4)
    size = sum(value.nbytes for value in level.state_dict().values()) + level.reset().nbytes
    assert size / 4 < 2e6
