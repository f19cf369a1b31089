"""Which code a run's numbers come from: a digest of the modules they depend on, recorded beside its settings."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PARTS = ("config.py", "spaces.py", "levels", "method", "alternatives", "numerics", "training")  # of the package


@cache
def digest() -> str:
    """Twelve hexadecimal digits, the same for sources that differ only in comments, docstrings and layout."""
    package = Path(__file__).parents[1]
    total = hashlib.sha256()
    for part in PARTS:
        for path in sorted([package / part] if part.endswith(".py") else (package / part).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            total.update(path.relative_to(package).as_posix().encode() + written(tree).encode())
    return total.hexdigest()[:12]


def written(node: object) -> str:
    """A syntax tree without docstrings, as a text that Python's versions agree on: they differ in empty fields."""
    if isinstance(node, list):
        return f"[{','.join(map(written, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    match fields.get("body"):
        case [ast.Expr(ast.Constant(str())), *rest]:
            fields["body"] = rest
    told = (f"{name}={written(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({','.join(told)})"
