"""The widget of a live experiment: progress, curves, stop and resume."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable

import ipywidgets as widgets  # type: ignore[import-untyped]
from IPython.display import display

from mmlib.widgets.interactive import Picture, follow, png, widgets_shown
from mmlib.widgets.live import Experiment, Pulse, words

POLL = 0.5  # seconds, at least, between two looks at the records
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
        widget = LiveWidget(experiment)
        display(widget)
        widget.picture.show()
        follow(str(experiment.directory), widget.refresh, POLL)  # when the run has ended, too: it may go on
        return
    config = experiment.config
    print(f"{config.method} on {config.level}, seed {config.seed}: {words(experiment.status())}")
    Picture(png(experiment.figure())).show()


class LiveWidget(widgets.VBox):
    """Shows an experiment. It looks at the records in the kernel's event loop, between cells, and never waits.

    A button's action may come from another thread (JupyterLab sends widgets' messages over a subshell of the kernel),
    so one look at a time.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.picture = experiment, Picture()
        config = experiment.config
        self.bar = widgets.FloatProgress(min=0.0, max=1.0, layout={"width": "320px"})
        self.words = widgets.HTML()
        self.stop = widgets.Button(description="Stop", icon="pause", tooltip="Write a checkpoint and end")
        self.resume = widgets.Button(icon="play", tooltip="Go on from the last checkpoint")
        title = f"<b>{config.method}</b> on {config.level}, seed {config.seed}"
        again = html.escape(f"live_widget.show(live.attach({str(experiment.directory)!r}))")
        place = f"<small>in any notebook, tomorrow too: <code>{again}</code></small>"
        row = widgets.HBox([self.stop, self.resume, self.bar, self.words])
        row.layout.align_items, row.layout.flex_flow = "center", "row wrap"
        super().__init__([widgets.HTML(f"{title}<br>{place}"), row])
        self.stop.on_click(lambda _: self._try(self.experiment.stop))
        self.resume.on_click(lambda _: self._try(self.experiment.start))
        self.said = ""  # an error of the last button
        self.seen: Pulse | None = None  # what is shown
        self.looking = threading.Lock()
        self.refresh()

    def refresh(self) -> None:
        """Looks at the records once, and draws what is new. What cannot be read just now is said, until the next look.

        The records of a run that has ended are not read again.
        """
        with self.looking:
            try:
                pulse = self.experiment.pulse()
                if pulse.at_work or pulse != self.seen:
                    self._look(pulse)
            except OSError as error:
                self.seen, self.words.value = None, html.escape(f"the records cannot be read: {error}")

    def _look(self, pulse: Pulse) -> None:
        status, said = self.experiment.status(), self.said
        if any(pulse.sizes) and (self.seen is None or pulse.sizes != self.seen.sizes):
            try:
                self.picture.draw(png(self.experiment.figure()))
            except (ValueError, KeyError, TypeError) as error:
                said = said or f"the curves cannot be drawn: {error}"
        self.bar.value = min(1.0, status.frames / max(1, status.total_frames))
        self.bar.bar_style = COLOURS.get(status.state, "info")
        problem = f' <span style="color:var(--jp-error-color1, #b00020)">{html.escape(said)}</span>' if said else ""
        # Words that show themselves where no others take their place: it is the page that waits.
        silent = f'{STYLE}<span class="mm-silent" data-at="{time.monotonic()}"> {SILENT}</span>' if status.alive else ""
        self.words.value = html.escape(words(status)) + problem + silent
        self.stop.disabled = status.state not in ("starting", "running")
        self.resume.disabled = status.alive or status.state == "done"
        self.resume.description = "Start" if status.state == "new" else "Resume"
        self.seen = pulse

    def _try(self, action: Callable[[], object]) -> None:
        """What a button does; an error is said beside it."""
        try:
            self.said = ""
            action()
        except (ValueError, OSError) as error:
            self.said = str(error)
        with self.looking:
            self.seen = None
        self.refresh()
