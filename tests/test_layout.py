"""The folders of the package: what may import what, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (  # each may import itself and those before it
    *("numerics", "levels", "method", "alternatives", "runs", "training", "experiments"),
    *("theory", "analysis", "figures"),
    *("widgets", "cli"),
)
LAST = {"widgets", "cli"}  # that do not know each other
LEAVES = {"mmlib", "mmlib.spaces", "mmlib.config", "mmlib.errors", "mmlib.timing", "mmlib.caches"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "mmlib").rglob("*.py"))}


def imports(source, modules):
    """The modules of `modules` that a source imports, inside functions as well."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            full = {alias: f"{node.module}.{alias}" for alias in (alias.name for alias in node.names)}
            found |= {full[alias] if full[alias] in modules else node.module for alias in full}
    return found & set(modules)


GRAPH = {name: imports(path.read_text(encoding="utf-8"), MODULES) for name, path in MODULES.items()}
GRAPH["mmlib"] = set()  # it names what it loads when asked, see test_public.py


def floor(module):
    """0 for the leaves, else the folder's place; the command `python -m mmlib` is above all."""
    if module in LEAVES:
        return 0
    if module == "mmlib.__main__":
        return len(FOLDERS) + 1
    return 1 + FOLDERS.index(module.split(".")[1])


def upward(graph):
    """The imports that go up, or from one of the last folders into the other."""
    found = []
    for module, imported in graph.items():
        for other in imported:
            folders = {name.split(".")[1] for name in (module, other) if "." in name}
            if floor(other) > floor(module) or folders == LAST:
                found.append(f"{module} imports {other}")
    return sorted(found)


def circle(graph):
    """The modules of a circle of imports, or nothing."""
    left = {module: set(imported) - {module} for module, imported in graph.items()}
    while free := [module for module, imported in left.items() if not imported & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def test_every_module_is_in_a_folder_or_is_a_leaf():
    outside = {name for name in MODULES if name.count(".") < 2 and MODULES[name].name != "__init__.py"}
    assert outside | {"mmlib"} == LEAVES | {"mmlib.__main__"}
    assert {name.split(".")[1] for name in MODULES if MODULES[name].parent != ROOT / "mmlib"} == set(FOLDERS)


def test_imports_go_one_way():
    assert upward(GRAPH) == []


def test_no_imports_go_in_a_circle():
    assert circle(GRAPH) == []


def test_imports_that_are_wrong_are_noticed():
    assert upward({"mmlib.method.agent": {"mmlib.runs.reader"}}) == ["mmlib.method.agent imports mmlib.runs.reader"]
    assert upward({"mmlib.cli.main": {"mmlib.widgets.live"}}) == ["mmlib.cli.main imports mmlib.widgets.live"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]
    inside = "def f():\n    from mmlib.runs import reader\n"
    assert imports(inside, MODULES) == {"mmlib.runs.reader"}


def test_the_package_knows_nothing_of_tools_and_benchmarks():
    outside = {"tools", "benchmarks"}
    for path in MODULES.values():
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert not {str(name).split(".")[0] for name in named} & outside, path


def opened(source):
    """What a source opens files with."""
    names = {"open", "Path", "read_text", "read_bytes", "write_text", "write_bytes"}
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {name for call in calls if (name := getattr(call, "attr", getattr(call, "id", None))) in names}


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith(("mmlib.method", "mmlib.alternatives"))])
def test_the_method_and_its_alternatives_open_no_file(name):
    lines = MODULES[name].read_text(encoding="utf-8").splitlines()
    asks_the_processor = "/proc/cpuinfo"  # what it can compute: no file of anybody's
    assert opened("\n".join(line for line in lines if asks_the_processor not in line)) == set()
    assert opened("text = Path('a').read_text()") == {"Path", "read_text"}


@pytest.mark.parametrize(
    ("code", "light"),
    [
        ("import mmlib", "torch numba numpy scipy pandas matplotlib pydantic typer IPython ipywidgets jupyterlab"),
        (
            "from mmlib.config import make_config; from mmlib.training.fitting import check; "
            "check(make_config({'level': 'nav_maze_static_01', 'method': 'mm'}))",
            "numba ipywidgets jupyterlab IPython matplotlib pandas",
        ),
        ("import mmlib.cli.main", "torch numba ipywidgets jupyterlab IPython matplotlib pandas"),
    ],
)
def test_importing_and_checking_stay_light(code, light):
    command = f"{code}; import sys; print(*(set({light.split()!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def long_parts(source):
    """Functions of a source that are longer than 50 lines, and the file itself if it is longer than 350."""
    functions = [f for f in ast.walk(ast.parse(source)) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [f.name for f in functions if f.end_lineno - f.lineno >= 50]
    return found + ["the file"] * (len(source.splitlines()) > 350)


@pytest.mark.parametrize("name", MODULES)
def test_functions_and_files_are_short(name):
    assert long_parts(MODULES[name].read_text(encoding="utf-8")) == []


def test_a_long_function_and_a_long_file_are_noticed():
    body = "    a = 1\n"
    assert long_parts("def f():\n" + 49 * body) == [] and long_parts("def f():\n" + 50 * body) == ["f"]
    assert long_parts(351 * "a = 1\n") == ["the file"]


def test_the_method_is_read_in_an_evening():
    """Two thousand lines, of at most 100 columns."""
    lines = [
        line for name in MODULES if name.startswith("mmlib.method") for line in MODULES[name].open(encoding="utf-8")
    ]
    assert len(lines) <= 2000 and max(len(line.rstrip("\n")) for line in lines) <= 100
