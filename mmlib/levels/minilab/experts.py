"""Scripted experts: policies that see a level's whole state. Their scores say what a normalised score of 1 is.

The maze expert walks the best tour over the objects of the map, found by dynamic programming over the sets of
apples that are left (Held and Karp 1962), along shortest paths over cells. It turns no faster than the Big action
space can, 60 pixels a frame, and never jumps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import shortest_path

from mmlib.levels.layouts import APPLE, CELL, GOAL
from mmlib.levels.minilab.physics import DEGREES_PER_PIXEL

if TYPE_CHECKING:
    from mmlib.levels.minilab.engine import MiniLab

Floats = NDArray[np.float64]

FASTEST_TURN = 60  # pixels a frame, the most that the Big action space has
GOAL_VALUE = 10.0  # apples that a goal is worth
CLEARANCE = 20.0  # units between the centre of the body and any wall on a straight way
GRAIN = 5.0  # units, of the bitmap in which straight ways are looked up
LEAD = 0.12  # seconds: the body steers from where its velocity will have carried it


def expert(level: MiniLab) -> NDArray[np.int32]:
    """The scripted expert's next action in every environment of a MiniLab level, `[B, 7]`.

    It depends on nothing but the level's state. Like an agent, it acts once every `action_repeat` frames.
    """
    if level._fight is not None:
        from mmlib.levels.minilab.marksman import marksman  # late: its kernels are of use on these levels only

        return marksman(level)
    state = level.state_dict()
    return np.stack([_maze_action(state, i, level.action_repeat) for i in range(level.num_envs)])


@dataclass(frozen=True, eq=False)
class Plan:
    """What is known of one map before anybody moves. N cells, row-major; M objects, the M' apples first."""

    columns: int  # cells of a row
    distance: Floats  # [N, N] steps from cell to cell, infinite if there is no way
    before: NDArray[np.int32]  # [N, N] the cell before the second on a shortest path from the first
    free: NDArray[np.bool_]  # [rows, columns] of GRAIN units: nothing within CLEARANCE
    places: Floats  # [M, 2]
    cells: NDArray[np.int64]  # [M] cell of each object
    value: Floats  # [2 ** M', M'] steps still to go at an apple, less the apples' worth, by set of apples left
    worth: float  # steps that an apple is worth
    goal: int | None  # cell


def _maze_action(state: dict[str, NDArray], i: int, repeat: int) -> NDArray[np.int32]:
    """The action of environment i from the level's state."""
    maps = [np.ascontiguousarray(state[f"world.{name}"][i]) for name in ("wall_x", "wall_y", "kinds")]
    sprites, spawns = state["world.sprites"][i], state["world.spawns"][i, : state["world.spawn_count"][i]]
    places = np.ascontiguousarray(sprites[:, :2], np.float64)
    plan = make_plan(*((a.tobytes(), a.shape) for a in maps), places.tobytes(), spawns.tobytes())
    x, y, _, yaw, _ = state["agents.pose"][i]
    here = int(y // CELL) * plan.columns + int(x // CELL)
    apples = maps[2][maps[2] != 0] == APPLE
    there = sprites[maps[2] != 0, 3] > 0
    stop = next_stop(plan, here, int(there[apples] @ (1 << np.arange(apples.sum()))), bool(there[~apples].any()))
    action = np.zeros(7, np.int32)
    if stop is None:
        return action  # the map is about to restart
    ahead = np.array([x, y]) + LEAD * state["agents.velocity"][i, :2]
    way = waypoint(plan, np.array([x, y]), here, plan.places[stop], int(plan.cells[stop])) - ahead
    bearing = math.degrees(math.atan2(way[1], way[0]))
    action[0], action[2], action[3] = steer(bearing - yaw, repeat)
    return action


def steer(bearing: float, repeat: int) -> tuple[int, int, int]:
    """Turning (pixels a frame), strafe and move that go towards a bearing, degrees left of the view.

    The body goes in the one of eight directions that is nearest to it half-way through the turn.
    """
    error = (bearing + 180.0) % 360.0 - 180.0
    degrees = DEGREES_PER_PIXEL * repeat
    pixels = int(np.clip(round(-error / degrees), -FASTEST_TURN, FASTEST_TURN))
    eighth = round((error + 0.5 * pixels * degrees) / 45.0) * math.pi / 4
    return pixels, -round(math.sin(eighth)), round(math.cos(eighth))


@lru_cache(maxsize=256)
def make_plan(wall_x: Any, wall_y: Any, kinds: Any, places: bytes, spawns: bytes) -> Plan:
    """Distances, straight ways and tours of one map, from the bytes (and shapes) of its arrays in `World`."""
    walls_x, walls_y, kind = (np.frombuffer(data, np.uint8).reshape(shape) for data, shape in (wall_x, wall_y, kinds))
    rows, columns = walls_x.shape[0], walls_y.shape[1]
    index = np.arange(rows * columns).reshape(rows, columns)
    links = np.zeros((rows * columns, rows * columns))
    links[index[:, :-1], index[:, 1:]] = walls_x[:, 1:-1] == 0
    links[index[:-1], index[1:]] = walls_y[1:-1] == 0
    distance, before = shortest_path(links, directed=False, unweighted=True, return_predecessors=True)
    used = kind != 0
    at = np.frombuffer(places).reshape(-1, 2)[used]
    cells = _cells(at, columns)
    apples, goals = cells[kind[used] == APPLE], cells[kind[used] == GOAL]
    goal = int(goals[0]) if len(goals) else None
    worth = 0.0
    if goal is not None:  # what the goal pays for a step on the way to it from a mean spawn point
        worth = float(distance[_cells(np.frombuffer(spawns).reshape(-1, 2), columns), goal].mean()) / GOAL_VALUE
    value = tour_values(distance[np.ix_(apples, apples)], None if goal is None else distance[apples, goal], worth)
    return Plan(columns, distance, before, _free(walls_x, walls_y), at, cells, value, worth, goal)


def _cells(places: Floats, columns: int) -> NDArray[np.int64]:
    """Cell of each place, `[n]`."""
    return (places[:, 1] // CELL).astype(np.int64) * columns + (places[:, 0] // CELL).astype(np.int64)


def tour_values(between: Floats, leave: Floats | None, worth: float) -> Floats:
    """Cost of the best way on from each apple, by the set of apples that are left.

    Args:
      between: `[M, M]` steps between apples.
      leave: `[M]` steps from each apple to the goal, to which the tour may go at any time; None: there is no
        goal, and the tour takes all apples.
      worth: steps by which an apple that is taken lowers the cost.

    Returns:
      `[2 ** M, M]`; bit b of the row's number says that apple b is left.
    """
    number = len(between)
    value = np.zeros((1 << number, number))
    if leave is not None:
        value[:] = leave
    for left in range(1, 1 << number):
        members = [b for b in range(number) if left >> b & 1]
        on = (between[:, members] - worth + value[[left ^ (1 << b) for b in members], members]).min(axis=1)
        value[left] = on if leave is None else np.minimum(on, leave)
    return value


def next_stop(plan: Plan, here: int, left: int, goal_is_there: bool) -> int | None:
    """The object to walk to from cell `here`, with the set of apples `left`; None if there is nothing to get."""
    apples = [b for b in range(plan.value.shape[1]) if left >> b & 1]
    costs = {b: plan.distance[here, plan.cells[b]] - plan.worth + plan.value[left ^ (1 << b), b] for b in apples}
    if plan.goal is not None:
        if not goal_is_there:
            return None
        costs[len(plan.cells) - 1] = plan.distance[here, plan.goal]
    return min(costs, key=costs.__getitem__) if costs else None


def waypoint(plan: Plan, place: Floats, here: int, target: Floats, cell: int) -> Floats:
    """The farthest point, `[2]`, of the shortest path from `here` to `cell` that can be walked to in a line."""
    point = target if here == cell else _centre(plan, here)
    first = True
    while here != cell:
        here = int(plan.before[cell, here])
        further = target if here == cell else _centre(plan, here)
        if not first and not _in_line(plan, place, further):
            break
        point, first = further, False
    return point


def _centre(plan: Plan, cell: int) -> Floats:
    return (np.array([cell % plan.columns, cell // plan.columns]) + 0.5) * CELL


def _in_line(plan: Plan, start: Floats, stop: Floats) -> bool:
    """Whether a body fits all along the line, but for its first 15 units."""
    way = stop - start
    length = math.hypot(*way)
    along = np.arange(min(15.0, length), length + GRAIN, GRAIN)
    points = ((start + way * (along / max(length, 1e-9))[:, None]) / GRAIN).astype(int)
    points = points.clip(0, (plan.free.shape[1] - 1, plan.free.shape[0] - 1))
    return bool(plan.free[points[:, 1], points[:, 0]].all())


def _free(wall_x: NDArray[np.uint8], wall_y: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the centre of a body is CLEARANCE away from all walls, in GRAIN units."""
    scale = CELL / GRAIN
    free = np.ones((round(wall_x.shape[0] * scale), round(wall_y.shape[1] * scale)), bool)
    margin = CLEARANCE / GRAIN
    for walls, (high, wide) in ((wall_x, (1, 0)), (wall_y, (0, 1))):
        for j, i in np.argwhere(walls):
            bottom, left = max(0, round(j * scale - margin)), max(0, round(i * scale - margin))
            free[bottom : round((j + high) * scale + margin), left : round((i + wide) * scale + margin)] = False
    return free
