"""PPO with an LSTM in CleanRL's style, written anew: one file, one process, on MiniLab's Gymnasium batch.

Minibatches are of whole environments, replayed from the state that each began the rollout with. The network sees
frames only, as CleanRL's does.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import mmlib.levels.gymnasium
from benchmarks.peers.measure import Measured, Meter, arguments, largest_change, report
from benchmarks.peers.network import Network

gymnasium.register_envs(mmlib.levels.gymnasium)

LEARNING_RATE, EPSILON, MAX_GRAD_NORM = 2.5e-4, 1e-5, 0.5  # of Adam
DISCOUNT, GAE_LAMBDA, CLIP, ENTROPY_COST, VALUE_COST = 0.99, 0.95, 0.1, 0.01, 0.5


@torch.no_grad()
def advantages_of(rewards: Tensor, values: Tensor, first: Tensor) -> Tensor:
    """Generalised advantage estimates `[T, B]` of rewards `[T, B]`, values and first steps `[T + 1, B]`."""
    going_on, advantages = (~first[1:]).float(), torch.zeros_like(rewards)
    deltas = rewards + DISCOUNT * values[1:] * going_on - values[:-1]
    last = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        last = deltas[t] + DISCOUNT * GAE_LAMBDA * going_on[t] * last
        advantages[t] = last
    return advantages


class Rollouts:
    """Plays a batch of environments, `args.unroll` agent steps at a time."""

    def __init__(self, args: argparse.Namespace, network: Network):
        size = dict(width=args.width, height=args.height)
        self.network, self.envs = (
            network,
            gymnasium.make_vec(f"MiniLab/{args.level}-v0", num_envs=args.num_envs, autoreset_mode="SameStep", **size),
        )
        self.frame, self.first = planar(self.envs.reset(seed=0)[0]), torch.ones(args.num_envs, dtype=torch.bool)
        self.state = network.initial_state(args.num_envs)
        self.frames = torch.zeros(args.unroll, *self.frame.shape, dtype=torch.uint8)  # (T, B, 3, H, W)

    @torch.no_grad()
    def play(self) -> dict[str, Tensor]:
        """What a rollout has, by name, `[T, B, ...]` each; the state before it, "hidden" and "cell", `[1, B, 256]`."""
        firsts, actions, log_probs, values, rewards = [], [], [], [], []
        hidden, cell = self.state
        for t in range(len(self.frames)):
            self.frames[t] = self.frame
            firsts.append(self.first)
            logits, value, self.state = self.network(self.frame[None], self.first[None], self.state)
            policy = torch.distributions.Categorical(logits=logits[0])
            action = policy.sample()
            actions.append(action)
            log_probs.append(policy.log_prob(action))
            values.append(value[0])
            observation, reward, terminated, truncated, _ = self.envs.step(action.numpy())
            self.frame, self.first = planar(observation), torch.from_numpy(terminated | truncated)
            rewards.append(torch.from_numpy(np.clip(reward, -1.0, 1.0).astype(np.float32)))
        _, value, _ = self.network(self.frame[None], self.first[None], self.state)
        first, seen = torch.stack([*firsts, self.first]), torch.stack([*values, value[0]])
        return {
            "frames": self.frames,
            "first": first[:-1],
            "actions": torch.stack(actions),
            "log_probs": torch.stack(log_probs),
            "values": seen[:-1],
            "advantages": advantages_of(torch.stack(rewards), seen, first),
            "hidden": hidden[None],
            "cell": cell[None],
        }


def planar(frames: np.ndarray) -> Tensor:
    """`[B, 3, H, W]` of frames `[B, H, W, 3]`."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def loss(network: Network, batch: dict[str, Tensor]) -> Tensor:
    """PPO's, with clipped policy and value, over a minibatch `[T, b, ...]`."""
    logits, values, _ = network(batch["frames"], batch["first"], (batch["hidden"][0], batch["cell"][0]))
    policy = torch.distributions.Categorical(logits=logits)
    ratio = (policy.log_prob(batch["actions"]) - batch["log_probs"]).exp()
    advantages = batch["advantages"]
    scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy_loss = -torch.min(scaled * ratio, scaled * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
    old, returns = batch["values"], advantages + batch["values"]
    clipped = old + (values - old).clamp(-CLIP, CLIP)
    value_loss = 0.5 * torch.max((values - returns).square(), (clipped - returns).square()).mean()
    return policy_loss + VALUE_COST * value_loss - ENTROPY_COST * policy.entropy().mean()


def train(args: argparse.Namespace, together: Any = None) -> Measured:
    """One run."""
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    network = Network(args.height, args.width)
    before = [weight.detach().clone() for weight in network.parameters()]
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, eps=EPSILON)
    rollouts, meter = Rollouts(args, network), Meter(args.seconds, args.warm_up, together)
    going_on = True
    while going_on:
        batch = rollouts.play()
        for _ in range(args.epochs):
            for chosen in torch.randperm(args.num_envs).chunk(args.minibatches):
                optimiser.zero_grad()
                loss(network, {name: each[:, chosen] for name, each in batch.items()}).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
                optimiser.step()
        going_on = meter.add((meter.updates + 1) * args.num_envs * args.unroll)
    rollouts.envs.close()
    return meter.rate, meter.updates * args.epochs * args.minibatches, largest_change(before, [*network.parameters()])


if __name__ == "__main__":
    report(train, arguments(__doc__, num_envs=8, unroll=128, epochs=4, minibatches=4, threads=1))
