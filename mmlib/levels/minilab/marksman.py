"""A scripted expert of the lasertag levels, with privileged state: it knows where everybody is.

It aims ahead of the nearest opponent in sight, walks round it, keeps off the pit, fetches gadgets that lie near, and
otherwise takes the shortest way to the nearest opponent.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.arenas import CONTACT, ORB
from mmlib.levels.minilab.engine import MiniLab
from mmlib.levels.minilab.lasertag.bodies import floor_at
from mmlib.levels.minilab.lasertag.bots import bearing, nearest_opponent, wants, way_to
from mmlib.levels.minilab.lasertag.combat import FEET, HULL, MUZZLE, SHOT_SPEED, SPLASH_RADIUS
from mmlib.levels.minilab.lasertag.match import scene_of
from mmlib.levels.minilab.lasertag.navigation import sees
from mmlib.levels.minilab.physics import DEGREES_PER_PIXEL, wrapped
from mmlib.numerics.kernels import njit

FRAME = 0.016  # engine s
NEAR, FAR = 150.0, 350.0  # units that it keeps from its opponent
DETOUR = 450.0  # units within which it fetches a gadget
PIT_MARGIN = 110.0  # units
TURN_ROUND = 45  # frames after which it changes the way round its opponent


def marksman(level: MiniLab) -> NDArray[np.int32]:
    """The expert's next actions, `[B, 7]`, each to be held for the level's `action_repeat` frames.

    Raises:
      ValueError: not a lasertag level.
    """
    if level._fight is None:
        raise ValueError(f"{level.name} is not a lasertag level; the marksman plays lt_* levels of minilab")
    actions = np.zeros((level.num_envs, 7), np.int32)
    _decide(actions, level.action_repeat, level._match, level._world, level._agents, level._fight)
    return actions


@njit(nogil=True, cache=True)
def _turn(action, index, degrees, repeat):
    """Spreads a turn over the action's frames."""
    pixels = int(np.rint(degrees / (DEGREES_PER_PIXEL * repeat)))
    action[index] = min(512, max(-512, pixels))


@njit(nogil=True, cache=True)
def _walk(scene, rules, action, direction):
    """Walks in a direction (degrees), as far as eight ways allow, unless it leads into a pit."""
    me = scene.body[0]
    for side in (0.0, 60.0, -60.0, 120.0, -120.0, 180.0):
        heading = math.radians(direction + side)
        x, y = me.x + PIT_MARGIN * math.cos(heading), me.y + PIT_MARGIN * math.sin(heading)
        if floor_at(scene, x, y, rules.size) >= 0.0:
            relative = heading - math.radians(me.yaw)
            action[3] = int(np.rint(math.cos(relative) * 1.2))
            action[2] = int(np.rint(-math.sin(relative) * 1.2))
            return


@njit(nogil=True, cache=True)
def _nearest_gadget(scene, rules):
    """An item that is there, of use, near, in sight and not over a pit; -1 if none."""
    me, best, least = scene.body[0], -1, DETOUR
    for n in range(len(scene.waits)):
        item = rules.items[n]
        away = math.hypot(item[1] - me.x, item[2] - me.y)
        if scene.waits[n] > 0.0 or away >= least or not wants(me, int(item[0])):
            continue
        over = floor_at(scene, item[1], item[2], rules.size) < 0.0
        if not over and sees(scene.wall_x, scene.wall_y, me.x, me.y, item[1], item[2], rules.size):
            best, least = n, away
    return best


@njit(nogil=True, cache=True)
def _fight(scene, rules, action, target, repeat, frame):
    """Aims at an opponent in sight, fires, and walks round it."""
    me, it = scene.body[0], scene.body[target]
    away = math.hypot(it.x - me.x, it.y - me.y)
    orb = me.gadget == ORB and me.ammo[ORB] > 0.0
    ahead = FRAME * repeat  # by when the view has turned
    x, y = it.x + (it.vx - me.vx) * ahead, it.y + (it.vy - me.vy) * ahead
    z = it.eye - 20.0
    if orb:
        lead = away / SHOT_SPEED
        x, y, z = x + it.vx * lead, y + it.vy * lead, it.eye - FEET + 8.0
    flat = max(math.hypot(x - me.x, y - me.y), 1.0)
    gap = wrapped(bearing(me.x, me.y, x, y) - me.yaw)
    _turn(action, 0, -gap, repeat)
    _turn(action, 1, math.degrees(math.atan2(me.eye - z, flat)) - me.pitch, repeat)
    safe = not orb or away > SPLASH_RADIUS + 2.0 * MUZZLE
    near = abs(gap) < (4.0 if orb else 6.0 + math.degrees(math.atan2(HULL, flat)))
    action[4] = int(safe and (near or me.reload > 100.0))
    side = 1.0 if frame // TURN_ROUND % 2 == 0 else -1.0
    aside = 90.0
    if away < NEAR and me.gadget != CONTACT:
        aside = 140.0
    elif away > FAR:
        aside = 45.0
    _walk(scene, rules, action, bearing(me.x, me.y, it.x, it.y) + side * aside)


@njit(nogil=True, cache=True)
def _seek(scene, rules, action, repeat):
    """Takes the shortest way to the nearest opponent."""
    me, best, least = scene.body[0], -1, np.inf
    for n in range(1, 1 + rules.bots):
        it = scene.body[n]
        away = math.hypot(it.x - me.x, it.y - me.y)
        if it.health > 0.0 and away < least:
            best, least = n, away
    if best < 0:
        return
    direction, over = way_to(scene, rules, me.x, me.y, scene.body[best].x, scene.body[best].y)
    _turn(action, 0, -wrapped(direction - me.yaw), repeat)
    _turn(action, 1, -me.pitch, repeat)
    if not over:
        _walk(scene, rules, action, direction)


@njit(nogil=True, cache=True)
def _decide(actions, repeat, rules, world, agents, fight):
    """The expert's actions in every environment."""
    for e in range(len(actions)):
        scene, action = scene_of(e, world, fight), actions[e]
        me = scene.body[0]
        me.pose[:] = agents.pose[e]
        if me.health <= 0.0:
            action[4] = 1
            continue
        target = nearest_opponent(scene, rules, 0, 360.0)
        if target >= 0:
            _fight(scene, rules, action, target, repeat, agents.frame[e])
        else:
            _seek(scene, rules, action, repeat)
        item = _nearest_gadget(scene, rules)
        if item >= 0:
            _walk(scene, rules, action, bearing(me.x, me.y, rules.items[item, 1], rules.items[item, 2]))
