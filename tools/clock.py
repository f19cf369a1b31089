"""Whether the records of a run kept the clock of population based training.

The rule is that of mmlib/method/pbt.py: only episodes that began after a member's last change make it ready or are
compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mmlib.config import PBTConfig
from mmlib.errors import ResultsError
from mmlib.runs.reader import Run
from mmlib.runs.records import read_rows


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
