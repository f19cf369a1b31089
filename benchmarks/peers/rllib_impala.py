"""RLlib's IMPALA, on MiniLab's Gymnasium batch. The network sees frames only."""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}  # before Ray is imported

import numpy as np
import ray
import torch
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.tune.registry import register_env
from torch import Tensor

from benchmarks.peers.measure import Measured, Meter, arguments, largest_change, report
from benchmarks.peers.network import FEATURES, Network


def make_env(config: dict[str, Any]) -> Any:
    """One environment, or a batch of `num_envs` of them where RLlib asks for that."""
    import mmlib.levels.gymnasium as minilab  # here: this function is sent to the runners

    size = dict(width=config["width"], height=config["height"])
    if "num_envs" in config:
        return minilab.MiniLabVectorEnv(config["level"], num_envs=config["num_envs"], **size)
    return minilab.MiniLabEnv(config["level"], **size)


class AppendixA(TorchRLModule, ValueFunctionAPI):
    """The network of appendix A; RLlib's batches are `[B, T, ...]` and have no episode's beginning inside."""

    def setup(self) -> None:
        """Makes it for the frames of its observation space."""
        height, width, _ = self.observation_space.shape
        self.network = Network(height, width)

    def get_initial_state(self) -> dict[str, Any]:
        """Zeros."""
        return {name: np.zeros(FEATURES, np.float32) for name in ("hidden", "cell")}

    def _run(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        frames = batch[Columns.OBS].permute(1, 0, 4, 2, 3)  # (T, B, 3, H, W)
        state = batch[Columns.STATE_IN]["hidden"], batch[Columns.STATE_IN]["cell"]
        first = torch.zeros(frames.shape[:2], dtype=torch.bool)
        logits, values, (hidden, cell) = self.network(frames, first, state)
        return logits.transpose(0, 1), values.transpose(0, 1), {"hidden": hidden, "cell": cell}

    def _forward(self, batch: dict[str, Any], **more: Any) -> dict[str, Any]:
        logits, _, state = self._run(batch)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.STATE_OUT: state}

    def _forward_train(self, batch: dict[str, Any], **more: Any) -> dict[str, Any]:
        logits, values, _ = self._run(batch)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: values}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Values `[B, T]`: what the forward pass before has found, where there was one."""
        return self._run(batch)[1] if embeddings is None else embeddings


def make_config(args: argparse.Namespace) -> Any:
    """RLlib's defaults, but for the network, the sizes and where things run."""
    env = dict(level=args.level, width=args.width, height=args.height)
    # RLlib appends a step to each rollout, for its last value: one sequence, not two of which one is padding.
    module = RLModuleSpec(module_class=AppendixA, model_config={"max_seq_len": args.rollout + 1})
    config = IMPALAConfig().environment("minilab", env_config=env)
    config.env_runners(
        num_env_runners=args.runners,
        num_envs_per_env_runner=args.num_envs,
        gym_env_vectorize_mode="vector_entry_point",
        rollout_fragment_length=args.rollout,
        num_cpus_per_env_runner=0.5,
    )
    config.learners(num_learners=args.learners, num_cpus_per_learner=0.5)
    config.training(train_batch_size_per_learner=args.batch)
    config.rl_module(rl_module_spec=module)
    return config.reporting(min_time_s_per_iteration=1.0)


def flat_weights(algorithm: Any) -> list[Tensor]:
    """Copies of the learner's weights."""
    state = algorithm.learner_group.get_weights()["default_policy"]
    return [torch.from_numpy(np.array(value)) for value in state.values()]


def train(args: argparse.Namespace, together: Any = None) -> Measured:
    """One run; as an update counts each of RLlib's results, which is of several."""
    torch.set_num_threads(args.threads)
    register_env("minilab", make_env)
    ray.init(
        num_cpus=args.cores, num_gpus=0, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False
    )
    algorithm = make_config(args).build_algo()
    try:
        before, meter, learned, going_on = flat_weights(algorithm), Meter(args.seconds, args.warm_up, together), 0, True
        while going_on:
            result = algorithm.train().get("learners", {}).get("__all_modules__", {})
            trained = int(result.get("num_env_steps_trained_lifetime", 0)) * args.rollout // (args.rollout + 1)
            if trained > learned:
                learned, going_on = trained, meter.add(trained)
        return meter.rate, meter.updates, largest_change(before, flat_weights(algorithm))
    finally:
        algorithm.stop()
        ray.shutdown()


if __name__ == "__main__":
    report(train, arguments(__doc__, runners=1, num_envs=32, rollout=50, batch=1600, learners=0, threads=1))
