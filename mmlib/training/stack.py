"""Seeds side by side: runs that differ in their seed alone, as the members of one agent, in one process.

Each remains a run of one member, with its own loop, records, checkpoints and directory. Together they act and learn
faster than one after another, since a step of the stack is one call of every operation for all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmlib.config import RunConfig
from mmlib.errors import DivergedError, Stopped, UserError
from mmlib.method.learner import Hyperparameters
from mmlib.training.fitting import check_together
from mmlib.training.loop import TrainingLoop, iterations
from mmlib.training.recorder import Report
from mmlib.training.shard import Outcome, Shard, cut, join, level_seed
from mmlib.training.signals import StopRequests

ALONE = (DivergedError, Stopped, UserError)  # end one run, and not those beside it


def train_together(
    configs: Sequence[RunConfig], directories: Sequence[Path], reports: Sequence[Report | None] = ()
) -> dict[Path, Exception]:
    """Trains runs to their ends, each as `loop.train` would, side by side.

    Those that are as far as each other are one stack. One that is behind, since it is new or its last checkpoint
    is damaged, goes first until it has caught up. One that ends early, for a reason of its own, leaves the rest going.

    Args:
      configs: equal but for their seeds and teachers.
      directories: of their records, in the same order.
      reports: see `loop.train`.

    Returns:
      the directories of the runs that ended early, with the reasons: what `loop.train` raises.

    Raises:
      ConfigError: runs that cannot be side by side; nothing has begun then.
      Exception: whatever else goes wrong ends all of them, as it would end a run alone.
    """
    check_together(configs)
    of: dict[Iterator[TrainingLoop], Path] = {}
    going: dict[Iterator[TrainingLoop], TrainingLoop] = {}
    early: dict[Path, Exception] = {}

    def go_on(run: Iterator[TrainingLoop]) -> None:
        """Takes a run to its next pause, or notes how it ended."""
        try:
            going[run] = next(run)
        except StopIteration:
            going.pop(run, None)
        except ALONE as error:
            going.pop(run, None)
            early[of[run]] = error
            print(f"mmlib: {of[run]}: {error}", file=sys.stderr, flush=True)

    with StopRequests() as requests:
        reports = reports or [None] * len(configs)
        for config, directory, report in zip(configs, directories, reports, strict=True):
            of[iterations(config, directory, requests, report, Place)] = directory
        try:
            for run in of:
                go_on(run)
            while going:
                for run in _furthest_behind(going):
                    go_on(run)
        except BaseException as error:
            _end(going, error)
            raise
    return early


def _furthest_behind(going: Mapping[Iterator[TrainingLoop], TrainingLoop]) -> list[Iterator[TrainingLoop]]:
    """The runs that are least far, put together."""
    least = min(map(_progress, going.values()))
    group = {run: loop for run, loop in going.items() if _progress(loop) == least}
    loops: dict[Place, TrainingLoop] = {loop.fleet: loop for loop in group.values()}  # type: ignore[misc]
    put_together([*loops])
    ordered = sorted(loops, key=lambda place: place.member)
    each = [vars(loops[place].hyperparameters(loops[place].agent_steps)).values() for place in ordered]
    ordered[0].stack.hyper = Hyperparameters(*map(torch.cat, zip(*each)))
    return list(group)


def _end(going: Iterable[Iterator[TrainingLoop]], error: BaseException) -> None:
    """Ends runs with an error that each of them records."""
    for run in going:
        with suppress(BaseException):
            run.throw(error)  # type: ignore[attr-defined]


def _progress(loop: TrainingLoop) -> tuple[int, int]:
    """How far a run is: with lag 1 the last unroll may not have been learned from."""
    return loop.agent_steps, loop.updates


class Stack(Shard):
    """A shard whose members are the only members of runs of their own; P is their number.

    Levels, draws of actions and the dealing out of environments have each run's own seed. On a GPU all members draw
    from one generator, as those of a population do. A stack of one is the shard of that run; members of a larger one
    are put into it by `put_together`.
    """

    def __init__(self, configs: Sequence[RunConfig]):
        self.configs = configs
        super().__init__(configs[0].model_copy(update={"population": len(configs)}))
        self.learner.seeds = [config.seed for config in configs]
        self.present = set(self.members)
        self.hyper: Hyperparameters | None = None  # [P], of the next round
        self._made: dict[str, dict[int, Any]] = {}  # by method and member: what was made for all, and not yet taken

    def _level_seed(self, different: int) -> list[int]:
        return [level_seed(config, different) for config in self.configs]

    def ask(self, member: int, method: str) -> Any:
        """A member's part of what "iterate", "drain" or "state_dict" returns, called once for all of them.

        The first that asks has it made for all, with `hyper`.
        """
        if member not in self._made.get(method, {}):
            if method == "iterate":
                self._made.clear()  # a new round
            whole = self.state_dict() if method == "state_dict" else getattr(self, method)(self.hyper)
            part: Any = self._state if method == "state_dict" else _outcome
            self._made[method] = {each: part(whole, each) for each in self.members}
        return self._made[method].pop(member)

    def _state(self, whole: dict[str, Any], member: int) -> dict[str, Any]:
        """One run's state out of the stack's, as its own shard would have it."""
        state = join([cut(whole, range(member, member + 1), len(self.configs))])  # copies
        for different, actor in enumerate(state["actors"]):
            actor["level"]["seed"] = torch.tensor(level_seed(self.configs[member], different))
        return {**state, "stopped": {}}  # a run whose only member has stopped has failed

    def leave(self, member: int) -> None:
        """Ends the stack with its last member."""
        self.present.discard(member)
        if not self.present:
            self.close()


def _outcome(made: Outcome, member: int) -> Outcome:
    """One run's outcome out of its stack's."""
    return replace(
        made,
        values=made.values[member : member + 1],
        diagnostics=[{name: value[member : member + 1] for name, value in row.items()} for row in made.diagnostics],
        stopped={0: made.stopped[member]} if member in made.stopped else {},
        episodes=[replace(e, member=0) for e in made.episodes if e.member == member],
        evaluations=[replace(e, member=0) for e in made.evaluations if e.member == member],
    )


class Place:
    """A run's place in a stack, at first one of its own: a `Fleet` of one member."""

    def __init__(self, config: RunConfig):
        self.config, self.member, self.stack = config, 0, Stack([config])

    def everyone(self, method: str, *arguments: Any) -> list[Any]:
        """See `Fleet.everyone`."""
        if method in ("iterate", "drain", "state_dict"):
            return [self.stack.ask(self.member, method)]
        return [getattr(self.stack, method)(*arguments)]  # before it is beside others

    def close(self) -> None:
        """See `Fleet.close`."""
        self.stack.leave(self.member)


def put_together(places: Sequence[Place]) -> None:
    """Makes one stack of all these runs, which are equally far, and of no others, unless they are one already."""
    stack = places[0].stack
    if all(place.stack is stack for place in places) and len(stack.present) == len(stack.members):
        return
    states = [place.everyone("state_dict")[0] for place in places]
    for place in places:
        place.close()
    stack = Stack([place.config for place in places])
    stack.load_state_dict(join(states))
    for member, place in enumerate(places):
        place.stack, place.member = stack, member
