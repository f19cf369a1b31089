"""The rules of the lasertag levels, as kernels over a range of environments.

A body that is tagged lies still; the agent returns when FIRE is down after 1.7 s of engine time, or by itself after
21.74 s; a bot returns after 1.8 to 2.1 s. A return is at one of the spawn points farther from where the body fell
than half of the others, with nobody on it and any yaw. The agent's reward is the change of its score: +1 for a tag,
-1 when it tags itself or the pit kills it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from mmlib.levels.arenas import BOT, MAX_BOTS, MAX_SHOTS, RAPID, SHOT, SIDES
from mmlib.levels.layouts import CELL
from mmlib.levels.minilab import random
from mmlib.levels.minilab.lasertag.bodies import MARK_KIND, MARK_LEFT, SHOT_OWNER, Scene, chance, run_down
from mmlib.levels.minilab.lasertag.bots import THINK_MS, bearing, control
from mmlib.levels.minilab.lasertag.combat import FEET, HEAD, HULL, WORLD, die, fly, trigger
from mmlib.levels.minilab.lasertag.items import FULL, ROUNDS, pick_up
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, TICK_MS, ground_below, move, wrapped
from mmlib.levels.minilab.world import book, next_episode
from mmlib.numerics.kernels import njit

SPAWN_HEALTH = 125.0
RETURN_AFTER, RETURN_ANYWAY = 1700.0, 1359 * 16.0  # engine ms
KILL_HEIGHT = -16.0  # feet below this are in the pit's kill volume
ROOM = 64.0  # units around a spawn point that must be free


@njit(nogil=True, cache=True)
def _free_spawn(scene, rules, k, first):
    """Where body k appears: a random free spawn point, but the first time only of the half that is farther away."""
    count, total = len(scene.spawns), 0
    order, away = np.empty(count, np.int64), np.empty(count, np.float64)
    for n in range(count):
        x, y, free = scene.spawns[n, 0], scene.spawns[n, 1], True
        for other in range(1 + rules.bots):
            it = scene.body[other]
            if other != k and it.health > 0.0 and math.hypot(it.x - x, it.y - y) < ROOM:
                free = False
        if not free:
            continue
        distance = 0.0 if first else math.hypot(scene.body[k].x - x, scene.body[k].y - y)
        place = total
        while place > 0 and away[place - 1] < distance:
            order[place], away[place] = order[place - 1], away[place - 1]
            place -= 1
        order[place], away[place] = n, distance
        total += 1
    if total == 0:
        return int(chance(scene) * count)
    among = total if first else (total + 1) // 2
    return order[int(chance(scene) * among)]


@njit(nogil=True, cache=True)
def _appear(scene, rules, k, first):
    """Puts body k on a spawn point with its kit."""
    me = scene.body[k]
    spawn = _free_spawn(scene, rules, k, first)
    me.x, me.y = scene.spawns[spawn, 0], scene.spawns[spawn, 1]
    me.eye = ground_below(scene.floor_z, me.x, me.y, rules.size) + EYE_ABOVE_FLOOR
    me.yaw, me.pitch = wrapped(360.0 * chance(scene) - 180.0), 0.0
    me.vx = me.vy = me.vz = me.jump_held = 0.0
    me.health = SPAWN_HEALTH if k == 0 else rules.bot_health
    me.armour, me.decay, me.dead, me.reload = 0.0, 1000.0, 0.0, 0.0
    me.ammo[:] = 0.0
    me.ammo[RAPID], me.gadget = ROUNDS[RAPID], RAPID
    me.enemy = me.goal = me.slip = me.hurt_by = -1.0
    me.seen = me.lost = me.visible = 0.0
    me.side = 1.0 if chance(scene) < 0.5 else -1.0
    me.roam_x, me.roam_y, me.heading = me.x, me.y, me.yaw
    me.think = THINK_MS * chance(scene)


@njit(nogil=True, cache=True)
def _wane(me, tick):
    """Health and armour above 100 lose a point a second."""
    me.decay -= tick
    if me.decay > 0.0:
        return
    me.decay += 1000.0
    if me.health > FULL:
        me.health = max(FULL, me.health - 1.0)
    if me.armour > FULL:
        me.armour -= 1.0


@njit(nogil=True, cache=True)
def _blocked(scene, rules, k):
    """Whether body k's hull overlaps another living body's."""
    body = scene.body
    x, y, eye = body[k].x, body[k].y, body[k].eye
    for n in range(1 + rules.bots):
        if abs(body[n].x - x) >= 2 * HULL or abs(body[n].y - y) >= 2 * HULL or n == k:
            continue
        if body[n].health > 0.0 and abs(body[n].eye - eye) < FEET + HEAD:
            return True
    return False


@njit(nogil=True, cache=True)
def _walk(scene, rules, k, action, tick):
    """One tick of a living body's motion; bodies do not pass through one another."""
    me = scene.body[k]
    x, y, eye, view = me.x, me.y, me.eye, me.yaw
    if k > 0:
        me.yaw = me.heading  # a bot walks where it wants, whatever it looks at
    maps = scene.wall_x, scene.wall_y, scene.floor_z
    me.jump_held = move(me.pose, me.velocity, int(me.jump_held), action, *maps, np.inf, tick, rules.size)
    if k > 0:
        me.yaw = view
    me.travel += math.hypot(me.vx, me.vy)
    if not _blocked(scene, rules, k):
        return
    to_x, to_y, vy = me.x, me.y, me.vy
    me.x, me.y = x, y
    if _blocked(scene, rules, k):
        to_eye, me.eye = me.eye, eye
        if _blocked(scene, rules, k):  # it was stuck before: let it out
            me.x, me.y, me.eye = to_x, to_y, to_eye
            return
        me.x, me.y, me.vz = to_x, to_y, 0.0  # it has come down on somebody, or up against him
        if _blocked(scene, rules, k):
            me.x, me.y = x, y
        return
    me.x, me.vy = to_x, 0.0
    if _blocked(scene, rules, k):
        me.x, me.y, me.vx, me.vy = x, to_y, 0.0, vy
        if _blocked(scene, rules, k):
            me.x, me.y, me.vy = x, y, 0.0


@njit(nogil=True, cache=True)
def _lie(scene, rules, k, fire, tick):
    """One tick of a tagged body; it returns when it is time."""
    me = scene.body[k]
    me.dead += tick
    me.dead_frames += 1.0
    due = me.dead >= me.wait if k > 0 else (fire and me.dead >= RETURN_AFTER) or me.dead >= RETURN_ANYWAY
    if due:
        _appear(scene, rules, k, False)
        me.reload = 100.0  # the key press that brought it back does not fire


@njit(nogil=True, cache=True)
def _act(scene, rules, k, action, tick):
    """One tick of a body."""
    me = scene.body[k]
    fire = action[4] != 0
    if me.health <= 0.0:
        _lie(scene, rules, k, fire, tick)
        return
    _wane(me, tick)
    if k > 0:
        fire, walks, jumps = control(scene, rules, k, tick)
        action = scene.order
        action[3], action[5], action[6] = int(walks), int(jumps), int(rules.slow_bots)
    _walk(scene, rules, k, action, tick)
    if me.eye - FEET < KILL_HEIGHT:
        die(scene, rules, k, WORLD)
        return
    pick_up(scene, rules, k)
    trigger(scene, rules, k, fire, tick)


@njit(nogil=True, cache=True)
def _side(me, it):
    """Which side of the bot `it` faces the eye of `me`: 0 front, 1 left, 2 back, 3 right."""
    return int(wrapped(bearing(it.x, it.y, me.x, me.y) - it.yaw - 135.0) + 180.0) // 90


@njit(nogil=True, cache=True)
def _put(sprite, kind, x, y, z, scale):
    """Writes one sprite."""
    sprite[0], sprite[1], sprite[2], sprite[3] = x * scale, y * scale, z * scale, kind


@njit(nogil=True, cache=True)
def _show(scene, rules, sprites, look):
    """Writes the sprites, places in cells of 100 units."""
    scale, count = CELL / rules.size, len(scene.waits)
    sprites[:, 3] = 0.0
    for n in range(count):
        if scene.waits[n] <= 0.0:
            item = rules.items[n]
            _put(sprites[n], item[0], item[1], item[2], item[3], scale)
    for k in range(1, 1 + rules.bots):
        it, row = scene.body[k], sprites[count + k - 1]
        if it.health > 0.0:
            _put(row, BOT + SIDES * look + _side(scene.body[0], it), it.x, it.y, it.eye - 22.0, scale)
            row[4] = it.yaw
    first = count + MAX_BOTS
    for n in range(MAX_SHOTS):
        it = scene.shots[n]
        if it[SHOT_OWNER] >= 0.0:
            _put(sprites[first + n], SHOT, it[0], it[1], it[2], scale)
    for n in range(scene.marks.shape[0]):
        it = scene.marks[n]
        if it[MARK_LEFT] > 0.0:
            _put(sprites[first + MAX_SHOTS + n], it[MARK_KIND], it[0], it[1], it[2], scale)


@njit(nogil=True, cache=True)
def scene_of(e, world, fight):
    """Environment e's rows."""
    return Scene(
        fight.body[e],
        fight.shots[e],
        fight.marks[e],
        fight.waits[e],
        fight.key[e],
        fight.draws[e : e + 1],
        world.wall_x[e],
        world.wall_y[e],
        world.floor_z[e],
        world.spawns[e],
        np.zeros(7, np.int32),
    )


@njit(nogil=True, cache=True)
def begin_match(e, rules, world, agents, fight):
    """Begins environment e's next episode."""
    episode = next_episode(rules, agents, e)
    fight.key[e], fight.draws[e] = random.stream(rules.seed[e], rules.number[e], episode, random.MATCH), 0
    key = random.stream(rules.seed[e], rules.number[e], episode, random.THEME)
    fight.look[e] = rules.looks[random.below(key, 0, len(rules.looks))]
    for k in range(fight.body.shape[1]):
        fight.body[e, k].numbers[:] = 0.0
    fight.marks[e], fight.waits[e], fight.shots[e] = 0.0, 0.0, 0.0
    fight.shots[e, :, SHOT_OWNER] = -1.0
    scene = scene_of(e, world, fight)
    for k in range(1 + rules.bots):
        _appear(scene, rules, k, True)
    agents.pose[e] = scene.body[0].pose
    agents.velocity[e], agents.jump_held[e] = 0.0, 0
    _show(scene, rules, world.sprites[e], fight.look[e])


@njit(nogil=True, cache=True)
def play(actions, repeat, which, go_on, start, stop, outcome, rules, world, agents, fight):
    """One level step, as `episodes.advance`."""
    for e in range(start, stop):
        if not which[e]:
            continue
        scene = scene_of(e, world, fight)
        agent = scene.body[0]
        agent.pose[:], agent.velocity[:] = agents.pose[e], agents.velocity[e]
        agent.jump_held = agents.jump_held[e]
        before = agent.score
        for _ in range(repeat):
            tick = TICK_MS[agents.frame[e] % len(TICK_MS)]
            run_down(scene.waits, tick)
            for k in range(1 + rules.bots):
                _act(scene, rules, k, actions[e], tick)
            fly(scene, rules, tick)
            run_down(scene.marks[:, MARK_LEFT], tick)
            agents.frame[e] += 1
            if agents.frame[e] >= agents.length[e]:
                break
        agents.pose[e], agents.velocity[e] = agent.pose, agent.velocity
        agents.jump_held[e] = int(agent.jump_held)
        _show(scene, rules, world.sprites[e], fight.look[e])
        if book(rules, agents, outcome, e, agent.score - before) and go_on:
            begin_match(e, rules, world, agents, fight)


@njit(nogil=True, cache=True, parallel=True)
def play_ranges(actions, repeat, which, go_on, bounds, outcome, rules, world, agents, fight):
    """`play` of the ranges between `bounds`, a thread each."""
    for k in prange(len(bounds) - 1):
        play(actions, repeat, which, go_on, bounds[k], bounds[k + 1], outcome, rules, world, agents, fight)
