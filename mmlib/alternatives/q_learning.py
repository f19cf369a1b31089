"""Mix & Match with Q-learning (section 5 says that it could be): a small R2D2 (Kapturowski et al. 2019).

Nothing of the agent changes. A constituent's policy and baseline heads are read as its action values,

    Q_i(s, a) = V_i(s) + tau log pi_i(a|s),

so that pi_i = softmax(Q_i / tau) is the Boltzmann policy of Q_i, and V_i = tau logsumexp(Q_i / tau) its soft value
(Nachum et al. 2017). Acting, mixing and the transfer costs between policies therefore stay what they are. A factorised
policy makes Q_i a sum over groups, as in Tavakoli et al. (2018), whose best joint action is the groups' best.

R2D2's are double Q-learning with targets of n steps and no correction for who acted, a replay, and recurrent states
stored with it. Not R2D2's (stated choices): the replay is uniform, has the last unrolls alone and is learned from at
once; a sequence is an unroll, without burn-in, and targets end with it; policies are Boltzmann's, not epsilon-greedy;
values are not rescaled, since rewards are clipped.

Shape letters: T time, P population, N environments of a member, C unrolls of the replay.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib.config import RunConfig
from mmlib.method import losses
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters, Learner, entropies
from mmlib.method.mixture import mix, mix_values
from mmlib.method.policies import Factorised, Policy
from mmlib.method.trajectory import Trajectory, members_first
from mmlib.numerics.trees import mapped, tensors


def greedy(policy: Policy) -> Tensor:
    """argmax_a Q(s, a), int64 [...], of a softmax over a support or of a product of groups."""
    if not isinstance(policy, Factorised):
        assert policy.support_actions is not None
        return policy.support_actions[policy.support_log_probs().argmax(-1)]
    joint = torch.zeros(policy.batch_shape, dtype=torch.int64, device=policy.logits.device)
    for group in policy.logits.split(policy.sizes, dim=-1):
        joint = joint * group.shape[-1] + group.argmax(-1)
    return joint


def n_step_targets(rewards: Tensor, discounts: Tensor, values: Tensor, taken: Tensor, n: int) -> Tensor:
    """Returns `[T, ...]` of up to n rewards and the value of the state after them.

    A path goes on for as long as the policy has its actions: before one that it has not, whose importance weight would
    be 0 whatever else is so, the value takes over (stated choice). It ends with the episode and the unroll too.

    Args:
      rewards: `[T, ...]` r_t.
      discounts: `[T, ...]` gamma_t, the discount after step t; 0 where the episode ended.
      values: `[T+1, ...]` of the states, by which a path is continued.
      taken: bool `[T, ...]`, the policy has the action of step t.
      n: the most rewards of a path.
    """
    after = values[1:]
    for _ in range(n):
        targets = rewards + discounts * after  # of one reward more each time
        after = torch.cat([torch.where(taken[1:], targets[1:], values[1:-1]), values[-1:]])
    return targets


class QLearner(Learner):
    """Q-learning of every constituent from a replay, plus the transfer cost.

    Q_i learns from each step whose action is one of its own, whoever acted: so the target does from Small's at alpha 0.
    The gradient of (y - Q_i)^2 / (2 tau) is a policy gradient with y - Q_i as advantage, and that of a baseline with a
    cost of 1 / tau (Schulman et al. 2017). Here the cost is the run's `baseline_cost` (stated choice): with 1 / tau a
    network would learn V_i and little else. They vanish where they did, and lambda weighs the transfer cost as it does
    beside V-trace.
    """

    def __init__(self, agent: MixMatchAgent, config: RunConfig):
        super().__init__(agent, config)
        self.settings = config.q
        self.target = copy.deepcopy(agent).requires_grad_(False)
        # A trajectory a level, of C N environments, on the agent's device: an unroll takes the place of the oldest.
        # A member that copies another keeps its own.
        self.replay: list[Trajectory] = []

    @property
    def unrolls(self) -> int:
        """Unrolls learned from so far."""
        return self.updates // (self.config.learner_batches * self.settings.passes)

    def update(self, trajectories: Sequence[Trajectory], hyper: Hyperparameters) -> dict[str, Tensor]:
        """Puts the trajectories, one a level, into the replay, and learns from what is drawn from it.

        That is `passes` times `learner_batches` updates, each of as many sequences as V-trace's.
        """
        self._keep(trajectories)
        if self.unrolls % self.settings.target_every == 0:
            self.target.load_state_dict(self.agent.state_dict())
        return super().update(self.replay, hyper)

    def _keep(self, trajectories: Sequence[Trajectory]) -> None:
        envs, capacity = self.config.num_envs, self.settings.replay
        if not self.replay:
            every = self._every(envs).repeat(1, capacity)
            self.replay = [trajectory.environments(every) for trajectory in trajectories]
        start = self.unrolls % capacity * envs
        for kept, made in zip(self.replay, trajectories, strict=True):
            slot = kept.environments(slice(start, start + envs))  # views
            for mine, value in zip(tensors(slot), tensors(made), strict=True):
                mine.copy_(value)

    def _every(self, envs: int) -> Tensor:
        """The places of so many environments, `[P, n]`."""
        return torch.arange(envs, device=self.agent.device).expand(self.agent.population, -1)

    def _batches(self) -> Sequence[Tensor]:
        """The places in the replay that each update of an unroll is of, `[P, n]`, uniform over what is in it."""
        config, settings = self.config, self.settings
        filled = min(self.unrolls + 1, settings.replay) * config.num_envs
        random = [np.random.default_rng([seed, self.updates]) for seed in self.seeds]
        drawn = np.stack([r.integers(filled, size=config.num_envs * settings.passes) for r in random])
        places = torch.from_numpy(drawn).expand(self.agent.population, -1).to(self.agent.device)  # for all, or each
        return places.split(config.num_envs // config.learner_batches, dim=1)

    def _loss(self, batch: Trajectory, hyper: Hyperparameters, task: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each member `[P]` on level `task`, and diagnostics; `value_error` is the mean of |y - Q|."""
        inputs = (batch.observation, batch.last_action, batch.last_reward, batch.first)
        outputs = self.agent.unroll(*inputs, batch.cores, task)
        with torch.no_grad():
            target = self.target.unroll(*inputs, batch.cores, task)
        terms = dict.fromkeys(("pg_loss", "baseline_loss", "value_error"), torch.zeros_like(hyper.entropy_cost))
        for each in zip(outputs.policies, outputs.values, target.policies, target.values, strict=True):
            log_probs, error = self._errors(batch, *each)
            terms["pg_loss"] = terms["pg_loss"] + losses.policy_gradient_loss(log_probs, error.detach())
            terms["baseline_loss"] = terms["baseline_loss"] + losses.baseline_loss(error, torch.zeros_like(error))
            terms["value_error"] = terms["value_error"] + error.abs().mean((0, 2)) / len(outputs.policies)
        loss = terms["pg_loss"] + self.config.baseline_cost * terms["baseline_loss"]
        transfer, diagnostics = self._transfer(outputs.policies, hyper.alpha)
        loss, terms = loss + transfer, terms | diagnostics
        with torch.no_grad():
            weights = self.agent.control_weights(hyper.alpha)
            mixture = mix(outputs.policies, weights)
            rows = {name: term.detach() for name, term in terms.items()} | entropies(outputs.policies, mixture)
            rows["entropy"] = mixture.entropy().mean((0, 2))
            rows["value_mean"] = mix_values(outputs.values, weights).mean((0, 2))
        return loss, rows

    def _errors(
        self, batch: Trajectory, policy: Policy, value: Tensor, policy_: Policy, value_: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log pi(a_t|s_t) and y_t - Q(s_t, a_t) of a constituent, `[T, P, N]`; `_` marks the target network's.

        The second is 0 where the constituent has no such action, and has a gradient in V alone. Double Q-learning (van
        Hasselt et al. 2016): the network chooses the best action, the target network values it.
        """
        tau = self.settings.tau
        action = torch.cat([batch.action, batch.action[-1:]])  # pads to T+1, and is dropped again
        log_probs = policy.log_prob(action)[:-1]
        taken = torch.isfinite(log_probs)
        best = value_ + tau * policy_.log_prob(greedy(policy))  # (T+1, P, N)
        discounts = self.config.discount * (~batch.first[1:]).to(torch.float32)
        targets = n_step_targets(batch.reward, discounts, best, taken, self.settings.n_steps)
        return log_probs, torch.where(taken, targets - value[:-1] - tau * log_probs.detach(), 0.0)

    def _everything(self) -> list[Tensor]:
        return [*super()._everything(), *self.target.parameters()]

    def state_dict(self) -> dict[str, Any]:
        """Parameters, optimiser and counter; the target network and the replay, as large as it is in memory."""
        replay = [members_first(vars(kept)) for kept in self.replay]
        return {**super().state_dict(), "target": self.target.state_dict(), "replay": replay}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        super().load_state_dict(saved)
        self.target.load_state_dict(saved["target"])
        every = self._every(self.config.num_envs * self.settings.replay).cpu()  # in the order of memory of `_keep`
        kept = (Trajectory(**members_first(fields)).environments(every) for fields in saved["replay"])
        self.replay = [mapped(lambda x: x.to(self.agent.device), trajectory) for trajectory in kept]
