"""Every tensor of acting, learning and resuming is on the device of the run: tried without a GPU.

Tensors on the device "meta" have shapes and no numbers. PyTorch lets some operations mix them with others, so
`OneDevice` looks at the arguments of every single operation and refuses what CUDA would.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmlib import levels
from mmlib.alternatives.methods import METHODS
from mmlib.config import make_config
from mmlib.method.learner import Hyperparameters, Learner
from mmlib.training.actors import Actor
from mmlib.training.shard import LEARNERS, make_agent

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


def _actor(config, agent, task=0):
    """An actor that was at work on the CPU and goes on with an agent on the device, as after a resumption."""
    level = levels.make(config.levels[task], num_envs=P * N, seed=1, width=config.width, height=config.height)
    here = make_agent(config.model_copy(update={"device": "cpu"}))
    actor = Actor(level, here, unroll=T, reward_clip=1.0, seed=1, task=task)
    saved = actor.state_dict()
    actor.agent, actor.device = agent, agent.device
    actor.load_state_dict(saved)
    actor._buffers = [actor._new_buffers() for _ in range(2)]
    actor.generators = None  # there is none on "meta"
    return actor


@pytest.fixture
def no_numbers(monkeypatch):
    """The two places that ask the device for numbers, of which there are none; they do so on any device."""
    monkeypatch.setattr(Learner, "_note_the_stopped", lambda self, updates: None)
    real = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: torch.zeros(x.shape, dtype=x.dtype) if x.is_meta else real(x))


# A chain of three spaces takes the union of its supports at each call (`torch.unique`), whose shape depends on numbers.
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"mm_three", "mm_three_simplex"}))
def test_acting_and_learning_stay_on_the_device(method, no_numbers):
    config = _config(method, optimiser="adam", max_grad_norm=40.0, value_targets="each", anneal=True)
    agent = _agent(config)
    actors = [_actor(config, agent, task) for task in range(len(config.levels))]
    with OneDevice():
        learner = LEARNERS[agent.spec.learner](agent, config)
        hyper = Hyperparameters.in_force(config, agent.spec, 0).on(DEVICE)
        weights = agent.control_weights(hyper.alpha)
        trajectories = [actor.rollout(weights)[0] for actor in actors]
        assert {x.device.type for trajectory in trajectories for x in tensors(vars(trajectory))} == {DEVICE}
        diagnostics = learner.update(trajectories, hyper)
        assert {value.device.type for value in diagnostics.values()} == {DEVICE}
        learner.replace(1, learner.member(0))
    for actor in actors:
        assert {x.device.type for x in tensors(tuple(actor.state))} == {DEVICE}
        actor.level.close()


def tensors(tree):
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]
