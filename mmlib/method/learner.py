"""The learner: trajectories in, better parameters out. It knows no method by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmlib.config import RunConfig
from mmlib.method import losses
from mmlib.method.agent import MixMatchAgent, Outputs
from mmlib.method.methods import AgentSpec
from mmlib.method.mixture import mix, mix_values
from mmlib.method.optim import annealed, clip_by_global_norm, make_optimiser
from mmlib.method.policies import Policy
from mmlib.method.schedule import piecewise
from mmlib.method.trajectory import Trajectory
from mmlib.method.vtrace import VTrace, vtrace
from mmlib.numerics.replay import replayed
from mmlib.numerics.trees import mapped


@dataclass
class Hyperparameters:
    """What differs between members and may change while they train, `[P]` each (appendix B)."""

    learning_rate: Tensor
    entropy_cost: Tensor
    alpha: Tensor  # or `[P, K]`, the weights of the constituents

    @classmethod
    def in_force(
        cls,
        config: RunConfig,
        spec: AgentSpec,
        agent_steps: int,
        adapted: Sequence[Mapping[str, float]] | None = None,
    ) -> Hyperparameters:
        """Those at `agent_steps` agent steps of each member; the one place where alpha is resolved,
        but for one that the agent learns (`MixMatchAgent.alpha_in_force`).

        A member's own where population based training or a bandit adapts them (`adapted`, see
        `PopulationState.hyper`), else the method's alpha, else the run's; learning rates annealed.
        """
        run = {"learning_rate": config.learning_rate, "entropy_cost": config.entropy_cost}
        run["alpha"] = piecewise(config.alpha, agent_steps)
        if spec.knots:
            run["alpha"] = piecewise(spec.knots, agent_steps / config.agent_steps)
        members = [{**run, **own} for own in adapted or [{}] * config.population]
        columns = ([float(member[name]) for member in members] for name in run)
        rate, cost, alpha = (torch.tensor(column) for column in columns)
        if weights := [name for name in members[0] if name not in run]:
            alpha = torch.tensor([[own[name] for name in weights] for own in members])
        return cls(rate * annealed(config, agent_steps), cost, alpha)

    def on(self, device: str | torch.device, members: range | None = None) -> Hyperparameters:
        """Those of some members, or of all, on a device."""
        part = slice(None) if members is None else slice(members.start, members.stop)
        return Hyperparameters(*(x[part].to(device) for x in vars(self).values()))


class Learner:
    """IMPALA with V-trace on pi_mm, plus the transfer cost (section 3, appendix D)."""

    def __init__(self, agent: MixMatchAgent, config: RunConfig):
        self.agent, self.config = agent, config
        self.parameters: dict[str, Tensor] = dict(agent.named_parameters())
        self.optimiser = make_optimiser(self.parameters, config)
        self.seeds = [config.seed]  # the run's, or each member's own
        self.updates = 0
        self.stopped: dict[int, str] = {}  # members whose loss was not finite, and the reason
        self.learning = torch.ones(agent.population, dtype=torch.bool, device=agent.device)
        self._step = replayed(self._descend, config.device)

    def update(
        self, trajectories: Sequence[Trajectory], hyper: Hyperparameters
    ) -> dict[str, Tensor]:
        """Learns from the trajectories, one a level, in `learner_batches` updates.

        They are on the agent's device. The environments are dealt out anew each time, by the run's
        seed: the last update sees the most off-policy data, and it should not be the same ones'.

        Returns:
          diagnostics of each member, `[P]` each, averaged over the updates (see `_diagnose`).
        """
        updates = []
        for part in self._batches():
            batches = [trajectory.environments(part) for trajectory in trajectories]
            updates.append(mapped(Tensor.clone, self._step(batches, hyper)))
            self.updates += 1
        self._note_the_stopped(updates)
        return average([row for _, row in updates])

    def _batches(self) -> Sequence[Tensor | slice]:
        """The environments of each update of an unroll, `[P, n]`."""
        size = self.config.num_envs // self.config.learner_batches
        if size == self.config.num_envs:
            return [slice(None)]
        random = [np.random.default_rng([seed, self.updates]) for seed in self.seeds]
        orders = torch.from_numpy(np.stack([r.permutation(self.config.num_envs) for r in random]))
        orders = orders.expand(self.agent.population, -1)  # one for all, or one each
        return orders.to(self.config.device).split(size, dim=1)

    def _descend(
        self, batches: Sequence[Trajectory], hyper: Hyperparameters
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One update: each member's loss before it, `[P]`, and diagnostics.

        A member whose loss or gradient is not finite stays as it was, from then on.
        """
        losses_and_rows = [self._loss(batch, hyper, task) for task, batch in enumerate(batches)]
        for parameter in self.parameters.values():
            parameter.grad = None
        loss = torch.stack([loss for loss, _ in losses_and_rows]).sum(0)  # levels add up
        loss.sum().backward()  # members are independent: the sum's gradient is each member's own
        norm = clip_by_global_norm(self.parameters, self.config.max_grad_norm)
        self.learning &= torch.isfinite(loss) & torch.isfinite(norm)
        for parameter in self.parameters.values():
            if (grad := parameter.grad) is not None:
                grad.masked_fill_(~self.learning.view(-1, *[1] * (grad.ndim - 1)), 0.0)
        self.optimiser.step(self.parameters, hyper.learning_rate * self.learning)
        return loss.detach(), average([row for _, row in losses_and_rows]) | {"grad_norm": norm}

    def _note_the_stopped(self, updates: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> None:
        """Says why members stopped in the last updates; here the host waits for the device."""
        for member, learning in enumerate(self.learning.tolist()):
            if learning or member in self.stopped:
                continue
            for update, (loss, row) in enumerate(updates, self.updates - len(updates)):
                numbers = {"loss": loss[member], "gradient norm": row["grad_norm"][member]}
                if bad := [f"{k} {float(x)}" for k, x in numbers.items() if not x.isfinite()]:
                    self.stopped.setdefault(member, f"{bad[0]} at update {update}")

    def _loss(
        self, batch: Trajectory, hyper: Hyperparameters, task: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each member `[P]` on level `task`, and diagnostics."""
        config, spec = self.config, self.agent.spec
        alpha = self.agent.alpha_in_force(hyper.alpha)
        weights = self.agent.control_weights(alpha)
        inputs = (batch.observation, batch.last_action, batch.last_reward, batch.first)
        outputs = self.agent.unroll(*inputs, batch.cores, task)
        # Where alpha is learned, the policy gradient alone trains it.
        mixture = mix(outputs.policies, weights.detach())  # batch shape (T+1, P, N)
        values = mix_values(outputs.values, weights.detach())
        # With small alpha the mixture's value hardly trains V_2; each value may be trained instead.
        trained_values = outputs.values if config.value_targets == "each" else values[None]

        log_probs = self._at_steps(outputs, weights, batch)  # (T, P, N)
        trace = vtrace(
            (log_probs - batch.log_prob).detach(),
            config.discount * (~batch.first[1:]).to(torch.float32),
            batch.reward,
            values[:-1].detach(),
            values[-1].detach(),
        )
        entropy = mixture.entropy()[:-1]
        baseline_losses = [losses.baseline_loss(v[:-1], trace.vs) for v in trained_values]
        terms = {
            "pg_loss": losses.policy_gradient_loss(log_probs, trace.advantages),
            "baseline_loss": torch.stack(baseline_losses).sum(0),
            "entropy_loss": losses.entropy_loss(entropy),
        }
        loss = terms["pg_loss"] + config.baseline_cost * terms["baseline_loss"]
        loss = loss + hyper.entropy_cost * terms["entropy_loss"]
        transfer, diagnostics = self._transfer(outputs.policies, alpha.detach())
        loss, terms = loss + transfer, terms | diagnostics
        if spec.alpha == "gradient":
            terms["alpha"] = alpha  # takes the place of the run's in the records
        return loss, _diagnose(outputs, mixture, trace, values, terms)

    def _transfer(self, policies: list[Policy], alpha: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """lambda times eq. (1), `[P]`, and the mean of its cost a step; 0 and nothing without."""
        spec, weights = self.agent.spec, self.agent.mixture_weights(alpha)
        if spec.transfer == "none":
            return alpha.new_zeros(len(alpha)), {}
        held = spec.stop_gradient
        cost = losses.transfer_cost(spec.transfer, policies, weights, stop_gradient=held)[:-1]
        loss = spec.transfer_weight * losses.transfer_loss(cost, self._size_of_s)
        return loss, {"transfer": cost.mean((0, 2))}

    @property
    def _size_of_s(self) -> int:
        """|S| of eq. (1), in the reading that the configuration takes."""
        trajectories = self.config.num_envs * len(self.config.levels)
        by_steps = self.config.transfer_normalisation == "steps"
        return trajectories * (self.config.unroll if by_steps else 1)

    def _at_steps(self, outputs: Outputs, weights: Tensor, batch: Trajectory) -> Tensor:
        """log pi(a_t|s_t) `[T, P, N]` of policies `[T+1, P, N]`: the last has no action yet."""
        # A copy of the last action pads to T+1 and is dropped again.
        action, selected = (torch.cat([x, x[-1:]]) for x in (batch.action, batch.selected))
        return self.agent.control_log_probs(outputs.policies, weights, action, selected)[:-1]

    def member(self, member: int) -> list[Tensor]:
        """A copy of a member's weights and what the optimiser remembers of them."""
        return [value[member].detach().clone() for value in self._everything()]

    @torch.no_grad()
    def replace(self, member: int, values: Sequence[Tensor]) -> None:
        """Gives a member the weights and the optimiser's memory that `Learner.member` took."""
        for mine, value in zip(self._everything(), values, strict=True):
            mine[member] = value.to(mine.device)
        self.stopped.pop(member, None)
        self.learning[member] = True

    def _everything(self) -> list[Tensor]:
        tables = [self.parameters, *self.optimiser.slots.values()]
        return [value for table in tables for value in table.values()]

    def state_dict(self) -> dict:
        """Parameters, optimiser and counter."""
        return {
            "agent": self.agent.state_dict(),
            "optimiser": self.optimiser.slots,
            "updates": self.updates,
            "stopped": self.stopped,
        }

    def load_state_dict(self, saved: dict) -> None:
        """Continues where `state_dict` was taken."""
        self.agent.load_state_dict(saved["agent"])
        for slot, values in saved["optimiser"].items():
            for name, value in values.items():
                self.optimiser.slots[slot][name].copy_(value)
        self.updates, self.stopped = saved["updates"], saved["stopped"]
        self.learning[:] = torch.tensor([m not in self.stopped for m in range(len(self.learning))])


def average(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each diagnostic over rows that have the same ones."""
    return {name: torch.stack([row[name] for row in rows]).mean(0) for name in rows[0]}


def entropies(policies: Sequence[Policy], mixture: Policy) -> dict[str, Tensor]:
    """How spread out the constituents and the mixture are, mean of each member, `[P]`."""
    rows = {f"entropy_{i}": p.entropy().mean((0, 2)) for i, p in enumerate(policies, start=1)}
    return rows | {"collision_entropy": mixture.collision_entropy().mean((0, 2))}


@torch.no_grad()
def _diagnose(
    outputs: Outputs, mixture: Policy, trace: VTrace, values: Tensor, terms: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What to look at when it does not learn, `[P]`: losses are sums over the update's steps, the
    rest means a step."""
    rows = {name: term.detach() for name, term in terms.items()}
    rows["entropy"] = -rows.pop("entropy_loss") / trace.vs[:, 0].numel()
    rows |= entropies(outputs.policies, mixture)
    rows["rho_mean"] = trace.rhos.mean((0, 2))
    rows["value_mean"] = values.mean((0, 2))
    errors = trace.vs - values[:-1]
    rows["value_error"] = errors.abs().mean((0, 2))
    spread = trace.vs.var((0, 2), correction=0).clamp(min=1e-3)
    unexplained = errors.var((0, 2), correction=0) / spread
    rows["explained_variance"] = 1 - unexplained  # of the targets by the baseline
    return rows
