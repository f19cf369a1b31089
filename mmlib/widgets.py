"""Widgets for notebooks."""

from mmlib.inspector import MixtureInspector
from mmlib.interactive import widgets_shown

__all__ = ["MixtureInspector", "widgets_shown"]
