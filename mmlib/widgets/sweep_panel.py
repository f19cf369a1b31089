"""The inspector's second plot: return, entropy and KL over alpha, measured while the rest goes on."""

from __future__ import annotations

import ipywidgets as widgets  # type: ignore[import-untyped]

from mmlib.training.trained import Subject
from mmlib.widgets import alpha_sweep
from mmlib.widgets.alpha_sweep import ALPHAS, Point
from mmlib.widgets.background import Background, GoOn
from mmlib.widgets.charts import AT, sweep_charts
from mmlib.widgets.inspector_view import note, say


class SweepPanel(widgets.VBox):
    """Shows what is cached of a subject's sweep; its button measures the rest.

    Args:
      episodes: played at each alpha.
    """

    def __init__(self, episodes: int):
        self.episodes = episodes
        self.button = widgets.Button(
            icon="area-chart", tooltip="Play every α that is missing", layout={"width": "120px"}
        )
        self.progress = widgets.IntProgress(max=len(ALPHAS), layout={"width": "220px"}, bar_style="success")
        self.said, self.charts = widgets.HTML(), widgets.HTML()
        row = widgets.HBox([self.button, self.progress, self.said], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.charts], layout={"width": "100%"})
        self.work = Background()
        self.points: list[Point] = []
        self._drawn = ""  # the charts
        self._subject: Subject | None = None
        self._alpha: float | None = None
        self.button.on_click(lambda _: self.stop() if self.work.running else self.measure())

    def begin(self, subject: Subject) -> None:
        """Turns to another subject; what is under way for the last one ends, its points are kept."""
        self.work.stop()
        self._subject, self._alpha = subject, None
        self.layout.display = "" if subject.constituents > 1 else "none"
        self._show(subject, alpha_sweep.cached(subject, self.episodes))

    def at(self, alpha: float | None) -> None:
        """Moves the line that says where the slider is."""
        self._alpha = alpha
        self._draw()

    def measure(self) -> None:
        """Starts to measure what is missing."""
        if (subject := self._subject) is None:
            return

        def work(go_on: GoOn) -> None:
            for points in alpha_sweep.alpha_sweep(subject, self.episodes, go_on):
                go_on()
                self._show(subject, points)
            self.stop()

        def failed(why: str) -> None:
            self.stop()
            self.said.value = say(f"The sweep ended early: {why}")

        self.work.begin(work, failed)

    def stop(self) -> None:
        """Gives up what is under way; the points that were measured are kept."""
        self.work.stop()
        if self._subject is not None:
            self._show(self._subject, self.points)

    def _show(self, subject: Subject, points: list[Point]) -> None:
        drawn = sweep_charts(points, subject.alpha) if points or self.work.running else ""
        if subject is not self._subject:
            return  # another was opened while these were drawn
        self.points, self._drawn = points, drawn
        missing = len(ALPHAS) - len(points)
        self.progress.value = len(points)
        self.progress.layout.visibility = "visible" if self.work.running else "hidden"
        self.button.description = "stop" if self.work.running else "sweep α" if missing == len(ALPHAS) else "go on"
        self.button.layout.display = "none" if not missing and not self.work.running else ""
        self.progress.layout.display = self.button.layout.display
        plays = f"{self.episodes} episode{'s' * (self.episodes != 1)} at each α, the same maps"
        state = f"{len(points)} of {len(ALPHAS)} α measured" if missing else "measured and kept beside the run"
        self.said.value = note(f"{state}; {plays}. Solid line: the slider; dotted: α in training.")
        self._draw()

    def _draw(self) -> None:
        """The charts, drawn before, with the line where the slider is."""
        self.charts.value = self._drawn.replace(AT, str(-1 if self._alpha is None else self._alpha))  # -1 is outside
