"""The lasertag levels' figures that were measured on DeepMind Lab, all with 4 bots at skill 4 for 600 s.

The deaths, dead time, speeds and scores come from one episode each, so their standard errors are not known; the
random returns from 12 episodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from mmlib import levels
from tools.calibration.target import Target

BOTS, SKILL, SECONDS, REPEAT = 4, 4.0, 600, 4
TAP_EVERY = 8  # agent steps between two presses of FIRE: then a death lasts about as long as in the measurement


def _actions(*choices: tuple[int, ...]) -> NDArray[np.int32]:
    """All combinations of the first six action groups' choices, `[n, 7]`."""
    return np.array([(*action, 0) for action in itertools.product(*choices)], np.int32)


# The measurement's own action sets; its Big is not the paper's.
_SMALL = np.array(
    [
        (0, 0, 0, 1, 0, 0, 0),
        (0, 0, 0, -1, 0, 0, 0),
        (0, 0, -1, 0, 0, 0, 0),
        (0, 0, 1, 0, 0, 0, 0),
        (-20, 0, 0, 0, 0, 0, 0),
        (20, 0, 0, 0, 0, 0, 0),
        (-20, 0, 0, 1, 0, 0, 0),
        (20, 0, 0, 1, 0, 0, 0),
        (0, 0, 0, 0, 1, 0, 0),
    ],
    np.int32,
)
_TAP = np.array([[0, 0, 0, 0, 1, 0, 0]], np.int32)
_BIG = _actions((-100, -20, 0, 20, 100), (-10, 0, 10), (-1, 0, 1), (-1, 0, 1), (0, 1), (0, 1))


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
      (units/s, dead time included), "bot score", "bot dead", and "fourth" (the fourth bot's score).
    """
    from mmlib.levels.minilab.lasertag.bodies import BODY  # late: loads the compiled kernels

    level = levels.make(
        name,
        "minilab",
        num_envs=episodes,
        seed=seed,
        action_repeat=REPEAT,
        width=8,
        height=8,
        bot_count=BOTS,
        skill=SKILL,
        episode_seconds=SECONDS + 1,  # so that the books are open when 600 s are over
    )
    rng, total = np.random.default_rng(seed), np.zeros(episodes)
    steps = SECONDS * 60 // REPEAT
    for k in range(steps):
        if policy == "idle":
            actions = np.repeat(_TAP if k % TAP_EVERY == 0 else 0 * _TAP, episodes, axis=0)
        else:
            table = _SMALL if policy == "small" else _BIG
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
        "bot dead": bots["dead_frames"].mean(1) / frames,
        "fourth": bots[:, 3]["score"],
    }


def _value(name: str, policy: str, what: str, episodes: int, seed: int) -> NDArray[np.float64]:
    return play(name, policy, episodes, seed)[what]


def _sample(name: str, policy: str, what: str) -> Callable[[int, int], NDArray[np.float64]]:
    return partial(_value, name, policy, what)


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
    Target(level, quantity, unit, measured, error, _sample(level, policy, what))
    for level, policy, what, quantity, unit, measured, error in _FIGURES
)
