"""The rules of the lasertag levels, as kernels over a range of environments.

A body that is tagged lies still; the agent returns when FIRE is down after 1.7 s of engine time, or by itself after
21.74 s; a bot returns after 1.8 to 2.1 s. A return is at one of the spawn points farther from where the body fell
than half of the others, with nobody on it and any yaw. The agent's reward is the change of its score: +1 for a tag,
-1 when it tags itself or the pit kills it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mmlib.levels.arenas import BOT, MAX_BOTS, MAX_SHOTS, RAPID, SHOT, SIDES
from mmlib.levels.minilab import random
from mmlib.levels.minilab.lasertag.bodies import (
    AMMO,
    ARMOUR,
    DEAD,
    DEAD_FRAMES,
    DECAY,
    ENEMY,
    EYE,
    GADGET,
    GOAL,
    HEADING,
    HEALTH,
    HURT_BY,
    JUMP_HELD,
    LOST,
    MARK_KIND,
    MARK_LEFT,
    PITCH,
    RELOAD,
    ROAM_X,
    ROAM_Y,
    SCORE,
    SEEN,
    SHOT_OWNER,
    SIDE,
    SLIP,
    THINK,
    TRAVEL,
    VISIBLE,
    VX,
    VY,
    VZ,
    WAIT,
    YAW,
    Scene,
    X,
    Y,
    chance,
)
from mmlib.levels.minilab.lasertag.bots import THINK_MS, bearing, control, wrapped
from mmlib.levels.minilab.lasertag.combat import FEET, HEAD, HULL, WORLD, die, fade_marks, fly, trigger
from mmlib.levels.minilab.lasertag.items import FULL, ROUNDS, pick_up, run_clocks
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, TICK_MS, ground_below, move

SPAWN_HEALTH = 125.0
RETURN_AFTER, RETURN_ANYWAY = 1700.0, 1359 * 16.0  # engine ms
KILL_HEIGHT = -16.0  # feet below this are in the pit's kill volume
ROOM = 64.0  # units around a spawn point that must be free

_MATCH, _THEME, _LENGTH = random.MATCH, random.THEME, random.LENGTH


@njit(nogil=True, cache=True)
def _free_spawn(scene, rules, k, first):
    """Where body k appears: a random free spawn point, but the first time only of the half that is farther away."""
    count, total = len(scene.spawns), 0
    order, away = np.empty(count, np.int64), np.empty(count, np.float64)
    for n in range(count):
        x, y, free = scene.spawns[n, 0], scene.spawns[n, 1], True
        for other in range(1 + rules.bots):
            it = scene.body[other]
            if other != k and it[HEALTH] > 0.0 and math.hypot(it[X] - x, it[Y] - y) < ROOM:
                free = False
        if not free:
            continue
        distance = 0.0 if first else math.hypot(scene.body[k, X] - x, scene.body[k, Y] - y)
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
    me[X], me[Y] = scene.spawns[spawn, 0], scene.spawns[spawn, 1]
    me[EYE] = ground_below(scene.floor_z, me[X], me[Y], rules.size) + EYE_ABOVE_FLOOR
    me[YAW], me[PITCH] = wrapped(360.0 * chance(scene) - 180.0), 0.0
    me[VX] = me[VY] = me[VZ] = me[JUMP_HELD] = 0.0
    me[HEALTH] = SPAWN_HEALTH if k == 0 else rules.bot_health
    me[ARMOUR], me[DECAY], me[DEAD], me[RELOAD] = 0.0, 1000.0, 0.0, 0.0
    me[AMMO : AMMO + len(ROUNDS)] = 0.0
    me[AMMO + RAPID], me[GADGET] = ROUNDS[RAPID], RAPID
    me[ENEMY] = me[GOAL] = me[SLIP] = me[HURT_BY] = -1.0
    me[SEEN] = me[LOST] = me[VISIBLE] = 0.0
    me[SIDE] = 1.0 if chance(scene) < 0.5 else -1.0
    me[ROAM_X], me[ROAM_Y], me[HEADING] = me[X], me[Y], me[YAW]
    me[THINK] = THINK_MS * chance(scene)


@njit(nogil=True, cache=True)
def _wane(me, tick):
    """Health and armour above 100 lose a point a second."""
    me[DECAY] -= tick
    if me[DECAY] > 0.0:
        return
    me[DECAY] += 1000.0
    if me[HEALTH] > FULL:
        me[HEALTH] = max(FULL, me[HEALTH] - 1.0)
    if me[ARMOUR] > FULL:
        me[ARMOUR] -= 1.0


@njit(nogil=True, cache=True)
def _blocked(scene, rules, k):
    """Whether body k's hull overlaps another living body's."""
    body = scene.body
    x, y, eye = body[k, X], body[k, Y], body[k, EYE]
    for n in range(1 + rules.bots):
        if abs(body[n, X] - x) >= 2 * HULL or abs(body[n, Y] - y) >= 2 * HULL or n == k:
            continue
        if body[n, HEALTH] > 0.0 and abs(body[n, EYE] - eye) < FEET + HEAD:
            return True
    return False


@njit(nogil=True, cache=True)
def _walk(scene, rules, k, action, tick):
    """One tick of a living body's motion; bodies do not pass through one another."""
    me = scene.body[k]
    x, y, view = me[X], me[Y], me[YAW]
    if k > 0:
        me[YAW] = me[HEADING]  # a bot walks where it wants, whatever it looks at
    maps = scene.wall_x, scene.wall_y, scene.floor_z
    me[JUMP_HELD] = move(me[X:VX], me[VX:JUMP_HELD], int(me[JUMP_HELD]), action, *maps, np.inf, tick, rules.size)
    if k > 0:
        me[YAW] = view
    me[TRAVEL] += math.hypot(me[VX], me[VY])
    if not _blocked(scene, rules, k):
        return
    to_x, to_y, vy = me[X], me[Y], me[VY]
    me[X], me[Y] = x, y
    if _blocked(scene, rules, k):  # it was stuck before: let it out
        me[X], me[Y] = to_x, to_y
        return
    me[X], me[VY] = to_x, 0.0
    if _blocked(scene, rules, k):
        me[X], me[Y], me[VX], me[VY] = x, to_y, 0.0, vy
        if _blocked(scene, rules, k):
            me[X], me[Y], me[VY] = x, y, 0.0


@njit(nogil=True, cache=True)
def _lie(scene, rules, k, fire, tick):
    """One tick of a tagged body; it returns when it is time."""
    me = scene.body[k]
    me[DEAD] += tick
    me[DEAD_FRAMES] += 1.0
    due = me[DEAD] >= me[WAIT] if k > 0 else (fire and me[DEAD] >= RETURN_AFTER) or me[DEAD] >= RETURN_ANYWAY
    if due:
        _appear(scene, rules, k, False)
        me[RELOAD] = 100.0  # the key press that brought it back does not fire


@njit(nogil=True, cache=True)
def _act(scene, rules, k, action, tick):
    """One tick of a body."""
    me = scene.body[k]
    fire = action[4] != 0
    if me[HEALTH] <= 0.0:
        _lie(scene, rules, k, fire, tick)
        return
    _wane(me, tick)
    if k > 0:
        fire, walks, jumps = control(scene, rules, k, tick)
        action = scene.order
        action[3], action[5], action[6] = int(walks), int(jumps), int(rules.slow_bots)
    _walk(scene, rules, k, action, tick)
    if me[EYE] - FEET < KILL_HEIGHT:
        die(scene, rules, k, WORLD)
        return
    pick_up(scene, rules, k)
    trigger(scene, rules, k, fire, tick)


@njit(nogil=True, cache=True)
def _side(me, it):
    """Which side of the bot `it` faces the eye of `me`: 0 front, 1 left, 2 back, 3 right."""
    return int(wrapped(bearing(it[X], it[Y], me[X], me[Y]) - it[YAW] - 135.0) + 180.0) // 90


@njit(nogil=True, cache=True)
def _show(scene, rules, sprites, look):
    """Writes the sprites, places in cells of 100 units."""
    scale, count = 100.0 / rules.size, len(scene.waits)
    sprites[:, 3] = 0.0
    for n in range(count):
        if scene.waits[n] <= 0.0:
            item = rules.items[n]
            sprites[n, 0], sprites[n, 1], sprites[n, 2] = item[1] * scale, item[2] * scale, item[3] * scale
            sprites[n, 3] = item[0]
    for k in range(1, 1 + rules.bots):
        it, row = scene.body[k], sprites[count + k - 1]
        if it[HEALTH] > 0.0:
            row[0], row[1], row[2] = it[X] * scale, it[Y] * scale, (it[EYE] - 22.0) * scale
            row[3], row[4] = BOT + SIDES * look + _side(scene.body[0], it), it[YAW]
    first = count + MAX_BOTS
    for n in range(MAX_SHOTS):
        it, row = scene.shots[n], sprites[first + n]
        if it[SHOT_OWNER] >= 0.0:
            row[0], row[1], row[2], row[3] = it[0] * scale, it[1] * scale, it[2] * scale, SHOT
    for n in range(scene.marks.shape[0]):
        it, row = scene.marks[n], sprites[first + MAX_SHOTS + n]
        if it[MARK_LEFT] > 0.0:
            row[0], row[1], row[2], row[3] = it[0] * scale, it[1] * scale, it[2] * scale, it[MARK_KIND]


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
def _begin_episode(e, rules, world, agents, fight):
    """Starts the episode numbered `agents.episode[e]`."""
    episode = agents.episode[e]
    fight.key[e], fight.draws[e] = random.stream(rules.seed[e], rules.number[e], episode, _MATCH), 0
    key = random.stream(rules.seed[e], rules.number[e], episode, _THEME)
    fight.look[e] = rules.looks[random.below(key, 0, len(rules.looks))]
    fight.body[e], fight.marks[e], fight.waits[e], fight.shots[e] = 0.0, 0.0, 0.0, 0.0
    fight.shots[e, :, SHOT_OWNER] = -1.0
    agents.frame[e], agents.score[e], agents.length[e] = 0, 0.0, rules.episode_frames
    if rules.staggered and episode == 0:
        key = random.stream(rules.seed[e], rules.number[e], episode, _LENGTH)
        agents.length[e] = 1 + random.below(key, 0, rules.episode_frames)
    scene = scene_of(e, world, fight)
    for k in range(1 + rules.bots):
        _appear(scene, rules, k, True)
    agents.pose[e] = scene.body[0, X:VX]
    agents.velocity[e], agents.jump_held[e] = 0.0, 0
    _show(scene, rules, world.sprites[e], fight.look[e])


@njit(nogil=True, cache=True)
def begin_match(rules, world, agents, fight, anew, start, stop):
    """Begins episodes in environments start..stop-1, as `episodes.begin`."""
    for e in range(start, stop):
        if anew:
            agents.episode[e] = 0
        elif agents.frame[e] >= agents.length[e]:
            agents.episode[e] += 1
        else:
            continue
        _begin_episode(e, rules, world, agents, fight)


@njit(nogil=True, cache=True)
def play(actions, repeat, rules, world, agents, fight, outcome, start, stop):
    """One level step of environments start..stop-1, as `episodes.advance`."""
    ended = False
    for e in range(start, stop):
        scene = scene_of(e, world, fight)
        agent = scene.body[0]
        agent[X:VX], agent[VX:JUMP_HELD] = agents.pose[e], agents.velocity[e]
        agent[JUMP_HELD] = agents.jump_held[e]
        before = agent[SCORE]
        outcome.done[e], outcome.episode_return[e], outcome.episode_frames[e] = False, np.nan, 0
        for _ in range(repeat):
            tick = TICK_MS[agents.frame[e] % len(TICK_MS)]
            run_clocks(scene, tick)
            for k in range(1 + rules.bots):
                _act(scene, rules, k, actions[e], tick)
            fly(scene, rules, tick)
            fade_marks(scene, tick)
            agents.frame[e] += 1
            if agents.frame[e] >= agents.length[e]:
                outcome.done[e] = ended = True
                break
        agents.pose[e], agents.velocity[e] = agent[X:VX], agent[VX:JUMP_HELD]
        agents.jump_held[e] = int(agent[JUMP_HELD])
        outcome.reward[e] = agent[SCORE] - before
        agents.score[e] = agent[SCORE]
        if outcome.done[e]:
            outcome.episode_frames[e] = agents.frame[e]
            if agents.length[e] == rules.episode_frames:  # a cut episode has no return
                outcome.episode_return[e] = agents.score[e]
        _show(scene, rules, world.sprites[e], fight.look[e])
    return ended
