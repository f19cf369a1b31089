"""Maps drawn as text, and their arrays.

A picture of CY x CX cells has 2 CY + 1 lines of 2 CX + 1 characters. Odd columns and lines (from 0) are cell
centres, even ones the boundaries between cells; the top line is the largest y. `*` wall, `P` spawn, `A` apple
(and spawn), `a` apple alone, `G` goal; a blank centre is open floor. Walls lie on cell edges, as thin sheets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CELL = 100.0  # units
APPLE, GOAL = 1, 2  # kinds of objects

# The measured layout: 10 x 5 cells, 5 apples, 1 goal, 43 spawn points.
NAV_MAZE_STATIC_01 = """
*********************
*P*P P*P P P P P P P*
* * * * *** *** *****
*A*A*P P*P P P P*P P*
* * *****     * * * *
*P P*   *P P P*P*A*A*
* *** * ******* * * *
*P*P P* * *P*P P A*P*
* * *** * * ******* *
*P P*    G*P P P P P*
*********************
"""

# The same maze's cells 800 <= x, y < 400, closed off: a bent corridor of 8 cells with their 3 apples. The
# goal is moved to its middle, at most 4 cells from any spawn point.
NAV_MAZE_STATIC_01_MINI = """
*****
*P G*
* * *
*A*A*
* * *
*A*P*
*** *
*P P*
*****
"""

# The measured layout: 15 x 9 cells, 13 apples, 1 goal, 128 spawn points.
NAV_MAZE_STATIC_02 = """
*******************************
*P P P P P*P P P P P P P*P P P*
* ******* *** * ***** *** *** *
*P*P P A P P P*P*P P*P*P P P*P*
* *********** *** * *** ***** *
*P P*P P P P P P*P*P P P*P P P*
* * *           * ******* *****
*P*P*A P P A P A*P*P P P*A*   *
*** *           * *     * *** *
*P P P P P P P P*P*P A P*P P*G*
* ***           * *     ***** *
*P P*A P P P P A*A*P P P P  *a*
* * * *********** ******* * * *
*P*P P*P P P P P*P*P P*P P*   *
* * * * ***** *** * * * *******
*P*P*P*P*P P P*P P*P*P*P P P A*
* * *** * ***** *** * ******* *
*P*A P P*P P P P P P*P P P A P*
*******************************
"""

# The same maze's cells x >= 1300, 200 <= y < 600, closed off: a bent corridor of 7 cells around the goal, which
# is at most 4 cells from any spawn point, with the apple beside it. Cells without a spawn point there have one here.
NAV_MAZE_STATIC_02_MINI = """
*****
*P P*
*** *
* *G*
*** *
*P*A*
* * *
*P P*
*****
"""


class Layout(NamedTuple):
    """A map's arrays. S spawn points, M objects; positions in units, centres of cells."""

    walls_x: NDArray[np.bool_]  # [CY, CX + 1] wall on the edge x = 100 i
    walls_y: NDArray[np.bool_]  # [CY + 1, CX] wall on the edge y = 100 j
    spawns: NDArray[np.float64]  # [S, 2]
    apples: NDArray[np.float64]  # [M, 2]
    goals: NDArray[np.float64]  # [M', 2]


def letters(picture: str) -> NDArray[np.str_]:
    """The letters of a picture, `[2 CY + 1, 2 CX + 1]`, the bottom line first.

    Raises:
      ValueError: lines of different or even length, or an even number of them.
    """
    lines = picture.strip("\n").split("\n")[::-1]
    if len(lines) % 2 == 0 or len(lines[0]) % 2 == 0 or any(len(line) != len(lines[0]) for line in lines):
        raise ValueError("a layout needs an odd number of lines, all of one odd length")
    return np.array([list(line) for line in lines])


def parse(picture: str) -> Layout:
    """Reads a picture.

    Raises:
      ValueError: as `letters`, a border that is not closed, or a letter that is none.
    """
    text = letters(picture)
    border = np.concatenate([text[0], text[-1], text[:, 0], text[:, -1]])
    if (border != "*").any():
        raise ValueError("a layout's border must be wall")
    centres = text[1::2, 1::2]
    if odd := sorted({*centres.ravel().tolist()} - {*" PAaG"}):
        raise ValueError(f"a layout's cells are blank or one of P, A, a, G, not {odd[0]!r}")

    def where(wanted: str) -> NDArray[np.float64]:
        rows, columns = np.nonzero(np.isin(centres, list(wanted)))
        return (np.stack([columns, rows], axis=1) * CELL + CELL / 2).astype(np.float64)

    return Layout(
        walls_x=text[1::2, 0::2] == "*",
        walls_y=text[0::2, 1::2] == "*",
        spawns=where("PA"),
        apples=where("Aa"),
        goals=where("G"),
    )
