"""Trees of tensors: tuples, lists, dicts and dataclasses in one another, with tensors and whatever else as leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

from torch import Tensor


def mapped(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same tuples, lists, dicts and dataclasses with the function of each tensor in its place."""
    if isinstance(tree, Tensor):
        return function(tree)
    if is_dataclass(tree):
        return replace(tree, **{name: mapped(function, part) for name, part in vars(tree).items()})  # type: ignore[type-var]
    if isinstance(tree, dict):
        return {name: mapped(function, part) for name, part in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, part) for part in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(mapped(function, part) for part in tree)
    return tree


def tensors(tree: Any) -> list[Tensor]:
    """The tensors of `mapped`, in its order."""
    found: list[Tensor] = []
    mapped(found.append, tree)
    return found
