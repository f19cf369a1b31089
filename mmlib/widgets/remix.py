"""Policies of one state mixed again with any weights: the numbers that the inspector shows. Nothing is played.

Shapes: K constituents, A joint actions, n bars of a panel. Entropies and divergences are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import kl_divergence

from mmlib.method.mixture import mix
from mmlib.method.policies import Factorised, OnSupport, Policy
from mmlib.spaces import ENUMERABLE, SMALL, ActionSpace, embedding

TOP = 10  # joint actions shown


@dataclass(frozen=True)
class Bars:
    """One panel: a probability for each label and policy."""

    title: str
    labels: tuple[str, ...]  # [n]
    actions: tuple[int, ...]  # [n] the joint actions that they are; () where they are none (marginals)
    probs: NDArray[np.float64]  # [K + 1, n]: pi_1 ... pi_K, then pi_mm if there are several


@dataclass(frozen=True)
class Mixed:
    """A state's policies under given weights; what has K + 1 entries ends with pi_mm's, and has one for K = 1."""

    weights: tuple[float, ...]  # [K]
    joint: tuple[Bars, ...]  # the few small actions, if there are such, and the `TOP` of all, unless those are all
    groups: tuple[Bars, ...]  # the marginals of each action group; () for a space of one group
    entropy: tuple[float, ...]  # [K + 1]
    collision_entropy: tuple[float, ...]  # [K + 1]
    kl: tuple[float, ...]  # [K - 1], KL(pi_i || pi_i+1); none depends on the weights
    value: tuple[float, ...]  # [K + 1], the last of the mixture's selector


def remix(policies: Sequence[Policy], values: Sequence[float], weights: Sequence[float], space: ActionSpace) -> Mixed:
    """Mixes a state's policies, section 3.

    Args:
      policies: K of them, batch shape [].
      values: [K], the constituents' baselines.
      weights: [K], non-negative, adding up to 1.
      space: of the joint actions.

    Raises:
      ValueError: the weights are not K numbers on the simplex.
    """
    if len(weights) != len(policies) or min(weights) < 0 or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        allowed = f"{len(policies)} numbers of at least 0 that add up to 1"
        raise ValueError(f"weights {list(weights)} do not fit: allowed are {allowed}")
    several, mixed = len(policies) > 1, mix(policies, torch.tensor(weights, dtype=torch.float64))
    everyone = [*policies, mixed] if several else [*policies]
    known = likely(policies, space)
    best = known[np.argsort(-_at([mixed], known)[0], kind="stable")[:TOP]]
    panels = few_actions(policies, space)
    if not any(len(few) == space.num_actions for few in panels.values()):
        panels[f"top {len(best)} of {space.num_actions:,} joint actions"] = best
    return Mixed(
        weights=tuple(float(w) for w in weights),
        joint=tuple(_joint(title, actions, everyone, space) for title, actions in panels.items()),
        groups=_groups(everyone, space),
        entropy=tuple(float(policy.entropy()) for policy in everyone),
        collision_entropy=tuple(float(policy.collision_entropy()) for policy in everyone),
        kl=tuple(float(kl_divergence(p, q)) for p, q in pairwise(policies)),
        value=(*map(float, values), *([float(np.dot(weights, values))] if several else [])),
    )


def with_logits(policy: Policy, change: Callable[[Tensor], Tensor]) -> Policy:
    """A constituent's policy made from other logits; one that was masked keeps its support."""
    if isinstance(policy, OnSupport):
        return OnSupport(change(policy.logits), policy.support_actions, policy.num_actions, validate_args=False)
    assert isinstance(policy, Factorised)
    return Factorised(change(policy.logits), policy.sizes, validate_args=False)


def on_simplex(weights: Sequence[float], changed: int, value: float) -> tuple[float, ...]:
    """The weights after one of them is set to `value` in [0, 1]: the others keep their ratios and share the rest.

    Others that are all 0 share the rest equally. A single weight stays 1.
    """
    others = [w for i, w in enumerate(weights) if i != changed]
    if not others:
        return (1.0,)
    total = sum(others)
    rest = [(1 - value) * (w / total if total > 0 else 1 / len(others)) for w in others]
    return (*rest[:changed], float(value), *rest[changed:])


def few_actions(policies: Sequence[Policy], space: ActionSpace) -> dict[str, NDArray[np.int64]]:
    """Small's nine actions where the space has them, else pi_1's if it has not all, by title; else nothing."""
    try:
        return {"nine small actions": embedding(SMALL, space)}
    except ValueError:
        support = policies[0].support_actions
        return {} if support is None else {"π₁’s actions": support.numpy()}


def likely(policies: Sequence[Policy], space: ActionSpace) -> NDArray[np.int64]:
    """Joint actions, rising, among which any mixture has its `TOP`: all, or of very many those that can be.

    Those are the policies' few and, of one policy that has all, the products of each group's likeliest values: for a
    joint action with the n-th likeliest value of a group there are n - 1 likelier ones.
    """
    if space.num_actions <= ENUMERABLE:
        return np.arange(space.num_actions)
    few = [p.support_actions.numpy() for p in policies if p.support_actions is not None]
    count = TOP + sum(map(len, few))
    for policy in policies:
        if isinstance(policy, Factorised):
            groups = [p.topk(min(count, len(p))).indices for p in policy.logits.split(policy.sizes)]
            few.append(space.ravel(torch.cartesian_prod(*groups).numpy()))
    return np.unique(np.concatenate(few))


def _at(policies: Sequence[Policy], actions: NDArray) -> NDArray[np.float64]:
    """The probabilities, [policies, n], of n joint actions."""
    return torch.stack([policy.log_probs_at(torch.as_tensor(actions)) for policy in policies]).exp().numpy()


def _joint(title: str, actions: NDArray, policies: Sequence[Policy], space: ActionSpace) -> Bars:
    return Bars(title, tuple(map(space.label, actions)), tuple(actions.tolist()), _at(policies, actions))


def _groups(policies: Sequence[Policy], space: ActionSpace) -> tuple[Bars, ...]:
    """The groups' marginals (figure 5), by their features; none for a space of one group: that is the policy itself."""
    if len(space.group_sizes) == 1:
        return ()
    columns = np.stack([policy.marginals(space.group_sizes).numpy() for policy in policies])
    columns = columns @ space.features.astype(np.float64)  # (K + 1, F)
    parts = np.split(columns, np.cumsum([len(labels) for labels in space.feature_labels])[:-1], axis=1)
    return tuple(Bars(n, labels, (), part) for n, labels, part in zip(space.group_names, space.feature_labels, parts))
