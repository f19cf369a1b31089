"""Whether widgets can be used where this code runs, or a static picture is wanted in their place."""

from __future__ import annotations


def widgets_shown() -> bool:
    """Whether somebody at a browser can use a widget made here: False under papermill and outside notebooks.

    The kernel knows: a front end with a person before it lets its cells ask for input, papermill and nbconvert do not,
    wherever they were started.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True)
