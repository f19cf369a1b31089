"""Sample Factory's APPO, on MiniLab's own batch as one environment of many agents or on single environments.

Its last version wants Gymnasium 0.29, for which `mmlib.levels.gymnasium` is too new: the levels are stepped directly.
The network sees frames only.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.algo.utils.context import global_model_factory
from sample_factory.algo.utils.misc import ExperimentStatus
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.encoder import Encoder
from sample_factory.train import make_runner

from benchmarks.peers.measure import Measured, Meter, arguments, largest_change, report
from benchmarks.peers.network import ACTIONS, FEATURES, Torso
from mmlib import levels
from mmlib.spaces import SMALL


class Batch(gymnasium.Env):
    """MiniLab's batch as one environment of many agents, each of whose episodes is followed by its next by itself."""

    is_multiagent = True

    def __init__(self, args: argparse.Namespace, num_agents: int, seed: int):
        self.level = levels.make(args.level, "minilab", num_agents, seed, width=args.width, height=args.height)
        self.num_agents, self.render_mode = num_agents, None
        self.observation_space = gymnasium.spaces.Box(0, 255, (3, args.height, args.width), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self.infos: list[dict[str, Any]] = [{} for _ in range(num_agents)]

    def reset(self, **_: Any) -> tuple[Any, Any]:
        """Frames `[B, 3, H, W]`."""
        return self.level.reset(), self.infos

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """An agent step of every agent, of actions `[B]`."""
        step = self.level.step(SMALL.encode(np.asarray(action).reshape(self.num_agents)))
        return step.observation, step.reward, np.zeros_like(step.done), step.done, self.infos

    def close(self) -> None:
        """Releases the level."""
        self.level.close()


class Single(gymnasium.Wrapper):
    """A batch of one as an environment of one agent, which Sample Factory resets at an episode's end."""

    is_multiagent, num_agents = False, 1

    def __init__(self, batch: Batch):
        super().__init__(batch)
        self.batch, self.frame = batch, None

    def reset(self, **_: Any) -> tuple[Any, Any]:
        """A frame `[3, H, W]`: of the episode that has begun by itself, but for the first."""
        if self.frame is None:
            self.frame = self.batch.reset()[0][0].copy()
        return self.frame, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """An agent step."""
        frames, reward, _, done, _ = self.batch.step(action)
        self.frame = frames[0].copy()
        return self.frame, float(reward[0]), False, bool(done[0]), {}


def make_env(
    args: argparse.Namespace, name: str, cfg: Any, env_config: Any, render_mode: str | None = None
) -> gymnasium.Env:
    """One of Sample Factory's environments, each with episodes of its own."""
    batch = Batch(args, args.agents_per_env, env_config.env_id if env_config else 0)
    return batch if args.agents_per_env > 1 else Single(batch)


class AppendixA(Encoder):
    """The torso of appendix A; Sample Factory's own LSTM and heads follow."""

    def __init__(self, args: argparse.Namespace, cfg: Any, space: Any):
        super().__init__(cfg)
        self.torso = Torso(args.height, args.width)

    def forward(self, observations: Any) -> torch.Tensor:
        """Features `[M, 256]`."""
        return self.torso(observations["obs"])

    def get_out_size(self) -> int:
        """256."""
        return FEATURES


class Watch(AlgoObserver):
    """Reads the meter after each training step, and ends the training when the time is over."""

    def __init__(self, meter: Meter):
        self.meter, self.saved = meter, False

    def on_training_step(self, runner: Any, training_iteration_since_resume: int) -> None:
        """Books what the learner has learned from; the first time, has the weights saved."""
        if not self.saved:
            runner.save_periodic.emit()
            self.saved = True
        if runner.env_steps and not self.meter.add(runner.env_steps[0]):
            runner.cfg.train_for_env_steps = 0


def settings(args: argparse.Namespace, directory: str) -> list[str]:
    """Sample Factory's command line: its defaults, but for the network, the optimiser's batch and where things run."""
    batch = args.num_workers * args.envs_per_worker * args.agents_per_env * args.rollout
    chosen: dict[str, Any] = dict(env="minilab", experiment="run", train_dir=directory, device="cpu", seed=0)
    chosen |= dict(num_workers=args.num_workers, num_envs_per_worker=args.envs_per_worker, batch_size=batch)
    chosen |= dict(worker_num_splits=args.splits, rollout=args.rollout, batched_sampling=args.agents_per_env > 1)
    chosen |= dict(serial_mode=bool(args.serial), async_rl=not args.serial, set_workers_cpu_affinity=False)
    chosen |= dict(use_rnn=True, rnn_type="lstm", rnn_size=FEATURES, nonlinearity="relu", normalize_input=False)
    chosen |= dict(
        reward_clip=1.0, save_every_sec=10**6, save_best_every_sec=10**6, decorrelate_envs_on_one_worker=False
    )
    return [f"--{name}={value}" for name, value in chosen.items()]


def weights(path: Path) -> list[torch.Tensor]:
    """Those of a checkpoint, without the normalisers' statistics."""
    model = torch.load(path, map_location="cpu", weights_only=False)["model"]
    return [value for name, value in model.items() if "normalizer" not in name]


def train(args: argparse.Namespace, together: Any = None) -> Measured:
    """One run."""
    register_env("minilab", partial(make_env, args))
    global_model_factory().register_encoder_factory(partial(AppendixA, args))
    torch.set_num_threads(args.threads)  # in serial mode; its workers have one each
    with tempfile.TemporaryDirectory() as directory:
        parser, _ = parse_sf_args(settings(args, directory))
        _, runner = make_runner(parse_full_cfg(parser, settings(args, directory)))
        meter = Meter(args.seconds, args.warm_up, together)
        runner.register_observer(Watch(meter))
        status = runner.init()
        if status == ExperimentStatus.SUCCESS:
            status = runner.run()
        if status != ExperimentStatus.SUCCESS:
            raise RuntimeError(f"Sample Factory ended with status {status}")
        saved = sorted(Path(directory).glob("run/checkpoint_p0/checkpoint_*.pth"))
        change = largest_change(weights(saved[0]), weights(saved[-1]))
    return meter.rate, meter.updates, change


if __name__ == "__main__":
    own = dict(num_workers=1, envs_per_worker=1, agents_per_env=32, splits=1, serial=1, threads=1, rollout=32)
    report(train, arguments(__doc__, **own))
