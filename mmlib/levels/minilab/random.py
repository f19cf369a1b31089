"""Random numbers as a function of what they are for.

A number is a hash of (seed, environment, episode, purpose, counter), so it depends neither on how many
environments a batch has nor on which thread or process computes it. The mixing function is the finaliser of
SplitMix64 (Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import numpy as np

from mmlib.numerics.kernels import njit

# What a stream is for.
MAZE, OBJECTS, SPAWN, THEME, SURFACE, LENGTH = 1, 2, 3, 4, 5, 6
MATCH = 7  # everything in a lasertag episode

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_SHIFT_32 = np.uint64(32)
_SHIFT_11 = np.uint64(11)


@njit(nogil=True, cache=True)
def _mix(z):
    z = (z ^ (z >> _SHIFT_30)) * _FACTOR_1
    z = (z ^ (z >> _SHIFT_27)) * _FACTOR_2
    return z ^ (z >> _SHIFT_31)


@njit(nogil=True, cache=True)
def stream(seed, environment, episode, purpose):
    """Key (uint64) of the random numbers of one purpose in one episode of one environment."""
    key = _mix(np.uint64(seed) + _GOLDEN)
    key = _mix((key ^ np.uint64(environment)) + _GOLDEN)
    key = _mix((key ^ np.uint64(episode)) + _GOLDEN)
    return _mix((key ^ np.uint64(purpose)) + _GOLDEN)


@njit(nogil=True, cache=True)
def below(key, counter, n):
    """The stream's number `counter` as an integer in [0, n), n < 2**32 (bias below n / 2**32)."""
    bits = _mix(key + np.uint64(counter) * _GOLDEN) >> _SHIFT_32
    return np.int64((bits * np.uint64(n)) >> _SHIFT_32)


@njit(nogil=True, cache=True)
def unit(key, counter):
    """The stream's number `counter` as a float in [0, 1)."""
    return np.float64(_mix(key + np.uint64(counter) * _GOLDEN) >> _SHIFT_11) * 2.0**-53
