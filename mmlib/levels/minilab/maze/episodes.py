"""The rules of play, as kernels over a range of environments: episodes, maps, objects, rewards.

Every environment reads and writes its own rows only, so ranges can run in any order and on any thread.
"""

from __future__ import annotations

from numba import prange

from mmlib.levels.layouts import APPLE, CELL, GOAL
from mmlib.levels.minilab import random
from mmlib.levels.minilab.maze.generator import OBJECT_CELL, OPENING, SPAWN_CELL, WALL, MazeScratch, generate
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, EYE_ABOVE_ORIGIN, TICK_MS, ground_below, move, touches
from mmlib.levels.minilab.render.textures import NUM_PICTURES, wall_code
from mmlib.levels.minilab.world import APPLE_HEIGHT, book, next_episode
from mmlib.numerics.kernels import njit

APPLE_REWARD, GOAL_REWARD = 1.0, 10.0
RESTART_DELAY = 2  # frames between the event and the restart of the map

_CORRIDOR_SLOT, _ROOM_SLOT = 0, 1
_MAZE, _OBJECTS, _SPAWN = random.MAZE, random.OBJECTS, random.SPAWN
_THEME, _SURFACE = random.THEME, random.SURFACE


@njit(nogil=True, cache=True)
def _slot(cell):
    """The theme's surfaces for a cell: rooms look different from the corridors between them."""
    return _ROOM_SLOT if cell > OPENING else _CORRIDOR_SLOT


@njit(nogil=True, cache=True)
def _wall_code(open_cell, key, edge, picture_share):
    """The code of a wall beside an open cell: a slot of the theme, and now and then a picture."""
    picture = 0
    if random.unit(key, 2 * edge) < picture_share:
        picture = 1 + random.below(key, 2 * edge + 1, NUM_PICTURES)
    return wall_code(_slot(open_cell), picture)


@njit(nogil=True, cache=True)
def _build_walls(cells, world, e, key, picture_share):
    """Walls on every edge between an open and a solid cell."""
    height, width = cells.shape
    for j in range(height):
        for i in range(width):
            world.floor_texture[e, j, i] = _slot(cells[j, i])
            here = cells[j, i]
            if i > 0:
                west = cells[j, i - 1]
                code = 0
                if (here == WALL) != (west == WALL):
                    code = _wall_code(max(here, west), key, j * width + i, picture_share)
                world.wall_x[e, j, i] = code
            if j > 0:
                south = cells[j - 1, i]
                code = 0
                if (here == WALL) != (south == WALL):
                    code = _wall_code(max(here, south), key, (height + j) * width + i, picture_share)
                world.wall_y[e, j, i] = code


@njit(nogil=True, cache=True)
def _list_spawns(cells, world, e):
    """Collects a generated map's spawn cells."""
    count = 0
    for j in range(cells.shape[0]):
        for i in range(cells.shape[1]):
            if cells[j, i] == SPAWN_CELL:
                world.spawns[e, count, 0] = CELL * i + 0.5 * CELL
                world.spawns[e, count, 1] = CELL * j + 0.5 * CELL
                count += 1
    world.spawn_count[e] = count


@njit(nogil=True, cache=True)
def _place_apples(cells, world, e, key, share, stack):
    """Puts apples in a random `share`, rounded down, of a generated map's object cells."""
    width = cells.shape[1]
    count = 0
    for j in range(cells.shape[0]):
        for i in range(width):
            if cells[j, i] == OBJECT_CELL:
                stack[count] = j * width + i
                count += 1
    world.kinds[e, :] = 0
    for n in range(int(share * count)):
        pick = n + random.below(key, n, count - n)
        stack[n], stack[pick] = stack[pick], stack[n]
        world.sprites[e, n, 0] = CELL * (stack[n] % width) + 0.5 * CELL
        world.sprites[e, n, 1] = CELL * (stack[n] // width) + 0.5 * CELL
        world.sprites[e, n, 2] = APPLE_HEIGHT
        world.kinds[e, n] = APPLE


@njit(nogil=True, cache=True)
def _begin_map(e, rules, world, agents):
    """Starts or restarts the map of an episode: all objects back, a random spawn point, any yaw."""
    apples = 0
    for m in range(world.kinds.shape[1]):
        world.sprites[e, m, 3] = world.kinds[e, m]
        apples += world.kinds[e, m] == APPLE
    agents.apples_left[e] = apples
    agents.restart_in[e] = 0
    key = random.stream(rules.seed[e], rules.number[e], agents.episode[e], _SPAWN)
    spawn = random.below(key, 2 * agents.restarts[e], world.spawn_count[e])
    x, y = world.spawns[e, spawn, 0], world.spawns[e, spawn, 1]
    agents.pose[e, 0], agents.pose[e, 1] = x, y
    agents.pose[e, 2] = ground_below(world.floor_z[e], x, y) + EYE_ABOVE_FLOOR
    agents.pose[e, 3] = 360.0 * random.unit(key, 2 * agents.restarts[e] + 1) - 180.0
    agents.pose[e, 4] = 0.0
    agents.velocity[e, :] = 0.0
    agents.jump_held[e] = 0


@njit(nogil=True, cache=True)
def _begin_episode(e, rules, maze, world, agents, cells, scratch):
    """Starts the episode numbered `agents.episode[e]`."""
    episode = agents.episode[e]
    key = random.stream(rules.seed[e], rules.number[e], episode, _THEME)
    world.theme[e] = rules.themes[random.below(key, 0, len(rules.themes))]
    if rules.generated:
        generate(cells, maze, random.stream(rules.seed[e], rules.number[e], episode, _MAZE), scratch)
        key = random.stream(rules.seed[e], rules.number[e], episode, _SURFACE)
        _build_walls(cells, world, e, key, rules.picture_share)
        _list_spawns(cells, world, e)
        key = random.stream(rules.seed[e], rules.number[e], episode, _OBJECTS)
        _place_apples(cells, world, e, key, rules.object_share, scratch.stack)
    agents.restarts[e] = 0
    _begin_map(e, rules, world, agents)


@njit(nogil=True, cache=True)
def _collect(e, rules, world, agents):
    """Takes every object in reach; returns the reward."""
    reward = 0.0
    x, y, z = agents.pose[e, 0], agents.pose[e, 1], agents.pose[e, 2] - EYE_ABOVE_ORIGIN
    for m in range(world.sprites.shape[1]):
        kind = world.sprites[e, m, 3]
        if kind != APPLE and kind != GOAL:
            continue
        if not touches(x, y, z, world.sprites[e, m, 0], world.sprites[e, m, 1], world.sprites[e, m, 2]):
            continue
        world.sprites[e, m, 3] = 0.0
        if kind == GOAL:
            reward += GOAL_REWARD
            agents.restart_in[e] = RESTART_DELAY
        else:
            reward += APPLE_REWARD
            agents.apples_left[e] -= 1
            if rules.restart_when_empty and agents.apples_left[e] == 0:
                agents.restart_in[e] = RESTART_DELAY
    return reward


@njit(nogil=True, cache=True)
def _frame(e, action, rules, world, agents):
    """One frame of one environment; returns its reward."""
    if agents.restart_in[e] > 0:
        agents.restart_in[e] -= 1
        if agents.restart_in[e] == 0:
            agents.restarts[e] += 1
            _begin_map(e, rules, world, agents)
    agents.jump_held[e] = move(
        agents.pose[e],
        agents.velocity[e],
        agents.jump_held[e],
        action,
        world.wall_x[e],
        world.wall_y[e],
        world.floor_z[e],
        rules.head_room,
        TICK_MS[agents.frame[e] % len(TICK_MS)],
    )
    agents.frame[e] += 1
    return _collect(e, rules, world, agents)


@njit(nogil=True, cache=True)
def begin(rules, maze, world, agents, cells, scratch, anew, start, stop):
    """Begins episodes in environments start..stop-1: episode 0 everywhere if `anew`, else after a finished one."""
    for e in range(start, stop):
        if next_episode(rules, agents, e, anew):
            _begin_episode(e, rules, maze, world, agents, cells, scratch)


@njit(nogil=True, cache=True)
def advance(actions, repeat, rules, world, agents, outcome, start, stop):
    """One level step of environments start..stop-1: `repeat` frames, fewer if the episode ends.

    Returns:
      Whether an episode ended; `begin` is due before the next step then.
    """
    ended = False
    for e in range(start, stop):
        reward = 0.0
        for _ in range(repeat):
            reward += _frame(e, actions[e], rules, world, agents)
            if agents.frame[e] >= agents.length[e]:
                break
        ended |= book(rules, agents, outcome, e, reward)
    return ended


@njit(nogil=True, cache=True, parallel=True)
def advance_ranges(actions, repeat, rules, world, agents, outcome, which, go_on, maze, cells, scratch, bounds):
    """`advance` of the environments `which` `[B]`, and, to `go_on`, `begin` where it is due.

    The ranges between `bounds` have a thread each, with its own scratch.
    """
    for k in prange(len(bounds) - 1):
        own = MazeScratch(scratch.region[k], scratch.rooms[k], scratch.stack[k], scratch.counter[k])
        for e in range(bounds[k], bounds[k + 1]):
            if which[e] and advance(actions, repeat, rules, world, agents, outcome, e, e + 1) and go_on:
                begin(rules, maze, world, agents, cells[k], own, False, e, e + 1)
