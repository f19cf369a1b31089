"""Weights of three or more policies moved by population based training, in place of one alpha that walks along the
chain: explore takes a step of weight from one policy and gives it to another, so that the path from the first to the
last need not pass through those between (a walk along random edges of the simplex).

All else is `method.pbt`'s. The weights begin on the edge from the first policy to the second, at alpha's range.
Shape letters: K constituents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import repeat

import numpy as np
import torch

from mmlib.config import HYPER, PBTConfig
from mmlib.method import pbt
from mmlib.method.learner import Hyperparameters
from mmlib.method.pbt import Decision, Hyper, PopulationState

ready, apply = pbt.ready, pbt.apply


def names(constituents: int) -> list[str]:
    """The hyperparameters in alpha's place, which are also columns of the records."""
    return [f"weight_{i}" for i in range(1, constituents + 1)]


def begin(state: PopulationState, constituents: int) -> PopulationState:
    """A fresh population with weights (1 - alpha, alpha, 0, ...) in place of its members' alpha."""
    for hyper in state.hyper:
        alpha = hyper.pop("alpha")
        hyper |= zip(names(constituents), (1 - alpha, alpha, *repeat(0.0, constituents - 2)), strict=True)
    return state


def decide(state: PopulationState, config: PBTConfig, member: int, stopped: Collection[int] = frozenset()) -> Decision:
    """As `pbt.decide`, but for how a member explores."""
    decision = pbt.decide(state, config.model_copy(update={"explore_probability": 0.0}), member, stopped)
    random = np.random.default_rng([state.seed, 2, state.decisions])
    if random.random() >= config.explore_probability:
        return decision
    return replace(decision, explored=True, new=explore(decision.new, config, random))


def explore(hyper: Mapping[str, float], config: PBTConfig, random: np.random.Generator) -> Hyper:
    """As `pbt.explore`; of the weights one, drawn at random, gives `alpha_step`, or all it has, to another."""
    new = pbt.explore({name: value for name, value in hyper.items() if name in HYPER}, config, random)
    weights = {name: value for name, value in hyper.items() if name not in HYPER}
    giver, taker = random.permutation(list(weights))[:2].tolist()
    moved = min(config.alpha_step, weights[giver])
    return new | weights | {giver: weights[giver] - moved, taker: weights[taker] + moved}


def row(hyper: Hyperparameters, member: int) -> dict[str, float]:
    """A member's hyperparameters for its records: of weights each, and as alpha their mean place in the chain."""
    own = {name: value[member] for name, value in vars(hyper).items()}
    if (weights := own["alpha"]).ndim:
        own |= dict(zip(names(len(weights)), weights))
        own["alpha"] = weights @ torch.linspace(0, 1, len(weights), device=weights.device)
    return {name: float(value) for name, value in own.items()}
