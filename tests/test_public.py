"""The names of `mmlib` itself: what they are, and that type checkers see the same."""

import ast
from pathlib import Path

import pytest

import mmlib
from mmlib import METHODS, Mixture, RunConfig, make_level, train


def test_names_are_what_they_say():
    from mmlib import levels
    from mmlib.alternatives import methods
    from mmlib.config import RunConfig as Config
    from mmlib.method import mixture
    from mmlib.training import loop

    assert (METHODS, Mixture, RunConfig) == (methods.METHODS, mixture.Mixture, Config)
    assert make_level is levels.make and train is loop.train
    assert all(getattr(mmlib, name) is not None for name in mmlib.__all__)
    assert dir(mmlib) == mmlib.__all__


def test_type_checkers_see_the_same_names_in_the_same_modules():
    tree = ast.parse(Path(mmlib.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == mmlib._FOUND


def test_an_unknown_name_is_refused_as_any_module_does_and_names_the_choices():
    with pytest.raises(AttributeError, match=r"no attribute 'Mixtur'; it has .*Mixture"):
        _ = mmlib.Mixtur
    assert not hasattr(mmlib, "__wrapped__")
