"""The widget of a live experiment: progress, curves, stop and resume."""

from __future__ import annotations

import asyncio
import contextlib
import html
import threading
import time
from collections.abc import Callable

import ipywidgets as widgets  # type: ignore[import-untyped]
from IPython.display import display

from mmlib.widgets.interactive import Picture, widgets_shown
from mmlib.widgets.live import Experiment, words

POLL = 0.5  # seconds between two looks at the records
REDRAW = 1.0  # seconds, at least, between two drawings of the curves
SHARE = 0.1  # of its time, at most, that the kernel draws
COLOURS = {
    "done": "success",
    "failed": "danger",
    "broken": "danger",
    "killed": "danger",
    "stopped": "warning",
    "stopping": "warning",
}

SILENT = "(no news: this notebook's kernel is busy or gone; the run is not)"
STYLE = """<style>
@keyframes mm-silent {to {visibility: visible}}
.mm-silent {visibility: hidden; animation: mm-silent 0s 15s forwards; color: var(--jp-warn-color1, #b36b00)}
</style>"""


def show(experiment: Experiment) -> None:
    """Displays the widget; where there is nobody to use it, the status and the curves so far instead."""
    if widgets_shown():
        LiveWidget(experiment).show()
        return
    print(
        f"{experiment.config.method} on {experiment.config.level}, seed {experiment.config.seed}: "
        f"{words(experiment.status())}"
    )
    Picture(experiment.figure()).show()


class LiveWidget:
    """Shows an experiment. It looks at the records in the kernel's event loop, between cells, and never waits.

    A picture is drawn when there is something new, once a second at most. A button's action may come from another
    thread (JupyterLab sends widgets' messages over a subshell of the kernel), so one look at a time.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        config = experiment.config
        self.bar = widgets.FloatProgress(min=0.0, max=1.0, layout={"width": "320px"})
        self.words = widgets.HTML()
        self.stop = widgets.Button(description="Stop", icon="pause", tooltip="Write a checkpoint and end")
        self.resume = widgets.Button(icon="play", tooltip="Go on from the last checkpoint")
        self.picture = Picture()
        title = f"<b>{config.method}</b> on {config.level}, seed {config.seed}"
        again = html.escape(f"live_widget.show(live.attach({str(experiment.directory)!r}))")
        place = f"<small>in any notebook, tomorrow too: <code>{again}</code></small>"
        row = widgets.HBox([self.stop, self.resume, self.bar, self.words], layout={"align_items": "center"})
        row.layout.flex_flow = "row wrap"
        self.widget = widgets.VBox([widgets.HTML(f"{title}<br>{place}"), row])
        self.stop.on_click(lambda _: self._try(self.experiment.stop))
        self.resume.on_click(lambda _: self._try(self.experiment.start))
        self.said = ""  # an error of the last button
        self.settled: tuple[bool, int] | None = None  # the pulse of a run that had ended, as it is shown
        self.drawn: tuple[int, ...] = ()  # what the picture shows
        self.last, self.cost = -REDRAW, 0.0
        self.task: asyncio.Task[None] | None = None
        self.looking = threading.Lock()
        self.refresh()

    def show(self) -> None:
        """Displays the widget and keeps it up to date."""
        display(self.widget)
        self.picture.show()
        self.follow()

    def follow(self) -> None:
        """Keeps the widget up to date from the running event loop, also when the run has ended: it may go on."""
        with contextlib.suppress(RuntimeError):  # no loop: it stays as it is
            self.task = self.task or asyncio.get_running_loop().create_task(self._follow())

    def close(self) -> None:
        """Stops following; the run goes on."""
        if self.task is not None:
            self.task.cancel()
        self.widget.close()

    async def _follow(self) -> None:
        while True:
            self.refresh()
            await asyncio.sleep(POLL)

    def refresh(self) -> None:
        """Looks at the records once, and draws what is new if it is time to, or if the run has ended.

        What cannot be read just now is said, until the next look.
        """
        with self.looking:
            try:
                self._look()
            except OSError as error:
                self.settled, self.words.value = None, html.escape(f"the records cannot be read: {error}")

    def _look(self) -> None:
        pulse = self.experiment.pulse()
        if pulse == self.settled:
            return
        status, now = self.experiment.status(), time.monotonic()
        if not status.alive or now - self.last >= max(REDRAW, self.cost / SHARE):
            self._redraw(now)
        self.bar.value = min(1.0, status.frames / max(1, status.total_frames))
        self.bar.bar_style = COLOURS.get(status.state, "info")
        problem = (
            f' <span style="color:var(--jp-error-color1, #b00020)">{html.escape(self.said)}</span>' if self.said else ""
        )
        self.words.value = html.escape(words(status)) + problem + (self._silence() if status.alive else "")
        self.stop.disabled = status.state not in ("starting", "running")
        self.resume.disabled = status.alive or status.state == "done"
        self.resume.description = "Start" if status.state == "new" else "Resume"
        self.settled = None if status.alive else pulse

    def _silence(self) -> str:
        """Words that show themselves where no others take their place: it is the page that waits."""
        return f'{STYLE}<span class="mm-silent" data-at="{time.monotonic()}"> {SILENT}</span>'

    def _redraw(self, now: float) -> None:
        records = [
            path for name in ("metrics", "episodes") for path in self.experiment.directory.glob(f"{name}.jsonl*")
        ]
        try:
            sizes = tuple(path.stat().st_size for path in records)
            if sizes == self.drawn or not any(sizes):
                return
            self.picture.draw(self.experiment.figure())
        except (ValueError, KeyError, TypeError) as error:
            self.said = f"the curves cannot be drawn: {error}"
            return
        self.drawn, self.last, self.cost = sizes, now, time.monotonic() - now

    def _try(self, action: Callable[[], object]) -> None:
        """What a button does; an error is said beside it."""
        try:
            self.said = ""
            action()
        except (ValueError, OSError) as error:
            self.said = str(error)
        with self.looking:
            self.settled = None
        self.refresh()
