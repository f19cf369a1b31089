"""The clock of population based training: how often members decide.

The rule is that of pbt.py: only episodes that began after a member's last change make it ready or are compared.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmlib import levels
from mmlib.config import RunConfig
from mmlib.experiments.design import configure
from mmlib.experiments.presets import FIGURES, PRESETS
from mmlib.levels.base import FRAMES_PER_SECOND
from mmlib.training.fitting import backend_in_force


@dataclass(frozen=True)
class Ticks:
    """What a member of a population may expect of a whole run."""

    episodes: float  # that it trains on
    decisions: float
    compared: float  # decisions with a full window on both sides
    perturbations: float  # explorations: the paper's have some 150 in 185,000 episodes


def expected(config: RunConfig) -> Ticks:
    """How often a member of `config` decides if no member is better than another.

    Episodes are taken as spread evenly over time (`staggered`) and as long as their level's. After a change those in
    flight do not count, so `ready` fresh ones take longer than after a decision that changed nothing.

    Raises ValueError for a run without population based training.
    """
    if config.pbt is None:
        raise ValueError("a run without population based training has no decisions")
    pbt, lengths = config.pbt, np.sort([episode_steps(config, name) for name in config.levels])
    steps = config.agent_steps / (config.num_envs * len(lengths))  # of an environment, as are all times here
    rates = config.num_envs / lengths  # episodes a step, of each level
    same = pbt.ready / rates.sum()  # to the next decision if this one changes nothing
    # Else, at t, a level has brought max(0, t / length - 1) of each environment; that sum is the greatest of the sums
    # over the shortest few levels.
    in_flight = config.num_envs * np.arange(1, len(lengths) + 1)
    after = float(np.min((pbt.ready + in_flight) / np.cumsum(rates)))
    full = lengths[-1] * (1 + pbt.window / (config.evaluation_envs or config.num_envs))  # when the window is
    change = 1 - (1 - pbt.explore_probability) * (1 - pbt.p_value)  # chance that a decision is one
    chances = (1 - change) ** np.arange(1000)  # that there are so many decisions without one
    times = after + same * np.arange(1000)
    own = np.sum(chances * (times >= full * (1 - 1e-9))) / chances.sum()
    open_for = np.maximum(0, times - np.maximum(full, np.append(0, times[:-1])))
    other = np.sum(chances * open_for) / np.sum(chances * np.diff(times, prepend=0))  # share of time with a full window
    decisions = steps / np.sum(chances * np.diff(times, prepend=0)) * chances.sum()
    compared = decisions * own * (1 - (1 - other) ** (config.population - 1))
    return Ticks(float(steps * rates.sum()), decisions, compared, decisions * pbt.explore_probability)


def table() -> list[dict[str, Any]]:
    """The ticks of every preset with population based training: a row for each level."""
    rows = dict[tuple[str, str], dict[str, Any]]()
    for preset in PRESETS.values():
        for figure in FIGURES.values():
            for level in figure.level_names(preset.miniature):
                config = configure(preset, level, figure.methods[0], 0, figure=figure)
                if config.pbt is not None:
                    ticks = {name: round(value) for name, value in asdict(expected(config)).items()}
                    clock = {"ready": config.pbt.ready, "window": config.pbt.window, **ticks}
                    rows[preset.name, level] = {"preset": preset.name, **clock, "level": level}
    return list(rows.values())


def episode_steps(config: RunConfig, level: str) -> float:
    """Agent steps of an episode of a level."""
    seconds = config.level_settings.get("episode_seconds")
    if seconds is not None:
        return float(seconds) * FRAMES_PER_SECOND / config.action_repeat
    return levels.interface(level, backend_in_force(config)).info.episode_frames / config.action_repeat
