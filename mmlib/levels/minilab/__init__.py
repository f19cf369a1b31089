"""MiniLab: the embedded first-person engine, compiled with Numba and calibrated against DeepMind Lab."""

from mmlib.levels.minilab.kernels import cached_here

with cached_here():
    import mmlib.levels.minilab.marksman  # noqa: F401  its kernels too, whoever imports it first
    from mmlib.levels.minilab.engine import MiniLab

__all__ = ["MiniLab"]
