"""Throughput of each stage, as agent steps a second and as shares of ceilings measured in the same run."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.peers.network import first_convolution
from mmlib.alternatives.methods import METHODS
from mmlib.cli.common import bad_input
from mmlib.config import RunConfig, make_config
from mmlib.method.learner import Hyperparameters
from mmlib.numerics.threads import cores
from mmlib.training.fitting import check
from mmlib.training.loop import TrainingLoop
from mmlib.training.shard import Shard


def run(
    level: str = "explore_object_locations_small",
    width: int = 96,
    height: int = 72,
    method: str = "mm",
    num_envs: int = 32,
    unroll: int = 100,
    dtype: str = "float32",
    seconds: float = 10.0,
    device: str = "cpu",
    population: int = 1,
) -> dict[str, Any]:
    """Measures the engine, acting, learning and the whole loop, each for about `seconds`.

    Returns:
      the setting, the machine, agent steps a second of each part over all members, and shares: the whole loop with
      lag 0 of the serial ceiling 1 / (1/engine + 1/acting + 1/learning), and with lag 1 of min(engine and acting,
      learning).
    """
    setting = dict(level=level, method=method, width=width, height=height, num_envs=num_envs, unroll=unroll)
    setting |= dict(population=population)
    conv1 = first_convolution(height)
    config = check(make_config({**setting, "dtype": dtype, "device": device, "conv1": conv1, "alpha": [[0, 0.5]]}))
    shard = Shard(config)
    hyper = Hyperparameters.in_force(config, shard.learner.agent.spec, 0).on(device)
    weights = shard.learner.agent.control_weights(hyper.alpha)
    (actor,) = shard.actors
    trajectory, _ = actor.rollout(weights)
    rng = np.random.default_rng(0)
    space = METHODS[method].space
    together = population * num_envs
    actions = [space.encode(rng.integers(space.num_actions, size=together)) for _ in range(64)]

    def engine() -> int:
        for vectors in actions:
            actor.level.step(vectors)
        return len(actions) * together

    def act() -> int:
        first = torch.zeros_like(trajectory.first[0])
        with torch.no_grad():
            for t in range(20):
                frames = trajectory.observation[t % unroll]
                actor.decide(frames, first, actor.state, weights).action.cpu()
        return 20 * together

    def learn() -> int:
        shard.learner.update([trajectory], hyper)
        if device != "cpu":
            torch.cuda.synchronize()
        return together * unroll

    rates = {name: _rate(part, seconds) for name, part in (("engine", engine), ("acting", act), ("learning", learn))}
    shard.close()
    for lag in (0, 1):
        rates[f"loop_lag{lag}"] = _loop_rate(config.model_copy(update={"lag": lag}), seconds)
    return {
        "setting": {**setting, "dtype": dtype, "device": device},
        "machine": machine(),
        "gpu_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if device != "cpu" else None,
        "agent_steps_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "share_of_ceiling": _shares(rates),
    }


def _shares(rates: dict[str, float]) -> dict[str, float]:
    """The whole loop's speed as shares of what its parts allow: in turn (lag 0), at once in two threads (lag 1)."""
    serial = 1 / sum(1 / rates[name] for name in ("engine", "acting", "learning"))
    overlapped = min(1 / (1 / rates["engine"] + 1 / rates["acting"]), rates["learning"])
    return {
        "loop_lag0": round(rates["loop_lag0"] / serial, 3),
        "loop_lag1": round(rates["loop_lag1"] / overlapped, 3),
    }


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, usable cores, PyTorch."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def format(result: dict[str, Any]) -> str:
    """The result as a few lines of text."""
    setting, host = result["setting"], result["machine"]
    lines = [
        ", ".join(f"{name} {value}" for name, value in setting.items()),
        f"{host['processor']}, {host['cores']} cores, torch {host['torch']}, GPU {host['gpu'] or 'none'}",
        f"{'part':<22}{'agent steps/s':>14}  share of its ceiling",
    ]
    if result["gpu_memory_gb"] is not None:
        lines.insert(2, f"at most {result['gpu_memory_gb']:.1f} GB of the GPU's memory")
    alone = ", one thread" if result["gpu_memory_gb"] is None else ""  # beside a GPU the engine has several
    notes = {part: f"{part}{alone}" for part in ("engine", "acting", "learning")}
    notes |= {"loop_lag0": "whole loop, lag 0", "loop_lag1": "whole loop, lag 1"}
    for name, rate in result["agent_steps_per_second"].items():
        share = result["share_of_ceiling"].get(name)
        lines.append(f"{notes[name]:<22}{rate:>14,.0f}" + (f"  {share:.0%}" if share else ""))
    return "\n".join(lines)


def _rate(part: Callable[[], int], seconds: float) -> float:
    """Agent steps a second of `part`, which returns how many it did; once uncounted first."""
    part()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        steps += part()
    return steps / (time.perf_counter() - start)


def _loop_rate(config: RunConfig, seconds: float) -> float:
    loop = TrainingLoop(config)
    try:

        def iterate() -> int:
            loop.iterate()
            return config.steps_per_iteration * config.population

        return _rate(iterate, seconds)
    finally:
        loop.close()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    level: Annotated[str, typer.Option()] = "explore_object_locations_small",
    width: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 96,
    height: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 72,
    method: Annotated[str, typer.Option()] = "mm",
    num_envs: Annotated[int, typer.Option(help="Environments of the agent.")] = 32,
    unroll: Annotated[int, typer.Option(help="Agent steps of a trajectory.")] = 100,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seconds: Annotated[float, typer.Option(help="For each part.")] = 10.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    population: Annotated[int, typer.Option(min=1, help="Members.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure agent steps a second: engine, acting, learner, whole loop, and shares of the measured ceilings.

    \b
    Examples:
      python -m benchmarks.speed
      python -m benchmarks.speed --level nav_maze_static_01 --dtype bfloat16 --json
    """
    with bad_input():
        result = run(level, width, height, method, num_envs, unroll, dtype, seconds, device, population)
    print(json.dumps(result, indent=2) if as_json else format(result))


if __name__ == "__main__":
    app()
