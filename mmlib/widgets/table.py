"""A table in a notebook that sorts by any column and in which rows are chosen; ipywidgets has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets

FOLDER = Path(__file__).parent


class Table(anywidget.AnyWidget):
    """Rows of text and numbers; `chosen` holds the keys of those that are chosen, in any number."""

    _esm = FOLDER / "table.js"
    _css = FOLDER / "table.css"
    columns: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)
    chosen: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def fill(self, table: pd.DataFrame, columns: Sequence[str], key: str) -> None:
        """Shows these columns of a table; what is chosen and still there stays chosen."""
        rows = [
            {
                "key": row[key],
                "cells": {name: plain(row[name]) for name in columns},
                "texts": {name: text(row[name]) for name in columns},
            }
            for row in table.to_dict("records")
        ]
        with self.hold_sync():
            self.columns, self.rows = list(columns), rows
            self.chosen = [each for each in self.chosen if each in set(table[key])]


def plain(value: Any) -> str | float | None:
    """A cell to sort by: a number, words, or nothing."""
    if value is None or value != value:  # not a number
        return None
    return value if isinstance(value, str) and not value.isdigit() else float(value)


def text(value: Any) -> str:
    """A cell to read."""
    number = plain(value)
    if number is None or isinstance(number, str):
        return number or ""
    return f"{number:,.0f}" if number == int(number) else f"{number:.2f}"
