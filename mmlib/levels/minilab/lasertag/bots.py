"""How bots think and move.

A bot thinks every 96 ms of engine time: whom it sees, what it wants, where it walks, which gadget it holds. In
between it turns at a limited rate towards its aim, walks, and fires when its view is near its target and it has seen
it for its reaction time. All of it is a stated choice; what depends on the skill is in `bodies.MatchRules`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mmlib.levels.arenas import BEAM, BEAM_ITEM, CONTACT, HEALTH_ITEM, ORB, ORB_ITEM, RAPID
from mmlib.levels.minilab.lasertag.bodies import (
    AMMO,
    ARMOUR,
    CROSS,
    ENEMY,
    ERROR_PITCH,
    ERROR_YAW,
    EYE,
    GADGET,
    GOAL,
    HEADING,
    HEALTH,
    HURT_BY,
    LOST,
    PITCH,
    REST,
    ROAM_X,
    ROAM_Y,
    SEEN,
    SIDE,
    SLIP,
    THINK,
    VISIBLE,
    VX,
    VY,
    YAW,
    X,
    Y,
    chance,
    floor_at,
)
from mmlib.levels.minilab.lasertag.combat import FEET, RANGE, SHOT_SPEED, SPLASH_RADIUS, take_in_hand
from mmlib.levels.minilab.lasertag.navigation import cell_of, sees
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, TOP_SPEED

THINK_MS = 96.0
FORGET = 2000.0  # ms out of view after which an opponent is given up
TURN_ROUND = 0.06  # share of thoughts at which it changes the way round its opponent
ENOUGH_ROUNDS = np.array([0.0, 0.0, 4.0, 20.0])  # of a gadget, above which its item is passed by
WANT_HEALTH, WANT_ARMOUR = 80.0, 60.0


@njit(nogil=True, cache=True)
def wrapped(degrees):
    """An angle in [-180, 180)."""
    return degrees - 360.0 * math.floor((degrees + 180.0) / 360.0)


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
        if n == k or it[HEALTH] <= 0.0:
            continue
        away = math.hypot(it[X] - me[X], it[Y] - me[Y])
        known = n == int(me[ENEMY]) or n == int(me[HURT_BY])
        if away >= least or not (known or abs(wrapped(bearing(me[X], me[Y], it[X], it[Y]) - me[YAW])) < sight):
            continue
        if sees(scene.wall_x, scene.wall_y, me[X], me[Y], it[X], it[Y], rules.size):
            best, least = n, away
    return best


@njit(nogil=True, cache=True)
def _watch(scene, rules, k):
    """Chooses whom to fight."""
    me = scene.body[k]
    best = nearest_opponent(scene, rules, k, rules.sight)
    if best >= 0:
        if best != int(me[ENEMY]):
            me[SEEN] = 0.0
        me[ENEMY], me[VISIBLE], me[LOST] = best, 1.0, 0.0
        me[ROAM_X], me[ROAM_Y] = scene.body[best, X], scene.body[best, Y]  # where to look when it is out of view
    else:
        me[VISIBLE] = 0.0
        me[LOST] += THINK_MS
        if me[LOST] > FORGET or (me[ENEMY] >= 0.0 and scene.body[int(me[ENEMY]), HEALTH] <= 0.0):
            me[ENEMY], me[SEEN] = -1.0, 0.0
    me[HURT_BY] = -1.0
    error = rules.aim_error
    if me[ENEMY] >= 0.0:  # who stands still is easier to hit
        it = scene.body[int(me[ENEMY])]
        error *= rules.still + (1.0 - rules.still) * min(1.0, math.hypot(it[VX], it[VY]) / TOP_SPEED)
    me[ERROR_YAW] = error * (chance(scene) + chance(scene) - 1.0)
    me[ERROR_PITCH] = 0.5 * error * (chance(scene) + chance(scene) - 1.0)


@njit(nogil=True, cache=True)
def wants(me, kind):
    """Whether a body has use for an item."""
    if kind in (ORB_ITEM, BEAM_ITEM):
        gadget = ORB if kind == ORB_ITEM else BEAM
        return me[AMMO + gadget] <= ENOUGH_ROUNDS[gadget]
    return me[HEALTH] < WANT_HEALTH if kind == HEALTH_ITEM else me[ARMOUR] < WANT_ARMOUR


@njit(nogil=True, cache=True)
def _choose_goal(scene, rules, k):
    """Chooses the nearest item that is there and of use, or another place to roam to."""
    me = scene.body[k]
    goal = int(me[GOAL])
    if goal >= 0 and (scene.waits[goal] > 0.0 or not wants(me, int(rules.items[goal, 0]))):
        goal = -1
    if goal < 0:
        least, dares = np.inf, chance(scene) < rules.daring[k]
        for n in range(len(scene.waits)):
            item = rules.items[n]
            if scene.waits[n] > 0.0 or not wants(me, int(item[0])):
                continue
            if floor_at(scene, item[1], item[2], rules.size) < 0.0 and not dares:
                continue
            away = math.hypot(item[1] - me[X], item[2] - me[Y])
            if away < least:
                goal, least = n, away
    me[GOAL] = goal
    if goal < 0 and me[VISIBLE] == 0.0 and math.hypot(me[ROAM_X] - me[X], me[ROAM_Y] - me[Y]) < 64.0:
        spawn = int(chance(scene) * len(scene.spawns))
        me[ROAM_X], me[ROAM_Y] = scene.spawns[spawn, 0], scene.spawns[spawn, 1]


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
    goal = int(me[GOAL])
    me[CROSS], me[REST] = 0.0, 0.0
    if goal < 0 and me[VISIBLE] > 0.0:
        me[REST] = 1.0 if chance(scene) < rules.rest else 0.0
        it = scene.body[int(me[ENEMY])]
        away = math.hypot(it[X] - me[X], it[Y] - me[Y])
        if chance(scene) < TURN_ROUND or math.hypot(me[VX], me[VY]) < 60.0:
            me[SIDE] = -me[SIDE]
        keep = 0.0 if me[GADGET] == CONTACT else rules.near_fight
        aside = 90.0
        if away < keep:
            aside = 130.0
        elif away > (keep if keep == 0.0 else rules.far_fight):
            aside = 40.0
        me[HEADING] = bearing(me[X], me[Y], it[X], it[Y]) + me[SIDE] * aside
        return
    x, y = me[ROAM_X], me[ROAM_Y]
    if goal >= 0:
        x, y = rules.items[goal, 1], rules.items[goal, 2]
    heading, over = way_to(scene, rules, me[X], me[Y], x, y)
    if over and goal < 0 and me[SLIP] < 0.0 and chance(scene) >= rules.daring[k]:
        me[ROAM_X], me[ROAM_Y] = me[X], me[Y]  # not worth a jump: somewhere else, next time
        return
    me[HEADING], me[CROSS] = heading, 1.0 if over else 0.0


@njit(nogil=True, cache=True)
def _choose_gadget(scene, me):
    """Orbs unless the opponent is too near, then the beam, then the rapid gadget."""
    away = np.inf
    if me[ENEMY] >= 0.0:
        it = scene.body[int(me[ENEMY])]
        away = math.hypot(it[X] - me[X], it[Y] - me[Y])
    if me[AMMO + ORB] > 0.0 and (away > SPLASH_RADIUS or me[GADGET] == ORB):
        take_in_hand(me, ORB)
    elif me[AMMO + BEAM] > 0.0:
        take_in_hand(me, BEAM)
    elif me[AMMO + RAPID] > 0.0:
        take_in_hand(me, RAPID)
    else:
        take_in_hand(me, CONTACT)


@njit(nogil=True, cache=True)
def _aim(scene, rules, me, tick):
    """Turns the view towards the opponent, or ahead; returns whether it may fire."""
    yaw, pitch, away = me[HEADING], 0.0, np.inf
    fighting = me[ENEMY] >= 0.0 and me[VISIBLE] > 0.0
    if fighting:
        it = scene.body[int(me[ENEMY])]
        x, y, z = it[X], it[Y], it[EYE] - 20.0
        away = math.hypot(x - me[X], y - me[Y])
        if me[GADGET] == ORB:  # ahead of it, at its feet
            x, y, z = x + it[VX] * away / SHOT_SPEED, y + it[VY] * away / SHOT_SPEED, it[EYE] - FEET + 6.0
        yaw = bearing(me[X], me[Y], x, y) + me[ERROR_YAW]
        pitch = math.degrees(math.atan2(me[EYE] - z, max(math.hypot(x - me[X], y - me[Y]), 1.0))) + me[ERROR_PITCH]
        me[SEEN] += tick
    most = rules.turn_rate * tick * 0.001
    gap = wrapped(yaw - me[YAW])
    me[YAW] = wrapped(me[YAW] + min(most, max(-most, gap)))
    me[PITCH] += min(most, max(-most, pitch - me[PITCH]))
    if not fighting or me[SEEN] < rules.reaction or abs(gap) - most > rules.aim_window:
        return False
    if me[GADGET] == ORB:
        return away > SPLASH_RADIUS
    return away < RANGE[int(me[GADGET])] + 40.0


@njit(nogil=True, cache=True)
def _mind_the_pit(scene, rules, k):
    """Jumps over a pit ahead if the bot wants to cross it, stops if not; now and then it does neither.

    Returns:
      Whether to walk on, and whether to jump.
    """
    me = scene.body[k]
    if not rules.pit or me[EYE] > EYE_ABOVE_FLOOR + 0.5:
        return True, False
    heading = math.radians(me[HEADING])
    cos, sin = math.cos(heading), math.sin(heading)
    ahead = 24.0 + 0.1 * math.hypot(me[VX], me[VY])
    if floor_at(scene, me[X] + ahead * cos, me[Y] + ahead * sin, rules.size) >= 0.0:
        if floor_at(scene, me[X] + 3.0 * ahead * cos, me[Y] + 3.0 * ahead * sin, rules.size) >= 0.0:
            me[SLIP] = -1.0
        return True, False
    if me[SLIP] < 0.0:
        share = rules.clumsy[k] if me[CROSS] > 0.0 else rules.careless[k]
        me[SLIP] = 1.0 if chance(scene) < share else 0.0
    if me[SLIP] > 0.0:
        return True, False
    if me[CROSS] > 0.0:
        return True, floor_at(scene, me[X] + 8.0 * cos, me[Y] + 8.0 * sin, rules.size) < 0.0
    return False, False


@njit(nogil=True, cache=True)
def control(scene, rules, k, tick):
    """One tick of bot k's mind: sets its view, heading and gadget.

    Returns:
      Whether it fires, whether it walks, and whether it jumps.
    """
    me = scene.body[k]
    me[THINK] -= tick
    if me[THINK] <= 0.0:
        me[THINK] += THINK_MS
        _watch(scene, rules, k)
        _choose_goal(scene, rules, k)
        if me[EYE] < EYE_ABOVE_FLOOR + 0.5:  # in the air it keeps its way
            _choose_heading(scene, rules, k)
        _choose_gadget(scene, me)
    walks, jumps = _mind_the_pit(scene, rules, k)
    return _aim(scene, rules, me, tick), walks and me[REST] == 0.0, jumps
