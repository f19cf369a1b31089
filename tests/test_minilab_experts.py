"""The maze expert: its tours against all orders tried out, its way of walking, and what it scores."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from mmlib import levels
from mmlib.levels.layouts import parse
from mmlib.levels.minilab.experts import expert, make_plan, next_stop, steer, tour_values, waypoint
from mmlib.levels.table import SPECS
from mmlib.spaces import BIG_756

MAZES = [name for name, spec in SPECS.items() if not name.startswith("lt_")]


def cheapest(between, leave, worth, left, at):
    """The cost of the best way on, by trying every order of every subset."""
    costs = [] if leave is None and left else [0.0 if leave is None else leave[at]]
    for number in range(1 if leave is not None else len(left), len(left) + 1):
        for order in permutations(left, number):
            stops = [at, *order]
            cost = sum(between[a, b] - worth for a, b in pairwise(stops))
            costs.append(cost + (0.0 if leave is None else leave[stops[-1]]))
    return min(costs)


@pytest.mark.parametrize("goal", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_tours_are_the_best_of_all_orders(goal, seed):
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 8, (5, 2))
    between = np.abs(places[:4, None] - places[None, :4]).sum(-1).astype(float)
    leave = np.abs(places[:4] - places[4]).sum(-1).astype(float) if goal else None
    value = tour_values(between, leave, 1.5)
    for left in range(16):
        for at in range(4):
            members = [b for b in range(4) if left >> b & 1]
            assert value[left, at] == pytest.approx(cheapest(between, leave, 1.5, members, at))


def plan_of(picture):
    """The plan of a layout's map, in the arrays of a level."""
    layout = parse(picture)
    kinds = np.array([1] * len(layout.apples) + [2] * len(layout.goals), np.uint8)
    places = np.concatenate([layout.apples, layout.goals])
    walls = layout.walls_x.astype(np.uint8), layout.walls_y.astype(np.uint8)
    return make_plan(*((a.tobytes(), a.shape) for a in (*walls, kinds)), places.tobytes(), layout.spawns.tobytes())


def test_an_apple_is_worth_a_detour_only_if_it_is_short():
    plan = plan_of("***********\n*P   G A P*\n***********")
    assert plan.worth == pytest.approx((2 + 1 + 2) / 3 / 10)  # the goal is a mean 5/3 steps from a spawn point
    assert next_stop(plan, here=0, left=1, goal_is_there=True) == 1  # past the goal: left alone
    assert next_stop(plan, here=4, left=1, goal_is_there=True) == 0  # on the way
    assert next_stop(plan, here=4, left=0, goal_is_there=True) == 1
    assert next_stop(plan, here=4, left=1, goal_is_there=False) is None  # the map is about to restart


def test_ways_are_walked_in_straight_lines_that_leave_room_for_the_body():
    plan = plan_of("*******\n*A    *\n*     *\n*    P*\n*******")
    corner = np.array([250.0, 50.0])
    assert waypoint(plan, corner, 2, plan.places[0], 3).tolist() == [50, 150]  # across the hall
    plan = plan_of("*******\n*A    *\n* *****\n*    P*\n* *** *\n*P   P*\n*******")
    assert waypoint(plan, np.array([250.0, 150.0]), 5, plan.places[0], 6).tolist() == [50, 150]  # around the wall


@pytest.mark.parametrize(
    ("bearing", "action"),
    [(0, (0, 0, 1)), (10, (-24, 0, 1)), (90, (-60, -1, 0)), (-90, (60, 1, 0)), (180, (60, 0, -1)), (370, (-24, 0, 1))],
)
def test_steering_turns_at_most_60_pixels_and_walks_the_nearest_of_eight_directions(bearing, action):
    assert steer(bearing, 4) == action


@pytest.mark.parametrize("name", MAZES)
def test_the_expert_is_far_ahead_of_random_play(name):
    def play(act, num_envs):
        level = levels.make(name, "minilab", num_envs=num_envs, seed=2, width=8, height=8, episode_seconds=15)
        step = level.step(np.zeros((num_envs, 7), np.int32))
        while not step.done.any():
            step = level.step(act(level))
        level.close()
        return step.episode_return

    rng = np.random.default_rng(0)
    random = play(lambda level: BIG_756.encode(rng.integers(756, size=64)), 64)
    scripted = play(expert, 8)
    assert scripted.min() > 3
    assert scripted.mean() > 8 * random.mean()


def test_the_expert_depends_on_the_state_alone():
    first = levels.make("explore_object_locations_small_mini", "minilab", num_envs=3, seed=4, width=8, height=8)
    for _ in range(20):
        first.step(expert(first))
    second = levels.make("explore_object_locations_small_mini", "minilab", num_envs=3, seed=4, width=8, height=8)
    second.load_state_dict(first.state_dict())
    actions = expert(first)
    assert np.array_equal(actions, expert(second))
    assert actions.shape == (3, 7) and actions.dtype == np.int32
