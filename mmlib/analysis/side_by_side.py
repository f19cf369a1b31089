"""Methods side by side on one level: how early, how high, how soon, of what size, and what had to be there before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from mmlib.alternatives.methods import METHODS, teacher_of
from mmlib.analysis import stats
from mmlib.analysis.curves import EARLY, END, Runs, Share, by_parts, mean_returns, total_frames
from mmlib.method.agent import MixMatchAgent
from mmlib.runs.reader import Run, comparable, seen_from
from mmlib.training.shard import names_of

GOAL = 0.8  # of the expert's return
BINS = 40  # of a run, as learning curves have


def table(runs: Runs, expert: float | None) -> pd.DataFrame:
    """A row a method: means over its runs with 95 % intervals, and the median time to `GOAL` times the expert's return.

    Args:
      runs: of one level, by method.
      expert: the scripted expert's mean return there, if it is known.
    """
    rows = []
    for method, group in runs.items():
        if group:
            rows.append(
                {
                    "method": METHODS[method].label,
                    "after": METHODS[method].after,
                    "runs": len(group),
                    "return, first quarter": _mean(group, EARLY),
                    "return, last fifth": _mean(group, END),
                    f"agent steps to {GOAL:.0%} of the expert's": "" if expert is None else _time(group, GOAL * expert),
                    "parameters": _size(group[0]),
                    "before it": _before(group[0]),
                }
            )
    return pd.DataFrame(rows)


def steps_to(run: Run, goal: float) -> float:
    """Agent steps of each member until the mean return of one of `BINS` parts of the run is `goal`; infinite if none
    is."""
    above = np.flatnonzero(by_parts(run, BINS) >= goal)
    return float((above[0] + 1) * total_frames(run) / BINS / run.config["action_repeat"]) if len(above) else np.inf


def parameters(run: Run) -> tuple[int, int]:
    """How many parameters a member has that learn, and how many that do not."""
    shape = {name: comparable(run.config)[name] for name in ("height", "width", "conv1")}
    with torch.device("meta"):  # shapes alone
        agent = MixMatchAgent(METHODS[run.method], **shape)
    teacher = teacher_of(agent.spec)
    frozen = sum(agent.get_parameter(name).numel() for name in (names_of(agent, teacher) if teacher else ()))
    return sum(parameter.numel() for parameter in agent.parameters()) - frozen, frozen


def _mean(group: Sequence[Run], share: Share) -> str:
    each = [value for run in group for value in mean_returns(run, share).values()]
    return f"{stats.mean_interval(each):.1f}" if each else ""


def _time(group: Sequence[Run], goal: float) -> str:
    times = np.array([steps_to(run, goal) for run in group])
    reached, middle = int(np.isfinite(times).sum()), float(np.median(times))
    return f"{f'{middle:,.0f}' if np.isfinite(middle) else 'not reached'} ({reached} of {len(group)} runs)"


def _size(run: Run) -> str:
    learning, frozen = parameters(run)
    return f"{learning:,}" + (f" and {frozen:,} frozen" if frozen else "")


def _before(run: Run) -> str:
    """The run that a teacher comes from, whose agent steps this one's do not contain."""
    if not run.config.get("teacher"):
        return ""
    where = seen_from(run.directory, run.config["teacher"])
    if not (where / "config.json").exists():
        return "its teacher's run, which is not here"
    taught = Run(where)
    return f"{METHODS[taught.method].label}: {taught.config['agent_steps']:,} agent steps"
