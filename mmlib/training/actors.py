"""Acting: a batch of environments and a population of agents make trajectories.

Shape letters: T time, P population, N environments of a member, B = P * N environments of the level
(member-major: environment b belongs to member b // N).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmlib.levels.base import Level, Step
from mmlib.method.agent import Acted, AgentState, MixMatchAgent
from mmlib.method.trajectory import Episode, Trajectory
from mmlib.numerics.replay import replayed
from mmlib.numerics.trees import mapped
from mmlib.timing import StageTimer

SEEDS_APART = 10_007  # of two members' draws: more than a run has levels


class Actor:
    """Steps a level with the agent's mixture, one unroll at a time, and remembers where it was.

    Args:
      level: of B = P * N environments.
      agent: the acting copy of the agent.
      unroll: T.
      reward_clip: rewards for learning are clipped to [-c, c]; episode returns are not.
      seed: of the action sampling, with the member's number.
      task: the level's place in the run's list; it decides which constituents act.
      members: the agents' numbers in their population; else from 0.
      timer: of the stages "act" and "engine"; else one of its own.
    """

    def __init__(
        self,
        level: Level,
        agent: MixMatchAgent,
        *,
        unroll: int,
        reward_clip: float,
        seed: int,
        task: int = 0,
        members: range | None = None,
        timer: StageTimer | None = None,
    ):
        self.level, self.agent, self.task = level, agent, task
        self.unroll, self.reward_clip = unroll, reward_clip
        self.device, self.timer = agent.device, timer or StageTimer()
        self.shape = (agent.population, level.num_envs // agent.population)
        self.members = range(agent.population) if members is None else members
        # What a member draws does not depend on who shares its shard; on a GPU that would cost a launch a member.
        drawing = self.members if self.device.type == "cpu" else self.members[:1]
        self.generators = [torch.Generator(self.device).manual_seed(seed + SEEDS_APART * m) for m in drawing]
        self.decide = replayed(self._decide, self.device, self.generators)  # of the arguments of `_decide`
        self.steps = 0  # agent steps of each environment
        self.began = np.zeros(level.num_envs, np.int64)  # [B], when the current episodes did
        if self.device.type == "cuda" and hasattr(level, "draw_into"):  # memory that the GPU reads by itself
            with torch.cuda.device(self.device):
                level.draw_into(torch.empty(level.reset().shape, dtype=torch.uint8, pin_memory=True).numpy())
        self.observation = self._here(level.reset()).clone()
        self.first = torch.ones(self.shape, dtype=torch.bool, device=self.device)
        self.state = agent.initial_state(self.shape[1], task)
        self._buffers = [self._new_buffers(), self._new_buffers()]

    @torch.no_grad()
    def act(self, weights: Tensor) -> tuple[Acted, Step]:
        """One agent step in every environment with the control policy's `weights` `[P, K]`.

        On a GPU what comes back is overwritten by the next one.
        """
        with self.timer("act"):
            acted = self.decide(self.observation, self.first, self.state, weights)
            joint = acted.action.cpu().numpy()  # the one thing that the host waits for
            vectors = self.agent.space.encode(joint).reshape(self.level.num_envs, -1)
        with self.timer("engine"):
            step = self.level.step(vectors)
        self.steps += 1
        reward = self._here(step.reward).clamp(-self.reward_clip, self.reward_clip)
        self.state = AgentState(acted.action, reward, acted.outputs.cores)
        self.observation, self.first = self._here(step.observation), self._here(step.done).clone()
        return acted, step

    def rollout(self, weights: Tensor) -> tuple[Trajectory, list[Episode]]:
        """Acts for T agent steps in every environment with the control policy's `weights` `[P, K]`.

        The trajectory is on the agent's device, in one of two alternating sets of buffers: it stays valid
        until the second rollout after this one, so that a learner may read one while the next is made.
        """
        self._buffers.reverse()
        buffers = self._buffers[0]
        cores, episodes = mapped(Tensor.clone, self.state.cores), []
        for t in range(self.unroll):
            self._record(buffers, t)
            acted, step = self.act(weights)
            episodes += self._finished(step.episode_return, step.episode_frames, step.done)
            buffers["log_prob"][t], buffers["selected"][t] = acted.log_prob, acted.selected
        self._record(buffers, self.unroll)
        # What an agent did at a step, and got for it, is what came last at the next.
        after = {"action": buffers["last_action"][1:], "reward": buffers["last_reward"][1:]}
        return Trajectory(**buffers, **after, weights=weights, cores=cores), episodes

    def _decide(self, observation: Tensor, first: Tensor, state: AgentState, weights: Tensor) -> Acted:
        return self.agent.step(observation, first, state, weights, self.generators, self.task)

    def forget(self, member: int) -> None:
        """Zeroes the recurrent states of a member whose weights are somebody else's now."""
        for state in self.state.cores.values():
            for tensor in state or ():
                tensor[member] = 0.0

    def _here(self, values: np.ndarray) -> Tensor:
        """What the level says of its environments `[B, ...]`, as `[P, N, ...]` on the agent's device."""
        # The host goes on meanwhile, where it need not wait for the copy.
        return torch.from_numpy(values).unflatten(0, self.shape).to(self.device, non_blocking=True)

    def _record(self, buffers: dict[str, Tensor], t: int) -> None:
        """Writes what the agent sees before step t, and keeps it: the level overwrites its own."""
        buffers["observation"][t] = self.observation
        self.observation = buffers["observation"][t]
        buffers["last_action"][t] = self.state.last_action
        buffers["last_reward"][t] = self.state.last_reward
        buffers["first"][t] = self.first

    def _finished(self, returns: np.ndarray, lengths: np.ndarray, done: np.ndarray) -> list[Episode]:
        began = self.began.copy()
        self.began[done] = self.steps
        whole = np.flatnonzero(done & ~np.isnan(returns))  # one that was cut has no return
        rows = zip(whole // self.shape[1], began[whole], returns[whole], lengths[whole], strict=True)
        return [
            Episode(self.members[member], int(start), self.steps, float(value), int(length), self.task)
            for member, start, value, length in rows
        ]

    def _new_buffers(self) -> dict[str, Tensor]:
        def zeros(steps: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
            return like.new_zeros(steps, *like.shape, dtype=dtype)

        steps, reward = self.unroll, self.state.last_reward
        return {
            "observation": zeros(steps + 1, self.observation.movedim(2, -1)).movedim(-1, 3),  # colours last in memory
            "last_action": zeros(steps + 1, self.state.last_action),
            "last_reward": zeros(steps + 1, reward),
            "first": zeros(steps + 1, self.first),
            "log_prob": zeros(steps, reward),
            "selected": zeros(steps, reward, torch.int64),
        }

    def state_dict(self) -> dict:
        """Everything that determines the rollouts to come, but the agent's parameters."""
        level = self.level.state_dict()
        return {
            "level": {name: torch.as_tensor(value).clone() for name, value in level.items()},
            "generators": torch.stack([g.get_state() for g in self.generators]).expand(len(self.members), -1),
            "steps": self.steps,
            "began": torch.as_tensor(self.began).clone(),
            "observation": self.observation.clone(),
            "first": self.first.clone(),
            "state": tuple(self.state),
        }

    def load_state_dict(self, saved: dict) -> None:
        """Continues where `state_dict` was taken."""
        level = {name: value.numpy() for name, value in saved["level"].items()}
        fresh = self.level.load_state_dict(level)
        self.steps, self.began = saved["steps"], saved["began"].numpy().copy()
        for generator, state in zip(self.generators, saved["generators"]):
            if len(state) == len(generator.get_state()):
                generator.set_state(state.clone())  # it takes no view
            else:  # of another kind of device, whose draws these cannot repeat
                generator.manual_seed(generator.initial_seed() + self.steps)
        self.observation, self.first = saved["observation"].to(self.device), saved["first"].to(self.device)
        self.state = AgentState(*mapped(lambda x: x.to(self.device), saved["state"]))
        if fresh is not None:  # the level cannot continue its episodes; it has begun new ones
            self.observation = self._here(fresh).clone()
            self.began[:] = self.steps
            self.first = torch.ones_like(self.first)
