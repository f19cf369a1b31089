"""The arrays of a batch of environments, shared by the rules, the physics and the renderer, and an episode's books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.layouts import APPLE, GOAL, Layout, parse
from mmlib.levels.minilab import random
from mmlib.levels.table import LevelSpec
from mmlib.numerics.kernels import njit

APPLE_HEIGHT, GOAL_HEIGHT = 16.0, 24.0  # centres above the floor, units


class World(NamedTuple):
    """Maps and objects. B environments, CY x CX cells, M objects, S spawn points."""

    wall_x: NDArray[np.uint8]  # [B, CY, CX + 1] wall code of the edge x = 100 i, 0 none
    wall_y: NDArray[np.uint8]  # [B, CY + 1, CX] wall code of the edge y = 100 j, 0 none
    floor_z: NDArray[np.float32]  # [B, CY, CX] units
    floor_texture: NDArray[np.uint8]  # [B, CY, CX] slot of the theme
    theme: NDArray[np.uint8]  # [B]
    sprites: NDArray[np.float32]  # [B, M, 5] x, y, z of the centre, kind now (0 gone), yaw
    kinds: NDArray[np.uint8]  # [B, M] kind at the start of a map, 0 unused
    spawns: NDArray[np.float64]  # [B, S, 2]
    spawn_count: NDArray[np.int32]  # [B]


class Agents(NamedTuple):
    """One body an environment and its episode's books."""

    pose: NDArray[np.float64]  # [B, 5] x, y, eye z, yaw, pitch
    velocity: NDArray[np.float64]  # [B, 3] units/s
    jump_held: NDArray[np.int32]  # [B]
    episode: NDArray[np.int64]  # [B] number of the episode
    restarts: NDArray[np.int64]  # [B] map restarts in the episode
    frame: NDArray[np.int32]  # [B] frames played in the episode
    length: NDArray[np.int32]  # [B] frames that the episode lasts
    restart_in: NDArray[np.int32]  # [B] frames until the map restarts, 0 no restart
    apples_left: NDArray[np.int32]  # [B]
    score: NDArray[np.float64]  # [B] return of the episode so far


class Rules(NamedTuple):
    """A level's numbers, as the kernels take them."""

    seed: NDArray[np.int64]  # [B] of each environment
    number: NDArray[np.int64]  # [B] which of its seed's environments it is
    episode_frames: int
    staggered: bool  # the first episode is cut at a random frame
    object_share: float
    restart_when_empty: bool
    head_room: float  # ceiling that stops a jump, units; infinity under open sky
    themes: NDArray[np.uint8]


class Outcome(NamedTuple):
    """What a step writes."""

    reward: NDArray[np.float32]  # [B]
    done: NDArray[np.bool_]  # [B]
    episode_return: NDArray[np.float32]  # [B]
    episode_frames: NDArray[np.int32]  # [B]


@njit(nogil=True, cache=True)
def next_episode(rules, agents, e):
    """Begins the books of environment e's next episode; returns its number."""
    agents.episode[e] += 1
    agents.frame[e], agents.score[e], agents.length[e] = 0, 0.0, rules.episode_frames
    if rules.staggered and agents.episode[e] == 0:
        key = random.stream(rules.seed[e], rules.number[e], agents.episode[e], random.LENGTH)
        agents.length[e] = 1 + random.below(key, 0, rules.episode_frames)
    return agents.episode[e]


@njit(nogil=True, cache=True)
def book(rules, agents, outcome, e, reward):
    """Writes what a level step of environment e gave; whether its episode ended."""
    agents.score[e] += reward
    done = agents.frame[e] >= agents.length[e]
    whole = done and agents.length[e] == rules.episode_frames  # a cut episode has no return
    outcome.reward[e], outcome.done[e] = reward, done
    outcome.episode_return[e] = agents.score[e] if whole else np.nan
    outcome.episode_frames[e] = agents.frame[e] if done else 0
    return done


def make_rules(
    spec: LevelSpec, seeds: Sequence[int], num_envs: int, episode_frames: int, staggered: bool, first_env: int
) -> Rules:
    """The kernels' view of a level, whose batch has as many environments of each seed, one seed after the other."""
    of_each = num_envs // len(seeds)
    return Rules(
        seed=np.repeat(np.array(seeds, np.int64), of_each),
        number=np.tile(np.arange(first_env, first_env + of_each), len(seeds)),
        episode_frames=episode_frames,
        staggered=staggered,
        object_share=spec.object_share,
        restart_when_empty=spec.restart_when_empty,
        head_room=np.inf if spec.sky else spec.ceiling,
        themes=np.array(spec.themes, np.uint8),
    )


def empty_world(num_envs: int, cells: tuple[int, ...], sprites: int, kinds: int, spawns: int) -> World:
    """Allocates the maps of `num_envs` environments of CY x CX cells, with nothing in them."""
    cy, cx = cells
    return World(
        wall_x=np.zeros((num_envs, cy, cx + 1), np.uint8),
        wall_y=np.zeros((num_envs, cy + 1, cx), np.uint8),
        floor_z=np.zeros((num_envs, cy, cx), np.float32),
        floor_texture=np.zeros((num_envs, cy, cx), np.uint8),
        theme=np.zeros(num_envs, np.uint8),
        sprites=np.zeros((num_envs, sprites, 5), np.float32),
        kinds=np.zeros((num_envs, kinds), np.uint8),
        spawns=np.zeros((num_envs, spawns, 2), np.float64),
        spawn_count=np.zeros(num_envs, np.int32),
    )


def make_world(spec: LevelSpec, num_envs: int) -> World:
    """The maps of `num_envs` environments of a maze; a fixed layout is drawn into all of them."""
    if spec.layout is not None:
        layout = parse(spec.layout)
        cells = layout.walls_x.shape[0], layout.walls_y.shape[1]
        objects = len(layout.apples) + len(layout.goals)
        world = empty_world(num_envs, cells, objects, objects, len(layout.spawns))
        _draw_layout(world, layout)
        return world
    maze = spec.maze
    assert maze is not None, f"{spec.name} has neither a layout nor a maze"
    objects = maze.max_rooms * maze.objects
    return empty_world(num_envs, (maze.height, maze.width), objects, objects, maze.max_rooms * maze.spawns)


def _draw_layout(world: World, layout: Layout) -> None:
    """Writes a layout into every environment; the wall's theme slot tells the part of the map."""
    cy, cx = layout.walls_x.shape[0], layout.walls_y.shape[1]
    rows, columns = np.arange(cy + 1) * 2 // (cy + 1), np.arange(cx + 1) * 3 // (cx + 1)
    slot = 3 * rows[:, None] + columns[None]  # [CY + 1, CX + 1], six parts
    world.wall_x[:] = layout.walls_x * (1 + slot[:cy])
    world.wall_y[:] = layout.walls_y * (1 + slot[:, :cx])
    world.floor_texture[:] = slot[:cy, :cx] % 2
    apples = len(layout.apples)
    world.sprites[:, :apples, :2], world.sprites[:, apples:, :2] = layout.apples, layout.goals
    world.sprites[:, :apples, 2], world.sprites[:, apples:, 2] = APPLE_HEIGHT, GOAL_HEIGHT
    world.kinds[:, :apples], world.kinds[:, apples:] = APPLE, GOAL
    world.spawns[:] = layout.spawns
    world.spawn_count[:] = len(layout.spawns)


def make_agents(num_envs: int) -> Agents:
    """Allocates the bodies and books of `num_envs` environments."""
    return Agents(
        pose=np.zeros((num_envs, 5), np.float64),
        velocity=np.zeros((num_envs, 3), np.float64),
        jump_held=np.zeros(num_envs, np.int32),
        episode=np.zeros(num_envs, np.int64),
        restarts=np.zeros(num_envs, np.int64),
        frame=np.zeros(num_envs, np.int32),
        length=np.zeros(num_envs, np.int32),
        restart_in=np.zeros(num_envs, np.int32),
        apples_left=np.zeros(num_envs, np.int32),
        score=np.zeros(num_envs, np.float64),
    )


def make_outcome(num_envs: int) -> Outcome:
    """Allocates a step's results."""
    return Outcome(
        reward=np.zeros(num_envs, np.float32),
        done=np.zeros(num_envs, np.bool_),
        episode_return=np.zeros(num_envs, np.float32),
        episode_frames=np.zeros(num_envs, np.int32),
    )
