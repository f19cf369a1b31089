"""Widgets for notebooks."""

from mmlib.inspector import MixtureInspector, skipped

__all__ = ["MixtureInspector", "skipped"]
