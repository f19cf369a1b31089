"""MonoBeast's design, written anew: actor processes of one environment each, shared buffers and a learner thread.

Each actor runs its own copy of the network, one environment at a time, on shared weights, and fills buffers of one
unroll; indices of buffers travel in two queues, their contents do not. The learner stacks buffers into a batch and
learns with V-trace, as IMPALA does. The network sees the last action and reward.
"""

from __future__ import annotations

import argparse
import threading
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.measure import Measured, Meter, arguments, largest_change, report
from benchmarks.peers.network import ACTIONS, Network, State
from mmlib import levels
from mmlib.method.vtrace import vtrace
from mmlib.spaces import SMALL

DISCOUNT, ENTROPY_COST, BASELINE_COST, MAX_GRAD_NORM = 0.99, 6e-4, 0.5, 40.0
LEARNING_RATE, DECAY, EPSILON = 4.8e-4, 0.99, 0.01  # of RMSProp

Buffers = dict[str, Tensor]  # [number of buffers, T + 1, ...] each; "hidden" and "cell" [number of buffers, 256]


def make_network(args: argparse.Namespace) -> Network:
    """The network, which sees the last action and reward beside the frame."""
    return Network(args.height, args.width, extra=ACTIONS + 1)


def make_buffers(args: argparse.Namespace, number: int) -> Buffers:
    """Shared memory for `number` unrolls; of "action", "reward" and "logits" the last step stays unused."""
    steps, frame = args.unroll + 1, (3, args.height, args.width)
    shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "frame": ((steps, *frame), torch.uint8),
        "first": ((steps,), torch.bool),
        "last_action": ((steps,), torch.int64),
        "last_reward": ((steps,), torch.float32),
        "action": ((steps,), torch.int64),
        "reward": ((steps,), torch.float32),
        "logits": ((steps, ACTIONS), torch.float32),
        "hidden": ((256,), torch.float32),
        "cell": ((256,), torch.float32),
    }
    return {name: torch.zeros(number, *shape, dtype=kind).share_memory_() for name, (shape, kind) in shapes.items()}


def forward(network: Network, batch: Buffers, state: State) -> tuple[Tensor, Tensor, State]:
    """Logits, values and state of a batch `[T, B, ...]`."""
    reward = batch["last_reward"].clamp(-1.0, 1.0)[..., None]
    extra = torch.cat([F.one_hot(batch["last_action"], ACTIONS).float(), reward], dim=-1)
    return network(batch["frame"], batch["first"], state, extra)


@torch.no_grad()
def act(args: argparse.Namespace, seed: int, network: Network, buffers: Buffers, free: Any, full: Any) -> None:
    """An actor: fills one buffer after another, until it is ended."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    level = levels.make(args.level, "minilab", 1, seed, width=args.width, height=args.height)
    now: Buffers = {"frame": torch.from_numpy(level.reset().copy()), "first": torch.ones(1, dtype=torch.bool)}
    now |= {"last_action": torch.zeros(1, dtype=torch.int64), "last_reward": torch.zeros(1)}
    state = network.initial_state(1)
    while True:
        index = free.get()
        buffer = {name: shared[index] for name, shared in buffers.items()}
        buffer["hidden"][:], buffer["cell"][:] = state[0][0], state[1][0]
        for t in range(args.unroll):
            for name, value in now.items():
                buffer[name][t] = value[0]
            logits, _, state = forward(network, {name: value[None] for name, value in now.items()}, state)
            action = torch.multinomial(logits[0].softmax(-1), 1)[:, 0]
            step = level.step(SMALL.encode(action.numpy()))
            reward = torch.from_numpy(step.reward.copy())
            buffer["action"][t], buffer["reward"][t], buffer["logits"][t] = action[0], reward[0], logits[0, 0]
            now = {"frame": torch.from_numpy(step.observation.copy()), "first": torch.from_numpy(step.done.copy())}
            now |= {"last_action": action, "last_reward": reward}
        for name, value in now.items():
            buffer[name][-1] = value[0]
        full.put(index)


def loss(network: Network, batch: Buffers, state: State) -> Tensor:
    """IMPALA's, summed over the batch `[T + 1, B, ...]`."""
    logits, values, _ = forward(network, batch, state)
    actions = batch["action"][:-1, :, None]
    log_policy, behaviour = logits[:-1].log_softmax(-1), batch["logits"][:-1].log_softmax(-1)
    log_probs = log_policy.gather(-1, actions)[..., 0]
    targets = vtrace(
        log_probs.detach() - behaviour.gather(-1, actions)[..., 0],
        DISCOUNT * (~batch["first"][1:]).float(),
        batch["reward"][:-1].clamp(-1.0, 1.0),
        values[:-1].detach(),
        values[-1].detach(),
    )
    policy_loss = -(log_probs * targets.advantages).sum()
    baseline_loss = 0.5 * (targets.vs - values[:-1]).square().sum()
    return policy_loss + BASELINE_COST * baseline_loss + ENTROPY_COST * (log_policy.exp() * log_policy).sum()


def learn(
    args: argparse.Namespace, meter: Meter, network: Network, shared: Network, buffers: Buffers, free: Any, full: Any
) -> None:
    """The learner: a batch of buffers an update, after each of which the actors have the new weights."""
    torch.set_num_threads(args.learner_threads)
    optimiser = torch.optim.RMSprop(network.parameters(), LEARNING_RATE, alpha=DECAY, eps=EPSILON)
    going_on = True
    while going_on:
        indices = [full.get() for _ in range(args.batch)]
        batch = {name: torch.stack([each[i] for i in indices]) for name, each in buffers.items()}
        for index in indices:
            free.put(index)
        state = batch.pop("hidden"), batch.pop("cell")
        optimiser.zero_grad()
        loss(network, {name: each.transpose(0, 1) for name, each in batch.items()}, state).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
        optimiser.step()
        shared.load_state_dict(network.state_dict())
        going_on = meter.add((meter.updates + 1) * args.batch * args.unroll)


def train(args: argparse.Namespace, together: Any = None) -> Measured:
    """One run."""
    torch.manual_seed(0)
    network, shared = make_network(args), make_network(args).share_memory()
    shared.load_state_dict(network.state_dict())
    before = [weight.detach().clone() for weight in network.parameters()]
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["torch", "mmlib.levels"])
    number = max(2 * args.actors, 2 * args.batch)
    buffers, free, full = make_buffers(args, number), context.SimpleQueue(), context.SimpleQueue()
    for index in range(number):
        free.put(index)
    shares = [(args, seed, shared, buffers, free, full) for seed in range(args.actors)]
    actors = [context.Process(target=act, args=share, daemon=True) for share in shares]
    meter = Meter(args.seconds, args.warm_up, together)
    learner = threading.Thread(target=learn, args=(args, meter, network, shared, buffers, free, full), daemon=True)
    for actor in actors:
        actor.start()
    learner.start()
    try:
        while learner.is_alive():
            learner.join(0.2)
            if any(actor.exitcode is not None for actor in actors):
                raise RuntimeError("an actor ended")
    finally:
        for actor in actors:
            actor.terminate()
            actor.join()
    return meter.rate, meter.updates, largest_change(before, list(network.parameters()))


if __name__ == "__main__":
    report(train, arguments(__doc__, actors=4, batch=8, unroll=100, learner_threads=1))
