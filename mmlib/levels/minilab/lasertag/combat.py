"""Gadgets, orbs, damage and tags.

Numbers that were read from DeepMind Lab: damage, cadence, spread, range, speed, splash radius, rounds, the share that
armour absorbs. Stated choices, after the rules of the Quake III family it is built on: a splash falls off linearly
with the distance from the hull, spares who was hit directly, and hurts its owner in full; a hit pushes by 5 units/s a
point of damage; putting another gadget in hand takes 450 ms.
"""

from __future__ import annotations

import math

import numpy as np

from mmlib.levels.arenas import BEAM, BLAST, CONTACT, MAX_SHOTS, ORB, RAPID, SPARK, WALL_HEIGHT
from mmlib.levels.minilab.lasertag.bodies import MARK_KIND, MARK_LEFT, SHOT_AGE, SHOT_OWNER, chance, floor_at
from mmlib.levels.minilab.lasertag.navigation import sees, wall_ahead
from mmlib.numerics.kernels import njit

DAMAGE = np.array([50.0, 7.0, 100.0, 8.0])  # contact, rapid, orb, beam
CADENCE = np.array([400.0, 100.0, 800.0, 50.0])  # engine ms
RANGE = np.array([32.0, 8192.0, 0.0, 768.0])  # units from the muzzle
SPREAD = 200.0 / 8192.0  # of the rapid gadget: tangent of the largest deviation on each axis
SHOT_SPEED, SPLASH, SPLASH_RADIUS = 900.0, 100.0, 120.0
SHOT_LIFE = 10000.0  # ms
PUSH = 5.0  # units/s a point of damage
ABSORBED = 0.66
SWITCH = 450.0  # ms
MUZZLE = 14.0  # units ahead of the eye
HULL, FEET, HEAD = 15.0, 50.0, 6.0  # half width; below and above the eye
WORLD = -1  # who tags those that the pit kills
BLAST_SHOWN, SPARK_SHOWN = 320.0, 80.0  # ms
BODY_DOWN = 10.0  # eye of a tagged body above the floor


@njit(nogil=True, cache=True)
def die(scene, rules, k, by):
    """Body k is tagged by body `by`, itself or the WORLD."""
    me = scene.body[k]
    if by != WORLD and by != k:
        scene.body[by].score += 1.0
    else:
        me.score -= 1.0
        me.own += 1.0
    me.deaths += 1.0
    me.health, me.dead = 0.0, 0.0
    me.vx = me.vy = me.vz = 0.0
    me.eye = floor_at(scene, me.x, me.y, rules.size) + BODY_DOWN
    me.enemy = -1.0
    me.wait = max(1700.0, 1000.0 + 1000.0 * chance(scene)) + 100.0


@njit(nogil=True, cache=True)
def hurt(scene, rules, k, by, amount, dx, dy, dz):
    """Body k takes `amount` points from `by`, along the unit vector (dx, dy, dz)."""
    me = scene.body[k]
    push = PUSH * amount
    me.vx += push * dx
    me.vy += push * dy
    me.vz += push * dz
    if by != k:
        me.hurt_by = by
    saved = min(math.ceil(amount * ABSORBED), me.armour)
    me.armour -= saved
    me.health -= amount - saved
    if me.health <= 0.0:
        die(scene, rules, k, by)


@njit(nogil=True, cache=True)
def _through(low, high, start, step, near, far):
    """Narrows the part near..far of a ray to where one coordinate lies in low..high."""
    if abs(step) < 1e-12:
        return (near, far) if low <= start <= high else (1.0, 0.0)
    a, b = (low - start) / step, (high - start) / step
    return max(near, min(a, b)), min(far, max(a, b))


@njit(nogil=True, cache=True)
def body_ahead(scene, rules, owner, x, y, z, dx, dy, dz, limit):
    """The first living body but `owner` on a ray, and how far along: (-1, limit) if none within `limit`."""
    found, reach = -1, limit
    for k in range(1 + rules.bots):
        it = scene.body[k]
        if k == owner or it.health <= 0.0:
            continue
        near, far = _through(it.x - HULL, it.x + HULL, x, dx, 0.0, reach)
        near, far = _through(it.y - HULL, it.y + HULL, y, dy, near, far)
        near, far = _through(it.eye - FEET, it.eye + HEAD, z, dz, near, far)
        if near <= far and near < reach:
            found, reach = k, near
    return found, reach


@njit(nogil=True, cache=True)
def mark(scene, n, kind, x, y, z, shown):
    """Shows something at a place for a while, as mark n."""
    it = scene.marks[n]
    it[0], it[1], it[2], it[MARK_KIND], it[MARK_LEFT] = x, y, z, kind, shown


@njit(nogil=True, cache=True)
def direction(yaw, pitch):
    """Unit vector of a view, degrees."""
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    return math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)


@njit(nogil=True, cache=True)
def _shoot(scene, rules, k, gadget):
    """Contact, rapid or beam: hits at once what is ahead; returns whether a body was hit."""
    me = scene.body[k]
    dx, dy, dz = direction(me.yaw, me.pitch)
    x, y, z = me.x + MUZZLE * dx, me.y + MUZZLE * dy, me.eye + MUZZLE * dz
    if gadget == RAPID:
        turn = 2.0 * math.pi * chance(scene)
        aside = math.cos(turn) * (2.0 * chance(scene) - 1.0) * SPREAD
        above = math.sin(turn) * (2.0 * chance(scene) - 1.0) * SPREAD
        yaw = math.radians(me.yaw)
        ux, uy, uz = -dz * math.cos(yaw), -dz * math.sin(yaw), math.hypot(dx, dy)  # up, in the view
        dx, dy, dz = dx + aside * math.sin(yaw) + above * ux, dy - aside * math.cos(yaw) + above * uy, dz + above * uz
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / length, dy / length, dz / length
    reach = wall_ahead(scene.wall_x, scene.wall_y, me.x, me.y, dx, dy, RANGE[gadget] + MUZZLE, rules.size) - MUZZLE
    if dz < 0.0:
        reach = min(reach, z / -dz)
    hit, reach = body_ahead(scene, rules, k, x, y, z, dx, dy, dz, max(reach, 0.0))
    if gadget != CONTACT and (hit >= 0 or reach < RANGE[gadget]):
        back = max(reach - 4.0, 0.0)
        mark(scene, MAX_SHOTS + k, SPARK, x + back * dx, y + back * dy, z + back * dz, SPARK_SHOWN)
    if hit >= 0:
        hurt(scene, rules, hit, k, DAMAGE[gadget], dx, dy, dz)
    return hit >= 0


@njit(nogil=True, cache=True)
def _launch(scene, k):
    """Sends an orb on its way; the oldest gives way if too many fly."""
    me, slot = scene.body[k], 0
    for n in range(MAX_SHOTS):
        if scene.shots[n, SHOT_OWNER] < 0.0:
            slot = n
            break
        if scene.shots[n, SHOT_AGE] > scene.shots[slot, SHOT_AGE]:
            slot = n
    dx, dy, dz = direction(me.yaw, me.pitch)
    it = scene.shots[slot]
    it[0], it[1], it[2] = me.x, me.y, me.eye
    it[3], it[4], it[5] = SHOT_SPEED * dx, SHOT_SPEED * dy, SHOT_SPEED * dz
    it[SHOT_OWNER], it[SHOT_AGE] = k, 0.0


@njit(nogil=True, cache=True)
def take_in_hand(me, gadget):
    """Puts a gadget in a body's hand."""
    if me.gadget != gadget:
        me.gadget = gadget
        me.reload = max(me.reload, SWITCH)


@njit(nogil=True, cache=True)
def best_gadget(me):
    """The gadget taken in hand when the last one is empty: beam, orb, rapid, contact."""
    for gadget in (BEAM, ORB, RAPID):
        if me.ammo[gadget] > 0.0:
            return gadget
    return CONTACT


@njit(nogil=True, cache=True)
def trigger(scene, rules, k, pressed, tick):
    """One tick of body k's gadget with FIRE pressed or not."""
    me = scene.body[k]
    me.reload -= tick
    if me.reload > 0.0:
        return
    if not pressed:
        me.reload = 0.0
        return
    gadget = int(me.gadget)
    if gadget != CONTACT and me.ammo[gadget] <= 0.0:
        take_in_hand(me, best_gadget(me))
        return
    if gadget == ORB:
        _launch(scene, k)
    elif not _shoot(scene, rules, k, gadget) and gadget == CONTACT:
        me.reload = 0.0  # it strikes only what it meets, and saves up nothing
        return
    if gadget != CONTACT and not (gadget == RAPID and k == 0 and rules.endless_rapid):
        me.ammo[gadget] -= 1.0
    me.reload += CADENCE[gadget]


@njit(nogil=True, cache=True)
def _gap(value, low, high):
    """Distance of a coordinate from an interval."""
    return max(low - value, 0.0, value - high)


@njit(nogil=True, cache=True)
def burst(scene, rules, n, hit, x, y, z):
    """Orb n bursts at a place after it hit body `hit` (-1 none)."""
    it = scene.shots[n]
    owner = int(it[SHOT_OWNER])
    it[SHOT_OWNER] = -1.0
    mark(scene, n, BLAST, x, y, z, BLAST_SHOWN)
    if hit >= 0:
        hurt(scene, rules, hit, owner, DAMAGE[ORB], it[3] / SHOT_SPEED, it[4] / SHOT_SPEED, it[5] / SHOT_SPEED)
    for k in range(1 + rules.bots):
        me = scene.body[k]
        if k == hit or me.health <= 0.0:
            continue
        gx, gy = _gap(x, me.x - HULL, me.x + HULL), _gap(y, me.y - HULL, me.y + HULL)
        away = math.sqrt(gx * gx + gy * gy + _gap(z, me.eye - FEET, me.eye + HEAD) ** 2)
        if away >= SPLASH_RADIUS or not sees(scene.wall_x, scene.wall_y, x, y, me.x, me.y, rules.size):
            continue
        dx, dy, dz = me.x - x, me.y - y, me.eye - 2.0 - z  # a blast pushes up: 24 above the body's origin
        length = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-6)
        points = math.floor(SPLASH * (1.0 - away / SPLASH_RADIUS))
        hurt(scene, rules, k, owner, points, dx / length, dy / length, dz / length)


@njit(nogil=True, cache=True)
def fly(scene, rules, tick):
    """One tick of the orbs: they burst on bodies, walls and floors, and vanish above the walls."""
    dt = 0.001 * tick
    for n in range(MAX_SHOTS):
        it = scene.shots[n]
        if it[SHOT_OWNER] < 0.0:
            continue
        it[SHOT_AGE] += tick
        x, y, z, dx, dy, dz = it[0], it[1], it[2], it[3] * dt, it[4] * dt, it[5] * dt
        reach = wall_ahead(scene.wall_x, scene.wall_y, x, y, dx, dy, 1.0, rules.size)
        solid = reach < 1.0
        ground = floor_at(scene, x + dx, y + dy, rules.size)
        if dz < 0.0 and z + dz < ground:
            fall = max((ground - z) / dz, 0.0)
            if fall <= reach:
                reach, solid = fall, True
        hit, reach = body_ahead(scene, rules, int(it[SHOT_OWNER]), x, y, z, dx, dy, dz, reach)
        it[0], it[1], it[2] = x + reach * dx, y + reach * dy, z + reach * dz
        if hit >= 0 or solid:
            back = 1.0 / SHOT_SPEED  # a unit before the surface, so that no wall lies between
            burst(scene, rules, n, hit, it[0] - it[3] * back, it[1] - it[4] * back, it[2] - it[5] * back)
        elif it[2] > WALL_HEIGHT or it[SHOT_AGE] > SHOT_LIFE:
            it[SHOT_OWNER] = -1.0
