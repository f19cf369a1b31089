"""Gadgets, damage, items, death and return, in DeepMind Lab's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from lasertag_scenes import FIRE, FORWARD, IDLE, JUMP, Duel, place_of

from mmlib.levels.arenas import BEAM, CONTACT, ORB, RAPID
from mmlib.levels.minilab.lasertag.bodies import SHOT_OWNER
from mmlib.levels.minilab.lasertag.combat import FEET, HEAD, WORLD, burst, die, hurt
from mmlib.levels.minilab.lasertag.items import pick_up

HORSESHOE, CHASM = "lt_horseshoe_color", "lt_chasm"
X, Y, EYE, HEALTH, ARMOUR, GADGET, AMMO, DEATHS, OWN = map(
    place_of, ("x", "y", "eye", "health", "armour", "gadget", "ammo", "deaths", "own")
)


@pytest.mark.parametrize(
    ("gadget", "damage", "cadence", "away"),
    [(CONTACT, 50, 400, 40), (RAPID, 7, 100, 150), (BEAM, 8, 50, 150), (ORB, 100, 800, 400)],
)
def test_damage_and_cadence(gadget, damage, cadence, away):
    duel = Duel(HORSESHOE)
    duel.arm(0, gadget)
    duel.toughen(1, 1e6)
    for _ in range(250):  # 4 s of engine time
        duel.place(0, 200, 192)
        duel.place(1, 200 + away, 192)
        duel.step(FIRE)
    lost = 1e6 - duel.body[1].health
    shots = 1000 - duel.body[0].ammo[gadget] if gadget != CONTACT else lost / damage
    assert shots == pytest.approx(4000 / cadence, abs=1)
    flying = (duel.fight.shots[0, :, SHOT_OWNER] >= 0).sum()
    assert lost == damage * (shots - flying)


def test_contact_saves_up_nothing_while_it_meets_nobody():
    duel = Duel(HORSESHOE)
    duel.arm(0, CONTACT)
    duel.toughen(1, 1e6)
    for away, frames in ((400, 120), (40, 10)):
        for _ in range(frames):
            duel.place(0, 200, 192)
            duel.place(1, 200 + away, 192)
            duel.step(FIRE)
    assert 1e6 - duel.body[1].health == 50


def test_who_comes_down_on_somebody_stands_on_him():
    duel = Duel(HORSESHOE)
    duel.place(1, 400, 192)
    duel.place(0, 400, 192)
    duel.body[0].eye = duel.level._agents.pose[0, 2] = 50.125 + 120
    lowest = np.inf
    for _ in range(90):
        duel.step()
        lowest = min(lowest, float(duel.body[0].eye))
    assert lowest - 50.125 == pytest.approx(FEET + HEAD, abs=10)
    assert duel.body[0].x == 400 and duel.body[1].eye == pytest.approx(50.125)


@pytest.mark.parametrize(("gadget", "reach"), [(CONTACT, 32), (BEAM, 768)])
def test_ranges_from_muzzle_to_hull(gadget, reach):
    for away, hit in ((reach + 14 + 15 - 2, True), (reach + 14 + 15 + 2, False)):
        duel = Duel(HORSESHOE)
        duel.arm(0, gadget)
        duel.place(0, 200, 192)
        duel.place(1, 200 + away, 192)
        duel.step(FIRE)
        assert (duel.body[1].health < 125) == hit


def test_the_rapid_gadget_spreads_by_200_in_8192():
    duel = Duel(HORSESHOE)
    duel.arm(0, RAPID)
    duel.toughen(1, 1e6)
    for _ in range(1500):
        duel.place(0, 40, 192)
        duel.place(1, 1340, 192)
        duel.step(FIRE)
    shots = 1000 - duel.body[0].ammo[RAPID]
    share = (1e6 - duel.body[1].health) / 7 / shots
    rng = np.random.default_rng(0)
    turn, a, b = 2 * np.pi * rng.random(10**6), *rng.uniform(-1, 1, (2, 10**6)) * 200 / 8192 * 1300
    aside, above = np.cos(turn) * a, np.sin(turn) * b  # the hull is 15 to either side, 6 above and 50 below the eye
    expected = ((np.abs(aside) < 15) & (above < 6) & (above > -50)).mean()
    assert share == pytest.approx(expected, abs=0.1)
    assert 0.2 < expected < 0.9


def test_walls_stop_shots():
    for gadget in (RAPID, BEAM, ORB):
        duel = Duel(HORSESHOE)
        duel.arm(0, gadget)
        duel.place(0, 500, 350, 90.0)  # the divider is y = 384..768 here
        duel.place(1, 500, 800)
        for _ in range(60):
            duel.step(FIRE)
        assert duel.body[1].health >= 124  # but for its waning


def test_orbs_fly_at_900_units_a_second():
    duel = Duel(HORSESHOE)
    duel.arm(0, ORB)
    duel.place(0, 200, 192)
    start = None
    for frame in range(51):
        duel.step(FIRE if frame == 0 else IDLE)
        start = duel.fight.shots[0, 0, 0] if frame == 0 else start
    assert duel.fight.shots[0, 0, 0] - start == pytest.approx(900 * 0.016 * 50, abs=10)


def at_burst(duel: Duel, owner: int, x: float, y: float, z: float) -> None:
    """An orb of `owner` bursts in the air."""
    duel.fight.shots[0, 0, :] = 0.0
    duel.fight.shots[0, 0, SHOT_OWNER] = owner
    burst(duel.scene, duel.rules, 0, -1, x, y, z)


def test_splash_falls_off_to_120_units_and_hurts_its_owner():
    for away, points in ((0, 100), (60, 50), (90, 25), (119, 0), (130, 0)):
        for owner, k in ((0, 1), (0, 0), (1, 0)):
            duel = Duel(HORSESHOE)
            duel.place(1 - k, 1400, 192)
            duel.place(k, 600, 192)
            at_burst(duel, owner, 600 + 15 + away, 192, 30)
            assert duel.body[k].health == 125 - points


def test_splash_does_not_pass_walls_and_pushes_away():
    duel = Duel(HORSESHOE)
    duel.place(0, 980, 500)
    duel.place(1, 1400, 192)
    at_burst(duel, 1, 940, 500, 30)  # inside the divider
    assert duel.body[0].health == 125
    at_burst(duel, 1, 1040, 500, 30)
    assert duel.body[0].health < 125
    assert duel.body[0].vx < -100


def test_armour_absorbs_66_per_cent_while_it_lasts():
    for armour, left, health in ((0, 0, 25), (50, 0, 75), (100, 34, 91), (200, 134, 91)):
        duel = Duel(HORSESHOE)
        duel.numbers[0, [HEALTH, ARMOUR]] = 125, armour
        hurt(duel.scene, duel.rules, 0, 1, 100.0, 1.0, 0.0, 0.0)
        assert duel.numbers[0, [ARMOUR, HEALTH]].tolist() == [left, health]


def test_health_falls_from_125_to_100_by_one_a_second():
    duel = Duel(HORSESHOE, bots=0)
    health = [duel.step() or duel.body[0].health for _ in range(1700)]
    assert health[0] == 125
    assert health[round(10.5 / 0.016)] == 115
    assert health[-1] == 100
    assert health.index(100) == pytest.approx(25 / 0.016, abs=2)


def test_a_tag_gives_one_and_being_tagged_nothing():
    duel = Duel(HORSESHOE)
    duel.place(0, 200, 192)
    duel.place(1, 300, 192)
    duel.toughen(1, 14.0)
    rewards = [duel.step(FIRE) for _ in range(10)]
    assert sum(rewards) == 1
    assert set(rewards) == {0, 1}
    assert duel.body[:2].score.tolist() == [1, 0]
    duel = Duel(HORSESHOE)
    duel.place(0, 200, 192)
    duel.toughen(0, 7.0)
    hurt(duel.scene, duel.rules, 0, 1, 7.0, 1.0, 0.0, 0.0)
    assert duel.step() == 0
    assert duel.body[:2].score.tolist() == [0, 1]
    assert duel.numbers[0, [DEATHS, OWN]].tolist() == [1, 0]


def test_tagging_oneself_costs_one():
    duel = Duel(HORSESHOE, bots=0)
    duel.arm(0, ORB)
    duel.toughen(0, 50.0)
    duel.place(0, 1500, 192, 0.0)
    rewards = [duel.step(FIRE) for _ in range(10)]
    assert sum(rewards) == -1
    assert duel.numbers[0, [DEATHS, OWN]].tolist() == [1, 1]


def dead_frames(press) -> int:
    duel = Duel(HORSESHOE, bots=0)
    die(duel.scene, duel.rules, 0, WORLD)
    frames = 0
    while duel.body[0].health <= 0:
        duel.step(FIRE if press(frames) else IDLE)
        frames += 1
    assert duel.body[0].health == 125
    return frames


def test_the_agent_returns_on_fire_after_1_7_s_or_after_1359_frames():
    assert dead_frames(lambda frame: True) == pytest.approx(1.7 / 0.016, abs=1)
    assert dead_frames(lambda frame: frame % 4 == 0) == pytest.approx(109, abs=3)
    assert dead_frames(lambda frame: frame < 100 or frame == 200) == 201
    assert dead_frames(lambda frame: False) == pytest.approx(1359, abs=1)


def test_a_return_restores_the_kit():
    duel = Duel(HORSESHOE, bots=0)
    duel.arm(0, ORB, 7)
    duel.body[0].armour = 50
    die(duel.scene, duel.rules, 0, WORLD)
    for _ in range(120):
        duel.step(FIRE)
    assert duel.numbers[0, [ARMOUR, GADGET, AMMO + ORB, AMMO + BEAM]].tolist() == [0, RAPID, 0, 0]
    assert 90 <= duel.body[0].ammo[RAPID] <= 100


@pytest.mark.parametrize(
    ("name", "item", "seconds", "column", "before", "after"),
    [
        (HORSESHOE, 0, 5, AMMO + BEAM, 0, 100),
        (HORSESHOE, 2, 5, AMMO + ORB, 0, 10),
        (HORSESHOE, 2, 5, AMMO + ORB, 10, 11),
        (CHASM, 0, 25, ARMOUR, 0, 50),
        (CHASM, 2, 35, HEALTH, 30, 80),
        (CHASM, 2, 35, HEALTH, 70, 100),
        (CHASM, 4, 5, AMMO + BEAM, 20, 100),
    ],
)
def test_items_give_their_points_and_come_back(name, item, seconds, column, before, after):
    duel = Duel(name, bots=0)
    _, x, y, z = duel.rules.items[item]
    duel.numbers[0, [X, Y, EYE, column]] = x, y, z + 26, before
    pick_up(duel.scene, duel.rules, 0)
    assert duel.numbers[0, column] == after
    frames = 0
    while duel.fight.waits[0, item] > 0:
        duel.step()
        frames += 1
    assert frames == pytest.approx(seconds / 0.016, abs=2)


def test_items_of_no_use_stay_and_a_new_gadget_is_taken_in_hand():
    duel = Duel(CHASM, bots=0)
    for item, column, value in ((0, ARMOUR, 200), (2, HEALTH, 100)):
        _, x, y, z = duel.rules.items[item]
        duel.numbers[0, [X, Y, EYE, column]] = x, y, z + 26, value
        pick_up(duel.scene, duel.rules, 0)
        assert duel.fight.waits[0, item] == 0
    duel = Duel(HORSESHOE, bots=0)
    duel.place(0, *duel.rules.items[2, 1:3])
    duel.step()
    assert duel.body[0].gadget == ORB


def test_an_empty_gadget_gives_way_to_the_best_one_with_rounds():
    duel = Duel(HORSESHOE, bots=0)
    for gadget, rounds in ((ORB, 0), (RAPID, 2), (BEAM, 3)):
        duel.arm(0, gadget, rounds)
    duel.place(0, 200, 192)
    seen = []
    for _ in range(200):
        duel.body[0].health = 125
        duel.step(FIRE)
        seen.append(int(duel.body[0].gadget))
    assert list(dict.fromkeys(seen)) == [BEAM, RAPID, CONTACT]


def test_the_pit_kills_who_walks_in_and_a_running_jump_clears_it():
    duel = Duel(CHASM, bots=0)
    duel.place(0, 60, 320, 0.0)  # the pit is x = 256..384
    rewards = [duel.step(FORWARD) for _ in range(70)]
    assert sum(rewards) == -1
    assert duel.numbers[0, [DEATHS, OWN]].tolist() == [1, 1]
    duel = Duel(CHASM, bots=0)
    duel.place(0, 60, 320, 0.0)
    for _ in range(80):
        near = duel.level.pose(0).x > 240
        assert duel.step(JUMP if near else FORWARD) == 0
    assert duel.level.pose(0).x > 400
    assert duel.body[0].health > 100
