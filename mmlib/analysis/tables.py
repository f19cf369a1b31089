"""Tables of runs: their ends, their course, methods side by side, and sweeps of one setting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from mmlib.alternatives.methods import METHODS, teacher_of
from mmlib.analysis import stats
from mmlib.analysis.conditions import Condition, in_force
from mmlib.analysis.curves import EARLY, END, Runs, Share, by_parts, mean_returns, total_frames
from mmlib.experiments.run_table import NAMES
from mmlib.method.agent import MixMatchAgent
from mmlib.method.networks import CORES, LSTM
from mmlib.runs.reader import Run, comparable
from mmlib.runs.status import LAST
from mmlib.spaces import ActionSpace
from mmlib.training.shard import names_of

GOALS = (0.5, 0.8)  # of the expert's return
BINS = 40  # of a run, as learning curves have
PARTS = {"early": EARLY, "at the end": END}
VALUES = 3  # fewer distinct values are no sweep
PLACE = ["method", "level"]
COLUMNS = [*PLACE, "value", "part", "runs", "mean", "low", "high", "unroll"]


def summary(runs: Runs) -> pd.DataFrame:
    """One row a run: its length, episodes, mean return of the `LAST` episodes, time, speed and directory."""
    rows = []
    for method, group in runs.items():
        for run in group:
            episodes, timing = run.episodes(), run.timing()
            rows.append(
                {
                    "method": METHODS[method].label,
                    "seed": run.seed,
                    "frames": total_frames(run),
                    "episodes": len(episodes),
                    f"mean of the last {LAST}": episodes["return"].tail(LAST).mean(),
                    "minutes": _seconds(timing["seconds"]) / 60 if len(timing) else None,
                    "agent steps/s": timing["agent_steps_per_second"].median(),
                    "records": str(run.directory),
                }
            )
    return pd.DataFrame(rows)


def course(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run: where it lies, returns by eighths, that of its last fifth as a share of its best fifth's ("kept"),
    and explained variance and entropy at the end."""
    rows = []
    for run in runs:
        metrics, fifths = run.metrics(), pd.Series(by_parts(run, 5))
        last = metrics[metrics["frames"] > END[0] * total_frames(run)]
        rows.append(
            {**dict(zip(NAMES, run.directory.parts[-len(NAMES) : -1])), "seed": run.seed}
            | {str(part): value for part, value in enumerate(by_parts(run, 8), start=1)}
            | {"kept": (fifths / fifths.max()).iloc[-1]}
            | last.reindex(columns=["explained_variance", "entropy"]).mean().to_dict()
        )
    return pd.DataFrame(rows)


def _seconds(recorded: pd.Series) -> float:
    """Seconds that a run took in all: each process of one that was interrupted counted from 0."""
    return float(recorded[(recorded.shift(-1) < recorded) | recorded.shift(-1).isna()].sum())


def side_by_side(runs: Runs, experts: Mapping[str, float]) -> pd.DataFrame:
    """Methods beside each other: how early, how high, how soon, of what size, and what had to be there before.

    A row a method, and a level if there are several: means over its runs with 95 % intervals, the difference of the
    last from that of `target_alone`, and the median time to `GOALS` times the expert's return, on a single level.

    Args:
      runs: of one level, or of several joined by "+", by method.
      experts: the scripted expert's mean return by level, where it is known.
    """
    rows = []
    for method, group in ((method, group) for method, group in runs.items() if group):
        levels = group[0].config["level"].split("+")
        expert = experts.get(levels[0]) if len(levels) == 1 else None
        times = {
            f"agent steps to {goal:.0%} of the expert's": "" if expert is None else _time(group, goal * expert)
            for goal in GOALS
        }
        target = target_alone(method, runs)
        alone = runs[target] if target else ()
        of_all = times | {
            "α at the end": _last_alpha(group),
            "parameters": _size(group[0]),
            "minutes a run": f"{summary({method: group})['minutes'].mean():.1f}",
            "before it": _before(group[0]),
        }
        for level in levels:
            where = {"level": level} if len(levels) > 1 else {}
            returns = {"return, first quarter": _mean(group, level, EARLY)}
            returns |= {"return, last fifth": _mean(group, level, END)}
            returns |= {"over its target alone": _over(group, alone, level)}
            own = {"method": METHODS[method].label, "after": METHODS[method].after, **where, "runs": len(group)}
            rows.append(own | returns | of_all)
    return pd.DataFrame(rows)


def target_alone(method: str, among: Iterable[str]) -> str | None:
    """The first of some methods that trains nothing but the policy a method ends as, by the same learner; None if none
    does, or the method itself."""

    def target(name: str) -> tuple[str, ActionSpace, list[type]]:
        last = METHODS[name].constituents[-1]
        kinds = (CORES[core.split("/")[0]] for core in last.cores)
        return METHODS[name].learner, last.space, [LSTM if issubclass(kind, LSTM) else kind for kind in kinds]

    found = (name for name in among if METHODS[name].single and target(name) == target(method))
    return None if METHODS[method].single else next(found, None)


def steps_to(run: Run, goal: float) -> float:
    """Agent steps of each member until the mean return of one of `BINS` parts of the run is `goal`, those of its
    teacher's run before it among them; infinite if none is, NaN if the teacher's run is not here."""
    above = np.flatnonzero(by_parts(run, BINS) >= goal)
    if not len(above):
        return np.inf
    taught, own = run.teacher, (above[0] + 1) * total_frames(run) / BINS / run.config["action_repeat"]
    if taught is None:
        return float("nan") if run.config.get("teacher") else float(own)
    return float(own + taught.config["agent_steps"])


def parameters(run: Run) -> tuple[int, int]:
    """How many parameters a member has that learn, and how many that do not."""
    shape = {name: comparable(run.config)[name] for name in ("height", "width", "conv1")}
    with torch.device("meta"):  # shapes alone
        agent = MixMatchAgent(METHODS[run.method], **shape)
    teacher = teacher_of(agent.spec)
    frozen = sum(agent.get_parameter(name).numel() for name in (names_of(agent, teacher) if teacher else ()))
    return sum(parameter.numel() for parameter in agent.parameters()) - frozen, frozen


def _returns(group: Sequence[Run], level: str, share: Share) -> list[float]:
    """The mean return of each run in which an episode ended in that part."""
    return [returns[level] for run in group if level in (returns := mean_returns(run, share))]


def _mean(group: Sequence[Run], level: str, share: Share) -> str:
    each = _returns(group, level, share)
    return f"{stats.mean_interval(each):.1f}" if each else ""


def _over(group: Sequence[Run], alone: Sequence[Run], level: str) -> str:
    """The mean return of the last fifth less that of other runs, with Welch's interval."""
    ends, others = _returns(group, level, END), _returns(alone, level, END)
    return f"{stats.difference_interval([ends], [others]):+.1f}" if ends and others else ""


def _time(group: Sequence[Run], goal: float) -> str:
    times = np.array([steps_to(run, goal) for run in group])
    if np.isnan(times).any():
        return "unknown: a teacher's run is not here"
    reached, middle = int(np.isfinite(times).sum()), float(np.median(times))
    return f"{f'{middle:,.0f}' if np.isfinite(middle) else 'not reached'} ({reached} of {len(group)} runs)"


def _size(run: Run) -> str:
    learning, frozen = parameters(run)
    return f"{learning:,}" + (f" and {frozen:,} frozen" if frozen else "")


def _last_alpha(group: Sequence[Run]) -> str:
    """Mean over runs of alpha in their last rows of metrics, a row a member; nothing of one policy."""
    if METHODS[group[0].method].single:
        return ""
    last = [metrics[metrics["frames"] == metrics["frames"].max()] for metrics in (run.metrics() for run in group)]
    return f"{np.mean([rows['alpha'].mean() for rows in last]):.2f}"


def _before(run: Run) -> str:
    """What was trained before a run began, which the run's own agent steps do not contain."""
    if not run.config.get("teacher"):
        return ""
    if (taught := run.teacher) is None:
        return "its teacher's run, which is not here"
    return f"{METHODS[taught.method].label}: {taught.config['agent_steps']:,} agent steps"


def sweep(setting: str, conditions: Iterable[Condition]) -> pd.DataFrame:
    """Runs that are alike but for the value of a setting of `RunConfig`, and what they return, with 95 % intervals
    (Student's t).

    A row is a method, level, value and part of the run. The runs of a method on a level differ in the setting and
    their seed alone; where there are several such groups, the first with the most values is taken. Runs of several
    levels are left out.
    """
    returns = [
        (run.method, level, value, rest, part, there[level], condition.settings["unroll"])
        for condition in conditions
        for value in [condition.settings.get(setting)]
        for rest in [json.dumps({**condition.settings, setting: None}, sort_keys=True, default=str)]
        for level, methods in condition.runs.items()
        for run in (run for runs in methods.values() for run in runs)
        if "+" not in level and setting in in_force(run.config)  # it plays a part there
        for part, share in PARTS.items()
        for there in [mean_returns(run, share)]
        if level in there  # an episode ended in that part
    ]
    table = pd.DataFrame(returns, columns=[*PLACE, "value", "rest", "part", "return", "unroll"])
    rows = []
    for _, there in table.groupby(PLACE):
        values = there.groupby("rest", sort=False)["value"].nunique()
        if values.max() >= VALUES:
            alike = there[there["rest"] == values.idxmax()]
            for group, runs in alike.groupby([*PLACE, "value", "part"]):
                interval = stats.mean_interval(runs["return"])
                rows.append((*group, len(runs), *interval, runs["unroll"].iloc[0]))
    return pd.DataFrame(rows, columns=COLUMNS)


def markdown(table: pd.DataFrame) -> str:
    """The table as Markdown."""
    rows = table.astype(str).map(lambda cell: cell.replace("|", "\\|")).to_numpy().tolist()
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(table), ["---"] * len(table.columns), *rows])
