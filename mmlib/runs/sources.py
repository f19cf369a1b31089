"""Which code a run's numbers come from: a digest of the modules they depend on, recorded beside its settings."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PARTS = ("config.py", "spaces.py", "levels", "method", "alternatives", "numerics", "training")  # of the package


@cache
def digest() -> str:
    """Twelve hexadecimal digits, the same for sources that differ only in comments, docstrings and layout.

    Syntax trees are written alike by Python 3.11 and 3.12; other versions may give another digest for the same code.
    """
    package = Path(__file__).parents[1]
    total = hashlib.sha256()
    for part in PARTS:
        for path in sorted([package / part] if part.endswith(".py") else (package / part).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                match getattr(node, "body", None):
                    case [ast.Expr(ast.Constant(str())), *_] as body:
                        body.pop(0)
            total.update(path.relative_to(package).as_posix().encode() + ast.dump(tree).encode())
    return total.hexdigest()[:12]
