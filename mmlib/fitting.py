"""A method on a level whose actions are not DeepMind Lab's: the same agent in the level's own action spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mmlib.methods import METHODS, AgentSpec
from mmlib.spaces import SMALL, ActionSpace

if TYPE_CHECKING:
    from mmlib.config import RunConfig


def specification(config: RunConfig) -> AgentSpec:
    """The agent of a run, tied as the run says, in the action spaces of its level."""
    from mmlib import levels  # late: loads the engine

    spec = fit(config.method, levels.interface(config.levels[0], config.backend_in_force).spaces)
    if config.transfer_cost is not None:
        spec = replace(spec, transfer_weight=config.transfer_cost)
    return replace(spec, **config.ties)


def fit(method: str, spaces: Mapping[str, ActionSpace] | None = None) -> AgentSpec:
    """The agent of `METHODS` of that name, in the action spaces of a level (`levels.Interface.spaces`).

    A level's "small" stands for `SMALL`, and its "big", all that it knows, for every other space. Without `spaces`
    the agent is as the table has it.

    Raises:
      ValueError: the agent needs a small space and the level declares none.
    """
    spec = METHODS[method]
    if spaces is None:
        return spec
    if "small" not in spaces and _needs_small(spec):
        others = ", ".join(name for name, each in METHODS.items() if not _needs_small(each))
        raise ValueError(
            f"method {method!r} needs a small action space, which this level does not declare; without: {others}"
        )

    def here(space: ActionSpace) -> ActionSpace:
        return spaces["small" if space == SMALL else "big"]

    constituents = tuple(replace(c, space=here(c.space)) for c in spec.constituents)
    return replace(spec, constituents=constituents, heads={name: here(space) for name, space in spec.heads.items()})


def _needs_small(spec: AgentSpec) -> bool:
    return any(c.space == SMALL for c in spec.constituents)
