"""Where alpha comes from without PBT: a schedule by hand (section 3.3) or of a population."""

from __future__ import annotations

from collections.abc import Sequence


def piecewise(knots: Sequence[tuple[float, float]], time: float) -> float:
    """alpha at `time` (agent steps, or a share of a run): linear between knots, constant outside
    them. It jumps where two knots have one time.
    """
    before = [knot for knot in knots if knot[0] <= time]
    if not before:
        return knots[0][1]
    if len(before) == len(knots):
        return knots[-1][1]
    (t0, a0), (t1, a1) = before[-1], knots[len(before)]
    return a0 + (a1 - a0) * (time - t0) / (t1 - t0)
