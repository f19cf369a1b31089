"""The loop: act, learn, adapt, record. A run's directory is all it leaves, and all it needs to go on."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib import checkpoint, levels, pbt
from mmlib.actors import Actor, Episode, Trajectory
from mmlib.agent import MixMatchAgent
from mmlib.config import RunConfig
from mmlib.fitting import specification
from mmlib.learner import Hyperparameters, Learner
from mmlib.recorder import Recorder, Report
from mmlib.results import RunWriter
from mmlib.schedules import piecewise
from mmlib.timing import StageTimer


def train(config: RunConfig, directory: Path, report: Report | None = None) -> None:
    """Trains one run to its end, from its last checkpoint if it has one.

    Args:
      config: what to run.
      directory: where its records go (see results.py).
      report: called with each row of timing plus the latest mean return, for progress displays.

    Raises:
      results.ResultsError: the directory cannot be written, is in use, or holds another configuration's run.
    """
    resolved = {**config.model_dump(mode="json"), "backend_in_force": config.backend_in_force}
    with RunWriter(directory, resolved) as writer:
        loop = TrainingLoop(config)
        saved = checkpoint.load(directory)
        if saved is not None:
            loop.load_state_dict(saved)
        writer.truncate_to(loop.agent_steps * config.action_repeat)
        record = Recorder(config, writer, report, loop.agent_steps)
        try:
            while loop.agent_steps < config.agent_steps:
                record.add(loop.iterate(), loop.agent_steps)
                checkpoint_due = loop.drained or loop.agent_steps >= config.agent_steps
                if checkpoint_due or record.due(loop.agent_steps):
                    record.write(loop)
                if checkpoint_due:
                    checkpoint.save(directory, loop.state_dict())
        finally:
            loop.close()
        writer.finish("done", frames=loop.agent_steps * config.action_repeat)


@dataclass(frozen=True)
class Iteration:
    """What one iteration of the loop brought."""

    trajectories: list[Trajectory]  # one a level
    episodes: list[Episode]
    evaluations: list[Episode]  # of the target alone
    diagnostics: list[dict[str, Tensor]]  # of each unroll learned from
    decisions: list[pbt.Decision]


class TrainingLoop:
    """A population of agents, their levels and their learner; `iterate` is one unroll and its updates.

    With lag 0 the loop acts and then learns from what it saw. With lag 1 it learns from the last trajectory while it
    acts with the parameters from before that, in a thread each; V-trace corrects for the difference. The lag is a
    number, not a matter of speed: a seed gives one curve on any machine. The pipeline drains at each checkpoint and
    before each decision of population based training.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        if config.device == "cpu":
            torch.set_num_threads(1)  # a thread a stage; runs share a machine as processes
        self.seeds = np.random.SeedSequence(config.seed).generate_state(4).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds[0])
            agent = make_agent(config).to(config.device)
        self.learner = Learner(agent, config)
        self.hyper = Hyperparameters.constant(config)
        self.population: pbt.PopulationState | None = None
        if config.pbt is not None:
            self.population = pbt.PopulationState.start(
                config.pbt, config.population, self.seeds[3], len(config.levels)
            )
            self._adopt_hyperparameters()
        acting = agent if config.lag == 0 else copy.deepcopy(agent)
        tasks = range(len(config.levels))
        self.actors = [self._actor(acting, task, config.num_envs) for task in tasks]
        evaluated = tasks if config.evaluation_envs else range(0)
        self.evaluators = [self._actor(acting, task, config.evaluation_envs, offset=len(tasks)) for task in evaluated]
        self.pending: list[Trajectory] | None = None  # made but not learned from (lag 1)
        self.timer = StageTimer()
        self._thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) if config.lag else None

    def _actor(self, agent: MixMatchAgent, task: int, num_envs: int, offset: int = 0) -> Actor:
        config, different = self.config, task + offset  # seeds of the first level are the run's own
        level = levels.make(
            config.levels[task],
            backend=config.backend_in_force,
            num_envs=config.population * num_envs,
            seed=(self.seeds[1] + different) % 2**31,
            action_repeat=config.action_repeat,
            width=config.width,
            height=config.height,
            staggered=config.staggered,
        )
        seed = self.seeds[2] + different
        return Actor(level, agent, unroll=config.unroll, reward_clip=config.reward_clip, seed=seed, task=task)

    @property
    def agent_steps(self) -> int:
        """Agent steps of each member so far, on all its levels."""
        return sum(actor.agent_steps for actor in self.actors)

    @property
    def drained(self) -> bool:
        """Whether a checkpoint is due: agent steps have just passed a multiple of `checkpoint_every`."""
        return self._passes(self.config.checkpoint_every, self.agent_steps - self.config.steps_per_iteration)

    def iterate(self) -> Iteration:
        """One unroll of every environment, the updates that fall into it, and the decisions that it makes due."""
        self._schedule_alpha()
        weights = self.learner.agent.control_weights(self.hyper.alpha)
        if self._thread is None:
            trajectories, episodes, evaluations = self._act(weights)
            diagnostics = [self._learn(trajectories)]
        else:
            draining = self._passes(self.config.checkpoint_every, self.agent_steps)
            self.actors[0].agent.load_state_dict(self.learner.agent.state_dict())
            future = self._thread.submit(self._act, weights)
            diagnostics = [] if self.pending is None else [self._learn(self.pending)]
            with self.timer("wait"):
                trajectories, episodes, evaluations = future.result()
            self.pending = trajectories
            if draining or self.agent_steps >= self.config.agent_steps or self._deciding(episodes, evaluations):
                diagnostics.append(self._learn(trajectories))
                self.pending = None
        decisions = self._decide(episodes, evaluations)
        return Iteration(trajectories, episodes, evaluations, diagnostics, decisions)

    def _schedule_alpha(self) -> None:
        if self.population is None:
            fixed = self.learner.agent.spec.alpha
            alpha = piecewise(self.config.alpha, self.agent_steps) if fixed is None else fixed
            self.hyper.alpha = torch.full_like(self.hyper.alpha, alpha)

    def _act(self, weights: Tensor) -> tuple[list[Trajectory], list[Episode], list[Episode]]:
        """One unroll on every level; the target alone plays in the evaluation's environments."""
        made = [actor.rollout(weights, self.timer) for actor in self.actors]
        target = torch.eye(weights.shape[-1]).to(weights)[-1].expand_as(weights)
        with self.timer("evaluate"):
            watched = [evaluator.rollout(target, StageTimer()) for evaluator in self.evaluators]
        episodes, evaluations = ([e for _, ended in rolled for e in ended] for rolled in (made, watched))
        return [trajectory for trajectory, _ in made], episodes, evaluations

    def _passes(self, interval: int, before: int) -> bool:
        """Whether the iteration that starts at `before` agent steps reaches or passes a multiple of `interval`."""
        return (before + self.config.steps_per_iteration) // interval > before // interval

    def _learn(self, trajectories: list[Trajectory]) -> dict[str, Tensor]:
        with self.timer("learn"):
            return self.learner.update(trajectories, self.hyper)

    def _deciding(self, episodes: list[Episode], evaluations: list[Episode]) -> bool:
        """Whether these episodes make a member ready."""
        if self.population is None or self.config.pbt is None:
            return False
        ended = [e.member for e in (evaluations if self.evaluators else episodes)]
        due = (done + ended.count(member) for member, done in enumerate(self.population.episodes))
        return any(episodes >= self.config.pbt.ready for episodes in due)

    def _decide(self, episodes: list[Episode], evaluations: list[Episode]) -> list[pbt.Decision]:
        """Population based training: what the members that are ready do, done."""
        if self.population is None or self.config.pbt is None:
            return []
        watched = evaluations if self.evaluators else episodes
        pbt.observe(self.population, self.config.pbt, ((e.member, e.task, e.episode_return) for e in watched))
        decisions = []
        for member in pbt.ready(self.population, self.config.pbt):
            decision = pbt.decide(self.population, self.config.pbt, member)
            if decision.copied:
                self._copy_member(decision.opponent, member)
            pbt.apply(self.population, decision)
            decisions.append(decision)
        self._adopt_hyperparameters()
        return decisions

    def _copy_member(self, donor: int, member: int) -> None:
        """Weights and optimiser state; the member's environments go on, with their recurrent states at zero."""
        self.learner.copy_member(donor, member)
        for actor in (*self.actors, *self.evaluators):
            actor.forget(member)

    def _adopt_hyperparameters(self) -> None:
        """Makes the population's hyperparameters the ones that act and learn."""
        assert self.population is not None
        columns = {name: [hyper[name] for hyper in self.population.hyper] for name in pbt.HYPER}
        tensors = {name: torch.tensor(values, device=self.config.device) for name, values in columns.items()}
        self.hyper = Hyperparameters(**tensors)

    def state_dict(self) -> dict[str, Any]:
        """Everything the run's future depends on (between iterations, with the pipeline drained)."""
        return {
            "learner": self.learner.state_dict(),
            "actors": [actor.state_dict() for actor in (*self.actors, *self.evaluators)],
            "hyper": {name: value.clone() for name, value in vars(self.hyper).items()},
            "population": None if self.population is None else self.population.as_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self.learner.load_state_dict(saved["learner"])
        for actor, state in zip((*self.actors, *self.evaluators), saved["actors"], strict=True):
            actor.load_state_dict(state)
        self.hyper = Hyperparameters(**{n: v.to(self.config.device) for n, v in saved["hyper"].items()})
        if saved["population"] is not None:
            self.population = pbt.PopulationState(**saved["population"])

    def close(self) -> None:
        """Ends the acting thread and the levels."""
        if self._thread is not None:
            self._thread.shutdown()
        for actor in (*self.actors, *self.evaluators):
            actor.level.close()


def make_agent(config: RunConfig) -> MixMatchAgent:
    """The population of agents that a configuration describes, freshly initialised."""
    shape = levels.interface(config.levels[0], config.backend_in_force).observation_shape
    return MixMatchAgent(
        specification(config),
        config.population,
        height=config.height,
        width=config.width,
        conv1=config.conv1,
        vector=shape[0] if len(shape) == 1 else None,
        dtype=config.dtype,
    )
