"""mmlib itself: its training loop with method small, as one run or as several of one thread side by side."""

from __future__ import annotations

import argparse
import multiprocessing
from typing import Any

from benchmarks.peers.measure import Meter, arguments, largest_change, report
from benchmarks.peers.network import first_convolution
from mmlib.config import make_config
from mmlib.training.fitting import check
from mmlib.training.loop import TrainingLoop

Measured = tuple[float, int, float]  # agent steps a second, updates, largest change of a weight


def train(args: argparse.Namespace, seed: int = 0, together: Any = None) -> Measured:
    """One run; `together` is a barrier that runs side by side pass once each has compiled what it needs."""
    setting = dict(level=args.level, method="small", backend="minilab", seed=seed, lag=args.lag)
    size = dict(width=args.width, height=args.height, conv1=first_convolution(args.height))
    config = check(make_config({**setting, **size, "num_envs": args.num_envs, "unroll": args.unroll}))
    loop = TrainingLoop(config)
    try:
        weights = list(loop.learner.agent.parameters())
        before = [weight.detach().clone() for weight in weights]
        meter = Meter(args.seconds, args.warm_up)
        loop.iterate()
        if together is not None:
            together.wait()
        while meter.add(loop.agent_steps):
            loop.iterate()
        if together is not None:
            together.wait()
        return meter.rate, loop.learner.updates, largest_change(before, weights)
    finally:
        loop.close()


def _side_by_side(args: argparse.Namespace, seed: int, together: Any, results: Any) -> None:
    results.put(train(args, seed, together))


def train_several(args: argparse.Namespace) -> Measured:
    """`args.runs` processes at once: the sum of their speeds, the updates of one, the least of their changes."""
    context = multiprocessing.get_context("spawn")
    together, results = context.Barrier(args.runs, timeout=300.0), context.SimpleQueue()
    processes = [
        context.Process(target=_side_by_side, args=(args, seed, together, results)) for seed in range(args.runs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"the runs ended with the exit codes {[process.exitcode for process in processes]}")
    rates, updates, changes = zip(*(results.get() for _ in processes))
    return sum(rates), min(updates), min(changes)


if __name__ == "__main__":
    chosen = arguments(__doc__, num_envs=32, unroll=100, lag=0, runs=1)
    report(*(train(chosen) if chosen.runs == 1 else train_several(chosen)))
