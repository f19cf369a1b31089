"""The loop: act, learn, record. A run's directory is all it leaves, and all it needs to go on."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib import checkpoint, levels
from mmlib.actors import Actor, Episode, Trajectory
from mmlib.agent import MixMatchAgent, mixture_weights
from mmlib.config import RunConfig
from mmlib.fitting import fit
from mmlib.learner import Hyperparameters, Learner
from mmlib.results import RunWriter
from mmlib.schedules import piecewise
from mmlib.timing import StageTimer

Report = Callable[[dict[str, Any]], None]


def train(config: RunConfig, directory: Path, report: Report | None = None) -> None:
    """Trains one run to its end, from its last checkpoint if it has one.

    Args:
      config: what to run.
      directory: where its records go (see results.py).
      report: called with each row of timing plus the latest mean return, for progress displays.

    Raises:
      results.ResultsError: the directory cannot be written, is in use, or holds another configuration's run.
    """
    in_force = levels.resolve_backend(config.backend, config.level)
    resolved = {**config.model_dump(mode="json"), "backend_in_force": in_force}
    with RunWriter(directory, resolved) as writer:
        loop = TrainingLoop(config)
        saved = checkpoint.load(directory)
        if saved is not None:
            loop.load_state_dict(saved)
        writer.truncate_to(loop.agent_steps * config.action_repeat)
        record = Recorder(config, writer, report, loop.agent_steps)
        try:
            while loop.agent_steps < config.agent_steps:
                record.add(*loop.iterate())
                checkpoint_due = loop.drained or loop.agent_steps >= config.agent_steps
                if checkpoint_due or record.due(loop.agent_steps):
                    record.write(loop)
                if checkpoint_due:
                    checkpoint.save(directory, loop.state_dict())
        finally:
            loop.close()
        writer.finish("done", frames=loop.agent_steps * config.action_repeat)


class TrainingLoop:
    """A population of agents, their level and their learner; `iterate` is one unroll and its updates.

    With lag 0 the loop acts and then learns from what it saw. With lag 1 it learns from the last trajectory while it
    acts with the parameters from before that, in a thread each; V-trace corrects for the difference. The lag is a
    number, not a matter of speed: a seed gives one curve on any machine. The pipeline drains at each checkpoint.
    """

    def __init__(self, config: RunConfig):
        self.config = config
        if config.device == "cpu":
            torch.set_num_threads(1)  # a thread a stage; runs share a machine as processes
        seeds = [int(s) for s in np.random.SeedSequence(config.seed).generate_state(3)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds[0])
            agent = make_agent(config).to(config.device)
        self.learner = Learner(agent, config)
        self.hyper = Hyperparameters.constant(config)
        level = levels.make(
            config.level,
            backend=config.backend,
            num_envs=config.population * config.num_envs,
            seed=seeds[1] % 2**31,
            action_repeat=config.action_repeat,
            width=config.width,
            height=config.height,
            staggered=config.staggered,
        )
        acting = agent if config.lag == 0 else copy.deepcopy(agent)
        self.actor = Actor(level, acting, unroll=config.unroll, reward_clip=config.reward_clip, seed=seeds[2])
        self.pending: Trajectory | None = None  # made but not learned from (lag 1)
        self.timer = StageTimer()
        self._thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) if config.lag else None

    @property
    def agent_steps(self) -> int:
        """Agent steps of each member so far."""
        return self.actor.agent_steps

    @property
    def drained(self) -> bool:
        """Whether a checkpoint is due: agent steps have just passed a multiple of `checkpoint_every`."""
        return self._passes(self.config.checkpoint_every, self.agent_steps - self.config.steps_per_iteration)

    def iterate(self) -> tuple[Trajectory, list[Episode], list[dict[str, Tensor]]]:
        """One unroll of every environment and the updates that fall into it.

        Returns:
          the trajectory, the episodes that ended in it, and the diagnostics of each trajectory learned from.
        """
        alpha = piecewise(self.config.alpha, self.agent_steps)
        self.hyper.alpha = torch.full_like(self.hyper.alpha, alpha)
        weights = mixture_weights(self.hyper.alpha, self.learner.agent.num_constituents)
        draining = self._passes(self.config.checkpoint_every, self.agent_steps)
        if self._thread is None:
            trajectory, episodes = self.actor.rollout(weights, self.timer)
            return trajectory, episodes, [self._learn(trajectory)]

        self.actor.agent.load_state_dict(self.learner.agent.state_dict())
        future = self._thread.submit(self.actor.rollout, weights, self.timer)
        diagnostics = [] if self.pending is None else [self._learn(self.pending)]
        with self.timer("wait"):
            self.pending, episodes = future.result()
        trajectory = self.pending
        if draining or self.agent_steps >= self.config.agent_steps:
            diagnostics.append(self._learn(trajectory))
            self.pending = None
        return trajectory, episodes, diagnostics

    def _passes(self, interval: int, before: int) -> bool:
        """Whether the iteration that starts at `before` agent steps reaches or passes a multiple of `interval`."""
        return (before + self.config.steps_per_iteration) // interval > before // interval

    def _learn(self, trajectory: Trajectory) -> dict[str, Tensor]:
        with self.timer("learn"):
            return self.learner.update(trajectory, self.hyper)

    def state_dict(self) -> dict[str, Any]:
        """Everything the run's future depends on (between iterations, with the pipeline drained)."""
        hyper = {name: value.clone() for name, value in vars(self.hyper).items()}
        return {"learner": self.learner.state_dict(), "actor": self.actor.state_dict(), "hyper": hyper}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self.learner.load_state_dict(saved["learner"])
        self.actor.load_state_dict(saved["actor"])
        self.hyper = Hyperparameters(**{n: v.to(self.config.device) for n, v in saved["hyper"].items()})

    def close(self) -> None:
        """Ends the acting thread and the level."""
        if self._thread is not None:
            self._thread.shutdown()
        self.actor.level.close()


def make_agent(config: RunConfig) -> MixMatchAgent:
    """The population of agents that a configuration describes, freshly initialised."""
    level = levels.interface(config.level, config.backend, config.width, config.height)
    shape = level.observation_shape
    return MixMatchAgent(
        fit(config.method, level.spaces),
        config.population,
        height=config.height,
        width=config.width,
        conv1=config.conv1,
        vector=shape[0] if len(shape) == 1 else None,
        dtype=config.dtype,
    )


class Recorder:
    """Gathers what happens between two rows of metrics and writes them."""

    def __init__(self, config: RunConfig, writer: RunWriter, report: Report | None, agent_steps: int):
        self.config, self.writer, self.report = config, writer, report
        self.written = agent_steps  # agent steps of the last row
        self.started = self.last = time.monotonic()
        spaces = levels.interface(config.level, config.backend).spaces
        self.features = fit(config.method, spaces).space.features
        self._clear()

    def _clear(self) -> None:
        self.diagnostics: list[dict[str, Tensor]] = []
        self.counts = np.zeros((self.config.population, len(self.features)), dtype=np.int64)
        self.returns: list[list[float]] = [[] for _ in range(self.config.population)]

    def add(self, trajectory: Trajectory, episodes: list[Episode], diagnostics: list[dict[str, Tensor]]) -> None:
        """Takes an iteration's outcome; episodes are written at once."""
        repeat = self.config.action_repeat
        self.diagnostics += diagnostics
        for p, actions in enumerate(trajectory.action.unbind(1)):
            self.counts[p] += np.bincount(actions.flatten().numpy(), minlength=len(self.features))
        for e in episodes:
            self.returns[e.member].append(e.episode_return)
        self.writer.episodes(
            {
                "frames": e.agent_steps * repeat,
                "member": e.member,
                "return": e.episode_return,
                "length_frames": e.length_frames,
            }
            for e in episodes
        )

    def due(self, agent_steps: int) -> bool:
        """Whether a row of metrics is due."""
        every = self.config.log_every
        return agent_steps // every > self.written // every or agent_steps >= self.config.agent_steps

    def write(self, loop: TrainingLoop) -> None:
        """Writes a row of metrics a member and a row of timing."""
        now = time.monotonic()
        means = {name: torch.stack([d[name] for d in self.diagnostics]).mean(0) for name in self.diagnostics[0]}
        common = {
            "frames": loop.agent_steps * self.config.action_repeat,
            "agent_steps": loop.agent_steps,
            "updates": loop.learner.updates,
        }
        for p, returns in enumerate(self.returns):
            hyper = {name: float(f"{float(value[p]):.6g}") for name, value in vars(loop.hyper).items()}
            row = {name: round(float(value[p]), 6) for name, value in means.items()}
            marginals = self.counts[p] @ self.features / max(1, self.counts[p].sum())
            self.writer.metrics(
                {**common, "member": p, **hyper}
                | {"return_mean": float(np.mean(returns)) if returns else None, "episodes": len(returns)}
                | row
                | {"action_marginals": [round(float(x), 5) for x in marginals]}
            )
        steps = (loop.agent_steps - self.written) * self.config.population
        seconds = {name: round(value, 3) for name, value in loop.timer.take().items()}
        timing = {
            "frames": common["frames"],
            "seconds": round(now - self.started, 2),
            "agent_steps_per_second": round(steps / max(now - self.last, 1e-9), 1),
            "stages": {name: round(value / max(now - self.last, 1e-9), 3) for name, value in seconds.items()},
        }
        self.writer.timing(timing)
        if self.report is not None:
            everything = [r for returns in self.returns for r in returns]
            self.report({**timing, "return": float(np.mean(everything)) if everything else None})
        self.written, self.last = loop.agent_steps, now
        self._clear()
