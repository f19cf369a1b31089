"""Widgets for notebooks."""

from mmlib.inspector import MixtureInspector

__all__ = ["MixtureInspector"]
