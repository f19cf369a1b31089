"""What every peer's script shares: its arguments, its clock and its one line of output.

It needs PyTorch and nothing else, for it runs in the peers' own environments too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

LEVEL = "explore_object_locations_small"
BARRIER_SECONDS = 200.0  # that runs side by side wait for the slowest to warm up
WARM_UP_UPDATES = 2  # at least, before the clock starts


Measured = tuple[float, int, float]  # agent steps a second, updates, largest change of a weight


def arguments(doc: str | None, **settings: Any) -> argparse.Namespace:
    """Reads a script's arguments: what to train on, and the settings of its own, each with its default.

    The process, and all that it starts, keeps to `--cores` of the machine's cores from then on.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--level", default=LEVEL, help="one of MiniLab's")
    parser.add_argument("--width", type=int, default=96, help="of a frame, pixels")
    parser.add_argument("--height", type=int, default=72, help="of a frame, pixels")
    parser.add_argument("--seconds", type=float, default=20.0, help="that are measured")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds of training before that")
    parser.add_argument("--cores", type=int, default=2, help="that it may use")
    parser.add_argument("--runs", type=int, default=1, help="of it side by side, whose speeds are summed")
    for name, default in settings.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=" ")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.cores])
    return chosen


@dataclass
class Meter:
    """Agent steps a second, from an update after the warm-up to the first one that is `seconds` later."""

    seconds: float
    warm_up: float  # seconds since the first update
    together: Any = None  # a barrier that runs side by side pass when their clocks start
    updates: int = 0
    _points: list[tuple[float, int]] = field(default_factory=list)  # (time, agent steps): first update, start, end

    def add(self, agent_steps: int) -> bool:
        """Books an update after which `agent_steps` were learned from in all; returns whether there is time left."""
        now = time.perf_counter()
        self.updates += 1
        if not self._points:
            self._points.append((now, agent_steps))
        elif len(self._points) == 1:
            if self.updates > WARM_UP_UPDATES and now - self._points[0][0] >= self.warm_up:
                if self.together is not None:
                    self.together.wait()
                self._points.append((time.perf_counter(), agent_steps))
        elif len(self._points) == 2 and now - self._points[1][0] >= self.seconds:
            self._points.append((now, agent_steps))
        return len(self._points) < 3

    @property
    def rate(self) -> float:
        """Agent steps a second; raises RuntimeError if training ended before the time was over."""
        if len(self._points) < 3:
            raise RuntimeError(f"training ended after {self.updates} updates, before there was anything to measure")
        (start, first), (end, last) = self._points[1:]
        return (last - first) / (end - start)


def largest_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest change of a weight."""
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in zip(after, before, strict=True))


def report(train: Callable[[argparse.Namespace, Any], Measured], args: argparse.Namespace) -> None:
    """Trains and prints the result, one line of JSON; raises RuntimeError if what ran was no training.

    Args:
      train: of the arguments and the barrier for its `Meter`. Updates include those of the warm-up.
      args: as `arguments` read them.
    """
    rate, updates, change = train(args, None) if args.runs == 1 else _side_by_side(train, args)
    if not change > 0.0:
        raise RuntimeError(f"after {updates} updates no weight has changed")
    row = {"agent_steps_per_second": round(rate, 1), "updates": updates, "largest_change_of_a_weight": change}
    print(json.dumps(row), flush=True)


def _side_by_side(train: Callable[[argparse.Namespace, Any], Measured], args: argparse.Namespace) -> Measured:
    """`args.runs` processes at once: the sum of their speeds, the fewest updates, the least of their changes."""
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(args.runs, timeout=BARRIER_SECONDS), context.SimpleQueue()
    processes = [context.Process(target=_one_of, args=(train, args, together, results)) for _ in range(args.runs)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"the runs ended with the exit codes {[process.exitcode for process in processes]}")
    rates, updates, changes = zip(*(results.get() for _ in processes))
    return sum(rates), min(updates), min(changes)


def _one_of(
    train: Callable[[argparse.Namespace, Any], Measured], args: argparse.Namespace, together: Any, results: Any
) -> None:
    results.put(train(args, together))
