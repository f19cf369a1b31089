"""How bots think and move.

A bot thinks every 96 ms of engine time: whom it sees, what it wants, where it walks, which gadget it holds. In
between it turns at a limited rate towards its aim, walks, and fires when its view is near its target and it has seen
it for its reaction time. All of it is a stated choice, fitted at skill 4 to the measured deaths, scores and speeds;
what depends on the skill is in `bodies.MatchRules`.
"""

from __future__ import annotations

import math

import numpy as np

from mmlib.levels.arenas import BEAM, BEAM_ITEM, CONTACT, HEALTH_ITEM, ORB, ORB_ITEM, RAPID
from mmlib.levels.minilab.lasertag.bodies import chance, floor_at
from mmlib.levels.minilab.lasertag.combat import FEET, RANGE, SHOT_SPEED, SPLASH_RADIUS, take_in_hand
from mmlib.levels.minilab.lasertag.navigation import cell_of, sees
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, TOP_SPEED, wrapped
from mmlib.numerics.kernels import njit

THINK_MS = 96.0
FORGET = 2000.0  # ms out of view after which an opponent is given up
TURN_ROUND = 0.06  # share of thoughts at which it changes the way round its opponent
ENOUGH_ROUNDS = np.array([0.0, 0.0, 4.0, 20.0])  # of a gadget, above which its item is passed by
WANT_HEALTH, WANT_ARMOUR = 80.0, 60.0
STILL = 0.35  # share of the aim's error against an opponent at rest
AIM_WINDOW = 15.0  # degrees between view and aim within which it fires
REST_SHARE = 0.35  # of thoughts in a fight after which it stands still
# The fourth bot takes care at the pit, as the measured scores say of DeepMind Lab's. Entry 0 is the agent's: unused.
DARING = np.array([0.0, 0.022, 0.022, 0.022, 0.008, 0.022, 0.022])  # share of thoughts that go for an item over it
CLUMSY = np.array([0.0, 0.95, 0.95, 0.95, 0.5, 0.95, 0.95])  # share of crossings where the bot does not jump
CARELESS = np.array([0.0, 0.025, 0.025, 0.025, 0.01, 0.025, 0.025])  # share of times that it walks into it unawares


@njit(nogil=True, cache=True)
def bearing(x, y, to_x, to_y):
    """Direction from a point to another, degrees."""
    return math.degrees(math.atan2(to_y - y, to_x - x))


@njit(nogil=True, cache=True)
def nearest_opponent(scene, rules, k, sight):
    """The nearest opponent in sight that body k notices, -1 if none; it notices all within `sight` degrees of its
    view's direction, whom it fights already and who hit it last."""
    me, best, least = scene.body[k], -1, np.inf
    for n in range(1 + rules.bots):
        it = scene.body[n]
        if n == k or it.health <= 0.0:
            continue
        away = math.hypot(it.x - me.x, it.y - me.y)
        known = n == int(me.enemy) or n == int(me.hurt_by)
        if away >= least or not (known or abs(wrapped(bearing(me.x, me.y, it.x, it.y) - me.yaw)) < sight):
            continue
        if sees(scene.wall_x, scene.wall_y, me.x, me.y, it.x, it.y, rules.size):
            best, least = n, away
    return best


@njit(nogil=True, cache=True)
def _watch(scene, rules, k):
    """Chooses whom to fight."""
    me = scene.body[k]
    best = nearest_opponent(scene, rules, k, rules.sight)
    if best >= 0:
        if best != int(me.enemy):
            me.seen = 0.0
        me.enemy, me.visible, me.lost = best, 1.0, 0.0
        me.roam_x, me.roam_y = scene.body[best].x, scene.body[best].y  # where to look when it is out of view
    else:
        me.visible = 0.0
        me.lost += THINK_MS
        if me.lost > FORGET or (me.enemy >= 0.0 and scene.body[int(me.enemy)].health <= 0.0):
            me.enemy, me.seen = -1.0, 0.0
    me.hurt_by = -1.0
    error = rules.aim_error
    if me.enemy >= 0.0:  # who stands still is easier to hit
        it = scene.body[int(me.enemy)]
        error *= STILL + (1.0 - STILL) * min(1.0, math.hypot(it.vx, it.vy) / TOP_SPEED)
    me.error_yaw = error * (chance(scene) + chance(scene) - 1.0)
    me.error_pitch = 0.5 * error * (chance(scene) + chance(scene) - 1.0)


@njit(nogil=True, cache=True)
def wants(me, kind):
    """Whether a body has use for an item."""
    if kind in (ORB_ITEM, BEAM_ITEM):
        gadget = ORB if kind == ORB_ITEM else BEAM
        return me.ammo[gadget] <= ENOUGH_ROUNDS[gadget]
    return me.health < WANT_HEALTH if kind == HEALTH_ITEM else me.armour < WANT_ARMOUR


@njit(nogil=True, cache=True)
def _choose_goal(scene, rules, k):
    """Chooses the nearest item that is there and of use, or another place to roam to."""
    me = scene.body[k]
    goal = int(me.goal)
    if goal >= 0 and (scene.waits[goal] > 0.0 or not wants(me, int(rules.items[goal, 0]))):
        goal = -1
    if goal < 0:
        least, dares = np.inf, chance(scene) < DARING[k]
        for n in range(len(scene.waits)):
            item = rules.items[n]
            if scene.waits[n] > 0.0 or not wants(me, int(item[0])):
                continue
            if floor_at(scene, item[1], item[2], rules.size) < 0.0 and not dares:
                continue
            away = math.hypot(item[1] - me.x, item[2] - me.y)
            if away < least:
                goal, least = n, away
    me.goal = goal
    if goal < 0 and me.visible == 0.0 and math.hypot(me.roam_x - me.x, me.roam_y - me.y) < 64.0:
        spawn = int(chance(scene) * len(scene.spawns))
        me.roam_x, me.roam_y = scene.spawns[spawn, 0], scene.spawns[spawn, 1]


@njit(nogil=True, cache=True)
def way_to(scene, rules, x, y, to_x, to_y):
    """Direction (degrees) of the first stretch of the way between two points, and whether it leads over a pit."""
    columns = scene.floor_z.shape[1]
    if not sees(scene.wall_x, scene.wall_y, x, y, to_x, to_y, rules.size):
        cell = rules.next_cell[cell_of(x, y, rules.size, columns), cell_of(to_x, to_y, rules.size, columns)]
        to_x, to_y = (cell % columns + 0.5) * rules.size, (cell // columns + 0.5) * rules.size
    over = False
    for part in range(1, 9 if rules.pit else 1):
        over = over or floor_at(scene, x + (to_x - x) * part / 8, y + (to_y - y) * part / 8, rules.size) < 0.0
    return bearing(x, y, to_x, to_y), over


@njit(nogil=True, cache=True)
def _choose_heading(scene, rules, k):
    """Where to walk: to an item, round an opponent, or to the place it roams to."""
    me = scene.body[k]
    goal = int(me.goal)
    me.cross, me.rest = 0.0, 0.0
    if goal < 0 and me.visible > 0.0:
        me.rest = 1.0 if chance(scene) < REST_SHARE else 0.0
        it = scene.body[int(me.enemy)]
        away = math.hypot(it.x - me.x, it.y - me.y)
        if chance(scene) < TURN_ROUND or math.hypot(me.vx, me.vy) < 60.0:
            me.side = -me.side
        keep = 0.0 if me.gadget == CONTACT else rules.near_fight
        aside = 90.0
        if away < keep:
            aside = 130.0
        elif away > (keep if keep == 0.0 else rules.far_fight):
            aside = 40.0
        me.heading = bearing(me.x, me.y, it.x, it.y) + me.side * aside
        return
    x, y = me.roam_x, me.roam_y
    if goal >= 0:
        x, y = rules.items[goal, 1], rules.items[goal, 2]
    heading, over = way_to(scene, rules, me.x, me.y, x, y)
    if over and goal < 0 and me.slip < 0.0 and chance(scene) >= DARING[k]:
        me.roam_x, me.roam_y = me.x, me.y  # not worth a jump: somewhere else, next time
        return
    me.heading, me.cross = heading, 1.0 if over else 0.0


@njit(nogil=True, cache=True)
def _choose_gadget(scene, me):
    """Orbs unless the opponent is too near, then the beam, then the rapid gadget."""
    away = np.inf
    if me.enemy >= 0.0:
        it = scene.body[int(me.enemy)]
        away = math.hypot(it.x - me.x, it.y - me.y)
    if me.ammo[ORB] > 0.0 and (away > SPLASH_RADIUS or me.gadget == ORB):
        take_in_hand(me, ORB)
    elif me.ammo[BEAM] > 0.0:
        take_in_hand(me, BEAM)
    elif me.ammo[RAPID] > 0.0:
        take_in_hand(me, RAPID)
    else:
        take_in_hand(me, CONTACT)


@njit(nogil=True, cache=True)
def _aim(scene, rules, me, tick):
    """Turns the view towards the opponent, or ahead; returns whether it may fire."""
    yaw, pitch, away = me.heading, 0.0, np.inf
    fighting = me.enemy >= 0.0 and me.visible > 0.0
    if fighting:
        it = scene.body[int(me.enemy)]
        x, y, z = it.x, it.y, it.eye - 20.0
        away = math.hypot(x - me.x, y - me.y)
        if me.gadget == ORB:  # ahead of it, at its feet
            x, y, z = x + it.vx * away / SHOT_SPEED, y + it.vy * away / SHOT_SPEED, it.eye - FEET + 6.0
        yaw = bearing(me.x, me.y, x, y) + me.error_yaw
        pitch = math.degrees(math.atan2(me.eye - z, max(math.hypot(x - me.x, y - me.y), 1.0))) + me.error_pitch
        me.seen += tick
    most = rules.turn_rate * tick * 0.001
    gap = wrapped(yaw - me.yaw)
    me.yaw = wrapped(me.yaw + min(most, max(-most, gap)))
    me.pitch += min(most, max(-most, pitch - me.pitch))
    if not fighting or me.seen < rules.reaction or abs(gap) - most > AIM_WINDOW:
        return False
    if me.gadget == ORB:
        return away > SPLASH_RADIUS
    return away < RANGE[int(me.gadget)] + 40.0


@njit(nogil=True, cache=True)
def _mind_the_pit(scene, rules, k):
    """Jumps over a pit ahead if the bot wants to cross it, stops if not; now and then it does neither.

    Returns:
      Whether to walk on, and whether to jump.
    """
    me = scene.body[k]
    if not rules.pit or me.eye > EYE_ABOVE_FLOOR + 0.5:
        return True, False
    heading = math.radians(me.heading)
    cos, sin = math.cos(heading), math.sin(heading)
    ahead = 24.0 + 0.1 * math.hypot(me.vx, me.vy)
    if floor_at(scene, me.x + ahead * cos, me.y + ahead * sin, rules.size) >= 0.0:
        if floor_at(scene, me.x + 3.0 * ahead * cos, me.y + 3.0 * ahead * sin, rules.size) >= 0.0:
            me.slip = -1.0
        return True, False
    if me.slip < 0.0:
        share = CLUMSY[k] if me.cross > 0.0 else CARELESS[k]
        me.slip = 1.0 if chance(scene) < share else 0.0
    if me.slip > 0.0:
        return True, False
    if me.cross > 0.0:
        return True, floor_at(scene, me.x + 8.0 * cos, me.y + 8.0 * sin, rules.size) < 0.0
    return False, False


@njit(nogil=True, cache=True)
def control(scene, rules, k, tick):
    """One tick of bot k's mind: sets its view, heading and gadget.

    Returns:
      Whether it fires, whether it walks, and whether it jumps.
    """
    me = scene.body[k]
    me.think -= tick
    if me.think <= 0.0:
        me.think += THINK_MS
        _watch(scene, rules, k)
        _choose_goal(scene, rules, k)
        if me.eye < EYE_ABOVE_FLOOR + 0.5:  # in the air it keeps its way
            _choose_heading(scene, rules, k)
        _choose_gadget(scene, me)
    walks, jumps = _mind_the_pit(scene, rules, k)
    return _aim(scene, rules, me, tick), walks and me.rest == 0.0, jumps
