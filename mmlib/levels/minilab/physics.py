"""One engine tick of a body: turning, walking, sliding along walls, jumping, falling, stepping up, reaching.

The rules are those of the Quake III family that DeepMind Lab is built on, in the units measured there:
friction 6 and ground acceleration 10 per second, air acceleration 1, stop speed 100, top speed 320 units/s,
gravity 800 units/s², jump launch 270 units/s, steps of up to 18 units, an axis-aligned hull 30 wide.
Velocities are rounded to whole units/s at the end of a tick, as that engine does; its measured tables only
come out with that rounding.

One tick is one frame of 1/60 s. It lasts 14 or 17 ms of engine time, 16 on average: the engine's client clock
gains 1 ms a tick and is then set back by 2. `TICK_MS` is a cycle of 25 ticks; the two measured velocity tables
fix 24 of them, and the one they leave open makes it 400 ms long.
"""

from __future__ import annotations

import math

import numpy as np

from mmlib.levels.layouts import CELL
from mmlib.numerics.kernels import njit

TICK_MS = np.array([14, 17, 17, 14, 14, 17, 17, 14, 17, 19] + [14, 17, 17] * 5, np.float64)

EYE_ABOVE_ORIGIN = 26.0
ORIGIN_ABOVE_FLOOR = 24.125
EYE_ABOVE_FLOOR = EYE_ABOVE_ORIGIN + ORIGIN_ABOVE_FLOOR
HEAD_ABOVE_EYE = 6.25  # hull top 32 above the origin, and the gap an upward trace keeps

DEGREES_PER_PIXEL = 0.1056
PITCH_LIMIT = 87.89
TOP_SPEED = 320.0
CROUCH_SPEED = 80.0
STOP_SPEED = 100.0
FRICTION = 6.0
GROUND_ACCELERATION = 10.0
AIR_ACCELERATION = 1.0
GRAVITY = 800.0
JUMP_SPEED = 270.0
STEP_HEIGHT = 18.0

REACH = 15.125  # half hull 15 and the gap 0.125 that is kept from every surface
REACH_WALL = REACH + 1.0  # the same to a wall's edge line: wall sheets are 2 units thick


@njit(nogil=True, cache=True)
def _first_row(side, size):
    """First of the rows of cells that the hull touches with its centre at `side`."""
    return max(0, math.floor((side - REACH) / size))


@njit(nogil=True, cache=True)
def _last_row(side, rows, size):
    """Last of the rows of cells that the hull touches with its centre at `side`."""
    return min(rows - 1, math.ceil((side + REACH) / size) - 1)


@njit(nogil=True, cache=True)
def _sheet_across(along, side, line, size):
    """Whether a wall lies on edge `line`, across the way of a hull at `side`."""
    hit = False
    for row in range(_first_row(side, size), _last_row(side, along.shape[0], size) + 1):
        hit = hit or along[row, line] != 0
    return hit


@njit(nogil=True, cache=True)
def _end_or_ledge(across, floor_z, side, cell, climb, size):
    """Whether a hull at `side` that enters `cell` meets the end of a wall or a floor higher than `climb`."""
    edge = math.floor(side / size + 0.5)
    if abs(side - size * edge) < REACH_WALL and across[edge, cell] != 0:
        return True
    hit = False
    for row in range(_first_row(side, size), _last_row(side, floor_z.shape[0], size) + 1):
        hit = hit or floor_z[row, cell] > climb
    return hit


@njit(nogil=True, cache=True)
def slide(along, across, floor_z, position, side, delta, climb, size=CELL):
    """Moves a hull along one axis until something is in its way.

    Args:
      along: `[rows, lines]` walls that cross this axis (`wall_x` for x).
      across: `[rows + 1, cells]` walls parallel to it.
      floor_z: `[rows, cells]` floor heights.
      position: coordinate on this axis, units.
      side: coordinate on the other axis, units.
      delta: wanted displacement, units, less than a cell.
      climb: highest floor the hull can pass onto, units.
      size: side of a cell, units.

    Returns:
      The new coordinate on this axis.
    """
    target = position + delta
    cells = floor_z.shape[1]
    if delta > 0.0:
        line = math.ceil((position + REACH_WALL) / size)
        stop = size * line - REACH_WALL
        if stop < target and line <= cells and _sheet_across(along, side, line, size):
            target = stop
        line = math.ceil((position + REACH) / size)
        stop = size * line - REACH
        if stop < target and line < cells and _end_or_ledge(across, floor_z, side, line, climb, size):
            target = stop
    else:
        line = math.floor((position - REACH_WALL) / size)
        stop = size * line + REACH_WALL
        if stop > target and line >= 0 and _sheet_across(along, side, line, size):
            target = stop
        line = math.floor((position - REACH) / size)
        stop = size * line + REACH
        if stop > target and line > 0 and _end_or_ledge(across, floor_z, side, line - 1, climb, size):
            target = stop
    return target


@njit(nogil=True, cache=True)
def ground_below(floor_z, x, y, size=CELL):
    """Height of the highest floor under the hull at (x, y)."""
    first_i, last_i = _first_row(x, size), _last_row(x, floor_z.shape[1], size)
    first_j, last_j = _first_row(y, size), _last_row(y, floor_z.shape[0], size)
    height = floor_z[first_j, first_i]
    for j in range(first_j, last_j + 1):
        for i in range(first_i, last_i + 1):
            height = max(height, floor_z[j, i])
    return float(height)


@njit(nogil=True, cache=True)
def wrapped(degrees):
    """An angle in [-180, 180)."""
    return degrees - 360.0 * math.floor((degrees + 180.0) / 360.0)


@njit(nogil=True, cache=True)
def _turn(pose, yaw_pixels, pitch_pixels):
    """Turns the view of `pose` `[5]` (x, y, eye z, yaw, pitch) by one frame's pixels."""
    pose[3] = wrapped(pose[3] - DEGREES_PER_PIXEL * yaw_pixels)
    pose[4] = min(PITCH_LIMIT, max(-PITCH_LIMIT, pose[4] + DEGREES_PER_PIXEL * pitch_pixels))


@njit(nogil=True, cache=True)
def _push(velocity, yaw, strafe, move, up, top_speed, acceleration, dt):
    """Accelerates the horizontal velocity towards the wanted direction at `top_speed`, units/s."""
    if strafe == 0 and move == 0:
        return
    length = math.sqrt(float(strafe * strafe + move * move))
    radians = math.radians(yaw)
    cos, sin = math.cos(radians), math.sin(radians)
    wish_x = (cos * move + sin * strafe) / length
    wish_y = (sin * move - cos * strafe) / length
    # The command is scaled over three axes: a held jump key takes its share of the wanted speed.
    wish_speed = top_speed * length / math.sqrt(length * length + up)
    missing = wish_speed - (velocity[0] * wish_x + velocity[1] * wish_y)
    if missing > 0.0:
        gain = min(missing, acceleration * dt * wish_speed)
        velocity[0] += gain * wish_x
        velocity[1] += gain * wish_y


@njit(nogil=True, cache=True)
def _rub(velocity, dt):
    """Ground friction on the horizontal velocity."""
    speed = math.sqrt(velocity[0] * velocity[0] + velocity[1] * velocity[1])
    if speed < 1.0:
        velocity[0] = velocity[1] = 0.0
        return
    scale = max(0.0, speed - max(speed, STOP_SPEED) * FRICTION * dt) / speed
    velocity[0] *= scale
    velocity[1] *= scale


@njit(nogil=True, cache=True)
def _glide(pose, velocity, wall_x, wall_y, floor_z, dt, climb, size):
    """Moves horizontally, one axis after the other; a velocity component that meets something ends."""
    step_x, step_y = velocity[0] * dt, velocity[1] * dt
    if step_x != 0.0:
        target = pose[0] + step_x
        pose[0] = slide(wall_x, wall_y, floor_z, pose[0], pose[1], step_x, climb, size)
        if pose[0] != target:
            velocity[0] = 0.0
    if step_y != 0.0:
        target = pose[1] + step_y
        pose[1] = slide(wall_y.T, wall_x.T, floor_z.T, pose[1], pose[0], step_y, climb, size)
        if pose[1] != target:
            velocity[1] = 0.0


@njit(nogil=True, cache=True)
def _fall(pose, velocity, floor_z, ceiling, dt, size):
    """Moves vertically under gravity between the floor below the hull and the ceiling."""
    speed_after = velocity[2] - GRAVITY * dt
    height = pose[2] + 0.5 * (velocity[2] + speed_after) * dt
    lowest = ground_below(floor_z, pose[0], pose[1], size) + EYE_ABOVE_FLOOR
    if height <= lowest:
        height, speed_after = lowest, 0.0
    elif height > ceiling - HEAD_ABOVE_EYE:
        height, speed_after = ceiling - HEAD_ABOVE_EYE, 0.0
    pose[2], velocity[2] = height, speed_after


@njit(nogil=True, cache=True)
def move(pose, velocity, jump_held, action, wall_x, wall_y, floor_z, ceiling, tick_ms, size=CELL):
    """One tick of a body.

    Args:
      pose: `[5]` x, y, eye z, yaw, pitch; changed in place.
      velocity: `[3]` units/s; changed in place.
      jump_held: 1 while the jump key that started the last jump is still down, else 0.
      action: `[7]` DeepMind Lab's vector.
      wall_x, wall_y, floor_z: the map's `[CY, CX+1]`, `[CY+1, CX]`, `[CY, CX]`.
      ceiling: height of the ceiling, units; infinity under open sky.
      tick_ms: length of the tick, ms.
      size: side of a cell, units.

    Returns:
      The new `jump_held`.
    """
    dt = tick_ms * 0.001
    _turn(pose, action[0], action[1])
    feet = pose[2] - EYE_ABOVE_FLOOR
    ground = ground_below(floor_z, pose[0], pose[1], size)
    on_ground = velocity[2] <= 10.0 and feet - ground <= 0.25
    held = jump_held if action[5] != 0 else 0
    if action[5] != 0 and on_ground and jump_held == 0:
        velocity[2] = JUMP_SPEED
        on_ground, held = False, 1
    if on_ground:
        _rub(velocity, dt)
        top_speed = CROUCH_SPEED if action[6] != 0 else TOP_SPEED
        _push(velocity, pose[3], action[2], action[3], 0, top_speed, GROUND_ACCELERATION, dt)
        _glide(pose, velocity, wall_x, wall_y, floor_z, dt, ground + STEP_HEIGHT, size)
        pose[2] = max(ground, ground_below(floor_z, pose[0], pose[1], size)) + EYE_ABOVE_FLOOR
        velocity[2] = 0.0
    else:
        _push(velocity, pose[3], action[2], action[3], action[5], TOP_SPEED, AIR_ACCELERATION, dt)
        climb = feet + (STEP_HEIGHT if velocity[2] <= 0.0 else 0.0)
        _glide(pose, velocity, wall_x, wall_y, floor_z, dt, climb, size)
        _fall(pose, velocity, floor_z, ceiling, dt, size)
    for k in range(3):
        velocity[k] = np.rint(velocity[k])
    return held


@njit(nogil=True, cache=True)
def touches(x, y, origin_z, item_x, item_y, item_z):
    """Whether a body takes an item: DeepMind Lab's box around the item, longer along x than along y."""
    dx, dy, dz = x - item_x, y - item_y, origin_z - item_z
    return -50.0 <= dx <= 44.0 and abs(dy) <= 36.0 and abs(dz) <= 36.0
