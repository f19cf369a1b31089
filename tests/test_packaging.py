"""The files around the package agree with one another: ranges, pins, versions, documented commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mmlib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10.0", "3.11.0", "3.11.9", "3.12.1", "3.13.0", "3.14.0")
CUDA = re.compile(r"nvidia-|cuda-|triton$")  # torch pins these itself

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()


def direct_requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for group in (PROJECT["dependencies"], *extras) for line in group]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned_versions(python: str) -> dict[str, list[Version]]:
    """Package → the versions that constraints.txt allows it on CPython `python` on Linux."""
    environment = {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
    }
    versions: dict[str, list[Version]] = {}
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate(environment):
            version = Version(next(iter(pin.specifier)).version)
            versions.setdefault(canonicalize_name(pin.name), []).append(version)
    return versions


def test_every_constraint_is_an_exact_version():
    for pin in pins():
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin


@pytest.mark.parametrize("python", PYTHONS)
def test_one_pin_within_the_range_for_every_direct_dependency(python):
    versions = pinned_versions(python)
    assert {name: v for name, v in versions.items() if len(v) != 1} == {}
    for requirement in direct_requirements():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)][0]), requirement


def test_the_lowest_versions_are_the_lower_bounds():
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    lowest = {line for line in lines if not line.startswith("#")}
    assert lowest == {str(requirement).replace(">=", "==") for requirement in direct_requirements()}
    assert "constraints-lowest.txt" in (ROOT / "Makefile").read_text()


def test_torch_is_the_version_that_was_tested():
    assert pinned_versions("3.11.9")["torch"] == [Version("2.13.0")]


def installed_closure() -> set[str]:
    """Names of the packages that the installed mmlib[test] needs, directly or not."""
    seen: set[str] = set()
    todo = [str(requirement) for requirement in direct_requirements()]
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        key = f"{name}[{','.join(sorted(requirement.extras))}]"
        if key in seen or CUDA.match(name):
            continue
        seen.add(key)
        for line in metadata.requires(name) or []:
            marker, extras = Requirement(line).marker, {"", *requirement.extras}
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(line)
    return {key.partition("[")[0] for key in seen}


def test_pins_are_complete():
    versions = pinned_versions(".".join(map(str, sys.version_info[:3])))
    needed = installed_closure()
    assert len(needed) > len(direct_requirements())
    installed = {name: Version(metadata.version(name)).public for name in needed & versions.keys()}
    foreign = [name for name, version in installed.items() if version != str(versions[name][0])]
    if foreign:
        pytest.skip(f"not installed with constraints.txt: {', '.join(sorted(foreign))}")
    assert needed - versions.keys() == set()


def test_environment_yml_takes_the_pins_and_a_python_that_is_allowed():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = (line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    assert pip == ["-c constraints.txt", "-e .[test]"]
    (python,) = (line.partition("=")[2] for line in conda if line.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)
    assert any(full.startswith(python) for full in PYTHONS)


def test_version_is_the_same_everywhere():
    assert metadata.version("mmlib") == mmlib.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == mmlib.__version__
    released = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == mmlib.__version__


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_commands_of_the_readme_are_targets_of_the_makefile():
    targets = set(re.findall(r"`?\bmake ([a-z]+)\b", "\n".join(re.findall(r"`[^`]+`|```[^`]+```", README))))
    assert {"figure", "test", "help"} <= targets
    for target in sorted(targets):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_files_that_the_readme_links_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert "notebooks/01_action_curricula.ipynb" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_continuous_integration_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test SLOW=1 VENV=" in script
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")]).returncode == 0


def test_the_example_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["observation"].shape == (16, 3, 72, 96)
    assert names["step"].reward.shape == (16,)
