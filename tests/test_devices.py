"""Every tensor of acting, learning and resuming is on the device of the run: tried without a GPU.

Tensors on the device "meta" have shapes and no numbers. PyTorch lets some operations mix them with others, so
`OneDevice` looks at the arguments of every single operation and refuses what CUDA would.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmlib import levels
from mmlib.config import make_config
from mmlib.method.agent import AgentState
from mmlib.method.learner import Hyperparameters, Learner
from mmlib.method.methods import METHODS
from mmlib.method.trajectory import Trajectory
from mmlib.training.actors import Actor
from mmlib.training.shard import make_agent

LEVEL, DEVICE = "explore_object_locations_small_mini", "meta"
T, P, N = 3, 2, 4
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class OneDevice(TorchDispatchMode):
    """Refuses operations, but copies, whose tensors are on different devices (numbers, of rank 0, may be anywhere)."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor) and x.dim()]
        if func not in COPIES and len({x.device for x in given}) > 1:
            raise RuntimeError(f"{func} of tensors on {[str(x.device) for x in given]}")
        return func(*args, **(kwargs or {}))


def test_the_check_notices():
    with OneDevice(), pytest.raises(RuntimeError, match="cpu"):
        torch.zeros(2, 3, device=DEVICE) @ torch.zeros(3, 2)


def _config(method, **settings):
    tasks = METHODS[method].tasks or 1
    base = {"level": "+".join([LEVEL] * tasks), "method": method, "population": P, "num_envs": N, "unroll": T}
    base |= {"width": 48, "height": 36, "conv1": (4, 2), "learner_batches": 2}
    return make_config(base | settings).model_copy(update={"device": DEVICE})


def _agent(config):
    with torch.device(DEVICE):
        return make_agent(config)


def _trajectory(agent, task, config):
    """What an actor leaves: buffers on the host, recurrent states and weights on the device."""
    shape, size = (P, N), (3, config.height, config.width)
    return Trajectory(
        observation=torch.zeros(T + 1, *shape, *size, dtype=torch.uint8),
        last_action=torch.zeros(T + 1, *shape, dtype=torch.int64),
        last_reward=torch.zeros(T + 1, *shape),
        first=torch.zeros(T + 1, *shape, dtype=torch.bool),
        action=torch.zeros(T, *shape, dtype=torch.int64),
        reward=torch.zeros(T, *shape),
        log_prob=torch.zeros(T, *shape),
        selected=torch.zeros(T, *shape, dtype=torch.int64),
        weights=agent.control_weights(torch.zeros(P, device=DEVICE)),
        cores=agent.initial_state(N, task).cores,
    )


# mm_three takes the union of its supports at each call (`torch.unique`), whose shape depends on numbers.
@pytest.mark.parametrize("method", [method for method in METHODS if method != "mm_three"])
def test_acting_and_learning_stay_on_the_device(method, monkeypatch):
    # The one place that asks for numbers, of which there are none; it does so on any device.
    monkeypatch.setattr(Learner, "_stop_the_diverged", lambda self, loss, norm: None)
    config = _config(method, optimiser="adam", max_grad_norm=40.0, value_targets="each", anneal=True)
    with OneDevice():
        agent = _agent(config)
        learner, hyper = Learner(agent, config), Hyperparameters.in_force(config, agent.spec, 0).on(DEVICE)
        trajectories = []
        for task in range(len(config.levels)):
            weights, state = agent.control_weights(hyper.alpha), agent.initial_state(N, task)
            frames = torch.zeros(P, N, 3, config.height, config.width, dtype=torch.uint8, device=DEVICE)
            acted = agent.step(frames, torch.ones(P, N, dtype=torch.bool, device=DEVICE), state, weights, None, task)
            assert {acted.action.device, acted.log_prob.device} == {torch.device(DEVICE)}
            trajectories.append(_trajectory(agent, task, config))
        diagnostics = learner.update(trajectories, hyper)
        assert {value.device for value in diagnostics.values()} == {torch.device(DEVICE)}
        learner.replace(1, learner.member(0))


def test_a_resumed_actor_acts_on_its_device():
    """A checkpoint is read onto the CPU; what it holds goes back to where the agent is ("meta" here)."""
    config = make_config({"level": LEVEL, "method": "mm", "num_envs": N, "unroll": T, "width": 48, "height": 36})
    level = levels.make(LEVEL, backend="minilab", num_envs=N, seed=1, width=48, height=36)
    actor = Actor(level, make_agent(config), unroll=T, reward_clip=1.0, seed=1)
    saved = actor.state_dict()
    actor.device = torch.device("meta")
    actor.load_state_dict(saved)
    level.close()
    state = AgentState(*actor.state)
    tensors = [state.last_action, state.last_reward, *(x for core in state.cores.values() for x in core or ())]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
