"""`mmlib doctor`: what this machine has."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.filesize import decimal

from mmlib import caches
from mmlib.cli.common import AsJson, Results, print_json, print_table


def doctor(results: Results = Path("results"), as_json: AsJson = False) -> None:
    """Report what this machine has: versions, cores, memory, GPU, backends, caches; and what could be better.

    The caches (compiled kernels, those of older sources too, and maps) may be deleted at any time: they are made again.

    \b
    Examples:
      mmlib doctor
      mmlib doctor --json
    """
    facts = examine(results)
    if as_json:
        print_json({**facts, "advice": advice(facts)})
        return
    print_table(None, report(facts))
    for sentence in advice(facts):
        print(f"- {sentence}")


def examine(results: str | Path = "results") -> dict[str, Any]:
    """Everything that `mmlib doctor` reports, as JSON types; sizes in bytes. Nothing is changed."""
    import torch

    from mmlib import __version__
    from mmlib.numerics.precision import native_bfloat16
    from mmlib.numerics.threads import cores

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))  # activated or not
    return {
        "mmlib": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages(),
        "cores": cores(),
        "memory": memory(),
        "gpus": [{"name": device.name, "bytes": device.total_memory} for device in devices],
        "bfloat16": {"cpu": native_bfloat16("cpu"), "gpu": native_bfloat16("cuda")},  # whether there are instructions
        "backends": backends(),
        "caches": _place(caches.directory()),
        "results": {**_place(Path(results)), "runs": sum(1 for _ in Path(results).rglob("config.json"))},
        "jupyterlab": shutil.which("jupyter-lab", path=programs),
    }


def report(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts of `examine` as lines for people."""
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    gpus = ", ".join(f"{gpu['name']} ({decimal(gpu['bytes'])})" for gpu in facts["gpus"]) or "none"
    bfloat16 = ", ".join(where for where, has in facts["bfloat16"].items() if has) or "not in hardware"
    found = facts["results"]
    return [
        ("mmlib", f"{facts['mmlib']}, Python {facts['python']}, {facts['platform']}"),
        ("packages", packages),
        ("cores", str(facts["cores"])),
        ("memory", decimal(facts["memory"])),
        ("GPU", gpus),
        ("bfloat16", bfloat16),
        *((f"backend {name}", text) for name, text in facts["backends"].items()),
        ("caches", f"{decimal(facts['caches']['bytes'])} in {facts['caches']['path']}"),
        ("results", f"{found['runs']} runs, {decimal(found['bytes'])} in {found['path']}"),
        ("JupyterLab", facts["jupyterlab"] or "not found"),
    ]


def advice(facts: dict[str, Any]) -> list[str]:
    """What is missing or could be better, and what to do: a sentence each."""
    said = [
        f"{name} is not installed: make figure, or pip install -e ." for name, v in facts["packages"].items() if not v
    ]
    if facts["jupyterlab"] is None:
        said.append("JupyterLab was not found: the notebooks need it (pip install jupyterlab)")
    if not facts["bfloat16"]["cpu"] and not facts["bfloat16"]["gpu"]:
        said.append("this processor has no bfloat16: it is computed in float32, a little slower than float32 itself")
    return said


def packages() -> dict[str, str | None]:
    """The version of every package that mmlib asks for; None if it is missing."""
    names = [
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in metadata.requires("mmlib") or () if "extra ==" not in line
    ]
    installed = {each.name.lower().replace("_", "-"): each.version for each in metadata.distributions() if each.name}
    return {name: installed.get(name) for name in names}


def memory() -> int:
    """Bytes of memory: the machine's, or the container's limit where that is lower."""
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="utf-8").strip() if limit.exists() else ""
    whole = psutil.virtual_memory().total
    return min(whole, int(text)) if text.isdecimal() else whole


def backends() -> dict[str, str]:
    """Each backend of levels, and whether it can be used."""
    from mmlib.levels import LEVELS, dmlab_found

    lab = (dmlab_found.problem() or "found") if dmlab_found.installed() else "not installed (docs/dmlab.md)"
    return {"minilab": f"{len(LEVELS)} levels", "dmlab": lab, "gymnasium": "found"}  # which mmlib asks for


def _place(directory: Path) -> dict[str, Any]:
    """A directory, which need not be there, and how much its files hold."""
    count = sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())
    return {"path": str(directory), "bytes": count}
