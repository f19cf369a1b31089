"""What a run leaves behind: gathers what happens between two rows of metrics and writes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib.alternatives import simplex
from mmlib.config import RunConfig
from mmlib.method.learner import Hyperparameters, average
from mmlib.method.trajectory import Episode
from mmlib.runs.writer import RunWriter
from mmlib.training.fitting import specification
from mmlib.training.shard import Outcome

Report = Callable[[dict[str, Any]], None]


class Recorder:
    """Gathers what happens between two rows of metrics and writes them."""

    def __init__(self, config: RunConfig, writer: RunWriter, report: Report | None):
        self.config, self.writer, self.report = config, writer, report
        self.written = self.resumed = 0  # agent steps of the last row, and at which this process began
        self.started = self.last = time.monotonic()
        self.space = specification(config).space
        self._clear()

    def _clear(self) -> None:
        self.diagnostics: list[dict[str, Tensor]] = []
        self.counts = np.zeros((self.config.population, len(self.space.vectors)), dtype=np.int64)
        self.returns: list[list[float]] = [[] for _ in range(self.config.population)]

    def add(self, outcome: Outcome, agent_steps: int) -> None:
        """Takes what an iteration of the loop brought; episodes and decisions are written at once."""
        self.diagnostics += outcome.diagnostics
        self.counts += outcome.values
        for e in outcome.episodes:
            self.returns[e.member].append(e.episode_return)
        self.writer.append("episodes", self._rows(outcome.episodes))
        self.writer.append("evaluations", self._rows(outcome.evaluations))
        frames = agent_steps * self.config.action_repeat
        for decision in outcome.decisions:
            self.writer.append(decision.record, [decision.as_row(frames, self._frames_a_step)])

    @property
    def _frames_a_step(self) -> int:
        """Frames of a member while each of its environments takes an agent step."""
        return self.config.num_envs * len(self.config.levels) * self.config.action_repeat

    def _rows(self, episodes: Iterable[Episode]) -> Iterable[dict[str, Any]]:
        """Rows of episodes, stamped with the frames that the member had trained on: all environments step together."""
        levels = self.config.levels
        for e in episodes:
            row = {"frames": e.steps * self._frames_a_step, "member": e.member, "return": e.episode_return}
            row |= {"length_frames": e.length_frames, "began": e.began * self._frames_a_step}
            yield row if len(levels) == 1 else {**row, "level": levels[e.task]}

    def due(self, agent_steps: int) -> bool:
        """Whether a row of metrics is due; with lag 1 an iteration after the pipeline drained has none to write."""
        if not self.diagnostics:
            return False
        every = self.config.log_every
        return agent_steps // every > self.written // every or agent_steps >= self.config.agent_steps

    def write(self, agent_steps: int, updates: int, hyper: Hyperparameters, seconds: dict[str, float]) -> None:
        """Writes a row of metrics a member and a row of timing.

        Args:
          agent_steps: of each member so far.
          updates: so far.
          hyper: those in force, `[P]`.
          seconds: by stage, since the row before.
        """
        now = time.monotonic()
        means = average(self.diagnostics)
        common = {
            "frames": agent_steps * self.config.action_repeat,
            "agent_steps": agent_steps,
            "updates": updates,
        }
        rows = []
        for p, returns in enumerate(self.returns):
            row: dict[str, Any] = {**common, "member": p}
            row |= {name: float(f"{value:.6g}") for name, value in simplex.row(hyper, p).items()}
            row |= {"return_mean": float(np.mean(returns)) if returns else None, "episodes": len(returns)}
            row |= {name: round(float(value[p]), 6) for name, value in means.items()}
            taken = self.counts[p].sum() // len(self.space.group_sizes)
            marginals = self.counts[p] @ self.space.features / max(1, taken)
            rows.append(row | {"action_marginals": [round(float(x), 5) for x in marginals]})
        self.writer.append("metrics", rows)
        steps = (agent_steps - max(self.written, self.resumed)) * self.config.population
        timing = {
            "frames": common["frames"],
            "seconds": round(now - self.started, 2),
            "agent_steps_per_second": round(steps / max(now - self.last, 1e-9), 1),
            "stages": {name: round(value / max(now - self.last, 1e-9), 3) for name, value in seconds.items()},
        }
        self.writer.append("timing", [timing])
        self._tell(timing)
        self.written, self.last = agent_steps, now
        self._clear()

    def _tell(self, timing: dict[str, Any]) -> None:
        """Calls `report`; a display that fails is not called again, and ends no run."""
        if self.report is None:
            return
        everything = [r for returns in self.returns for r in returns]
        try:
            self.report({**timing, "return": float(np.mean(everything)) if everything else None})
        except Exception as error:
            logging.getLogger(__name__).warning("the display of progress failed and is off now: %r", error)
            self.report = None

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered since the last row."""
        return {
            "diagnostics": self.diagnostics,
            "counts": torch.as_tensor(self.counts),
            "returns": self.returns,
            "written": self.written,
        }

    def load_state_dict(self, saved: dict[str, Any], agent_steps: int) -> None:
        """Continues where `state_dict` was taken, at `agent_steps` agent steps."""
        self.diagnostics, self.returns, self.written = (saved[name] for name in ("diagnostics", "returns", "written"))
        self.counts[:], self.resumed = saved["counts"].numpy(), agent_steps
