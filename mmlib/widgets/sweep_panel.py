"""The inspector's second plot: return, entropy and KL over alpha, measured in a process while the rest goes on."""

from __future__ import annotations

import contextlib
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import ipywidgets as widgets  # type: ignore[import-untyped]

from mmlib.experiments.design import ExperimentError
from mmlib.training.trained import Subject
from mmlib.widgets import alpha_sweep
from mmlib.widgets.alpha_sweep import ALPHAS, EPISODES, Point
from mmlib.widgets.charts import Inline, sweep_charts
from mmlib.widgets.inspector_view import STYLE, note, say


class SweepPanel(widgets.VBox):
    """Shows what is cached of a subject's sweep; its button measures the rest.

    Args:
      episodes: played at each alpha.
    """

    def __init__(self, episodes: int = EPISODES):
        self.episodes = episodes
        self.button = widgets.Button(
            icon="area-chart", tooltip="Play every α that is missing", layout={"width": "120px"}
        )
        self.progress = widgets.IntProgress(max=len(ALPHAS), layout={"width": "220px"}, bar_style="success")
        self.said, self.charts = widgets.HTML(), widgets.HTML()
        row = widgets.HBox([self.button, self.progress, self.said], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.charts], layout={"width": "100%"})
        self.points: list[Point] = []
        self._drawn: list[Inline] = []
        self._subject: Subject | None = None
        self._alpha: float | None = None
        self._process: SpawnProcess | None = None
        self._thread: threading.Thread | None = None
        self.button.on_click(lambda _: self.stop() if self.running else self.measure())

    @property
    def running(self) -> bool:
        """Whether a sweep is under way."""
        return self._process is not None

    def begin(self, subject: Subject, alpha: float | None) -> None:
        """Turns to another subject; what is under way for the last one ends, its points are kept."""
        self.stop()
        self._subject, self._alpha = subject, alpha
        self.layout.display = "" if subject.constituents > 1 else "none"
        self._show(alpha_sweep.cached(subject, self.episodes))

    def at(self, alpha: float | None) -> None:
        """Moves the line that says where the slider is."""
        self._alpha = alpha
        self._draw()

    def measure(self) -> None:
        """Starts to measure what is missing, in a process of its own."""
        if self.running or self._subject is None:
            return
        try:
            self._process, told = alpha_sweep.start(self._subject, self.episodes)
        except ExperimentError as error:
            self.said.value = say(f"The sweep cannot be made: {error}")
            return
        self._thread = threading.Thread(target=self._follow, args=(self._process, told), daemon=True)
        self._show(self.points)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process, if there is one; the points that it measured are cached."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.join()
            self._show(self.points)

    def wait(self, timeout: float | None = None) -> None:
        """Waits for a sweep that is under way."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _follow(self, process: SpawnProcess, told: Connection) -> None:
        """Shows the process's points as they come, until it ends."""
        complaint = ""
        with told, contextlib.suppress(EOFError, ConnectionError):
            while process is self._process:
                news = told.recv()
                if isinstance(news, str):
                    complaint = news
                elif process is self._process:
                    self._show(news)
        if process is not self._process:
            return  # it was stopped
        process.join()
        self._process = None
        self._show(self.points)
        if complaint or process.exitcode:
            self.said.value = say(f"The sweep ended early: {complaint or f'exit code {process.exitcode}'}")

    def _show(self, points: list[Point]) -> None:
        self.points = points
        missing = len(ALPHAS) - len(points)
        self.progress.value = len(points)
        self.progress.layout.visibility = "visible" if self.running else "hidden"
        self.button.description = "stop" if self.running else "sweep α" if missing == len(ALPHAS) else "go on"
        self.button.layout.display = "none" if not missing and not self.running else ""
        self.progress.layout.display = self.button.layout.display
        plays = f"{self.episodes} episode{'s' * (self.episodes != 1)} at each α, the same maps"
        state = f"{len(points)} of {len(ALPHAS)} α measured" if missing else "measured and kept beside the run"
        self.said.value = note(f"{state}; {plays}. Solid line: the slider; dotted: α in training.")
        in_force = None if self._subject is None else self._subject.alpha
        self._drawn = sweep_charts(points, in_force) if points or self.running else []
        self._draw()

    def _draw(self) -> None:
        """The charts, drawn before, with the line where the slider is."""
        charts = "".join(f"<div>{chart.svg(self._alpha)}</div>" for chart in self._drawn)
        self.charts.value = f'{STYLE}<div class="mmi mmi-charts">{charts}</div>'
