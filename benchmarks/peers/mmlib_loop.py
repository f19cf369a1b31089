"""mmlib itself: its training loop with method small."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.peers.measure import Measured, Meter, arguments, largest_change, report
from benchmarks.peers.network import first_convolution
from mmlib.config import make_config
from mmlib.training.fitting import check
from mmlib.training.loop import TrainingLoop


def train(args: argparse.Namespace, together: Any = None) -> Measured:
    """One run."""
    setting = dict(level=args.level, method="small", backend="minilab", lag=args.lag)
    size = dict(width=args.width, height=args.height, conv1=first_convolution(args.height))
    config = check(make_config({**setting, **size, "num_envs": args.num_envs, "unroll": args.unroll}))
    loop, meter, going_on = TrainingLoop(config), Meter(args.seconds, args.warm_up, together), True
    try:
        weights = list(loop.learner.agent.parameters())
        before = [weight.detach().clone() for weight in weights]
        while going_on:
            loop.iterate()
            going_on = meter.add(loop.agent_steps)
        return meter.rate, loop.learner.updates, largest_change(before, weights)
    finally:
        loop.close()


if __name__ == "__main__":
    report(train, arguments(__doc__, num_envs=32, unroll=100, lag=0))
