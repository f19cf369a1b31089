"""How many operations an agent step and an update are on a GPU, counted without one.

Each is at least one kernel to launch, some 5 µs of the host's time, whatever its size; views are none. On the device
"meta" tensors have shapes and no numbers, and take the same path as on CUDA.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.peers.measure import LEVEL
from benchmarks.peers.network import first_convolution
from mmlib.alternatives.methods import METHODS
from mmlib.cli.common import bad_input
from mmlib.config import RunConfig, make_config
from mmlib.method.agent import MixMatchAgent
from mmlib.method.learner import Hyperparameters
from mmlib.method.trajectory import Trajectory
from mmlib.training.fitting import check
from mmlib.training.shard import LEARNERS, make_agent

WITHOUT_KERNEL = ("_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "new_empty")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Count(TorchDispatchMode):
    """Counts operations by name, but views."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not view and name not in WITHOUT_KERNEL:
            self.operations[name] += 1
        return func(*args, **(kwargs or {}))


def count(method: str, population: int, **setting: Any) -> tuple[Counter[str], Counter[str]]:
    """The operations of an agent step of a whole population on one level, and of an update on all its levels."""
    level = "+".join([LEVEL] * (METHODS[method].tasks or 1))
    config = check(make_config({"level": level, "method": method, "population": population, **setting}))
    config = config.model_copy(update={"device": "meta"})
    with torch.device("meta"):
        agent = make_agent(config)
    learner = LEARNERS[agent.spec.learner](agent, config)
    hyper = Hyperparameters.in_force(config, agent.spec, 0).on("meta")
    learner._note_the_stopped = lambda updates: None  # type: ignore[method-assign]  # it asks for numbers
    seen = [_trajectory(agent, config, task) for task in range(len(config.levels))]
    weights, state = agent.control_weights(hyper.alpha), agent.initial_state(config.num_envs)
    for _ in range(2):  # tables that are made once are no part of it
        with Count() as acting, torch.no_grad():
            agent.step(seen[0].observation[0], seen[0].first[0], state, weights)
        with Count() as learning:
            learner.update(seen, hyper)
    return acting.operations, learning.operations


def _trajectory(agent: MixMatchAgent, config: RunConfig, task: int) -> Trajectory:
    num_envs, unroll = config.num_envs, config.unroll

    def zeros(steps: int, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(steps, agent.population, num_envs, *size, dtype=dtype, device="meta")

    return Trajectory(
        observation=zeros(unroll + 1, 3, config.height, config.width, dtype=torch.uint8),
        last_action=zeros(unroll + 1, dtype=torch.int64),
        last_reward=zeros(unroll + 1),
        first=zeros(unroll + 1, dtype=torch.bool),
        action=zeros(unroll, dtype=torch.int64),
        reward=zeros(unroll),
        log_prob=zeros(unroll),
        selected=zeros(unroll, dtype=torch.int64),
        weights=agent.control_weights(torch.zeros(agent.population, device="meta")),
        cores=agent.initial_state(num_envs, task).cores,
    )


@app.command()
def main(
    method: Annotated[list[str], typer.Option(help="May be given again.")] = ["small", "mm", "mm_ff_lstm"],  # noqa: B006
    population: Annotated[list[int], typer.Option(min=1, help="May be given again.")] = [1, 4, 10],  # noqa: B006
    unroll: Annotated[int, typer.Option(help="Agent steps of a trajectory.")] = 100,
    num_envs: Annotated[int, typer.Option(help="Environments of an agent.")] = 32,
    width: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 96,
    height: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 72,
    most: Annotated[int, typer.Option(help="Name so many of the most frequent operations.")] = 0,
) -> None:
    """Count the operations of an agent step and of an update, as a GPU would be given them; none is needed.

    \b
    Example:
      python -m benchmarks.operations --method mm --population 10 --most 20
    """
    size = dict(width=width, height=height, conv1=first_convolution(height), unroll=unroll, num_envs=num_envs)
    print("| method | members | an agent step | an update |\n|---|---:|---:|---:|")
    for each in method:
        for members in population:
            with bad_input():
                acting, learning = count(each, members, **size)
            print(f"| {each} | {members} | {acting.total():,} | {learning.total():,} |")
            if most:
                print(f"\nacting: {acting.most_common(most)}\nlearning: {learning.most_common(most)}\n")


if __name__ == "__main__":
    app()
