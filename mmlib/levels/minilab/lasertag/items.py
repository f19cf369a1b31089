"""Items of the lasertag levels: taking them, and when each comes back."""

from __future__ import annotations

import numpy as np

from mmlib.levels.arenas import ARMOUR_ITEM, BEAM, HEALTH_ITEM, ORB, ORB_ITEM
from mmlib.levels.minilab.lasertag.combat import take_in_hand
from mmlib.levels.minilab.physics import EYE_ABOVE_ORIGIN, touches
from mmlib.numerics.kernels import njit

FULL = 100.0  # health that an item can restore; what lies above it wanes
MOST_ARMOUR, MOST_AMMO = 200.0, 200.0
ROUNDS = np.array([0.0, 100.0, 10.0, 100.0])  # of a gadget that is picked up (rapid: that a body spawns with)
GADGET_BACK, ARMOUR_BACK, HEALTH_BACK = 5000.0, 25000.0, 35000.0  # engine ms
ARMOUR_POINTS, HEALTH_POINTS = 50.0, 50.0


@njit(nogil=True, cache=True)
def _take(me, kind):
    """Gives an item to a body; returns ms until the item is back, 0 if the body has no use for it."""
    if kind == ARMOUR_ITEM:
        if me.armour >= MOST_ARMOUR:
            return 0.0
        me.armour = min(me.armour + ARMOUR_POINTS, MOST_ARMOUR)
        return ARMOUR_BACK
    if kind == HEALTH_ITEM:
        if me.health >= FULL:
            return 0.0
        me.health = min(me.health + HEALTH_POINTS, FULL)
        return HEALTH_BACK
    gadget = ORB if kind == ORB_ITEM else BEAM
    if me.ammo[gadget] == 0.0:
        take_in_hand(me, gadget)
    me.ammo[gadget] = min(max(ROUNDS[gadget], me.ammo[gadget] + 1.0), MOST_AMMO)
    return GADGET_BACK


@njit(nogil=True, cache=True)
def pick_up(scene, rules, k):
    """Body k takes every item in reach. A gadget it had no rounds for is put in its hand."""
    me, waits, items = scene.body[k], scene.waits, rules.items
    x, y, z = me.x, me.y, me.eye - EYE_ABOVE_ORIGIN
    for n in range(len(waits)):
        if waits[n] <= 0.0 and touches(x, y, z, items[n, 1], items[n, 2], items[n, 3]):
            waits[n] = _take(me, int(items[n, 0]))
