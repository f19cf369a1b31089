"""Whether widgets can be used where this code runs; pictures, which stay where widgets do not."""

from __future__ import annotations

import io

from IPython import get_ipython
from IPython.display import HTML, DisplayHandle, Image, display
from matplotlib.figure import Figure


def widgets_shown() -> bool:
    """Whether somebody at a browser can use a widget made here: False under papermill and outside notebooks.

    The kernel knows: a front end with a person before it lets its cells ask for input, papermill and nbconvert do not,
    wherever they were started.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True)


class Picture:
    """A picture in a cell's output that may change, and stays when the kernel, and with it every widget, is gone."""

    def __init__(self, figure: Figure | None = None):
        self.value = b"" if figure is None else png(figure)
        self._shown: object = None

    def show(self) -> None:
        """Displays it in the cell that is running."""
        self._shown = display(self._output(), display_id=True)

    def draw(self, figure: Figure | None) -> None:
        """Another figure, or none."""
        self.value = b"" if figure is None else png(figure)
        if isinstance(self._shown, DisplayHandle):
            self._shown.update(self._output())

    def _output(self) -> HTML | Image:
        return Image(self.value, width=900) if self.value else HTML("")


def png(figure: Figure) -> bytes:
    """A figure's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()
