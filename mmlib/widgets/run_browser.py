"""RunBrowser: the runs on disk in a notebook. A list to filter; one run looked at, or two compared."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from mmlib.errors import ResultsError
from mmlib.experiments import run_table
from mmlib.figures import curriculum_plots, run_plots
from mmlib.runs.reader import Run
from mmlib.widgets.interactive import Picture, widgets_shown

SHOWN = {"figure": 10, "level": 37, "method": 17, "seed": 5, "frames": 11, "state": 8, "last_return": 12, "preset": 10}
FILTERS = ("preset", "figure", "level", "method", "state")
ALL = "all"
VIEWS = ("Curves", "Hyperparameters", "Lineage", "Configuration")
STYLE = """<style>
.mm-runs select, .mm-runs option, .mm-head {font-family: monospace !important; font-size: 12px; line-height: 1.5}
.mm-head {white-space: pre; font-weight: 600; padding-left: 3px}
.mm-text table {border-collapse: collapse; font-size: 12px}
.mm-text td, .mm-text th {padding: 1px 10px; text-align: left !important}
.mm-text {line-height: 1.5}
</style>"""


class RunBrowser:
    """The runs below a directory: `RunBrowser("results").show()`.

    Select one run to see its curves, hyperparameters, lineage and configuration, two (with Ctrl or Shift) to compare
    them. A run that cannot be read is listed as broken and says why.

    Raises ResultsError if there is no such directory.
    """

    def __init__(self, root: str | Path = "results") -> None:
        self.root = Path(root)
        self.table = run_table.runs_table(root)
        self.text = widgets.Text(placeholder="words, for instance: mm done explore", continuous_update=True)
        self.filters = {name: widgets.Dropdown(layout={"width": "auto"}) for name in FILTERS}
        self.select = widgets.SelectMultiple(rows=12, layout={"width": "calc(100% - 4px)"})
        self.select.add_class("mm-runs")
        self.count = widgets.HTML()
        self.view = widgets.ToggleButtons(options=VIEWS)
        self.view.style.button_width = "150px"
        self.picture = Picture()
        self.words = widgets.HTML()
        self.words.add_class("mm-text")
        again = widgets.Button(description="Read again", tooltip="Look at the disk again")
        again.on_click(lambda _: self.read_again())
        labels = [widgets.VBox([widgets.HTML(f"<small>{n}</small>"), box]) for n, box in self.filters.items()]
        find = widgets.VBox([widgets.HTML("<small>find</small>"), self.text])
        top = widgets.HBox([find, *labels])
        top.layout.flex_flow = "row wrap"
        below = widgets.HBox([again, self.count])
        head = widgets.HTML(f'{STYLE}<div class="mm-head">{html.escape(_line(dict.fromkeys(SHOWN)))}</div>')
        self.widget = widgets.VBox([top, head, self.select, below, self.view, self.words])
        for box in (self.text, *self.filters.values()):
            box.observe(lambda _: self._list(), "value")
        self.select.observe(lambda _: self._draw(), "value")
        self.view.observe(lambda _: self._draw(), "value")
        self._choices()
        self._list()

    def show(self) -> None:
        """Displays the widget; where there is nobody to use it, the table and the last run's curves instead."""
        if widgets_shown():
            display(self.widget)
            self.picture.show()
            return
        columns = [name for name in SHOWN if name in self.table]
        display(self.table[columns].style.hide(axis="index").format(precision=2, na_rep="", thousands=","))
        whole = self.table[self.table["state"] != "broken"]
        if len(whole):
            for figure in figures(Run(whole["directory"].iloc[-1])).values():
                Picture(figure).show()

    def read_again(self) -> None:
        """Looks at the disk again; what is selected stays so if it is still there."""
        self.table = run_table.runs_table(self.root)
        self._choices()
        self._list()

    @property
    def chosen(self) -> pd.DataFrame:
        """The rows of the table that are selected."""
        return self.table[self.table["directory"].isin(self.select.value)]

    def _choices(self) -> None:
        for name, box in self.filters.items():
            before, values = box.value, sorted({str(value) for value in self.table[name].dropna()})
            box.options = [ALL, *values]
            box.value = before if before in values else ALL

    def _list(self) -> None:
        wanted = {name: box.value for name, box in self.filters.items() if box.value not in (ALL, None)}
        kept = run_table.filtered(self.table, self.text.value, wanted)
        before = set(self.select.value)
        self.select.options = [(_line(row), row["directory"]) for row in kept.to_dict("records")]
        self.select.value = [directory for directory in kept["directory"] if directory in before]
        broken = int((kept["state"] == "broken").sum())
        note = f", {broken} of them broken" if broken else ""
        self.count.value = f"<small>{len(kept)} of {len(self.table)} runs{note}</small>"
        self._draw()

    def _draw(self) -> None:
        """Shows the selected run or runs in the chosen view; what cannot be read is said in words."""
        try:
            words, figure = look(self.chosen, self.view.value)
        except (ResultsError, KeyError, TypeError, ValueError) as error:
            words, figure = f"<p>This run cannot be shown: {html.escape(str(error))}</p>", None
        self.words.value = words
        self.picture.draw(figure)


def look(rows: pd.DataFrame, view: str) -> tuple[str, Figure | None]:
    """One view of the selected rows of a table of runs: HTML, and a picture where the view has one."""
    if not len(rows):
        return "<p>Select a run, or two to compare them (Ctrl or Shift and click).</p>", None
    broken = rows[rows["state"] == "broken"]
    if len(broken):
        return "".join(f"<p><b>broken:</b> {html.escape(r)}</p>" for r in broken["reason"]), None
    if len(rows) > 2:
        return f"<p>{len(rows)} runs are selected; two can be compared.</p>", None
    runs = [Run(directory) for directory in rows["directory"]]
    if len(runs) == 2:
        return _compared(rows, runs, view)
    row, run = rows.iloc[0], runs[0]
    note = f"<p>{html.escape(_sentence(row))}</p>"
    if view == "Configuration":
        return note + _html(run_table.settings(run)), None
    name = {"Curves": "curves", "Hyperparameters": "hyperparameters", "Lineage": "lineage"}[view]
    makers = _makers(run)
    if name not in makers:
        why = "it has no population that adapts" if name == "lineage" and len(run.metrics()) else "nothing is recorded"
        return f"{note}<p>There is nothing to draw: {why}.</p>", None
    return note, makers[name]()


def figures(run: Run) -> dict[str, Figure]:
    """The pictures of a run: curves, hyperparameters, and lineage where a population adapted."""
    return {name: make() for name, make in _makers(run).items()}


def _makers(run: Run) -> dict[str, Callable[[], Figure]]:
    makers: dict[str, Callable[[], Figure]] = {}
    if len(run.metrics()):
        makers["curves"] = lambda: run_plots.run_curves({run_name(run): run})
        makers["hyperparameters"] = lambda: curriculum_plots.hyperparameters(run)
        if len(run.decisions()):
            makers["lineage"] = lambda: curriculum_plots.lineage_graph(run)
    return makers


def run_name(run: Run) -> str:
    """A run's name in a legend."""
    return f"{run.method} on {run.config['level']}, seed {run.seed}"


def _compared(rows: pd.DataFrame, runs: list[Run], view: str) -> tuple[str, Figure | None]:
    """The two runs' differences and their curves over each other."""
    names = [f"{run_name(run)} ({preset})" for run, preset in zip(runs, rows["preset"])]
    if names[0] == names[1]:
        names = [str(run.directory) for run in runs]
    table = run_table.differences(*runs)
    said = _html(table) if len(table) else "<p>Their configurations are the same.</p>"
    words = "".join(f"<p>{html.escape(_sentence(row))}</p>" for _, row in rows.iterrows()) + said
    return words, None if view == "Configuration" else run_plots.run_curves(dict(zip(names, runs)))


def _sentence(row: pd.Series) -> str:
    parts = [f"{row['directory']}: {row['state']}"]
    if row["reason"]:
        parts.append(row["reason"])
    if row["checkpoint"] == "none":
        parts.append("without a checkpoint: it can be looked at, but neither inspected nor continued")
    return "; ".join(parts)


def _html(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0)


def _line(row: Mapping[Any, Any]) -> str:
    """A row as text in columns; a header if its values are None."""
    header = all(value is None for value in row.values())
    cells = [
        (name.replace("_", " ") if header else _cell(row[name]))[:width].ljust(width) for name, width in SHOWN.items()
    ]
    return " ".join(cells).rstrip().replace(" ", "\u00a0")


def _cell(value: Any) -> str:
    if value is None or value != value:  # not a number
        return ""
    if isinstance(value, (int, float)):
        return f"{value:.2f}" if abs(value) < 1000 and value != int(value) else f"{int(value):,}"
    return str(value)
