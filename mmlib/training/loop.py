"""The loop: act, learn, adapt, record. A run's directory is all it leaves, and all it needs to go on."""

from __future__ import annotations

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib import levels
from mmlib.config import RunConfig
from mmlib.errors import DivergedError, ResultsError, WorkersDied
from mmlib.method import pbt
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters, Learner
from mmlib.method.mixture import target_weights
from mmlib.method.trajectory import Episode, Trajectory
from mmlib.runs.reader import Run
from mmlib.runs.records import RECORDS, DamagedRecord, read_rows
from mmlib.runs.writer import RunWriter
from mmlib.timing import StageTimer
from mmlib.training import checkpoint
from mmlib.training.actors import Actor
from mmlib.training.fitting import backend_in_force, check, specification
from mmlib.training.recorder import Iteration, Progress, Recorder, Report
from mmlib.training.signals import StopRequests


def train(config: RunConfig, directory: Path, report: Report | None = None) -> None:
    """Trains one run to its end, from its last checkpoint if it has one.

    Args:
      config: what to run.
      directory: where its records go (see runs/reader.py).
      report: called with each row of timing plus the latest mean return, for progress displays.

    Raises:
      config.ConfigError: a method, level or device that there is not.
      errors.ResultsError: the directory cannot be written, is in use, or holds another configuration's run.
      checkpoint.CheckpointError: no checkpoint of the run can be used.
      errors.Stopped: SIGINT, SIGTERM or SIGHUP came; the run is checkpointed and goes on the next time.
      errors.DivergedError: the loss of every member is not finite.
    """
    resolved = {**config.model_dump(mode="json"), "backend_in_force": backend_in_force(check(config))}
    check_resumable(config, directory)
    with RunWriter(directory, resolved) as writer, StopRequests() as requests:
        loop = TrainingLoop(config)
        record = Recorder(config, writer, report)
        try:
            resume(loop, record, writer)
            while loop.agent_steps < config.agent_steps:
                record.add(loop.iterate(), loop.agent_steps)
                if record.due(loop.agent_steps):
                    record.write(loop.progress())
                stopping = requests.received is not None  # asked once: the checkpoint and the end belong together
                ending = stopping or loop.agent_steps >= config.agent_steps
                if ending or loop.passed(config.checkpoint_every):
                    parts = {"loop": loop.state_dict(), "record": record.state_dict(), "positions": writer.positions()}
                    checkpoint.save(directory, parts)
                if stopping and loop.agent_steps < config.agent_steps:
                    raise requests.stopped()
        finally:
            loop.close()
        writer.finish("done", frames=loop.agent_steps * config.action_repeat, **loop.facts)


def resume(loop: TrainingLoop, record: Recorder, writer: RunWriter) -> None:
    """Puts a new loop and its records where the newest checkpoint that fits the records was taken.

    Without any the run starts from the beginning: it was stopped before its first.

    Raises:
      checkpoint.CheckpointError: there are checkpoints, and none can be used.
    """
    damaged = ""
    for path, saved in checkpoint.candidates(writer.directory):
        try:
            writer.restore(saved["positions"])
            loop.load_state_dict(saved["loop"])
            record.load_state_dict(saved["record"], loop.agent_steps)
        except DamagedRecord as error:
            damaged = str(error)
            print(f"mmlib: {error}; trying the checkpoint before it", file=sys.stderr)
            continue
        except WorkersDied:
            raise
        except checkpoint.WRONG_SHAPE as error:
            raise checkpoint.CheckpointError(f"{path} is not this run's: {type(error).__name__}: {error}") from error
        checkpoint.settle(path)
        return
    if damaged:
        raise checkpoint.CheckpointError(f"{damaged}; delete the run's directory to start over")
    writer.restore({})


def check_resumable(config: RunConfig, directory: Path) -> None:
    """Raises ResultsError where going on would lose records.

    That is: it got past its first checkpoint and has none (rows are written before the checkpoint of the same
    iteration, so one that was killed in between may start over); or there are files named as a run's, and no
    config.json, which a run writes first, to say of which.
    """
    if not (directory / "config.json").exists():
        names = [checkpoint.FILE, checkpoint.PREVIOUS, *(f"{r}.jsonl{end}" for r in RECORDS for end in ("", ".gz"))]
        if found := [name for name in names if (directory / name).exists() and (directory / name).stat().st_size]:
            raise ResultsError(
                f"{directory} holds {', '.join(found)} but no config.json that says of which run; "
                "choose another directory, or delete what is there"
            )
        return
    if checkpoint.exists(directory):
        return
    first = (config.checkpoint_every + config.steps_per_iteration) * config.action_repeat
    if Run(directory).done or any(row["frames"] >= first for row in read_rows(directory, "metrics", last=1)):
        raise ResultsError(
            f"{directory} holds a run but no checkpoint to go on from; "
            "choose another directory, or delete that one to start over"
        )


class TrainingLoop:
    """A population of agents, their levels and their learner; `iterate` is one unroll and its updates.

    With lag 0 the loop acts and then learns from what it saw. With lag 1 it learns from the last trajectory while it
    acts with the parameters from before that, in a thread each; V-trace corrects for the difference. The lag is a
    number, not a matter of speed: a seed gives one curve however fast the machine is. The pipeline drains before each
    decision of population based training and at the end.
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
        self.population: pbt.PopulationState | None = None
        if config.pbt is not None:
            adapted = pbt.adapted(config.pbt, agent.spec)
            self.population = pbt.PopulationState.start(
                config.pbt, config.population, self.seeds[3], len(config.levels), adapted
            )
        acting = agent if config.lag == 0 else copy.deepcopy(agent)
        tasks = range(len(config.levels))
        self.actors = [self._actor(acting, task, config.num_envs) for task in tasks]
        evaluated = tasks if config.evaluation_envs else range(0)
        self.evaluators = [self._actor(acting, task, config.evaluation_envs, offset=len(tasks)) for task in evaluated]
        self.hyper = self._hyperparameters(0)
        self.pending: list[Trajectory] | None = None  # made but not learned from (lag 1)
        self.timer = StageTimer()
        self._thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) if config.lag else None

    def _actor(self, agent: MixMatchAgent, task: int, num_envs: int, offset: int = 0) -> Actor:
        config, different = self.config, task + offset  # seeds of the first level are the run's own
        level = levels.make(
            config.levels[task],
            backend=backend_in_force(config),
            num_envs=config.population * num_envs,
            seed=(self.seeds[1] + different) % 2**31,
            action_repeat=config.action_repeat,
            width=config.width,
            height=config.height,
            staggered=config.staggered,
            **config.level_settings,
        )
        seed = self.seeds[2] + different
        return Actor(level, agent, unroll=config.unroll, reward_clip=config.reward_clip, seed=seed, task=task)

    @property
    def agent_steps(self) -> int:
        """Agent steps of each member so far, on all its levels."""
        return sum(actor.agent_steps for actor in self.actors)

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the run's state should know: members that stopped, and why."""
        stopped = {str(member): reason for member, reason in self.learner.stopped.items()}
        return {"stopped_members": stopped} if stopped else {}

    def progress(self) -> Progress:
        """Where it is; the seconds of its stages begin again."""
        return Progress(self.agent_steps, self.learner.updates, self.hyper, self.timer.take())

    def passed(self, interval: int) -> bool:
        """Whether the last iteration reached or passed a multiple of `interval` agent steps."""
        before = self.agent_steps - self.config.steps_per_iteration
        return self.agent_steps // interval > before // interval

    def iterate(self) -> Iteration:
        """One unroll of every environment, the updates that fall into it, and the decisions that it makes due."""
        start = self.agent_steps
        self.hyper = self._hyperparameters(start)
        weights = self.learner.agent.control_weights(self.hyper.alpha)
        if self._thread is None:
            trajectories, episodes, evaluations = self._act(weights)
            self._observe(episodes, evaluations)
            diagnostics = [self._learn(trajectories)]
        else:
            self.actors[0].agent.load_state_dict(self.learner.agent.state_dict())
            future = self._thread.submit(self._act, weights)
            diagnostics = [] if self.pending is None else [self._learn(self.pending)]
            with self.timer("wait"):
                trajectories, episodes, evaluations = future.result()
            self._observe(episodes, evaluations)
            self.pending = trajectories
            if self.agent_steps >= self.config.agent_steps or self._ready():
                diagnostics.append(self._learn(trajectories))
                self.pending = None
        return Iteration(trajectories, episodes, evaluations, diagnostics, self._decide(start))

    def _hyperparameters(self, agent_steps: int) -> Hyperparameters:
        adapted = None if self.population is None else self.population.hyper
        return Hyperparameters.in_force(self.config, self.learner.agent.spec, agent_steps, adapted)

    def _act(self, weights: Tensor) -> tuple[list[Trajectory], list[Episode], list[Episode]]:
        """One unroll on every level; the target alone plays in the evaluation's environments."""
        made = [actor.rollout(weights, self.timer) for actor in self.actors]
        target = target_weights(weights)
        with self.timer("evaluate"):
            watched = [evaluator.rollout(target, StageTimer()) for evaluator in self.evaluators]
        episodes, evaluations = ([e for _, ended in rolled for e in ended] for rolled in (made, watched))
        return [trajectory for trajectory, _ in made], episodes, evaluations

    def _learn(self, trajectories: list[Trajectory]) -> dict[str, Tensor]:
        with self.timer("learn"):
            diagnostics = self.learner.update(trajectories, self.hyper)
        if len(self.learner.stopped) == self.config.population:
            raise DivergedError("; ".join(self.learner.stopped.values()))
        return diagnostics

    def _observe(self, episodes: list[Episode], evaluations: list[Episode]) -> None:
        """Books the episodes that make members ready, and the returns that they are compared by."""
        if self.population is not None and self.config.pbt is not None:
            compared = evaluations if self.evaluators else episodes
            pbt.observe(self.population, self.config.pbt, episodes, compared)

    def _ready(self) -> list[int]:
        """The members that are to decide."""
        if self.population is None or self.config.pbt is None:
            return []
        return pbt.ready(self.population, self.config.pbt)

    def _decide(self, start: int) -> list[pbt.Decision]:
        """Population based training: what the members that are ready do, done.

        The next rollout acts with it, at either lag: with lag 1 the pipeline has been drained, and the acting copy
        takes the learner's parameters before each rollout. So whatever begins from here on is played by the new member.
        """
        if self.population is None or self.config.pbt is None:
            return []
        decisions = []
        for member in self._ready():
            decision = pbt.decide(self.population, self.config.pbt, member, self.learner.stopped)
            if decision.copied:
                self._copy_member(decision.opponent, member)
            pbt.apply(self.population, decision, self.actors[0].steps)
            decisions.append(decision)
        self.hyper = self._hyperparameters(start)
        return decisions

    def _copy_member(self, donor: int, member: int) -> None:
        """Weights and optimiser state; the member's environments go on, with their recurrent states at zero."""
        self.learner.copy_member(donor, member)
        for actor in (*self.actors, *self.evaluators):
            actor.forget(member)

    def state_dict(self) -> dict[str, Any]:
        """Everything the run's future depends on (between iterations)."""
        return {
            "pending": None if self.pending is None else [vars(trajectory) for trajectory in self.pending],
            "learner": self.learner.state_dict(),
            "actors": [actor.state_dict() for actor in (*self.actors, *self.evaluators)],
            "population": None if self.population is None else self.population.as_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self.pending = None if saved["pending"] is None else [Trajectory(**fields) for fields in saved["pending"]]
        self.learner.load_state_dict(saved["learner"])
        for actor, state in zip((*self.actors, *self.evaluators), saved["actors"], strict=True):
            actor.load_state_dict(state)
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
    shape = levels.interface(config.levels[0], backend_in_force(config)).observation_shape
    return MixMatchAgent(
        specification(config),
        config.population,
        height=config.height,
        width=config.width,
        conv1=config.conv1,
        vector=shape[0] if len(shape) == 1 else None,
        dtype=config.dtype,
    )
