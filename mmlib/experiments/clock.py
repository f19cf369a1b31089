"""The clock of population based training: how often members decide, and whether a run's records kept its rule.

The rule is that of pbt.py: only episodes that began after a member's last change make it ready or are compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mmlib import levels
from mmlib.config import PBTConfig, RunConfig
from mmlib.errors import ResultsError
from mmlib.experiments.design import configure
from mmlib.experiments.presets import FIGURES, PRESETS
from mmlib.levels.base import FRAMES_PER_SECOND
from mmlib.runs.reader import Run
from mmlib.runs.records import read_rows
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


def check(run: Run) -> list[str]:
    """What is wrong with the decisions of a run with population based training; nothing, if it kept the rule.

    Compares each decision with the episodes and evaluations that had ended by then: whether the member was ready, when
    both sides had changed, how many episodes that began since were compared, the earliest begin and the mean return.

    Raises:
      ResultsError: the run has no population based training, or is from before episodes had a begin.
      DamagedRecord: a record is damaged.
    """
    if run.config.get("pbt") is None:
        raise ResultsError(f"{run.directory} is a run without population based training")
    pbt, levels_played = PBTConfig(**run.config["pbt"]), run.config["level"].split("+")
    trained = run.episodes()
    compared = run.evaluations() if run.config["evaluation_envs"] else trained
    changed, decided = Counter[int](), Counter[int]()  # by member: environment frames at its last change and decision
    wrong = []
    for number, row in enumerate(read_rows(run.directory, "decisions"), start=1):
        if "changed" not in row:
            raise ResultsError(f"{run.directory} does not say when its members changed: an older version wrote it")
        member, now, said = row["member"], row["frames"], list[str]()
        fresh = _fresh(trained, member, changed[member], now)
        if (count := int((fresh["frames"] > decided[member]).sum())) < pbt.ready:
            said.append(f"{count} fresh episodes, where {pbt.ready} make ready")
        for side, other in (("", member), ("opponent_", row["opponent"])):
            shown = _fresh(compared, other, changed[other], now)
            facts = {**_window(shown, levels_played, pbt.window), "changed": changed[other]}
            if row["p"] is not None and facts["mean"] is None:
                said.append(f"a comparison with member {other}, whose window was not full")
            for fact, value in facts.items():
                recorded = row[side + fact]
                if recorded != value and not (recorded and value and math.isclose(recorded, value, rel_tol=1e-6)):
                    said.append(f"{side}{fact} is {recorded}, by the episodes {value}")
        wrong += [f"decision {number} (at {now} frames): {what}" for what in said]
        decided[member] = now
        if row["copied"] or row["new"] != row["old"]:
            changed[member] = now
    return wrong


def _fresh(episodes: pd.DataFrame, member: int, changed: int, now: int) -> pd.DataFrame:
    """A member's episodes that began after its last change and have ended."""
    whose, began, ended = (episodes[name].to_numpy() for name in ("member", "began", "frames"))
    return episodes[(whose == member) & (began >= changed) & (ended <= now)]


def _window(fresh: pd.DataFrame, names: Sequence[str], window: int) -> dict[str, Any]:
    """What a decision should say of the last fresh episodes of each level, by the names of `pbt.Decision`."""
    shown = fresh.groupby("level").tail(window) if len(names) > 1 else fresh.tail(window)
    return {
        "mean": float(shown["return"].mean()) if len(shown) == window * len(names) else None,
        "episodes": len(shown),
        "began": int(shown["began"].min()) if len(shown) else None,
    }
