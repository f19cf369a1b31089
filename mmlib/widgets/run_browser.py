"""RunBrowser: the runs on disk in a notebook, a table to sort and search; any number of them looked at together."""

from __future__ import annotations

import html
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import pandas as pd
from IPython.display import display

from mmlib.errors import ResultsError
from mmlib.experiments import run_table
from mmlib.figures import run_plots
from mmlib.figures.tables import shown
from mmlib.runs import tensorboard
from mmlib.runs.reader import Run
from mmlib.runs.records import RECORDS
from mmlib.training.fitting import APART
from mmlib.widgets.curves import chart
from mmlib.widgets.interactive import Drawn, Picture, follow, png, widgets_shown
from mmlib.widgets.table import Table

SHOWN = ("figure", "level", "method", "seed", "frames", "state", "last_return", "preset")
GROUP = ("preset", "figure", "level", "method")  # runs that agree in these differ in their seeds alone
DRAWN = {  # a run's picture in each view that has one
    "Curves": run_plots.run_curves,
    "Hyperparameters": run_plots.hyperparameters,
    "Lineage": run_plots.lineage_graph,
}
VIEWS = (*DRAWN, "Configuration")
EXPORTS = "exports"  # below the root
POLL = 3.0  # seconds, at least, between two looks at the disk
STYLE = """<style>
.mm-text table {border-collapse: collapse; font-size: 12px}
.mm-text td, .mm-text th {padding: 1px 10px; text-align: left !important}
.mm-text {line-height: 1.5}
</style>"""


class RunBrowser(widgets.VBox):
    """The runs below a directory: `RunBrowser("results").show()`.

    Choose a run to see its curves, hyperparameters, lineage and configuration, several (with Ctrl or Shift) to compare
    them. A run that cannot be read is listed as broken and says why. The table follows the disk by itself.

    Raises ResultsError if there is no such directory.
    """

    def __init__(self, root: str | Path = "results") -> None:
        self.root = Path(root)
        self.runs = run_table.runs_table(root)
        self.text = widgets.Text(placeholder="words, for instance: mm done explore", continuous_update=True)
        self.table, self.count = Table(), widgets.HTML()
        self.view = widgets.ToggleButtons(options=VIEWS)
        self.view.style.button_width = "150px"
        self.together = widgets.Checkbox(True, description="seeds as mean and 95 % interval", indent=False)
        self.smoothing = widgets.IntSlider(1, 1, 20, description="smoothing", continuous_update=False)
        self.exported, self.words, self.picture = widgets.HTML(), widgets.HTML(), Picture()
        self.words.add_class("mm-text")
        exports = [widgets.Button(description=f"export {kind}", tooltip=f"What is chosen, as {kind}") for kind in KINDS]
        for button, kind in zip(exports, KINDS):
            button.on_click(lambda _, kind=kind: self._export(kind))
        self.curves = widgets.HBox([self.together, self.smoothing])
        rows = ([self.text, self.count], [self.view, self.curves], [*exports, self.exported])
        search, looks, files = (widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows)
        super().__init__([search, self.table, looks, files, widgets.HTML(STYLE), self.words])
        self.text.observe(lambda _: self._list(), "value")
        self.table.observe(lambda _: self._draw(), "chosen")
        for control in (self.view, self.together, self.smoothing):
            control.observe(lambda _: self._draw(), "value")
        self._list()
        self._draw()

    def show(self) -> None:
        """Displays the widget; where there is nobody to use it, the table and the last run's curves instead."""
        if widgets_shown():
            display(self)
            self.picture.show()
            self.follow()
            return
        display(shown(self.runs[[*SHOWN]]))
        whole = self.runs[self.runs["state"] != "broken"]
        if len(whole):
            for picture in (pictures([Run(whole["directory"].iloc[-1])], view) for view in DRAWN):
                if picture:
                    Picture(picture).show()

    def follow(self) -> None:
        """Looks at the disk again and again, in the kernel's event loop, in place of a browser shown before."""
        follow("runs", self.read_again, POLL)

    def read_again(self) -> None:
        """Looks at the disk once; what is chosen stays so if it is still there, and is drawn again if it changed."""
        try:
            now = run_table.runs_table(self.root)
        except (OSError, ResultsError):  # what is being removed or replaced; the next look sees what is there then
            return
        if not now.equals(self.runs):
            before, self.runs = self.chosen, now
            self._list()
            if not self.chosen.reset_index(drop=True).equals(before.reset_index(drop=True)):
                self._draw()

    @property
    def chosen(self) -> pd.DataFrame:
        """The rows of the runs that are chosen."""
        return self.runs[self.runs["directory"].isin(self.table.chosen)]

    def _list(self) -> None:
        kept = run_table.filtered(self.runs, self.text.value)
        broken = int((kept["state"] == "broken").sum())
        note = f", {broken} of them broken" if broken else ""
        self.count.value = f"<small>{len(kept)} of {len(self.runs)} runs{note}; Ctrl or Shift for several</small>"
        self.table.fill(kept, SHOWN, "directory")

    def _draw(self) -> None:
        """Shows what is chosen in the view; what cannot be read is said in words."""
        self.curves.layout.display = "" if self.view.value == "Curves" else "none"
        try:
            words, drawing = look(self.chosen, self.view.value, self.together.value, self.smoothing.value)
        except (OSError, ResultsError, KeyError, TypeError, ValueError) as error:
            words, drawing = f"<p>This run cannot be shown: {html.escape(str(error))}</p>", b""
        self.words.value = words
        self.picture.draw(drawing)

    def _export(self, kind: str) -> None:
        """Writes what is chosen below the root's `EXPORTS`, and says where it is."""
        place = self.root / EXPORTS / kind
        try:
            for directory in map(Path, self.table.chosen):
                KINDS[kind](Run(directory), place / directory.relative_to(self.root))
        except (OSError, ValueError) as error:
            self.exported.value = f"<small>{html.escape(str(error))}</small>"
            return
        said = f"{len(self.table.chosen)} runs in {place}" if self.table.chosen else "choose runs first"
        self.exported.value = f"<small>{html.escape(said)}</small>"


def write_csv(run: Run, directory: Path) -> None:
    """A run's records as one CSV file each."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in RECORDS:
        getattr(run, name)().to_csv(directory / f"{name}.csv", index=False)


KINDS = {"TensorBoard": tensorboard.export, "CSV": write_csv}


def look(rows: pd.DataFrame, view: str, together: bool, smoothing: int) -> tuple[str, Drawn]:
    """One view of rows of a table of runs: HTML, and what is drawn where the view has that (`curves.chart`)."""
    if not len(rows):
        return "<p>Choose a run, or several to compare them (Ctrl or Shift and click).</p>", b""
    broken = rows[rows["state"] == "broken"]
    if len(broken):
        return "".join(f"<p><b>broken:</b> {html.escape(r)}</p>" for r in broken["reason"]), b""
    runs = [Run(directory) for directory in rows["directory"]]
    words = "".join(f"<p>{html.escape(_sentence(row))}</p>" for row in rows.to_dict("records") if len(rows) < 3)
    if view == "Configuration" or len(runs) == 2:
        table = run_table.settings(runs)
        inside = table.to_html(index=False, border=0) if len(table) else "<p>Their configurations are the same.</p>"
        words += f'<div style="overflow-x: auto">{inside}</div>'
    if view == "Configuration":
        return words, b""
    if view == "Curves" and any(len(run.metrics()) for run in runs):
        return words, chart(_groups(rows, runs), together, smoothing)
    drawn = pictures(runs, view)
    if not drawn:
        why = "no population that adapts is among them" if view == "Lineage" else "nothing is recorded"
        words += f"<p>There is nothing to draw: {why}.</p>"
    return words, drawn


def pictures(runs: Sequence[Run], view: str) -> bytes:
    """A view's pictures of the runs that have one, one below the other."""
    having = (run for run in runs if len(run.metrics()) and (view != "Lineage" or len(run.decisions())))
    return png(*map(DRAWN[view], having))


def _groups(rows: pd.DataFrame, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by what they differ in besides their seeds, in words: by their places, and within those by settings."""
    places = [name for name in GROUP if rows[name].nunique(dropna=False) > 1 or name == "method"]
    placed: dict[str, list[Run]] = {}
    for row, run in zip(rows.to_dict("records"), runs):
        placed.setdefault(", ".join(str(row[name]) for name in places), []).append(run)
    groups: dict[str, list[Run]] = {}
    for place, there in placed.items():
        settings = [name for name in run_table.differing(there) if name not in {*APART, "agent_steps"}]
        for run in there:
            said = (f"{name} {reprlib.repr(run.config.get(name))}" for name in settings)
            groups.setdefault(", ".join([place, *said]), []).append(run)
    return groups


def _sentence(row: Mapping[Any, Any]) -> str:
    bare = "without a checkpoint: it can be looked at, but neither inspected nor continued"
    parts = [f"{row['directory']}: {row['state']}", row["reason"], bare if row["checkpoint"] == "none" else ""]
    return "; ".join(filter(None, parts))
