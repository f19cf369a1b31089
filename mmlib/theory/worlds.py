"""The paper's appendices as measurements: remark 1 (appendix F), the transfer cost's bound (G), its pull (H).

Everything is small and exact where it can be: states are finite, policies are over the joint actions of Small and Big,
divergences are enumerated. What is sampled are the trajectories of the mixture, as remark 1 has it.
Shape letters: P independent seeds (the population axis), S states, F features, A joint actions, U records.
Divergences and entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from mmlib.method.mixture import Mixture
from mmlib.method.networks import Linear
from mmlib.method.policies import Factorised, OnSupport, Policy
from mmlib.numerics.threads import one_thread
from mmlib.spaces import BIG_756, SMALL, embedding

Kind = Literal["softmax", "factorised"]
FEATURES = 12  # of a state, that policies read
SMALL_IN_BIG = torch.as_tensor(embedding(SMALL, BIG_756))


def small_policy(logits: Tensor) -> OnSupport:
    """pi_1 over Big's joint actions from logits `[..., 9]`."""
    return OnSupport(logits, SMALL_IN_BIG, BIG_756.num_actions, validate_args=False)


def big_policy(logits: Tensor, kind: Kind) -> Policy:
    """pi_2 from logits: `[..., 756]`, one "softmax" over Big's joint actions, or `[..., 20]`, a "factorised" product of
    groups (section 4.1)."""
    if kind == "softmax":
        return OnSupport(logits, torch.arange(BIG_756.num_actions), BIG_756.num_actions, validate_args=False)
    return Factorised(logits, BIG_756.group_sizes, validate_args=False)


def num_logits(kind: Kind) -> int:
    """How many logits `big_policy` takes."""
    return BIG_756.num_actions if kind == "softmax" else sum(BIG_756.group_sizes)


class World(NamedTuple):
    """A random finite world for each seed: what the agent sees, where actions lead. Trajectories begin in state 0."""

    features: Tensor  # [P, S, F]
    successor: Tensor  # int64 [P, S, A], deterministic


def random_world(seeds: int, states: int, features: int, generator: torch.Generator) -> World:
    """A world for each of P seeds: Gaussian features; most actions stay near on a line of states, as in a maze.

    From state s an action leads to one of s - 1, s, s + 1, s + 2 (modulo S), drawn once for each state and action.
    """
    shape = (seeds, states, BIG_756.num_actions)
    moves = torch.randint(-1, 3, shape, generator=generator)
    successor = (torch.arange(states)[None, :, None] + moves) % states
    seen = torch.randn(seeds, states, features, generator=generator)
    return World(seen, successor)


def network(seeds: int, sizes: Sequence[int], scale: float) -> nn.Sequential:
    """A linear map (of two sizes) or an MLP with ReLUs for each seed, from features `[P, S, F]` to logits; the last
    layer's weights are multiplied by `scale`."""
    hidden = [Linear(seeds, a, b, gain=2**0.5) for a, b in pairwise(sizes[:-1])]
    last = Linear(seeds, *sizes[-2:])
    with torch.no_grad():
        last.weight.mul_(scale)
    return nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())), last)


def visits(world: World, policy: Policy, trajectories: int, length: int, generator: torch.Generator) -> Tensor:
    """How often each state was seen in `trajectories` trajectories of `policy` `[P, S]`, `[P, S]`.

    Actions are summed out exactly: what is drawn is the next state.
    """
    seeds, states, _ = world.successor.shape
    chain = torch.zeros(seeds, states, states).scatter_add_(2, world.successor, policy.probs.detach())
    state = torch.zeros(seeds, trajectories, dtype=torch.int64)
    counts = torch.zeros(seeds, states)
    for _ in range(length):
        counts.scatter_add_(1, state, torch.ones_like(state, dtype=counts.dtype))
        rows = chain[torch.arange(seeds)[:, None], state].flatten(0, 1)  # (P N, S)
        state = torch.multinomial(rows, 1, generator=generator).view(seeds, trajectories)
    return counts


@dataclass(frozen=True)
class Distillation:
    """One experiment of remark 1: pi_2 is trained to match pi_1 on states that the mixture visits.

    The paper's remark has a set of trajectories of "some predefined mix" (`online` False: of the mixture before
    training) and a fixed teacher (`both` False). Its algorithm has neither: it draws new trajectories from the
    current mixture (`online`) and moves both policies (`both`, appendix C).
    """

    kind: Kind = "softmax"  # of pi_2
    hidden: tuple[int, ...] = ()  # units of pi_2's hidden layers; none: linear, and so is pi_1
    alpha: float = 0.5
    trajectories: int = 256  # N, in all or (online) for each update
    length: int = 20  # agent steps of a trajectory
    online: bool = False
    both: bool = False
    teacher_gain: float = 1.5  # scale of pi_1's logits at the start
    learning_rate: float = 0.02  # Adam's, falling to a tenth of it


class Curves(NamedTuple):
    """What a distillation leaves, [U, P] each but `updates`."""

    updates: list[int]
    kl: Tensor  # KL(pi_1 || pi_2), mean over all S states
    kl_seen: Tensor  # the same, weighted by the visits to each state of the trajectories in use
    floor: Tensor  # total correlation of pi_1 over Big's groups, mean over all states
    entropy: Tensor  # of pi_1, mean over all states
    seen: Tensor  # share of the states that the trajectories in use visit


@one_thread()
def distil(setup: Distillation, *, seeds: int, states: int, updates: int, records: int = 40) -> Curves:
    """Minimises eq. (1) over samples of pi_mm, for `seeds` worlds at once, and records how far pi_2 is from pi_1."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        world = random_world(seeds, states, FEATURES, generator)
        teacher = network(seeds, (FEATURES, *(32 for _ in setup.hidden), SMALL.num_actions), setup.teacher_gain)
        student = network(seeds, (FEATURES, *setup.hidden, num_logits(setup.kind)), 0.1)

    def policies() -> tuple[OnSupport, Policy]:
        first = teacher(world.features) if setup.both else teacher(world.features).detach()
        return small_policy(first), big_policy(student(world.features), setup.kind)

    def draw() -> Tensor:
        with torch.no_grad():
            mixture = Mixture(torch.tensor([1 - setup.alpha, setup.alpha]), policies(), validate_args=False)
            return visits(world, mixture, setup.trajectories, setup.length, generator)

    learned = [*student.parameters(), *(teacher.parameters() if setup.both else ())]
    optimiser = torch.optim.Adam(learned, lr=setup.learning_rate)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / updates))
    counts, rows = draw(), []
    marks = {round(i * updates / records) for i in range(records + 1)}
    for update in range(updates + 1):
        if setup.online and update:
            counts = draw()
        first, second = policies()
        weights = counts / counts.sum(1, keepdim=True)
        divergence = kl_divergence(first, second)  # (P, S)
        if update in marks:
            rows.append((update, *_record(first, divergence.detach(), weights)))
        loss = (1 - setup.alpha) * (weights * divergence).sum()  # eq. (1) of each seed, over the trajectories' length
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    columns = list(zip(*rows, strict=True))
    return Curves(list(columns[0]), *(torch.stack(column) for column in columns[1:]))


@torch.no_grad()
def _record(first: OnSupport, divergence: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    floor = total_correlation(first, BIG_756.group_sizes).mean(1)
    seen = (weights > 0).double().mean(1)
    return divergence.mean(1), (weights * divergence).sum(1), floor, first.entropy().mean(1), seen


def total_correlation(policy: Policy, sizes: Sequence[int]) -> Tensor:
    """sum_j H(p_j) - H(p), [...]: the least KL(p || q) that any factorised q reaches, by the product of marginals.

    Where it is above 0, as for any policy over Small that is not almost a point, no factorised pi_2 equals pi_1 and
    remark 1's "big enough network" does not exist.
    """
    groups = policy.marginals(sizes).clamp(min=0).split(tuple(sizes), dim=-1)
    entropies = [torch.special.entr(group).sum(-1) for group in groups]
    return torch.stack(entropies).sum(0) - policy.entropy()


class Bound(NamedTuple):
    """Appendix G's two costs and their gap, [...] each."""

    proposed: Tensor  # l_mm = (1 - alpha) KL(pi_1 || pi_2)
    alternative: Tensor  # l^_mm = KL(pi_mm || pi_2)
    gap: Tensor  # H(pi_mm) - alpha H(pi_2) - (1 - alpha) H(pi_1): their difference, >= 0
    printed: Tensor  # alpha (H(pi_mm) - H(pi_2)): what the appendix's last line says is >= 0


def bound(first: Policy, second: Policy, alpha: float) -> Bound:
    """Appendix G for policies of batch shape [...]: both costs by enumeration, the gap by its entropies.

    The gap is a Jensen-Shannon divergence with weights (1 - alpha, alpha): 0 at alpha 0 and 1 and where pi_1 = pi_2.
    The appendix ends with -(1 - alpha) H(pi_mm) >= -(H(pi_mm) - alpha H(pi_2)), which is `printed` >= 0 and false
    wherever pi_2 has more entropy than the mixture; with H(pi_1) on its left side it is the inequality just proved.
    """
    weights = torch.tensor([1 - alpha, alpha], dtype=first.probs.dtype)
    mixture = Mixture(weights, [first, second], validate_args=False)
    entropy = mixture.entropy()
    gap = entropy - alpha * second.entropy() - (1 - alpha) * first.entropy()
    proposed = (1 - alpha) * kl_divergence(first, second)
    return Bound(proposed, kl_divergence(mixture, second), gap, alpha * (entropy - second.entropy()))


def _logits(n: int, size: int, generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randn(n, size, dtype=torch.float64, generator=generator)


def _big(n: int, generator: torch.Generator) -> Policy:
    return big_policy(_logits(n, num_logits("factorised"), generator), "factorised")


def _alike(n: int, generator: torch.Generator) -> tuple[Policy, Policy]:
    logits = _logits(n, num_logits("factorised"), generator)
    noise = 0.3 * torch.randn(logits.shape, dtype=logits.dtype, generator=generator)
    return big_policy(logits, "factorised"), big_policy(logits + noise, "factorised")


FAMILIES: dict[str, Callable[[int, torch.Generator], tuple[Policy, Policy]]] = {
    "Small and Big": lambda n, g: (small_policy(_logits(n, SMALL.num_actions, g)), _big(n, g)),
    "two policies over Big": lambda n, g: (_big(n, g), _big(n, g)),
    "alike: Big and a little noise": _alike,
}
"""Pairs (pi_1, pi_2) of n random policies each, float64."""
