"""A recorded episode: every frame, place, policy, value and reward of one member at play, kept small enough to browse.

Shapes: T agent steps, K constituents.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.distributions import kl_divergence

from mmlib.figures import gallery, video
from mmlib.levels.base import FRAMES_PER_SECOND, Level
from mmlib.method.agent import Acted
from mmlib.method.mixture import mix
from mmlib.method.policies import Policy
from mmlib.numerics.threads import one_thread
from mmlib.training.trained import Subject, play
from mmlib.widgets import remix
from mmlib.widgets.remix import Mixed

VIEW = (384, 288)  # pixels, of the agent's view
MAP = 384  # pixels, the longer side
SECONDS = 60.0  # recorded at most, of 60 environment frames each
TRAIL_BEFORE = "#96aae1"  # before a restart or respawn

_Shot = tuple[Future[bytes] | None, Future[bytes] | None, tuple[float, float] | None]


@dataclass(frozen=True)
class Recording:
    """T agent steps of one episode. Step t is a state, what was done there, and the reward that followed."""

    subject: Subject
    weights: tuple[float, ...]  # [K], of the policy that acted
    policies: tuple[Policy, ...]  # K, batch shape [T]
    values: NDArray[np.float64]  # [K, T]
    actions: NDArray[np.int64]  # [T], joint
    rewards: NDArray[np.float64]  # [T], not clipped
    views: tuple[bytes, ...]  # [T] JPEG; () where the level cannot be drawn
    maps: tuple[bytes, ...]  # [T] PNG; () where the level has no map
    places: NDArray[np.float64]  # [T, 2], see `gallery.Walk.way`; [0, 2] without a map

    @cached_property
    def kl(self) -> NDArray[np.float64] | None:
        """[T], KL(π₁ ‖ π₂) in every step's state; None for a single policy."""
        return kl_divergence(*self.policies[:2]).numpy() if len(self.policies) > 1 else None

    @cached_property
    def most_entropy(self) -> float:
        """What no mixture has more of: max H(πᵢ) + log K."""
        return max(float(policy.entropy().max()) for policy in self.policies) + math.log(len(self.policies))

    def __len__(self) -> int:
        return len(self.actions)

    def remix(self, step: int, weights: tuple[float, ...] | None = None) -> Mixed:
        """The policies of a step under weights [K], by default those that acted: no network, no level."""
        states = [remix.with_logits(policy, lambda logits: logits[step]) for policy in self.policies]
        space = self.subject.agent.space
        return remix.remix(states, self.values[:, step].tolist(), weights or self.weights, space)

    def entropies(self, weights: tuple[float, ...]) -> NDArray[np.float64]:
        """[T], of the mixture with these weights in every step's state."""
        return mix(self.policies, torch.tensor(weights, dtype=torch.float64)).entropy().numpy()

    def seconds(self, step: int) -> float:
        """Time of play at which a step begins."""
        return step * self.subject.config.action_repeat / FRAMES_PER_SECOND

    def map_with_trail(self, step: int) -> bytes:
        """PNG of the map at a step with the way until then; a jump (a restart, a respawn) breaks the line."""
        picture = Image.open(io.BytesIO(self.maps[step])).convert("RGB")
        pen = ImageDraw.Draw(picture)
        *before, now = gallery.lives(self.places[: step + 1])
        for way, colour in [*((life, TRAIL_BEFORE) for life in before), (now, gallery.TRAIL)]:
            points = (way * (MAP, -MAP) + (0, picture.height)).tolist()
            pen.line([tuple(point) for point in points], fill=colour, width=2, joint="curve")
        return _encoded(picture, "PNG", compress_level=1)


@one_thread()
def record(
    subject: Subject,
    seed: int = 0,
    weights: tuple[float, ...] | None = None,
    seconds: float = SECONDS,
    progress: Callable[[float], object] = lambda _: None,
) -> Recording:
    """Plays an episode and keeps all of it.

    Args:
      seed: of the level and the actions.
      weights: [K], of the policy that acts; None is those in force at the checkpoint.
      seconds: of play at most, 60 environment frames each.
      progress: called with the share that is done, now and then; what it raises ends the recording.

    Raises:
      ResultsError: the level cannot be made here.
    """
    weights = subject.acting_weights if weights is None else weights
    actor, acting = play(subject, 1, seed), torch.tensor([weights])
    limit = max(1, round(seconds * FRAMES_PER_SECOND / subject.config.action_repeat))
    expected = min(limit, actor.level.episode_frames // subject.config.action_repeat or limit)
    shots, acts, rewards, done = list[_Shot](), list[Acted](), list[float](), False
    with contextlib.closing(actor.level), ThreadPoolExecutor(1) as encoder:
        while not done and len(acts) < limit:
            shots.append(_shoot(actor.level, encoder))
            acted, step = actor.act(acting)
            acts.append(acted)
            rewards.append(float(step.reward[0]))
            done = bool(step.done[0])
            if len(acts) % 10 == 0:
                progress(min(1.0, len(acts) / expected))
    views, maps, places = zip(*shots)
    return Recording(
        subject=subject,
        weights=tuple(weights),
        policies=tuple(_stacked(of_one) for of_one in zip(*(acted.outputs.policies for acted in acts))),
        values=torch.stack([acted.outputs.values[:, 0, 0, 0] for acted in acts], dim=-1).double().numpy(),
        actions=np.array([acted.action.item() for acted in acts]),
        rewards=np.array(rewards),
        views=tuple(picture.result() for picture in views if picture),
        maps=tuple(picture.result() for picture in maps if picture),
        places=np.array([place for place in places if place]).reshape(-1, 2),
    )


def _shoot(level: Level, encoder: Executor) -> _Shot:
    """What the level can give of its first environment: the view, the map, the place on it; `encoder` encodes them."""
    view, place = video.view(level, *VIEW), gallery.place(level)
    shot = None if view is None else encoder.submit(_encoded, Image.fromarray(view), "JPEG", quality=88)
    if place is None:
        return shot, None, None
    overview = Image.fromarray(level.map_image(0, MAP))
    return shot, encoder.submit(_encoded, overview, "PNG", compress_level=1), place


def _stacked(states: Sequence[Policy]) -> Policy:
    """One policy's T states, each of batch shape [1, 1, 1], as a policy of batch shape [T] in double precision."""
    logits = torch.cat([policy.logits[0, 0] for policy in states])  # type: ignore[attr-defined]  # constituents have them
    return remix.with_logits(states[0], lambda _: logits.double())


def _encoded(picture: Image.Image, kind: str, **settings: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()
