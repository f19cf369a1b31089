"""What notebooks show: a pandas table made to be read, a page, and what is kept as a file too."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from mmlib.analysis.claims import FAILS, HOLDS, UNDECIDED
from mmlib.figures.style import save

LONG = 40  # characters of a cell, from which it may be broken into lines
THEME = {HOLDS: "success", FAILS: "error", UNDECIDED: "warn"}  # a verdict's colour is the page's, light or dark


def picture(
    figure: Figure, directory: Path, name: str, formats: Sequence[str] = ("png",), width: int | None = 900
) -> Image:
    """Writes a figure (`style.save`) and shows the first of its files, `width` pixels wide."""
    return Image(save(figure, directory, name, formats)[0], width=width)


def tabled(table: pd.DataFrame, directory: Path, name: str) -> Styler:
    """Writes a table as `<directory>/<name>.csv` and shows it."""
    directory.mkdir(parents=True, exist_ok=True)
    table.to_csv(directory / f"{name}.csv", index=False)
    return shown(table)


def shown(table: pd.DataFrame, precision: int = 2) -> Styler:
    """The table without its index: numbers to the right, words to the left, short cells on one line, verdicts tinted.

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
    styler = styler.format(_breakable, subset=wide).set_table_styles(styles)
    return styler.map(_tinted, subset=["verdict"]) if "verdict" in table else styler


def page(path: Path) -> list[Markdown | Image]:
    """The parts of a Markdown page, whose pictures would not be found from where the notebook is."""
    text, *rest = re.split(r"^((?:\| )?!\[.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts: list[Markdown | Image] = [Markdown(text)]
    for pictures, text in zip(rest[::2], rest[1::2], strict=True):
        parts += [Image(path.parent / link) for link in re.findall(r"!\[.*?\]\((.+?)\)", pictures)]
        parts += [Markdown(text)] if text.strip() else []
    return parts


def _tinted(verdict: str) -> str:
    colour = f"var(--jp-{THEME[verdict]}-color1)" if verdict in THEME else "gray"
    return f"box-shadow: inset 3px 0 {colour}; background: color-mix(in srgb, {colour} 20%, transparent)"


def _breakable(cell: object) -> str:
    """A cell as HTML; a path has no spaces, and may be broken after its slashes."""
    return html.escape(str(cell)).replace("/", "/<wbr>")
