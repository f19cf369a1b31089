"""Whether widgets can be used where this code runs, or a static picture is wanted in their place."""

from __future__ import annotations

import os

# JupyterLab and Notebook name the session in the kernel's environment, VS Code and Colab themselves; papermill,
# nbconvert and plain Python set none of these.
_SIGNS = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")


def widgets_shown() -> bool:
    """Whether somebody at a browser can use a widget made here: False under papermill and outside notebooks."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return hasattr(shell, "kernel") and any(name in os.environ for name in _SIGNS)
