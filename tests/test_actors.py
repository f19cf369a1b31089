"""What an actor hands to the learner, on a level whose every number is known."""

import numpy as np
import pytest
import torch

from mmlib.alternatives.methods import METHODS
from mmlib.levels.base import Step
from mmlib.method.agent import MixMatchAgent
from mmlib.training.actors import Actor

B, T, CLIP = 4, 4, 2.0  # two members of two environments


class Scripted:
    """Observations say when and where they are, rewards grow with time, and environment e's episodes end where (t + e)
    is a multiple of 3; the one at t = 6 is cut."""

    num_envs = B

    def __init__(self):
        self.t, self.received = 0, []

    def reset(self):
        self.t = 0
        return self._seen()

    def _seen(self):
        return np.tile(10.0 * self.t + np.arange(B, dtype=np.float32)[:, None], 5).astype(np.float32)

    def step(self, vectors):
        self.t += 1
        self.received.append(vectors.copy())
        reward = (self.t * (np.arange(B) - 1.5)).astype(np.float32)
        done = (self.t + np.arange(B)) % 3 == 0
        returns = np.where(done, 100.0 * self.t + np.arange(B), np.nan).astype(np.float32)
        if self.t == 6:
            returns[:] = np.nan
        return Step(self._seen(), reward, done, returns, np.full(B, 3, np.int32))


@pytest.fixture
def played():
    """The level, the agent, two trajectories with copies of the first taken at once, and their episodes."""
    torch.manual_seed(0)
    level, agent = Scripted(), MixMatchAgent(METHODS["mm"], 2, vector=5)
    actor, weights = Actor(level, agent, unroll=T, reward_clip=CLIP, seed=1), torch.full((2, 2), 0.5)
    first, ended = actor.rollout(weights)
    kept = {name: value.clone() for name, value in vars(first).items() if isinstance(value, torch.Tensor)}
    second, ended_then = actor.rollout(weights)
    return level, agent, first, second, kept, ended + ended_then


def test_steps_are_the_levels(played):
    level, agent, first, _, _, _ = played
    times, places = torch.arange(T + 1)[:, None], torch.arange(B)
    assert torch.equal(first.observation.flatten(1, 2)[..., 0], 10.0 * times + places)
    assert torch.equal(first.reward.flatten(1), (times[1:] * (places - 1.5)).clamp(-CLIP, CLIP))
    assert first.first[0].all() and torch.equal(first.first[1:].flatten(1), (times[1:] + places) % 3 == 0)
    sent = agent.space.encode(first.action.numpy().reshape(T, B))
    assert np.array_equal(sent, np.stack(level.received[:T]))


def test_a_trajectory_goes_on_where_the_last_ended_and_leaves_it_alone(played):
    _, _, first, second, kept, _ = played
    assert all(torch.equal(kept[name], getattr(first, name)) for name in kept)
    for name in ("observation", "last_action", "last_reward", "first"):
        assert torch.equal(getattr(first, name)[-1], getattr(second, name)[0])
    assert torch.equal(first.action, first.last_action[1:]) and torch.equal(first.reward, first.last_reward[1:])


def test_episodes_are_those_that_ended_with_a_return(played):
    *_, episodes = played
    expected = []
    for t in (1, 2, 3, 4, 5, 7, 8):  # at 6 they are cut
        expected += [(e // 2, t, 100.0 * t + e) for e in range(B) if (t + e) % 3 == 0]
    assert [(e.member, e.steps, e.episode_return) for e in episodes] == expected
    began = {(e.steps, e.episode_return): e.began for e in episodes}
    assert began[1, 102.0] == 0 and began[4, 402.0] == 1 and began[3, 300.0] == 0


def test_the_recorded_log_probability_is_the_mixtures_of_the_state_that_was_seen(played):
    _, agent, first, _, _, _ = played
    again = agent.unroll(first.observation, first.last_action, first.last_reward, first.first, first.cores)
    probs = sum(0.5 * policy.probs for policy in again.policies)[:-1]
    torch.testing.assert_close(probs.gather(-1, first.action[..., None])[..., 0].log(), first.log_prob)
