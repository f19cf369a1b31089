"""The state of a lasertag batch: bodies, orbs in flight, marks on show, item clocks.

Body 0 of an environment is the agent, the others are bots. A body is a record of numbers, `body[e, k]`; times are in
engine milliseconds, of which a frame of 1/60 s has 16.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.arenas import MAX_BOTS, MAX_SHOTS, PIT_SLOT, Arena, plan
from mmlib.levels.minilab.lasertag.navigation import routes
from mmlib.levels.minilab.random import unit
from mmlib.levels.minilab.world import Rules, World, empty_world
from mmlib.numerics.kernels import njit

BODIES = 1 + MAX_BOTS

# The numbers of a body, float64, and how many of each; `pose`, `velocity` and `numbers` are the same memory as arrays.
_NUMBERS = {
    **dict.fromkeys(("x", "y", "eye", "yaw", "pitch"), 1),  # as `Agents.pose`
    **dict.fromkeys(("vx", "vy", "vz"), 1),  # units/s
    "jump_held": 1,
    **dict.fromkeys(("health", "armour"), 1),  # health 0: dead
    "decay": 1,  # ms until health and armour above 100 lose a point
    "dead": 1,  # ms since death
    "gadget": 1,  # in hand
    "reload": 1,  # ms until it can fire
    "ammo": 4,  # rounds of each gadget
    **dict.fromkeys(("score", "deaths", "own"), 1),  # books of the episode; own: deaths by oneself or the world
    "dead_frames": 1,  # spent dead
    "travel": 1,  # sum of the horizontal speed over frames
    # A bot's mind.
    "enemy": 1,  # whom it fights, -1 nobody
    **dict.fromkeys(("visible", "seen", "lost"), 1),  # the enemy is in view; ms in view; ms out of view
    **dict.fromkeys(("error_yaw", "error_pitch"), 1),  # of its aim, degrees
    "side": 1,  # way round an opponent, +1 or -1
    "heading": 1,  # where it walks, degrees
    "goal": 1,  # item that it wants, -1 none
    **dict.fromkeys(("roam_x", "roam_y"), 1),  # otherwise a place
    "cross": 1,  # wants over the pit
    "slip": 1,  # fails at it: -1 not decided, 0 no, 1 yes
    "wait": 1,  # ms dead before it returns
    "think": 1,  # ms until it thinks
    "hurt_by": 1,  # who hit it last
    "rest": 1,  # stands still until the next thought
}


def _record() -> np.dtype:
    counts = list(_NUMBERS.values())
    starts = [sum(counts[:n]) for n in range(len(counts))]
    fields = [*zip(_NUMBERS, counts, starts), ("pose", 5, 0), ("velocity", 3, 5), ("numbers", sum(counts), 0)]
    names, counts, starts = (list(column) for column in zip(*fields))
    formats = [np.float64 if count == 1 else (np.float64, count) for count in counts]
    return np.dtype({"names": names, "formats": formats, "offsets": [8 * start for start in starts]}, align=True)


BODY = _record()

SHOT_OWNER, SHOT_AGE = 6, 7  # after place and velocity; owner -1: free
MARK_KIND, MARK_LEFT = 3, 4  # after the place; ms left


class Fight(NamedTuple):
    """State of B environments with I items, beside `world` and `agents`."""

    body: NDArray[np.void]  # [B, BODIES] of `BODY`
    shots: NDArray[np.float64]  # [B, MAX_SHOTS, 8]
    marks: NDArray[np.float64]  # [B, MAX_SHOTS + BODIES, 5] blasts, then the spark of each body's last shot
    waits: NDArray[np.float64]  # [B, I] ms until the item is back, 0 present
    key: NDArray[np.uint64]  # [B] of the episode's random numbers
    draws: NDArray[np.int64]  # [B] random numbers drawn in the episode
    look: NDArray[np.int64]  # [B] of the bots


class Scene(NamedTuple):
    """One environment: its rows of `Fight` and of the map."""

    body: NDArray[np.void]
    shots: NDArray[np.float64]
    marks: NDArray[np.float64]
    waits: NDArray[np.float64]
    key: np.uint64
    draws: NDArray[np.int64]  # [1]
    wall_x: NDArray[np.uint8]
    wall_y: NDArray[np.uint8]
    floor_z: NDArray[np.float32]
    spawns: NDArray[np.float64]
    order: NDArray[np.int32]  # [7] a bot's action, for use within a frame


class MatchRules(NamedTuple):
    """A lasertag level's numbers, as the kernels take them."""

    seed: NDArray[np.int64]  # [B] of each environment
    number: NDArray[np.int64]  # [B] which of its seed's environments it is
    episode_frames: int
    staggered: bool
    size: float  # side of a cell, units
    bots: int
    bot_health: float
    slow_bots: bool
    endless_rapid: bool
    looks: NDArray[np.uint8]
    items: NDArray[np.float64]  # [I, 4] kind, x, y, z
    pit: bool  # whether there is one
    next_cell: NDArray[np.int16]  # [C, C] `navigation.routes`
    aim_error: float  # degrees, the largest of a bot's aim at a runner
    reaction: float  # ms from seeing to firing
    turn_rate: float  # degrees/s
    sight: float  # degrees to either side in which a bot notices others
    near_fight: float  # units that a bot keeps from its opponent, at least and at most
    far_fight: float


# Stated choices, fitted at skill 4 to the measured deaths, scores and speeds; a level of skill is a factor.
AIM_ERROR, AIM_FACTOR = 36.0, 0.8
REACTION, REACTION_FACTOR = 600.0, 0.75
TURN_RATE, TURN_FACTOR = 360.0, 1.3


def make_match_rules(arena: Arena, rules: Rules, bots: int | None, skill: float | None) -> MatchRules:
    """The kernels' view of a lasertag level with the seeds of `rules`; `bots` and `skill` None are the level's own."""
    parts = plan(arena)
    items = np.array(arena.items, np.float64).reshape(-1, 4)
    items[:, 1:3] -= arena.origin
    beyond = (arena.skill if skill is None else skill) - 4.0
    return MatchRules(
        seed=rules.seed,
        number=rules.number,
        episode_frames=rules.episode_frames,
        staggered=rules.staggered,
        size=arena.cell,
        bots=arena.bots if bots is None else int(bots),  # a number of another kind would compile the engine anew
        bot_health=arena.bot_health,
        slow_bots=arena.slow_bots,
        endless_rapid=arena.endless_rapid,
        looks=np.array(arena.looks, np.uint8),
        items=items,
        pit=bool((parts.floor_z < 0).any()),
        next_cell=routes(*parts),
        aim_error=AIM_ERROR * AIM_FACTOR**beyond,
        reaction=REACTION * REACTION_FACTOR**beyond,
        turn_rate=TURN_RATE * TURN_FACTOR**beyond,
        sight=min(180.0, 60.0 + 10.0 * (beyond + 3.0)),
        near_fight=arena.keep[0],
        far_fight=arena.keep[1],
    )


def make_arena_world(arena: Arena, num_envs: int) -> World:
    """The maps of `num_envs` environments of a lasertag level; sprites are in cells of 100 units."""
    parts, spawns = plan(arena), np.array(arena.spawns, np.float64) - arena.origin
    sprites = len(arena.items) + MAX_BOTS + 2 * MAX_SHOTS + BODIES  # orbs and marks
    world = empty_world(num_envs, parts.floor_z.shape, sprites, 0, len(spawns))
    world.wall_x[:], world.wall_y[:], world.floor_z[:] = parts
    world.floor_texture[:] = PIT_SLOT * (parts.floor_z < 0)
    world.theme[:] = int((parts.floor_z < 0).any())
    world.spawns[:], world.spawn_count[:] = spawns, len(spawns)
    return world


def make_fight(arena: Arena, num_envs: int) -> Fight:
    """Allocates the state of `num_envs` environments."""
    return Fight(
        body=np.zeros((num_envs, BODIES), BODY),
        shots=np.zeros((num_envs, MAX_SHOTS, 8), np.float64),
        marks=np.zeros((num_envs, MAX_SHOTS + BODIES, 5), np.float64),
        waits=np.zeros((num_envs, len(arena.items)), np.float64),
        key=np.zeros(num_envs, np.uint64),
        draws=np.zeros(num_envs, np.int64),
        look=np.zeros(num_envs, np.int64),
    )


@njit(nogil=True, cache=True)
def chance(scene):
    """The next random number of the episode, in [0, 1)."""
    scene.draws[0] += 1
    return unit(scene.key, scene.draws[0])


@njit(nogil=True, cache=True)
def run_down(clocks, tick):
    """One tick of clocks, ms, that stop at 0."""
    for n in range(len(clocks)):
        clocks[n] = max(0.0, clocks[n] - tick)


@njit(nogil=True, cache=True)
def floor_at(scene, x, y, size):
    """Height of the floor at a point, 0 outside the map."""
    j, i = int(y // size), int(x // size)
    if 0 <= j < scene.floor_z.shape[0] and 0 <= i < scene.floor_z.shape[1]:
        return float(scene.floor_z[j, i])
    return 0.0
