"""The arenas of the lasertag levels, as data, and their arrays.

A picture is drawn as in `layouts`, with cells of `Arena.cell` units: `*` and the digits 1..3 are walls (sheets on
cell edges, of that slot of the theme; `*` is slot 0), `v` at a cell's centre is a pit. Spawn points and items have
DeepMind Lab's coordinates; `Arena.origin` is the map's south-western corner there, and everything that a running
level holds is relative to that corner.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.layouts import letters

CONTACT, RAPID, ORB, BEAM = 0, 1, 2, 3  # gadgets
# Kinds of sprites, after the mazes' (`layouts`). Bots: BOT + 4 * look + side that is seen (front, left, back, right).
ORB_ITEM, BEAM_ITEM, ARMOUR_ITEM, HEALTH_ITEM, SHOT, BLAST, SPARK, BOT = 3, 4, 5, 6, 7, 8, 9, 10
LOOKS, SIDES = 8, 4

MAX_BOTS = 6
MAX_SHOTS = 12  # orbs in flight, and blasts on show, an environment
WALL_HEIGHT = 192.0
PIT_FLOOR = -48.0
PIT_SLOT = 1  # theme slot of a pit's floor

HORSESHOE = """
*****************
1               *
*               *
1               *
***********     *
          *     3
          *     *
          *     3
***********     *
2               *
*               *
2               *
*****************
"""

CHASM = """
***********
*    v    *
*         *
*    v    *
*         *
*    v    *
*         *
*    v    *
*         *
*    v    *
***********
"""

HORSESHOE_MINI = """
*******
1     *
***   *
  *   3
***   *
2     *
*******
"""

CHASM_MINI = """
***********
*         *
*         *
*    v    *
*         *
*         *
***********
"""


class Item(NamedTuple):
    """Something to pick up: its kind and its centre, units."""

    kind: int
    x: float
    y: float
    z: float


class Arena(NamedTuple):
    """What makes a lasertag level beside its clock."""

    picture: str
    cell: float  # units
    origin: tuple[float, float]
    spawns: tuple[tuple[float, float], ...]
    items: tuple[Item, ...]
    bots: int  # how many, if not set
    looks: tuple[int, ...] = tuple(range(LOOKS))  # of the bots; one is drawn for every episode
    skill: float = 4.0  # if not set
    bot_health: float = 125.0  # that a bot spawns with
    keep: tuple[float, float] = (160.0, 320.0)  # units that a bot keeps from its opponent, at least and at most
    slow_bots: bool = False  # bots walk at 80 units/s
    endless_rapid: bool = False  # the agent's rapid gadget never runs out


_HORSESHOE_SPAWNS = (
    (-704, 840), (-696, 64), (512, 448), (-704, 704), (-704, 960), (-704, 192), (-704, -64), (576, 960), (576, 832),
    (576, 632), (576, 264), (576, -64), (-64, 960), (-64, 704), (-64, 192), (-64, -64), (576, 64), (192, 576),
    (192, 320), (256, 448),
)  # fmt: skip

HORSESHOE_ARENA = Arena(
    picture=HORSESHOE,
    cell=192.0,
    origin=(-832.0, -128.0),
    spawns=_HORSESHOE_SPAWNS,
    items=(
        Item(BEAM_ITEM, -264, 840, 16),
        Item(BEAM_ITEM, -224, 64, 16),
        Item(ORB_ITEM, 320, 448, 16),
        Item(ORB_ITEM, 192, 64, 16),
        Item(ORB_ITEM, 192, 832, 16),
        Item(ORB_ITEM, -480, 64, 16),
        Item(ORB_ITEM, -480, 832, 16),
    ),
    bots=6,
)

CHASM_ARENA = Arena(
    picture=CHASM,
    cell=128.0,
    origin=(-320.0, -320.0),
    spawns=((-272, 16), (-272, -272), (-272, 272), (272, 272), (272, 16), (272, -272)),
    items=(
        Item(ARMOUR_ITEM, 0, 98, 72),
        Item(ARMOUR_ITEM, 0, -98, 72),
        Item(HEALTH_ITEM, -2, -260, 72),
        Item(HEALTH_ITEM, 0, 260, 72),
        Item(BEAM_ITEM, 0, 192, 72),
        Item(BEAM_ITEM, 0, -192, 72),
        Item(BEAM_ITEM, 0, 0, 72),
    ),
    bots=4,
    looks=(0,),
)

# The miniatures' own rules (stated choices): two bots that one hit tags, that walk slowly and come near, and a rapid
# gadget that does not run out.
HORSESHOE_MINI_ARENA = Arena(
    picture=HORSESHOE_MINI,
    cell=192.0,
    origin=(0.0, 0.0),
    spawns=((96, 96), (288, 96), (480, 96), (480, 288), (480, 480), (288, 480), (96, 480)),
    items=(Item(ORB_ITEM, 288, 288, 16), Item(BEAM_ITEM, 400, 288, 16)),
    bots=2,
    skill=1.0,
    bot_health=7.0,
    keep=(60.0, 120.0),
    slow_bots=True,
    endless_rapid=True,
)

CHASM_MINI_ARENA = HORSESHOE_MINI_ARENA._replace(
    picture=CHASM_MINI,
    cell=128.0,
    spawns=((48, 48), (48, 192), (48, 336), (592, 48), (592, 192), (592, 336)),
    items=(Item(BEAM_ITEM, 320, 192, 72),),
    looks=(0,),
)


class Plan(NamedTuple):
    """An arena's arrays: CY x CX cells."""

    wall_x: NDArray[np.uint8]  # [CY, CX + 1] slot + 1, 0 no wall
    wall_y: NDArray[np.uint8]  # [CY + 1, CX]
    floor_z: NDArray[np.float32]  # [CY, CX] units


def plan(arena: Arena) -> Plan:
    """Reads the arena's picture."""
    text = letters(arena.picture)
    code = np.zeros(text.shape, np.uint8)
    for slot, letter in enumerate("*123"):
        code[text == letter] = slot + 1
    pit = text[1::2, 1::2] == "v"
    return Plan(code[1::2, 0::2], code[0::2, 1::2], np.where(pit, PIT_FLOOR, 0.0).astype(np.float32))
