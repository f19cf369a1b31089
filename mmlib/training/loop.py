"""The loop: act, learn, adapt, record. A run's directory is all it leaves, and all it needs to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmlib.alternatives import bandit, simplex
from mmlib.config import RunConfig
from mmlib.errors import DivergedError, ResultsError, WorkersDied, device_failure, out_of_memory
from mmlib.method import pbt
from mmlib.method.learner import Hyperparameters
from mmlib.method.trajectory import Episode
from mmlib.runs.reader import Run, check_same_run, finished, read_config
from mmlib.runs.records import RECORDS, DamagedRecord, read_rows
from mmlib.runs.writer import RunWriter
from mmlib.training import checkpoint, teacher
from mmlib.training.fitting import as_recorded, check, specification
from mmlib.training.fleet import Fleet, InProcess, ShardDied
from mmlib.training.recorder import Recorder, Report
from mmlib.training.shard import Outcome, join, seeds
from mmlib.training.signals import StopRequests

DEATHS = 3  # in a row, without a checkpoint between them, after which a run that loses shards ends


def train(
    config: RunConfig,
    directory: Path,
    report: Report | None = None,
    make_fleet: Callable[[RunConfig], Fleet] = InProcess,
) -> None:
    """Trains one run to its end, from its last checkpoint if it has one.

    Args:
      config: what to run.
      directory: where its records go (see runs/reader.py).
      report: called with each row of timing plus the latest mean return, for progress displays.
      make_fleet: puts the members to work, in this process or elsewhere. A fleet that loses a shard is made anew, and
        the run goes on from its last checkpoint.

    Raises:
      config.ConfigError: a method, level, device or teacher that there is not.
      errors.ResultsError: the directory cannot be written, is in use, or holds another configuration's run.
      checkpoint.CheckpointError: no checkpoint of the run can be used.
      errors.Stopped: SIGINT, SIGTERM or SIGHUP came; the run is checkpointed and goes on the next time.
      errors.DivergedError: the loss of every member is not finite.
      errors.WorkersDied: DeepMind Lab's workers, again and again.
      fleet.ShardDied: likewise a shard.
    """
    with StopRequests() as requests:
        for _ in iterations(config, directory, requests, report, make_fleet):
            pass


def iterations(
    config: RunConfig,
    directory: Path,
    requests: StopRequests,
    report: Report | None,
    make_fleet: Callable[[RunConfig], Fleet],
) -> Iterator[TrainingLoop]:
    """What `train` does, with a pause before each iteration."""
    resolved = as_recorded(check(config))
    if finished(directory, config.agent_steps):
        check_same_run(directory, resolved, shorter=False)
        return
    check_resumable(config, directory)
    taught = {} if checkpoint.names(directory) else teacher.weights(config, directory)
    with RunWriter(directory, resolved) as writer:
        deaths: list[int] = []  # the agent steps from which a run went on that then lost a shard
        while True:
            began = 0
            try:
                with closing(make_fleet(config)) as fleet:
                    if taught:
                        fleet.everyone("teach", taught)
                    loop, record = TrainingLoop(config, fleet), Recorder(config, writer, report)
                    resume(loop, record, writer)
                    began = loop.agent_steps
                    yield from _run(loop, record, writer, requests)
                break
            except ShardDied as death:
                deaths.append(began)
                if deaths[-DEATHS:] == [began] * DEATHS:
                    raise
                print(f"mmlib: {death}; going on from the last checkpoint", file=sys.stderr, flush=True)
        writer.finish("done", frames=loop.agent_steps * config.action_repeat, **loop.facts)


def _run(loop: TrainingLoop, record: Recorder, writer: RunWriter, requests: StopRequests) -> Iterator[TrainingLoop]:
    """Iterates to the end of the run, or to its checkpoint after somebody asked it to stop."""
    config = loop.config
    while loop.agent_steps < config.agent_steps:
        yield loop
        record.add(loop.iterate(), loop.agent_steps)
        if record.due(loop.agent_steps):
            record.write(loop.agent_steps, loop.updates, loop.hyper, loop.seconds)
            loop.seconds = {}
        stopping = requests.received is not None  # asked once: the checkpoint and the end belong together
        ending = stopping or loop.agent_steps >= config.agent_steps
        if ending or loop.passed(config.checkpoint_every):
            parts = {"loop": loop.state_dict(), "record": record.state_dict(), "positions": writer.positions()}
            checkpoint.save(writer.directory, parts)
        if stopping and loop.agent_steps < config.agent_steps:
            raise requests.stopped()


def resume(loop: TrainingLoop, record: Recorder, writer: RunWriter) -> None:
    """Puts a new loop and its records where the newest checkpoint that fits the records was taken.

    Without any the run starts from the beginning: it was stopped before its first.

    Raises:
      checkpoint.CheckpointError: there are checkpoints, and none can be used.
    """
    damaged = ""
    for path, saved in checkpoint.candidates(writer.directory):
        try:
            loop.load_state_dict(saved["loop"])
            record.load_state_dict(saved["record"], loop.agent_steps)
            writer.restore(saved["positions"])  # last: it drops records
        except DamagedRecord as error:
            damaged = str(error)
            print(f"mmlib: {error}; trying the checkpoint before it", file=sys.stderr)
            continue
        except WorkersDied:
            raise
        except checkpoint.WRONG_SHAPE as error:
            if out_of_memory(error) or device_failure(error):
                raise
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
    if checkpoint.names(directory):
        return
    every = read_config(directory).get("checkpoint_every", config.checkpoint_every)
    first = (every + config.steps_per_iteration) * config.action_repeat
    if Run(directory).done or any(row["frames"] >= first for row in read_rows(directory, "metrics", last=1)):
        raise ResultsError(
            f"{directory} holds a run but no checkpoint to go on from; "
            "choose another directory, or delete that one to start over"
        )


class Rule(Protocol):
    """What adapts hyperparameters by the returns: the functions of `method.pbt`, `alternatives.simplex` or `bandit`."""

    def ready(self, state: Any, config: Any) -> list[int]: ...
    def decide(self, state: Any, config: Any, member: int, stopped: Collection[int]) -> pbt.Decision | bandit.Round: ...
    def apply(self, state: Any, decision: Any, now: int) -> None: ...


class TrainingLoop:
    """A population at work in the shards of a fleet; `iterate` is one unroll of all of them and its updates.

    Decisions of population based training, or of a bandit, are made here, between two iterations; with lag 1 (see
    `Shard`) the pipeline drains before each of them and at the end.
    """

    def __init__(self, config: RunConfig, fleet: Fleet | None = None):
        self.config, self.fleet = config, InProcess(config) if fleet is None else fleet
        self.spec = specification(config)
        self.rule, self.settings, self.population = self._adaptation()
        self.steps = self.updates = 0  # agent steps of each environment; updates
        self.stopped: dict[int, str] = {}  # members whose loss was not finite, and the reason
        self.hyper = self.hyperparameters(0)
        self.seconds: dict[str, float] = {}  # by stage, since the last row of metrics

    @property
    def agent_steps(self) -> int:
        """Agent steps of each member so far, on all its levels."""
        return self.steps * self.config.num_envs * len(self.config.levels)

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the run's state should know: members that stopped, and why."""
        stopped = {str(member): _said(member, reason) for member, reason in self.stopped.items()}
        return {"stopped_members": stopped} if stopped else {}

    def _adaptation(self) -> tuple[Rule, Any, pbt.PopulationState | None]:
        """What adapts hyperparameters by the returns: its functions, its settings, and where it starts, if anything."""
        config, seed, num_levels = self.config, seeds(self.config)[3], len(self.config.levels)
        if self.spec.alpha == "bandit":
            return bandit, config.bandit, bandit.start(config.population, seed, num_levels)
        if config.pbt is None:
            return pbt, None, None
        adapted = pbt.adapted(config.pbt, self.spec)
        state = pbt.PopulationState.start(config.pbt, config.population, seed, num_levels, adapted)
        if self.spec.alpha == "simplex" and "alpha" in adapted:
            return simplex, config.pbt, simplex.begin(state, len(self.spec.active()))
        return pbt, config.pbt, state

    def passed(self, interval: int) -> bool:
        """Whether the last iteration reached or passed a multiple of `interval` agent steps."""
        before = self.agent_steps - self.config.steps_per_iteration
        return self.agent_steps // interval > before // interval

    def iterate(self) -> Outcome:
        """One unroll of every environment, the updates that fall into it, and the decisions that it makes due."""
        start = self.agent_steps
        self.hyper = self.hyperparameters(start)
        made = self._merged(self.fleet.everyone("iterate", self.hyper))
        if self.population is not None:
            compared = made.evaluations if self.config.evaluation_envs else made.episodes
            pbt.observe(self.population, self.settings, made.episodes, compared)
        if self.config.lag and (self.agent_steps >= self.config.agent_steps or self._ready()):
            made.diagnostics += self._merged(self.fleet.everyone("drain", self.hyper)).diagnostics
        made.decisions = self._decide(start)
        return made

    def _merged(self, parts: list[Outcome]) -> Outcome:
        """The outcomes of all shards as one of the population; raises DivergedError if no member is left."""
        self.steps, self.updates = parts[0].steps, parts[0].updates  # shards go in step
        for part in parts:
            for stage, seconds in part.seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds / len(parts)
        self.stopped = {member: reason for part in parts for member, reason in part.stopped.items()}
        if len(self.stopped) == self.config.population:
            raise DivergedError("; ".join(_said(member, reason) for member, reason in self.stopped.items()))
        return replace(
            parts[0],
            values=np.concatenate([part.values for part in parts]),
            diagnostics=join([part.diagnostics for part in parts]),
            episodes=_in_order(e for part in parts for e in part.episodes),
            evaluations=_in_order(e for part in parts for e in part.evaluations),
        )

    def hyperparameters(self, agent_steps: int) -> Hyperparameters:
        """Those in force at some agent steps of each member."""
        adapted = None if self.population is None else self.population.hyper
        return Hyperparameters.in_force(self.config, self.spec, agent_steps, adapted)

    def _ready(self) -> list[int]:
        """The members that are to decide."""
        return [] if self.population is None else self.rule.ready(self.population, self.settings)

    def _decide(self, start: int) -> list[pbt.Decision | bandit.Round]:
        """What the members that are ready do, done.

        The next rollout acts with it, at either lag: with lag 1 the pipeline has been drained, and the acting copy
        takes the learner's parameters before each rollout. So whatever begins from here on is played by the new member.
        """
        decisions = []
        for member in self._ready():
            decision = self.rule.decide(self.population, self.settings, member, self.stopped)
            if decision.donor is not None:
                self.copy(decision.donor, member)
                self.stopped.pop(member, None)
            self.rule.apply(self.population, decision, self.steps)
            decisions.append(decision)
        self.hyper = self.hyperparameters(start)
        return decisions

    def copy(self, donor: int, member: int) -> None:
        """Gives a member the donor's weights and optimiser state."""
        (values,) = filter(None, self.fleet.everyone("member", donor))
        self.fleet.everyone("replace", member, values)

    def state_dict(self) -> dict[str, Any]:
        """Everything the run's future depends on (between iterations), however it is divided into shards."""
        population = None if self.population is None else asdict(self.population)
        return {**join(self.fleet.everyone("state_dict")), "population": population}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken, with these shards or with others."""
        self.fleet.everyone("load_state_dict", {name: part for name, part in saved.items() if name != "population"})
        self.steps, self.updates = saved["actors"][0]["steps"], saved["learner"]["updates"]
        self.stopped = dict(saved["stopped"])
        if self.population is not None:
            self.population = type(self.population)(**saved["population"])

    def close(self) -> None:
        """Ends the shards."""
        self.fleet.close()


def _in_order(episodes: Iterable[Episode]) -> list[Episode]:
    """Episodes of many shards in the order of one."""
    return sorted(episodes, key=lambda e: (e.task, e.steps))


def _said(member: int, reason: str) -> str:
    return f"member {member}: {reason}"
