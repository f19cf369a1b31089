"""The lasertag levels' figures that were measured on DeepMind Lab, all with 4 bots at skill 4 for 600 s.

The deaths, dead time, speeds and scores come from one episode each, so their standard errors are not known; the
random returns from 12 episodes.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from mmlib.levels.minilab.engine import MiniLab
from mmlib.levels.minilab.lasertag.bodies import BODY
from mmlib.spaces import SMALL
from tools.calibration.target import REFERENCE_BIG, Target

BOTS, SKILL, SECONDS, REPEAT = 4, 4.0, 600, 4
TAP_EVERY = 8  # agent steps between two presses of FIRE: then a death lasts about as long as in the measurement


@lru_cache(maxsize=8)
def play(name: str, policy: str, episodes: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Plays `episodes` episodes of 600 s side by side.

    Args:
      name: a lasertag level.
      policy: "idle" (still, but for a tap on FIRE every 8 agent steps), "small" or "big" (uniformly random).
      episodes: how many.
      seed: of the level and the policy.

    Returns:
      For every episode: the agent's "return", "deaths" and "dead" (share of the time), the bots' mean "bot speed"
      (units/s, dead time included) and "bot score", and "fourth" (the fourth bot's score).
    """
    seconds = SECONDS + 1  # so that the books are open when 600 s are over
    level = MiniLab(
        name, episodes, seed, REPEAT, width=8, height=8, bot_count=BOTS, skill=SKILL, episode_seconds=seconds
    )
    rng, total = np.random.default_rng(seed), np.zeros(episodes)
    steps = SECONDS * 60 // REPEAT
    for k in range(steps):
        if policy == "idle":
            actions = np.tile(np.array([0, 0, 0, 0, k % TAP_EVERY == 0, 0, 0], np.int32), (episodes, 1))
        else:
            table = SMALL.vectors if policy == "small" else REFERENCE_BIG
            actions = table[rng.integers(len(table), size=episodes)]
        total += level.step(actions).reward
    body, frames = level.state_dict()["fight.body"].view(BODY)[..., 0], steps * REPEAT
    level.close()
    agent, bots = body[:, 0], body[:, 1 : 1 + BOTS]
    return {
        "return": total,
        "deaths": agent["deaths"],
        "dead": agent["dead_frames"] / frames,
        "bot speed": bots["travel"].mean(1) / frames,
        "bot score": bots["score"].mean(1),
        "fourth": bots[:, 3]["score"],
    }


def _value(name: str, policy: str, what: str, episodes: int, seed: int) -> NDArray[np.float64]:
    return play(name, policy, episodes, seed)[what]


# level, policy, what, quantity, unit, measured, standard error
_FIGURES = (
    ("lt_horseshoe_color", "idle", "deaths", "deaths of an idle agent", "an episode", 69.0, None),
    ("lt_horseshoe_color", "idle", "dead", "share of the time it is dead", "", 0.24, None),
    ("lt_horseshoe_color", "idle", "bot speed", "bots' ground speed", "units/s", 221.0, None),
    ("lt_horseshoe_color", "idle", "bot score", "bots' score", "tags", 72.0, None),
    ("lt_horseshoe_color", "small", "deaths", "deaths, random Small", "an episode", 66.0, None),
    ("lt_horseshoe_color", "small", "return", "return, random Small", "", -1.67, 0.28),
    ("lt_horseshoe_color", "big", "return", "return, random Big (yaw ±100, ±20)", "", -2.58, 0.61),
    ("lt_chasm", "idle", "deaths", "deaths of an idle agent", "an episode", 39.0, None),
    ("lt_chasm", "idle", "dead", "share of the time it is dead", "", 0.142, None),
    ("lt_chasm", "idle", "bot speed", "bots' ground speed", "units/s", 160.0, None),
    ("lt_chasm", "idle", "bot score", "bots' score", "tags", -33.75, None),
    ("lt_chasm", "idle", "fourth", "the fourth bot's score", "tags", 4.0, None),
    ("lt_chasm", "small", "deaths", "deaths, random Small", "an episode", 53.0, None),
    ("lt_chasm", "small", "return", "return, random Small", "", -27.42, 1.97),
    ("lt_chasm", "big", "return", "return, random Big (yaw ±100, ±20)", "", -33.83, 1.74),
)

LASERTAG_TARGETS = tuple(
    Target(level, quantity, unit, measured, error, partial(_value, level, policy, what))
    for level, policy, what, quantity, unit, measured, error in _FIGURES
)
