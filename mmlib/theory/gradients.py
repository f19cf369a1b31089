"""Explicit against sampled mixing (section 3.1): the same expected policy gradient, and their variances.

Explicit mixing updates with log pi_mm(a|s). Sampled mixing draws c ~ Cat(alpha) at each step, acts with pi_c and
updates with log pi_c(a|s) alone. Given the actions, c has probability alpha_c pi_c(a|s) / pi_mm(a|s), and the gradient
of log pi_mm is the mean of the gradients of log pi_c under it: explicit mixing is the Rao-Blackwellisation of sampled
mixing. So the means are equal and the variances differ by the mean of |difference|^2, which is what is measured here.
The action has to be pi_c's own: with a c drawn beside an action of the mixture the mean of the gradients of log pi_c is
another one, and log pi_1 is log 0 at most of Big's actions.
"Variance" is the trace of the covariance of one trajectory's gradient.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmlib.levels import Level
from mmlib.method.agent import MixMatchAgent
from mmlib.method.mixture import mix, mix_values
from mmlib.method.policies import Policy
from mmlib.method.trajectory import Trajectory
from mmlib.method.vtrace import vtrace
from mmlib.numerics.threads import one_thread
from mmlib.training.actors import Actor

# --- A small problem, by enumeration ---------------------------------------------------------------------------------


class Problem(NamedTuple):
    """A small world, all of whose trajectories can be written down; float64. pi_1 has the first two actions alone."""

    logits: Tensor  # [S, 2 + A] of pi_1 and pi_2, from shared and separate parameters
    jacobian: Tensor  # [S, 2 + A, D], of the logits by the parameters
    rewards: Tensor  # [S, A]
    successor: Tensor  # int64 [S, A]


class Exact(NamedTuple):
    """Means and variances of both estimators over every trajectory and every draw of c."""

    mean_explicit: Tensor  # [D]
    mean_sampled: Tensor  # [D]
    variance_explicit: float
    variance_sampled: float


def random_problem(seed: int) -> Problem:
    """Logits are W_i (U x_s): a shared layer U and a head W_i for each policy, all Gaussian."""
    states, actions, features = 3, 4, 4
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    seen, shared, heads = normal(states, features), normal(features, features) / 2, normal(2 + actions, features)
    logits = torch.einsum("af,fg,sg->sa", heads, shared, seen)
    of_shared = torch.einsum("af,sg->safg", heads, seen).flatten(2)
    of_heads = torch.einsum("ab,fg,sg->sabf", torch.eye(2 + actions, dtype=torch.float64), shared, seen).flatten(2)
    successor = torch.randint(states, (states, actions), generator=generator)
    return Problem(logits, torch.cat([of_shared, of_heads], -1), normal(states, actions), successor)


def enumerate_mixing(problem: Problem, alpha: float, steps: int = 3) -> Exact:
    """Both estimators of the gradient of the expected return over `steps` agent steps from state 0, exactly.

    REINFORCE with the reward to go and no baseline.
    """
    log_pi, scores = _scores(problem)  # (K, S, A), (K, S, A, D)
    weights = torch.tensor([1 - alpha, alpha], dtype=torch.float64)
    joint = weights[:, None, None] * log_pi.exp()  # p(c, a | s)
    mixed = joint.sum(0)
    posterior = joint / mixed
    explicit = (posterior[..., None] * scores).sum(0)  # (S, A, D): gradient of log pi_mm
    size = scores.shape[-1]
    zero = torch.zeros(size, dtype=torch.float64)
    moments: dict[str, tuple[Tensor, float]] = {"explicit": (zero, 0.0), "sampled": (zero, 0.0)}
    for actions in itertools.product(range(mixed.shape[1]), repeat=steps):
        state, path, probability = 0, [], 1.0
        for action in actions:
            path.append((state, action))
            probability *= float(mixed[state, action])
            state = int(problem.successor[state, action])
        rewards = [float(problem.rewards[s, a]) for s, a in path]
        to_go = [sum(rewards[t:]) for t in range(steps)]
        gradient = sum((g * explicit[s, a] for (s, a), g in zip(path, to_go, strict=True)), zero)
        moments["explicit"] = _add(moments["explicit"], gradient, probability)
        for chosen in itertools.product((0, 1), repeat=steps):
            share = float(np.prod([float(posterior[c, s, a]) for c, (s, a) in zip(chosen, path, strict=True)]))
            if share > 0:
                terms = zip(chosen, path, to_go, strict=True)
                gradient = sum((g * scores[c, s, a] for c, (s, a), g in terms), zero)
                moments["sampled"] = _add(moments["sampled"], gradient, probability * share)
    variances = [second - float(mean.square().sum()) for mean, second in moments.values()]
    return Exact(moments["explicit"][0], moments["sampled"][0], *variances)


def _add(moments: tuple[Tensor, float], gradient: Tensor, probability: float) -> tuple[Tensor, float]:
    """E g and E |g|^2 with one more outcome."""
    return moments[0] + probability * gradient, moments[1] + probability * float(gradient.square().sum())


def _scores(problem: Problem) -> tuple[Tensor, Tensor]:
    """log pi_c(a|s) `[2, S, A]` and its gradient `[2, S, A, D]` (0 where pi_c never acts)."""
    states, actions = problem.rewards.shape
    log_pi = torch.full((2, states, actions), -torch.inf, dtype=torch.float64)
    scores = torch.zeros(2, states, actions, problem.jacobian.shape[-1], dtype=torch.float64)
    for c, part in enumerate((slice(0, 2), slice(2, None))):
        logits, jacobian = problem.logits[:, part], problem.jacobian[:, part]
        own = torch.log_softmax(logits, -1)
        log_pi[c, :, : own.shape[1]] = own
        scores[c, :, : own.shape[1]] = jacobian - torch.einsum("sa,sad->sd", own.exp(), jacobian)[:, None]
    return log_pi, scores


# --- The agent's network on a level ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Gradients of N trajectories of an agent's network at one alpha."""

    gram: NDArray[np.float64]  # [N, N], inner products of the explicit gradients
    squares: NDArray[np.float64]  # [N], |sampled - explicit|^2
    bias: float  # |mean of (sampled - explicit)|^2 in units of its expectation N^-1 E|...|^2 where there is no bias
    environments: NDArray[np.int64]  # [N], the environment of each trajectory

    @property
    def ratio(self) -> float:
        """Variance of sampled mixing over that of explicit mixing."""
        return _ratio(self.gram, self.squares)

    def interval(self, resamples: int = 2000) -> tuple[float, float]:
        """95 % percentile interval of the ratio by a bootstrap over environments, whose trajectories stay together."""
        generator, names = np.random.default_rng(0), np.unique(self.environments)
        members = [np.flatnonzero(self.environments == name) for name in names]
        ratios = []
        for drawn in generator.integers(len(members), size=(resamples, len(members))):
            if len(np.unique(drawn)) == 1:
                continue  # one environment alone may have no variance
            rows = np.concatenate([members[i] for i in drawn])
            ratios.append(_ratio(self.gram[np.ix_(rows, rows)], self.squares[rows]))
        low, high = np.quantile(ratios, [0.025, 0.975])
        return float(low), float(high)


def _ratio(gram: NDArray[np.float64], squares: NDArray[np.float64]) -> float:
    variance = np.trace(gram) / len(gram) - gram.mean()
    return float(1.0 + squares.mean() / variance)


def collect(
    agent: MixMatchAgent,
    level: Level,
    alpha: float,
    *,
    unrolls: int,
    unroll: int,
    seed: int,
    warm_up: int = 2,
    reward_clip: float = 1.0,
) -> list[Trajectory]:
    """Trajectories of one agent (P = 1) at a constant alpha, with the environments along the population axis.

    The level ends with it, its episodes had better be out of step (staggered), and the first `warm_up` unrolls are not
    kept. Returns `unrolls` batches of [T, environments, 1].
    """
    try:
        actor = Actor(level, agent, unroll=unroll, reward_clip=reward_clip, seed=seed)
        weights = agent.mixture_weights(torch.tensor([alpha]))
        for _ in range(warm_up):
            actor.rollout(weights)
        return [_apart(actor.rollout(weights)[0]) for _ in range(unrolls)]
    finally:
        level.close()


def _apart(trajectory: Trajectory) -> Trajectory:
    """`[T, 1, N]` as `[T, N, 1]`, in memory of its own: the actor's buffers are used again."""
    tensors = {n: v.transpose(1, 2).clone() for n, v in vars(trajectory).items() if n not in ("weights", "cores")}
    cores = {n: s and (s[0].transpose(0, 1).clone(), s[1].transpose(0, 1).clone()) for n, s in trajectory.cores.items()}
    weights = trajectory.weights.expand(trajectory.action.shape[2], -1)
    return Trajectory(**tensors, weights=weights, cores=cores)


@one_thread()
def compare_mixing(agent: MixMatchAgent, trajectories: list[Trajectory], discount: float = 0.99) -> Measured:
    """The policy gradient of each trajectory by explicit and by sampled mixing, with the same advantages.

    The trajectories are the explicit mixture's, of two policies. A population of members equal to `agent` (P = 1)
    learns, one trajectory a member, so that the leading axis of its gradients is the trajectory's. The baselines'
    parameters are left out: neither estimator has a gradient there.
    """
    agent = _population(agent, trajectories[0].action.shape[1])
    generator = torch.Generator().manual_seed(0)
    explicit, squares, total = [], [], torch.zeros(())
    for trajectory in trajectories:
        one, other = _gradients(agent, trajectory, generator, discount)
        explicit.append(one)
        difference = other - one
        squares.append(difference.square().sum(1).double())
        total = total + difference.double().sum(0)
    gradients = torch.cat(explicit)  # (N, D)
    gram = (gradients @ gradients.T).double().numpy()
    each = torch.cat(squares).numpy()
    bias = float(total.square().sum()) / max(float(each.sum()), 1e-300)
    environments = np.tile(np.arange(agent.population), len(trajectories))
    return Measured(gram, each, bias, environments)


def _population(agent: MixMatchAgent, size: int) -> MixMatchAgent:
    """A population of `size` members, each with the parameters of `agent`'s first."""
    many = copy.deepcopy(agent)
    many.population = size
    for module in many.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(parameter.detach()[:1].repeat(size, *(1,) * (parameter.ndim - 1))))
    return many


def _gradients(
    agent: MixMatchAgent, trajectory: Trajectory, generator: torch.Generator, discount: float = 0.99
) -> tuple[Tensor, Tensor]:
    """Gradients `[P, D]` of -sum_t A_t log pi_mm(a_t) and of -sum_t A_t log pi_{c_t}(a_t), c_t given a_t."""
    weights = trajectory.weights
    outputs = agent.unroll(
        trajectory.observation, trajectory.last_action, trajectory.last_reward, trajectory.first, trajectory.cores
    )
    log_mm = _log_prob(mix(outputs.policies, weights), trajectory.action)  # (T, P, N)
    each = torch.stack([_log_prob(policy, trajectory.action) for policy in outputs.policies], -1)  # (T, P, N, K)
    with torch.no_grad():
        values = mix_values(outputs.values, weights)
        discounts = discount * (~trajectory.first[1:]).float()
        advantages = vtrace(
            log_mm - trajectory.log_prob, discounts, trajectory.reward, values[:-1], values[-1]
        ).advantages
        posterior = (weights[:, None].log() + each - log_mm[..., None]).exp()
        chosen = torch.multinomial(posterior.flatten(0, 2), 1, generator=generator).view(*log_mm.shape, 1)
    sampled = each.gather(-1, chosen)[..., 0]
    parameters = [p for name, p in agent.named_parameters() if not name.startswith("baselines.")]
    return tuple(  # type: ignore[return-value]
        torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, parameters, retain_graph=True)], 1)
        for loss in (-(advantages * log_mm).sum(), -(advantages * sampled).sum())
    )


def _log_prob(policy: Policy, action: Tensor) -> Tensor:
    """log pi(a_t|s_t) `[T, P, N]` of a policy `[T+1, P, N]`: the last observation has no action yet."""
    return policy.log_prob(torch.cat([action, action[-1:]]))[:-1]
