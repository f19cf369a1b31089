"""MiniLab's physics against numbers measured in DeepMind Lab (one frame is one tick)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.levels import layouts
from mmlib.levels.minilab.physics import (
    EYE_ABOVE_FLOOR,
    EYE_ABOVE_ORIGIN,
    TICK_MS,
    move,
    touches,
)

FORWARD, BACK, STOP = (0, 0, 0, 1, 0, 0, 0), (0, 0, 0, -1, 0, 0, 0), (0,) * 7
LEFT, RIGHT = (0, 0, -1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0)
JUMP = (0, 0, 0, 0, 0, 1, 0)


class Body:
    """One body in a map, from rest."""

    def __init__(self, picture: str | None = None, x=1500.0, y=1500.0, yaw=0.0, ceiling=math.inf, floor=None):
        if picture is None:
            self.wall_x, self.wall_y = np.zeros((30, 31), np.uint8), np.zeros((31, 30), np.uint8)
        else:
            layout = layouts.parse(picture)
            self.wall_x, self.wall_y = layout.walls_x.astype(np.uint8), layout.walls_y.astype(np.uint8)
        flat = np.zeros((self.wall_x.shape[0], self.wall_y.shape[1]), np.float32)
        self.floor = flat if floor is None else floor
        self.ceiling = ceiling
        self.pose = np.array([x, y, EYE_ABOVE_FLOOR, yaw, 0.0])
        self.velocity = np.zeros(3)
        self.held = 0
        self.frame = 0

    def act(self, action, frames=1):
        for _ in range(frames):
            tick = TICK_MS[self.frame % len(TICK_MS)]
            action = np.array(action, np.int32)
            maps = (self.wall_x, self.wall_y, self.floor, self.ceiling)
            self.held = move(self.pose, self.velocity, self.held, action, *maps, tick)
            self.frame += 1
        return self

    def speeds(self, action, frames):
        return [round(math.hypot(*self.act(action).velocity[:2])) for _ in range(frames)]

    @property
    def rise(self) -> float:
        return self.pose[2] - EYE_ABOVE_FLOOR


def test_a_tick_is_16_ms_on_average():
    assert TICK_MS.mean() == 16.0


def test_speed_from_rest_and_after_release_is_the_measured_table():
    body = Body()
    assert body.speeds(FORWARD, 10) == [45, 89, 133, 167, 198, 232, 263, 286, 311, 320]
    body.act(FORWARD, 50)
    released = [293, 263, 236, 216, 194, 174, 159, 143, 128, 117, 105]
    released += [94, 86, 76, 66, 58, 48, 38, 30, 22, 12, 2, 0]
    assert body.speeds(STOP, 23) == released


def test_distance_in_the_first_second_and_stopping_distance():
    body = Body().act(FORWARD, 60)
    assert body.pose[0] - 1500 == pytest.approx(289.3, rel=0.01)
    x = body.pose[0]
    assert body.act(STOP, 30).pose[0] - x == pytest.approx(40.6, rel=0.05)


def test_top_speed_is_5_12_units_a_frame():
    body = Body(x=100.0).act(FORWARD, 100)
    x = body.pose[0]
    assert (body.act(FORWARD, 100).pose[0] - x) / 100 == pytest.approx(5.12, rel=1e-6)


@pytest.mark.parametrize("strafe", [-1, 0, 1])
@pytest.mark.parametrize("along", [-1, 0, 1])
@pytest.mark.parametrize("yaw", [0.0, 37.0])
def test_top_speed_is_the_same_in_all_directions(strafe, along, yaw):
    if strafe == along == 0:
        return
    body = Body(yaw=yaw).act((0, 0, strafe, along, 0, 0, 0), 60)
    # Velocities are whole numbers, so an oblique one misses 320 by less than a unit or two.
    assert math.hypot(*body.velocity[:2]) == pytest.approx(320, abs=2 if yaw or (strafe and along) else 0)
    expected = math.degrees(math.atan2(-strafe, along)) + yaw
    direction = math.degrees(math.atan2(body.velocity[1], body.velocity[0]))
    assert (direction - expected + 180) % 360 - 180 == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("pixels", [-512, -20, -1, 1, 10, 60, 200, 512])
def test_turning_is_linear_in_pixels_and_has_no_residual(pixels):
    body = Body(yaw=10.0).act((pixels, 0, 0, 0, 0, 0, 0))
    assert (10.0 - body.pose[3]) == pytest.approx(0.1056 * pixels, abs=1e-9)
    yaw = body.pose[3]
    assert body.act(STOP).pose[3] == yaw


@given(st.lists(st.integers(-512, 512), min_size=1, max_size=40))
@settings(deadline=None, max_examples=50)
def test_yaw_stays_within_a_turn_and_pitch_within_its_limit(pixels):
    body = Body()
    for p in pixels:
        body.act((p, p, 0, 0, 0, 0, 0))
    turned = -0.1056 * sum(pixels)
    assert -180 <= body.pose[3] < 180
    assert math.cos(math.radians(body.pose[3] - turned)) == pytest.approx(1)
    assert abs(body.pose[4]) <= 87.89


def test_pitch_positive_looks_down_and_stops_at_the_limit():
    assert Body().act((0, 10, 0, 0, 0, 0, 0)).pose[4] == pytest.approx(1.056)
    assert Body().act((0, 512, 0, 0, 0, 0, 0), 5).pose[4] == 87.89
    assert Body().act((0, -512, 0, 0, 0, 0, 0), 5).pose[4] == -87.89


def airborne(body: Body, action=JUMP, limit=100) -> tuple[int, float]:
    """Frames from the jump to the landing and the highest rise."""
    frames, highest = 0, 0.0
    while frames < limit:
        body.act(action)
        highest = max(highest, body.rise)
        if body.rise == 0.0:
            return frames, highest
        frames += 1
    raise AssertionError("never landed")


def test_a_jump_in_the_open_rises_44_8_units_for_41_frames():
    frames, rise = airborne(Body())
    assert rise == pytest.approx(44.8, abs=0.5)
    assert frames == pytest.approx(41, abs=1)


def test_the_ceiling_of_the_mazes_cuts_a_jump_to_41_6_units_and_35_frames():
    frames, rise = airborne(Body(ceiling=98.0))
    assert rise == pytest.approx(41.6, abs=0.1)
    assert frames == pytest.approx(35, abs=1)


def test_holding_jump_does_not_repeat_it_and_releasing_arms_it_again():
    body = Body()
    airborne(body)
    body.act(JUMP, 60)
    assert body.rise == 0.0
    body.act(STOP).act(JUMP)
    assert body.rise > 0.0


def test_a_press_in_the_air_jumps_on_landing():
    body = Body().act(JUMP, 5).act(STOP, 3).act(JUMP)
    assert body.rise > 0.0
    airborne(body)  # to the floor, the key held
    body.act(JUMP, 2)
    assert body.rise > 0.0


def test_the_air_turns_a_running_jump_only_little():
    body = Body().act(FORWARD, 30)
    body.act((0, 0, 0, 1, 0, 1, 0))
    body.act(BACK, 10)
    assert body.rise > 0
    assert body.velocity[0] == pytest.approx(320 - 10 * 0.016 * 320, abs=6)


def test_the_eye_is_50_above_the_floor():
    assert pytest.approx(50, abs=0.2) == EYE_ABOVE_FLOOR
    assert EYE_ABOVE_ORIGIN == 26


BOX = """
*****
*   *
* * *
*   *
*****
"""


def test_the_body_stops_15_1_from_walls_and_slides_along_them():
    for action, axis, value in (
        (BACK, 0, 16.125), (FORWARD, 0, 183.875), (LEFT, 1, 183.875), (RIGHT, 1, 16.125),
    ):  # fmt: skip
        body = Body(BOX, x=50.0, y=50.0).act(action, 100)
        assert body.pose[axis] == value  # the wall's surface is 1 unit from its line: 15.1 away
        assert body.velocity[axis] == 0
    body = Body(BOX, x=20.0, y=20.0, yaw=-30.0).act(FORWARD, 200)
    assert body.pose[:2].tolist() == [183.875, 16.125]


def test_a_wall_can_be_run_along_faster_than_the_top_speed():
    # As in the original engine: what the wall takes is pushed anew, so the speed along it exceeds 320.
    body = Body("\n".join(["*" * 61, "*" + " " * 59 + "*", "*" * 61]), x=20.0, y=20.0, yaw=-30.0)
    assert max(body.speeds(FORWARD, 150)) > 330


def test_the_end_of_a_wall_is_met_15_1_from_it():
    end = """
*******
*     *
*     *
*     *
***   *
*     *
*******
"""
    body = Body(end, x=250.0, y=100.0, yaw=180.0).act(FORWARD, 100)
    assert body.pose[0] == 115.125
    body = Body(end, x=50.0, y=150.0, yaw=-90.0).act(FORWARD, 100)
    assert body.pose[1] == 116.125
    # Beside the end there is room to pass.
    body = Body(end, x=115.5, y=150.0, yaw=-90.0).act(FORWARD, 100)
    assert body.pose[1] == 16.125


@given(
    x=st.floats(17, 983), y=st.floats(17, 483), yaw=st.floats(-180, 180),
    actions=st.lists(
        st.tuples(st.integers(-512, 512), st.integers(-1, 1), st.integers(-1, 1), st.integers(0, 1)),
        min_size=1, max_size=30,
    ),
)  # fmt: skip
@settings(deadline=None, max_examples=100)
def test_nobody_leaves_the_maze_or_crosses_a_wall(x, y, yaw, actions):
    centre = 50 + 100 * (x // 100), 50 + 100 * (y // 100)
    body = Body(layouts.NAV_MAZE_STATIC_01, *centre, yaw=yaw, ceiling=98.0)
    for pixels, strafe, along, jump in actions:
        for _ in range(4):
            i, j = int(body.pose[0] // 100), int(body.pose[1] // 100)
            body.act((pixels, 0, strafe, along, 0, jump, 0))
            new_i, new_j = int(body.pose[0] // 100), int(body.pose[1] // 100)
            if new_i != i and new_j == j:
                assert not body.wall_x[j, max(i, new_i)]
            if new_j != j and new_i == i:
                assert not body.wall_y[max(j, new_j), i]
            assert 16.125 <= body.pose[0] <= 983.875
            assert 16.125 <= body.pose[1] <= 483.875
            assert 0 <= body.rise <= 41.7


def stairs(*heights: float) -> np.ndarray:
    """Floors of a row of cells."""
    return np.array([heights], np.float32)


CORRIDOR = """
*********
*       *
*********
"""


def test_steps_up_to_18_units_are_climbed_and_higher_ones_block():
    body = Body(CORRIDOR, x=50.0, y=50.0, floor=stairs(0, 18, 18, 36)).act(FORWARD, 150)
    assert body.pose[0] == 383.875
    assert body.rise == 36
    body = Body(CORRIDOR, x=50.0, y=50.0, floor=stairs(0, 19, 0, 0)).act(FORWARD, 150)
    assert body.pose[0] == 100 - 15.125
    assert body.rise == 0
    # A jump gets there.
    body.act(STOP, 2)
    for _ in range(40):
        body.act((0, 0, 0, 1, 0, 1, 0))
    assert body.pose[0] > 100
    assert body.rise >= 19


def test_a_body_falls_off_a_ledge_and_lands():
    body = Body(CORRIDOR, x=50.0, y=50.0, floor=stairs(0, -200, -200, -200))
    heights = [body.act(FORWARD).rise for _ in range(150)]
    assert body.rise == -200
    assert body.pose[0] > 115
    falling = np.diff([h for h in heights if -200 < h < 0])
    assert (falling < 0).all()
    assert len(falling) == pytest.approx(math.sqrt(2 * 200 / 800) / 0.016, abs=3)


@pytest.mark.parametrize(
    ("dx", "dy", "dz", "taken"),
    [
        (44, 0, 0, True), (44.1, 0, 0, False), (-50, 0, 0, True), (-50.1, 0, 0, False),
        (0, 36, 0, True), (0, 36.1, 0, False), (0, -36, 0, True), (0, -36.1, 0, False),
        (0, 0, 36, True), (0, 0, 36.1, False), (0, 0, -36, True), (44, 36, 36, True),
    ],
)  # fmt: skip
def test_pickup_reach(dx, dy, dz, taken):
    assert touches(500 + dx, 300 + dy, 24 + dz, 500.0, 300.0, 24.0) == taken
