"""A short run of a population, and what of it must be the same however it is divided."""

import torch

from mmlib.config import make_config
from mmlib.runs.records import read_bytes

FAST = {"ready": 4, "window": 2, "explore_probability": 1.0, "p_value": 0.5}


def config(**overrides):
    base = dict(level="explore_object_locations_small_mini", method="mm", population=3, num_envs=4, unroll=20)
    base |= dict(learner_batches=2, width=32, height=24, conv1=(4, 2), staggered=True, pbt=FAST, optimiser="adam")
    base |= dict(agent_steps=80 * 18, log_every=320, checkpoint_every=480, level_settings={"episode_seconds": 1})
    return make_config(base | overrides)


def told(directory):
    """What a run's future is decided by, as it was recorded; diagnostics are sums in another order."""
    names = ("episodes", "evaluations", "decisions", "rounds")
    return {name: read_bytes(directory, name).decode() for name in names}


def same_numbers(one, two):
    """Whether two states hold the same: counts and draws exactly, weights but for what a processor's products round."""
    if isinstance(one, torch.Tensor):
        if one.dtype != two.dtype or one.shape != two.shape:
            return False
        return torch.allclose(one, two, rtol=1e-4, atol=1e-5) if one.is_floating_point() else torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same_numbers(value, two[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same_numbers, one, two))
    return one == two
