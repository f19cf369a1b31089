"""Tables in notebooks: a pandas table made to be read."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

LONG = 60  # characters of a cell, from which it may be broken into lines


def shown(table: pd.DataFrame, precision: int = 2) -> Styler:
    """The table without its index: numbers to the right, words to the left, and short cells on one line.

    Args:
      precision: decimals of numbers that are not whole.
    """
    styles = {}
    for name in table.columns:
        number = pd.api.types.is_numeric_dtype(table[name])
        long = not number and table[name].astype(str).str.len().max() >= LONG
        props = f"text-align: {'right' if number else 'left'}; white-space: {'normal' if long else 'nowrap'}"
        styles[name] = [{"selector": "", "props": props}]
    styler = table.style.hide(axis="index").format(precision=precision, thousands=",", na_rep="")
    return styler.set_table_styles(styles)
