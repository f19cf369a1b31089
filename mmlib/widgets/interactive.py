"""Whether widgets can be used where this code runs; pictures, which stay where widgets do not."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from IPython import get_ipython
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure
from PIL import Image

PLOTLY = "application/vnd.plotly.v1+json"  # shown by the JupyterLab extension that comes with plotly
Drawn = Figure | Sequence[Figure] | dict[str, Any] | None


def widgets_shown() -> bool:
    """Whether somebody at a browser can use a widget made here: False under papermill and outside notebooks.

    The kernel knows: a front end with a person before it lets its cells ask for input, papermill and nbconvert do not,
    wherever they were started.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True)


class Picture:
    """A picture in a cell's output that may change, and stays when the kernel, and with it every widget, is gone.

    Args:
      figure: of Matplotlib; several stand below each other; None is none, as is [].  A dict is a chart of Plotly's.
    """

    def __init__(self, figure: Drawn = None):
        self.value = _value(figure)
        self._shown: object = None

    def show(self) -> None:
        """Displays it in the cell that is running."""
        self._shown = display(self._output(), display_id=True, raw=True)

    def draw(self, figure: Drawn) -> None:
        """Another figure, or none."""
        before, self.value = self.value, _value(figure)
        if isinstance(self._shown, DisplayHandle):
            if isinstance(before, dict):  # Plotly's extension lets a chart that is there be, whatever comes
                self._shown.update({"text/html": ""}, raw=True)
            self._shown.update(self._output(), raw=True)

    @property
    def png(self) -> bytes:
        """Its bytes, if it is a picture; else none."""
        return self.value if isinstance(self.value, bytes) else b""

    def _output(self) -> dict[str, Any]:
        """By type, what a page shows of it."""
        if isinstance(self.value, dict):
            return {PLOTLY: self.value, "text/plain": "a chart of Plotly's"}
        if not self.value:
            return {"text/html": ""}
        return {"image/png": base64.b64encode(self.value).decode(), "text/plain": "a picture"}


def _value(figure: Drawn) -> bytes | dict[str, Any]:
    if isinstance(figure, dict):
        return figure
    several = [figure] if isinstance(figure, Figure) else list(figure or ())
    return png(*several) if several else b""


def png(*figures: Figure) -> bytes:
    """Figures' bytes; several are equally wide, and stand one below the other."""
    pages = []
    for figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
        pages.append(buffer)
    if len(pages) == 1:
        return pages[0].getvalue()
    buffer = io.BytesIO()
    Image.fromarray(np.vstack([np.asarray(Image.open(page).convert("RGB")) for page in pages])).save(buffer, "PNG")
    return buffer.getvalue()
