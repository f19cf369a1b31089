"""Lasertag levels set up for one event: a frozen bot where it is wanted, a body with what it needs."""

from __future__ import annotations

import numpy as np

from mmlib import levels
from mmlib.levels.minilab.lasertag.bodies import BODY
from mmlib.levels.minilab.lasertag.match import scene_of

IDLE = np.zeros((1, 7), np.int32)
FIRE = np.array([[0, 0, 0, 0, 1, 0, 0]], np.int32)
FORWARD = np.array([[0, 0, 0, 1, 0, 0, 0]], np.int32)
JUMP = np.array([[0, 0, 0, 1, 0, 1, 0]], np.int32)


def place_of(name: str) -> int:
    """The place of a body's field among its numbers."""
    return BODY.fields[name][1] // BODY["x"].itemsize


class Duel:
    """One environment with frozen bots; coordinates are relative to the map's corner."""

    def __init__(self, name: str, bots: int = 1, **settings):
        arguments = {"width": 8, "height": 8, "action_repeat": 1, "bot_count": bots, **settings}
        self.level = levels.make(name, "minilab", **arguments)
        self.rules, self.fight = self.level._match, self.level._fight
        self.body = self.fight.body[0].view(np.recarray)
        self.numbers = self.fight.body[0]["numbers"]  # the same, see `place_of`
        for k in range(1, 1 + bots):
            self.body[k].think, self.body[k].rest = 1e12, 1.0

    @property
    def scene(self):
        return scene_of(0, self.level._world, self.fight)

    def place(self, k: int, x: float, y: float, yaw: float = 0.0) -> None:
        """Puts body k at rest on the floor."""
        if k == 0:
            self.level.set_pose(0, x, y, yaw)
        me = self.body[k]
        me.x, me.y, me.eye = x, y, 50.125
        me.velocity[:] = 0.0

    def arm(self, k: int, gadget: int, rounds: float = 1000.0) -> None:
        self.body[k].gadget, self.body[k].reload = gadget, 0.0
        self.body[k].ammo[gadget] = rounds

    def toughen(self, k: int, health: float) -> None:
        """Sets a body's health, which does not wane then."""
        self.body[k].health, self.body[k].decay = health, 1e12

    def step(self, action=IDLE) -> float:
        return float(self.level.step(action).reward[0])
