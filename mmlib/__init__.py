"""Mix & Match agent curricula for reinforcement learning (Czarnecki et al., ICML 2018).

The names below are what most work needs; each is loaded when it is first asked for, so that `import mmlib` is quick.
The rest is in the folders, from the paper to the pictures: `mmlib.levels`, `mmlib.method`, `mmlib.alternatives`,
`mmlib.runs`, `mmlib.training`, `mmlib.experiments`, `mmlib.theory`, `mmlib.analysis`, `mmlib.figures`, `mmlib.widgets`,
`mmlib.cli`.
"""

# ruff: noqa: F401
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; the same names as in _HOMES
    from mmlib.alternatives.methods import METHODS
    from mmlib.config import PBTConfig, RunConfig, make_config
    from mmlib.experiments.parameters import parameters
    from mmlib.experiments.presets import FIGURES, PRESETS
    from mmlib.figures.figure import Figure
    from mmlib.levels import LEVELS
    from mmlib.levels import make as make_level
    from mmlib.method.agent import MixMatchAgent
    from mmlib.method.learner import Learner
    from mmlib.method.losses import transfer_cost
    from mmlib.method.methods import AgentSpec, Constituent
    from mmlib.method.mixture import Mixture
    from mmlib.method.policies import Factorised, Masked, OnSupport
    from mmlib.method.vtrace import vtrace
    from mmlib.runs.reader import Run, find_runs
    from mmlib.spaces import BIG_540, BIG_756, SMALL, ActionSpace
    from mmlib.training.loop import train
    from mmlib.training.trained import load as load_agent

__version__ = "0.1.0"

_HOMES = {  # where each name lives: its module, and its name there if that is another
    "mmlib.alternatives.methods": ("METHODS",),
    "mmlib.config": ("PBTConfig", "RunConfig", "make_config"),
    "mmlib.experiments.presets": ("FIGURES", "PRESETS"),
    "mmlib.experiments.parameters": ("parameters",),
    "mmlib.figures.figure": ("Figure",),
    "mmlib.levels": ("LEVELS", "make as make_level"),
    "mmlib.method.agent": ("MixMatchAgent",),
    "mmlib.method.learner": ("Learner",),
    "mmlib.method.losses": ("transfer_cost",),
    "mmlib.method.methods": ("AgentSpec", "Constituent"),
    "mmlib.method.mixture": ("Mixture",),
    "mmlib.method.policies": ("Factorised", "Masked", "OnSupport"),
    "mmlib.method.vtrace": ("vtrace",),
    "mmlib.runs.reader": ("Run", "find_runs"),
    "mmlib.spaces": ("BIG_540", "BIG_756", "SMALL", "ActionSpace"),
    "mmlib.training.loop": ("train",),
    "mmlib.training.trained": ("load as load_agent",),
}
_FOUND = {text.split()[-1]: (module, text.split()[0]) for module, names in _HOMES.items() for text in names}

__all__ = sorted([*_FOUND, "__version__"])  # noqa: PLE0605 - of strings all the same


def __getattr__(name: str) -> Any:
    if name not in _FOUND:
        raise AttributeError(f"module 'mmlib' has no attribute {name!r}; it has {', '.join(_FOUND)}")
    module, its_name = _FOUND[name]
    return globals().setdefault(name, getattr(import_module(module), its_name))


def __dir__() -> list[str]:
    return __all__
