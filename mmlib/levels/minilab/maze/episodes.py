"""The rules of play, as kernels over a range of environments: episodes, maps, objects, rewards.

Every environment reads and writes its own rows only, so ranges can run in any order and on any thread.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from mmlib.levels.layouts import APPLE, CELL, GOAL
from mmlib.levels.minilab import random
from mmlib.levels.minilab.maze.generator import OBJECT_CELL, OPENING, SPAWN_CELL, WALL, generate
from mmlib.levels.minilab.physics import EYE_ABOVE_FLOOR, EYE_ABOVE_ORIGIN, TICK_MS, ground_below, move, touches
from mmlib.levels.minilab.render.textures import NUM_PICTURES, wall_code
from mmlib.levels.minilab.world import APPLE_HEIGHT, book, next_episode
from mmlib.numerics.kernels import njit

APPLE_REWARD, GOAL_REWARD = 1.0, 10.0
RESTART_DELAY = 2  # frames between the event and the restart of the map
PICTURE_SHARE = 0.1  # of the walls of generated maps that carry a picture

_CORRIDOR_SLOT, _ROOM_SLOT = 0, 1  # of a theme


@njit(nogil=True, cache=True)
def _slot(cell):
    """The theme's surfaces for a cell: rooms look different from the corridors between them."""
    return _ROOM_SLOT if cell > OPENING else _CORRIDOR_SLOT


@njit(nogil=True, cache=True)
def _edge(cell, other, key, number):
    """The byte of the edge between two cells: a wall between an open and a solid one, now and then with a picture."""
    if (cell == WALL) == (other == WALL):
        return 0
    picture = 0
    if random.unit(key, 2 * number) < PICTURE_SHARE:
        picture = 1 + random.below(key, 2 * number + 1, NUM_PICTURES)
    return wall_code(_slot(max(cell, other)), picture)


@njit(nogil=True, cache=True)
def _build_walls(cells, world, e, key):
    """Walls and floors of a generated map."""
    height, width = cells.shape
    for j in range(height):
        for i in range(width):
            world.floor_texture[e, j, i] = _slot(cells[j, i])
            if i > 0:
                world.wall_x[e, j, i] = _edge(cells[j, i], cells[j, i - 1], key, j * width + i)
            if j > 0:
                world.wall_y[e, j, i] = _edge(cells[j, i], cells[j - 1, i], key, (height + j) * width + i)


@njit(nogil=True, cache=True)
def _centre(cell, width):
    """Where the centre of a cell is, by its number width j + i."""
    return CELL * (cell % width) + 0.5 * CELL, CELL * (cell // width) + 0.5 * CELL


@njit(nogil=True, cache=True)
def _list_spawns(cells, world, e):
    """Collects a generated map's spawn cells."""
    found = np.flatnonzero(cells == SPAWN_CELL)
    for n in range(len(found)):
        world.spawns[e, n, 0], world.spawns[e, n, 1] = _centre(found[n], cells.shape[1])
    world.spawn_count[e] = len(found)


@njit(nogil=True, cache=True)
def _place_apples(cells, world, e, key, share):
    """Puts apples in a random `share`, rounded down, of a generated map's object cells."""
    found = np.flatnonzero(cells == OBJECT_CELL)
    world.kinds[e, :] = 0
    for n in range(int(share * len(found))):
        pick = n + random.below(key, n, len(found) - n)
        found[n], found[pick] = found[pick], found[n]
        world.sprites[e, n, 0], world.sprites[e, n, 1] = _centre(found[n], cells.shape[1])
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
    key = random.stream(rules.seed[e], rules.number[e], agents.episode[e], random.SPAWN)
    spawn = random.below(key, 2 * agents.restarts[e], world.spawn_count[e])
    x, y = world.spawns[e, spawn, 0], world.spawns[e, spawn, 1]
    agents.pose[e, 0], agents.pose[e, 1] = x, y
    agents.pose[e, 2] = ground_below(world.floor_z[e], x, y) + EYE_ABOVE_FLOOR
    agents.pose[e, 3] = 360.0 * random.unit(key, 2 * agents.restarts[e] + 1) - 180.0
    agents.pose[e, 4] = 0.0
    agents.velocity[e, :] = 0.0
    agents.jump_held[e] = 0


@njit(nogil=True, cache=True)
def begin(e, rules, maze, world, agents):
    """Begins environment e's next episode; a `maze` of sides 0 is none, and the map fixed."""
    episode = next_episode(rules, agents, e)
    key = random.stream(rules.seed[e], rules.number[e], episode, random.THEME)
    world.theme[e] = rules.themes[random.below(key, 0, len(rules.themes))]
    if maze.height > 0:
        cells, _ = generate(maze, random.stream(rules.seed[e], rules.number[e], episode, random.MAZE))
        key = random.stream(rules.seed[e], rules.number[e], episode, random.SURFACE)
        _build_walls(cells, world, e, key)
        _list_spawns(cells, world, e)
        key = random.stream(rules.seed[e], rules.number[e], episode, random.OBJECTS)
        _place_apples(cells, world, e, key, rules.object_share)
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
def advance(actions, repeat, which, go_on, start, stop, outcome, rules, maze, world, agents):
    """One level step of the environments `which` `[B]` among start..stop-1: `repeat` frames, fewer if the episode ends.

    To `go_on`, its successor is begun then.
    """
    for e in range(start, stop):
        if not which[e]:
            continue
        reward = 0.0
        for _ in range(repeat):
            reward += _frame(e, actions[e], rules, world, agents)
            if agents.frame[e] >= agents.length[e]:
                break
        if book(rules, agents, outcome, e, reward) and go_on:
            begin(e, rules, maze, world, agents)


@njit(nogil=True, cache=True, parallel=True)
def advance_ranges(actions, repeat, which, go_on, bounds, outcome, rules, maze, world, agents):
    """`advance` of the ranges between `bounds`, a thread each."""
    for k in prange(len(bounds) - 1):
        advance(actions, repeat, which, go_on, bounds[k], bounds[k + 1], outcome, rules, maze, world, agents)
