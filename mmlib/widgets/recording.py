"""A recorded episode: every frame, place, policy, value and reward of one member at play, kept small enough to browse.

Shapes: T agent steps, K constituents.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
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
from mmlib.timing import StageTimer
from mmlib.training.trained import Subject, play
from mmlib.widgets import remix
from mmlib.widgets.remix import Mixed

VIEW = (384, 288)  # pixels, of the agent's view
MAP = 384  # pixels, the longer side
SECONDS = 60.0  # recorded at most, of 60 environment frames each
TRAIL_BEFORE = "#96aae1"  # before a restart or respawn

TIMER = StageTimer()  # that an actor asks for; nobody reads it


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
        states = [remix.at(policy, step) for policy in self.policies]
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
      ResultsError: the level cannot be made here.  ValueError: the weights are not on the simplex.
    """
    weights = subject.acting_weights if weights is None else weights
    remix.check_weights(weights, subject.constituents)
    actor, acting = play(subject, 1, seed), torch.tensor([weights])
    limit = max(1, round(seconds * FRAMES_PER_SECOND / subject.config.action_repeat))
    expected = min(limit, actor.level.episode_frames // subject.config.action_repeat or limit)
    acts, rewards, done = list[Acted](), list[float](), False
    with contextlib.closing(actor.level), ThreadPoolExecutor(1) as encoder:
        camera = _Camera(actor.level, encoder)
        while not done and len(acts) < limit:
            camera.shoot()
            acted, step = actor.act(acting, TIMER)
            acts.append(acted)
            rewards.append(float(step.reward[0]))
            done = bool(step.done[0])
            if len(acts) % 10 == 0:
                progress(min(1.0, len(acts) / expected))
    policies = zip(*(acted.outputs.policies for acted in acts))
    return Recording(
        subject=subject,
        weights=tuple(weights),
        policies=tuple(remix.stacked(of_one) for of_one in policies),
        values=torch.stack([acted.outputs.values[:, 0, 0, 0] for acted in acts], dim=-1).double().numpy(),
        actions=np.array([acted.action.item() for acted in acts]),
        rewards=np.array(rewards),
        views=tuple(picture.result() for picture in camera.views),
        maps=tuple(picture.result() for picture in camera.maps),
        places=np.array(camera.places).reshape(-1, 2),
    )


class _Camera:
    """Takes the pictures of a level's first environment that the level can give; `encoder` encodes them."""

    def __init__(self, level: Level, encoder: Executor):
        self.level, self.encoder = level, encoder
        self.views, self.maps, self.places = list[Future[bytes]](), list[Future[bytes]](), list[tuple[float, float]]()

    def shoot(self) -> None:
        """One picture of each kind."""
        view = video.view(self.level, *VIEW)
        if view is not None:
            self.views.append(self.encoder.submit(_encoded, Image.fromarray(view), "JPEG", quality=88))
        if (place := gallery.place(self.level)) is not None:
            self.places.append(place)
            overview = Image.fromarray(self.level.map_image(0, MAP))
            self.maps.append(self.encoder.submit(_encoded, overview, "PNG", compress_level=1))


def _encoded(picture: Image.Image, kind: str, **settings: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()
