"""Some members of a population at work: their levels, their learner, and nothing that concerns the others.

What a member does depends on the run's seed and its number alone: on a CPU its weights, environments and draws are the
same whichever members share its shard (on a GPU they draw from one generator). Shape letters: P population, n members
of the shard, N environments of a member.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib.alternatives.bandit import Round
from mmlib.alternatives.methods import teacher_of
from mmlib.alternatives.q_learning import QLearner
from mmlib.config import RunConfig
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters, Learner
from mmlib.method.methods import Constituent
from mmlib.method.mixture import target_weights
from mmlib.method.pbt import Decision
from mmlib.method.trajectory import Episode, Trajectory, members_first
from mmlib.numerics.threads import cores
from mmlib.numerics.trees import mapped
from mmlib.timing import StageTimer
from mmlib.training.actors import Actor
from mmlib.training.fitting import backend_in_force, interface, level_of, specification

LEARNERS: dict[str, type[Learner]] = {"vtrace": Learner, "q": QLearner}


@dataclass
class Outcome:
    """What a shard, or all of a loop's, brought since the call before; members have their numbers in the population."""

    values: np.ndarray  # int64 [n, C], how often each value of an action's groups was taken
    steps: int  # agent steps of each environment so far
    updates: int  # so far
    diagnostics: list[dict[str, Tensor]]  # of each unroll learned from, `[n]`, on the CPU
    seconds: dict[str, float]  # by stage
    stopped: dict[int, str]  # members whose loss was not finite, and the reason
    episodes: list[Episode] = field(default_factory=list)
    evaluations: list[Episode] = field(default_factory=list)  # of the target alone
    decisions: list[Decision | Round] = field(default_factory=list)  # the loop's; a shard makes none


class Shard:
    """Members of a population, with a learner, an acting copy of the agents and environments of their own.

    With lag 0 it acts and then learns from what it saw. With lag 1 it learns from the last trajectory while it acts
    with the parameters from before that, in a thread each; V-trace corrects for the difference. The lag is a number,
    not a matter of speed: a seed gives one curve however fast the machine is.

    Args:
      config: of the whole run.
      members: their numbers; all of the population's by default.
    """

    def __init__(self, config: RunConfig, members: range | None = None):
        self.config, self.members = config, range(config.population) if members is None else members
        torch.set_num_threads(1)  # a thread a stage: runs, shards, or a GPU's environments share the cores
        self.timer = StageTimer()
        agent = initial_agent(config, self.members).to(config.device)
        self.learner = LEARNERS[agent.spec.learner](agent, config)
        acting = agent if config.lag == 0 else copy.deepcopy(agent)
        tasks = range(len(config.levels))
        self.actors = [self._actor(acting, task, config.num_envs, self.timer) for task in tasks]
        evaluated = tasks if config.evaluation_envs else range(0)
        self.evaluators = [self._actor(acting, task, config.evaluation_envs, offset=len(tasks)) for task in evaluated]
        self.pending: list[Trajectory] | None = None  # made but not learned from (lag 1)
        self._thread = ThreadPoolExecutor(1, initializer=self._begin_thread) if config.lag else None

    def _begin_thread(self) -> None:
        """What acts beside the learner has one thread, and on a GPU a stream of its own that goes first."""
        torch.set_num_threads(1)
        if self._on_gpu:
            torch.cuda.set_stream(torch.cuda.Stream(self.config.device, priority=-1))

    @property
    def _on_gpu(self) -> bool:
        return torch.device(self.config.device).type == "cuda"

    def _meet(self) -> None:
        """Waits for both streams: what one thread gives the other is whole, and read before it is written again."""
        if self._on_gpu:
            torch.cuda.synchronize(self.config.device)

    def _actor(
        self, agent: MixMatchAgent, task: int, num_envs: int, timer: StageTimer | None = None, offset: int = 0
    ) -> Actor:
        config, different = self.config, task + offset  # seeds of the first level are the run's own
        # On a CPU the cores belong to runs and shards side by side; a GPU waits for its environments.
        stages = 1 + config.lag  # each of which keeps a core
        played_here = self._on_gpu and backend_in_force(config) == "minilab"
        threads = {"threads": max(1, cores() - stages)} if played_here else {}
        part = {"first_env": self.members.start * num_envs, "staggered": config.staggered, **threads}
        level = level_of(config, task, len(self.members) * num_envs, self._level_seed(different), **part)
        at = {"unroll": config.unroll, "seed": seeds(config)[2] + different, "task": task}
        return Actor(level, agent, reward_clip=config.reward_clip, members=self.members, timer=timer, **at)

    def _level_seed(self, different: int) -> int | list[int]:
        return level_seed(self.config, different)

    def iterate(self, hyper: Hyperparameters) -> Outcome:
        """One unroll of every environment and the updates that fall into it, with the population's `hyper` `[P]`."""
        hyper = hyper.on(self.config.device, self.members)
        agent = self.learner.agent
        weights = agent.control_weights(agent.alpha_in_force(hyper.alpha).detach())
        if self._thread is None:
            made, episodes, evaluations = self._act(weights)
            diagnostics = [self._learn(made, hyper)]
        else:
            self.actors[0].agent.load_state_dict(self.learner.agent.state_dict())
            self._meet()
            future = self._thread.submit(self._act, weights)
            diagnostics = [] if self.pending is None else [self._learn(self.pending, hyper)]
            with self.timer("wait"):
                made, episodes, evaluations = future.result()
                self._meet()
            self.pending = made
        return self._outcome(made, diagnostics, episodes, evaluations)

    def drain(self, hyper: Hyperparameters) -> Outcome:
        """Learns from what was made last, if that is not done yet."""
        hyper, pending, self.pending = hyper.on(self.config.device, self.members), self.pending, None
        return self._outcome([], [] if pending is None else [self._learn(pending, hyper)])

    def _outcome(
        self,
        made: Sequence[Trajectory],
        diagnostics: list[dict[str, Tensor]],
        episodes: Sequence[Episode] = (),
        evaluations: Sequence[Episode] = (),
    ) -> Outcome:
        space = self.learner.agent.space
        values = np.zeros((len(self.members), len(space.vectors)), np.int64)
        for trajectory in made:
            for member, taken in enumerate(trajectory.action.cpu().unbind(1)):
                values[member] += np.bincount(space.columns(taken.numpy()).ravel(), minlength=len(space.vectors))
        return Outcome(
            values,
            self.actors[0].steps,
            self.learner.updates,
            [{name: value.cpu() for name, value in row.items()} for row in diagnostics],
            self.timer.take(),
            {self.members[member]: reason for member, reason in self.learner.stopped.items()},
            list(episodes),
            list(evaluations),
        )

    def _act(self, weights: Tensor) -> tuple[list[Trajectory], list[Episode], list[Episode]]:
        """One unroll on every level; the target alone plays in the evaluation's environments."""
        made = [actor.rollout(weights) for actor in self.actors]
        target = target_weights(weights)
        with self.timer("evaluate"):
            watched = [evaluator.rollout(target) for evaluator in self.evaluators]
        episodes, evaluations = ([e for _, ended in rolled for e in ended] for rolled in (made, watched))
        return [trajectory for trajectory, _ in made], episodes, evaluations

    def _learn(self, trajectories: list[Trajectory], hyper: Hyperparameters) -> dict[str, Tensor]:
        with self.timer("learn"):
            return self.learner.update(trajectories, hyper)

    @torch.no_grad()
    def teach(self, weights: Mapping[str, Tensor]) -> None:
        """Gives every member's teacher the parameters `[1, ...]` of `teacher.weights`, before the first iteration."""
        for name, value in weights.items():
            self.learner.parameters[name].copy_(value)

    def member(self, member: int) -> list[Tensor] | None:
        """A member's weights and what the optimiser remembers of them, on the CPU; None of another shard's."""
        if member not in self.members:
            return None
        return [value.cpu() for value in self.learner.member(member - self.members.start)]

    def replace(self, member: int, values: Sequence[Tensor]) -> None:
        """Puts what `member` gave in a member's place, unless that is another shard's.

        Its environments go on, with recurrent states at zero.
        """
        if member not in self.members:
            return
        place = member - self.members.start
        self.learner.replace(place, values)
        for actor in (*self.actors, *self.evaluators):
            actor.forget(place)

    def state_dict(self) -> dict[str, Any]:
        """All that the members' future depends on (between iterations), on the CPU, members first: see `join`."""
        learner = self.learner.state_dict()
        stopped = {self.members[member]: reason for member, reason in learner.pop("stopped").items()}
        state = {
            "pending": None if self.pending is None else [members_first(vars(made)) for made in self.pending],
            "learner": learner,
            "stopped": stopped,
            "actors": [actor.state_dict() for actor in (*self.actors, *self.evaluators)],
        }
        return mapped(Tensor.cpu, state)

    def load_state_dict(self, whole: dict[str, Any]) -> None:
        """Continues where the `state_dict` of a whole population was taken."""
        saved = cut(whole, self.members, self.config.population)
        stopped = {m - self.members.start: reason for m, reason in whole["stopped"].items() if m in self.members}
        pending = mapped(lambda x: x.to(self.config.device), saved["pending"])
        self.pending = None if pending is None else [Trajectory(**members_first(fields)) for fields in pending]
        self.learner.load_state_dict({**saved["learner"], "stopped": stopped})
        for actor, state in zip((*self.actors, *self.evaluators), saved["actors"], strict=True):
            actor.load_state_dict(state)

    def close(self) -> None:
        """Ends the acting thread and the levels."""
        if self._thread is not None:
            self._thread.shutdown()
        for actor in (*self.actors, *self.evaluators):
            actor.level.close()


def seeds(config: RunConfig) -> list[int]:
    """Those of the initial weights, the levels, the draws of actions, and population based training."""
    return np.random.SeedSequence(config.seed).generate_state(4).tolist()


def level_seed(config: RunConfig, different: int) -> int:
    """The seed of the environments of a run's level of that number; those of its evaluation come after them."""
    return (seeds(config)[1] + different) % 2**31


def make_agent(config: RunConfig) -> MixMatchAgent:
    """A population of agents that a configuration describes."""
    shape = interface(config).observation_shape
    return MixMatchAgent(
        specification(config),
        config.population,
        height=config.height,
        width=config.width,
        conv1=config.conv1,
        vector=shape[0] if len(shape) == 1 else None,
        dtype=config.dtype,
    )


def initial_agent(config: RunConfig, members: range) -> MixMatchAgent:
    """The agents that some members of a run begin as."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds(config)[0])  # not a GPU's, which is the caller's
        agent = make_agent(config)
        agent = agent if len(members) == config.population else part_of(agent, config, members)
    if (teacher := teacher_of(agent.spec)) is not None:
        for name in names_of(agent, teacher):
            agent.get_parameter(name).requires_grad_(False)
    return agent


def names_of(agent: MixMatchAgent, part: Constituent) -> list[str]:
    """The names of the parameters of one constituent, those that it shares among them."""
    modules = [f"torsos.{part.torso}", *(f"cores.{core}" for core in part.cores)]
    modules += [f"heads.{part.head}", f"baselines.{part.baseline}"]
    return [f"{module}.{name}" for module in modules for name, _ in agent.get_submodule(module).named_parameters()]


def part_of(agent: MixMatchAgent, config: RunConfig, members: range) -> MixMatchAgent:
    """A copy of the agents of some members of a population, on the CPU."""
    part = make_agent(config.model_copy(update={"population": len(members)}))
    part.load_state_dict(cut(agent.state_dict(), members, config.population))
    return part


def cut(state: Any, members: range, population: int) -> Any:
    """The part of a population's state that is some members': theirs of every tensor's first axis, all of the rest.

    The first axis has P, or P * N entries, member after member.
    """

    def theirs(tensor: Tensor) -> Tensor:
        if not tensor.ndim:
            return tensor
        each = len(tensor) // population
        return tensor[members.start * each : members.stop * each]

    return mapped(theirs, state)


def join(states: Sequence[Any]) -> Any:
    """The state of a population from its shards' states, in order, the inverse of `cut`; of no tensors the first."""
    first = states[0]
    if isinstance(first, Tensor):
        return torch.cat(list(states)) if first.ndim else first
    if isinstance(first, dict):
        names = dict.fromkeys(name for state in states for name in state)  # shards may have keys of their own
        return {name: join([s[name] for s in states if name in s]) for name in names}
    if isinstance(first, list | tuple):
        return type(first)(join(parts) for parts in zip(*states, strict=True))
    return first
