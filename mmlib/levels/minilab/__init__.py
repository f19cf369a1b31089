"""MiniLab: the embedded first-person engine, compiled with Numba and calibrated against DeepMind Lab."""

from mmlib.levels.minilab.engine import MiniLab

__all__ = ["MiniLab"]
