"""Films of a level: what the agent sees, and the map if there is one, played at random, by the expert or by a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmlib import levels
from mmlib.analysis import baselines
from mmlib.experiments.design import ExperimentError
from mmlib.levels.base import FRAMES_PER_SECOND, Level, Step, Unsupported
from mmlib.runs.reader import Run

VIEW = (320, 240)  # pixels
MAP_WIDTH = 360  # at most, pixels; its height is at most the view's
GAP, CAPTION = 8, 24  # pixels
POLICIES = ("random", "expert")

Frame = NDArray[np.uint8]


class Film(NamedTuple):
    """Play under way: a level that has begun, what plays one agent step of it, and a title."""

    level: Level
    act: Callable[[], Step]
    title: str

    @property
    def rate(self) -> float:
        """Agent steps, and so pictures, a second."""
        return FRAMES_PER_SECOND / self.level.action_repeat

    def pictures(self, seconds: float) -> Iterator[tuple[Frame, float]]:
        """A picture `[264, W, 3]` an agent step, the first before any, with the reward so far; closes the level."""
        total = 0.0
        for step in range(1 + max(1, round(seconds * self.rate))):
            if step:
                total += float(self.act().reward[0])
            yield picture(self.level, f"{self.title}   {step / self.rate:.1f} s   reward {total:g}"), total
        self.level.close()


def record(
    level: str, policy: str, output: str | Path, seconds: float = 30.0, seed: int = 0, backend: str = "auto"
) -> float:
    """Writes a film of `seconds` of play in real time; returns the reward in it.

    Args:
      level, policy, seed, backend: see `film`.
      output: an .mp4 file.
      seconds: of 60 environment frames each.

    Raises:
      ExperimentError: before any work, if one of these cannot be used.
    """
    path = Path(output)
    if path.suffix != ".mp4":
        raise ExperimentError(f"{path} is no .mp4 file; films are written as .mp4")
    if not path.parent.is_dir():
        raise ExperimentError(f"there is no directory {path.parent} to put {path.name} in")
    if not 0 < seconds <= 3600:
        raise ExperimentError(f"{seconds:g} seconds cannot be filmed; allowed: more than 0, up to 3600")
    play, reward = film(level, policy, seed, backend), 0.0
    import imageio.v2 as imageio  # late: only films need it

    writer: Any = imageio.get_writer(path, fps=play.rate, codec="libx264", macro_block_size=2, quality=5)
    with writer:
        for frame, reward in play.pictures(seconds):  # noqa: B007
            writer.append_data(frame)
    return reward


def film(level: str, policy: str, seed: int = 0, backend: str = "auto") -> Film:
    """Play to be filmed.

    Args:
      level: a level's name.
      policy: "random" (uniform over Small), "expert", or the directory of a run, whose checkpoint plays with the
        alpha that it had.
      seed: of the level and of the actions.
      backend: auto, dmlab or minilab; a run has its own, and "auto" is minilab for the expert, whom no other has.

    Raises:
      ValueError (ExperimentError; ResultsError and others of a run's checkpoint): unknown level, policy or backend, or
        a run that cannot play.
    """
    if policy not in POLICIES:
        return _run(level, Path(policy), seed, backend)
    try:
        scripted = policy == "expert" and backend == "auto"
        in_force = "minilab" if scripted else levels.resolve_backend(backend, level)
        levels.interface(level, in_force)
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    if in_force == "gymnasium" or (policy == "expert" and in_force != "minilab"):
        has = {"dmlab": "random", "gymnasium": "none"}[in_force]
        raise ExperimentError(
            f"{in_force} has no policy {policy!r} for films; its policies: {has}, or a run's directory"
        )
    size = dict(zip(("width", "height"), VIEW)) if in_force == "dmlab" else {}  # it draws in the size it is made with
    made = levels.make(level, in_force, seed=seed, **size)
    made.reset()
    chosen = baselines.make_policy("small" if policy == "random" else policy, 1, seed)
    return Film(made, lambda: made.step(chosen(made)), f"{level}, {policy}")


def _run(level: str, directory: Path, seed: int, backend: str) -> Film:
    """The agent of a run's checkpoint, its first member, at play."""
    if not (directory / "config.json").exists():
        raise ExperimentError(
            f"unknown policy {str(directory)!r}; policies: {', '.join(POLICIES)}, or the directory of a run"
        )
    import torch  # late, as what follows

    from mmlib.training import trained

    played = str(Run(directory).config["level"])
    if level not in played.split("+"):
        raise ExperimentError(f"the run {directory} is of level {played}, not {level}")
    subject = trained.open_subject(directory, task=played.split("+").index(level))
    if backend not in ("auto", its := subject.config.backend):
        raise ExperimentError(f"the run {directory} is on backend {its}, not {backend}")
    actor = trained.play(subject, seed=seed)
    if view(actor.level, *VIEW) is None:
        actor.level.close()
        raise ExperimentError(f"{level} of backend {its} has no pictures to film")
    weights = torch.tensor([subject.acting_weights])
    title = f"{level}, {subject.config.method} seed {subject.config.seed}"
    return Film(actor.level, lambda: actor.act(weights)[1], title)


def view(level: Level, width: int, height: int) -> Frame | None:
    """What the first environment's agent sees, `[h, w, 3]`: in that size, else in the observation's; None without."""
    for size in ((width, height), (level.width, level.height)):
        with suppress(Unsupported):
            return level.render(0, *size)
    return None


def picture(level: Level, caption: str) -> Frame:
    """What the first environment's agent sees with a line of text below: `[264, W, 3]`, W even.

    Beside it the map, where the backend draws maps. An observation of another size is enlarged without smoothing.
    """
    width, height = VIEW
    seen, beside = view(level, width, height), overview(level, MAP_WIDTH, height)
    assert seen is not None  # `film` has looked
    across = width if beside is None else width + GAP + beside.shape[1] // 2 * 2
    canvas = Image.new("RGB", (across, height + CAPTION), (24, 24, 24))
    canvas.paste(Image.fromarray(seen).resize(VIEW, Image.Resampling.NEAREST))
    if beside is not None:
        canvas.paste(Image.fromarray(beside), (width + GAP, (height - beside.shape[0]) // 2))
    font = ImageFont.load_default(13)
    ImageDraw.Draw(canvas).text((8, height + 5), caption, fill=(235, 235, 235), font=font)
    return np.asarray(canvas)


def overview(level: Level, width: int, height: int) -> Frame | None:
    """The first environment from above, in the largest size that fits; None where the backend draws no maps."""
    if (extent := getattr(level, "extent", None)) is None:
        return None
    pixels = int(min(width / extent[0], height / extent[1]) * max(extent))
    return level.map_image(0, pixels)[:height, :width]  # its shorter side is rounded
