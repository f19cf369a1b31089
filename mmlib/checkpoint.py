"""Checkpoints: written to a temporary file, flushed to disk, renamed; loaded without executing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

FILE = "checkpoint.pt"
VERSION = 2


def save(directory: Path, state: dict[str, Any]) -> None:
    """Replaces the checkpoint in `directory` by `state` (tensors, numbers, strings and containers of them)."""
    temporary = directory / (FILE + ".part")
    with open(temporary, "wb") as file:
        torch.save({"version": VERSION, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, directory / FILE)


def load(directory: Path) -> dict[str, Any] | None:
    """The checkpoint in `directory`, on the CPU, or None if there is none. Raises ValueError on another version."""
    path = directory / FILE
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state.get("version") != VERSION:
        raise ValueError(f"{path} has checkpoint version {state.get('version')}; this mmlib reads version {VERSION}")
    return state
