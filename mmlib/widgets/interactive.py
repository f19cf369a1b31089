"""Whether widgets can be used where this code runs, and how they follow what changes; pictures, which stay."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from IPython import get_ipython
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure
from PIL import Image

PLOTLY = "application/vnd.plotly.v1+json"  # shown by the JupyterLab extension that comes with plotly
SHARE = 0.1  # of its time, at most, that the kernel looks and draws
Drawn = bytes | dict[str, Any]


def widgets_shown() -> bool:
    """Whether somebody at a browser can use a widget made here: False under papermill and outside notebooks.

    The kernel knows: a front end with a person before it lets its cells ask for input, papermill and nbconvert do not,
    wherever they were started.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True)


FOLLOWING: dict[str, asyncio.Task[None]] = {}  # by what is followed


def follow(what: str, look: Callable[[], object], seconds: float) -> None:
    """Looks at something again and again, in the kernel's event loop, in place of whoever looked at it before."""
    if what in FOLLOWING:
        FOLLOWING[what].cancel()
    FOLLOWING[what] = asyncio.get_running_loop().create_task(_looking(look, seconds))


async def _looking(look: Callable[[], object], seconds: float) -> None:
    """After so many seconds, and for `SHARE` of its time at most."""
    while True:
        began = time.monotonic()
        look()
        await asyncio.sleep(max(seconds, (time.monotonic() - began) / SHARE))


class Picture:
    """A picture in a cell's output that may change, and stays when the kernel, and with it every widget, is gone.

    Args:
      value: a PNG, or a chart of Plotly's; b"" is none.
    """

    def __init__(self, value: Drawn = b""):
        self.value = value
        self._shown: object = None

    def show(self) -> None:
        """Displays it in the cell that is running."""
        self._shown = display(self._output(), display_id=True, raw=True)

    def draw(self, value: Drawn) -> None:
        """Another picture, or none."""
        before, self.value = self.value, value
        if isinstance(self._shown, DisplayHandle):
            if isinstance(before, dict):  # Plotly's extension lets a chart that is there be, whatever comes
                self._shown.update({"text/html": ""}, raw=True)
            self._shown.update(self._output(), raw=True)

    def _output(self) -> dict[str, Any]:
        """By type, what a page shows of it."""
        if isinstance(self.value, dict):
            return {PLOTLY: self.value, "text/plain": "a chart of Plotly's"}
        if not self.value:
            return {"text/html": ""}
        return {"image/png": base64.b64encode(self.value).decode(), "text/plain": "a picture"}


def png(*figures: Figure) -> bytes:
    """Figures' bytes; several are equally wide, and stand one below the other; b"" of none."""
    pages = [io.BytesIO() for _ in figures]
    for figure, page in zip(figures, pages):
        figure.savefig(page, format="png", dpi=160, metadata={"Software": None})
    if len(pages) > 1:
        stacked = np.vstack([np.asarray(Image.open(page).convert("RGB")) for page in pages])
        pages = [io.BytesIO()]
        Image.fromarray(stacked).save(pages[0], "PNG")
    return pages[0].getvalue() if pages else b""
