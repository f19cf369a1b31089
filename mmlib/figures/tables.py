"""Tables in notebooks: a pandas table made to be read."""

from __future__ import annotations

import html

import pandas as pd
from pandas.io.formats.style import Styler

LONG = 40  # characters of a cell, from which it may be broken into lines


def shown(table: pd.DataFrame, precision: int = 2) -> Styler:
    """The table without its index: numbers to the right, words to the left, and short cells on one line.

    Args:
      precision: decimals of numbers that are not whole.
    """
    styles, wide = {}, []
    for name in table.columns:
        number = pd.api.types.is_numeric_dtype(table[name])
        long = not number and table[name].astype(str).str.len().max() >= LONG
        breaks = "overflow-wrap: anywhere" if long else "white-space: nowrap"
        wide += [name] if long else []
        styles[name] = [
            {"selector": "", "props": f"text-align: {'right' if number else 'left'}; {breaks}"},
            {"selector": "th", "props": "white-space: normal"},
        ]
    styler = table.style.hide(axis="index").format(precision=precision, thousands=",", na_rep="", escape="html")
    return styler.format(_breakable, subset=wide).set_table_styles(styles)


def _breakable(cell: object) -> str:
    """A cell as HTML; a path has no spaces, and may be broken after its slashes."""
    return html.escape(str(cell)).replace("/", "/<wbr>")
