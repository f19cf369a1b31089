"""mmlib itself: its training loop with method small, a population if asked for, in shards over Ray if asked for."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.peers.measure import Measured, Meter, arguments, largest_change, report
from benchmarks.peers.network import first_convolution
from mmlib.config import make_config
from mmlib.training.fitting import check
from mmlib.training.fleet import InProcess
from mmlib.training.loop import TrainingLoop
from mmlib.training.ray_fleet import RayFleets


def train(args: argparse.Namespace, together: Any = None) -> Measured:
    """One run; the agent steps are those of all members."""
    setting = dict(level=args.level, method="small", backend="minilab", lag=args.lag, population=args.population)
    size = dict(width=args.width, height=args.height, conv1=first_convolution(args.height))
    config = check(make_config({**setting, **size, "num_envs": args.num_envs, "unroll": args.unroll}))
    fleet = RayFleets(shards=args.shards)(config) if args.shards else InProcess(config)
    loop, meter, going_on = TrainingLoop(config, fleet), Meter(args.seconds, args.warm_up, together), True
    try:
        before = weights(loop)
        while going_on:
            loop.iterate()
            going_on = meter.add(loop.agent_steps * config.population)
        return meter.rate, loop.updates, largest_change(before, weights(loop))
    finally:
        loop.close()


def weights(loop: TrainingLoop) -> list:
    """A copy of all members' weights, wherever they are."""
    return [value.clone() for value in loop.state_dict()["learner"]["agent"].values()]


if __name__ == "__main__":
    report(train, arguments(__doc__, num_envs=32, unroll=100, lag=0, population=1, shards=0))
