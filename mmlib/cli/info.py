"""Commands that inform: `mmlib levels`, `methods` and `presets`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mmlib.cli.common import AsJson, print_json, print_table


def levels(as_json: AsJson = False) -> None:
    """List the levels.

    \b
    Examples:
      mmlib levels
      mmlib levels --json
    """
    from mmlib.levels import LEVELS

    if as_json:
        print_json([asdict(info) for info in LEVELS.values()])
        return
    about = "{0.episode_frames:,} frames an episode; {0.description}"
    rows = [(i.name, "miniature; " * i.miniature + about.format(i)) for i in LEVELS.values()]
    print_table(("level", ""), rows)


def methods(as_json: AsJson = False) -> None:
    """List the methods: agents as data, and the figures that compare them.

    \b
    Examples:
      mmlib methods
      mmlib methods --json
    """
    from mmlib.alternatives.methods import METHODS
    from mmlib.experiments.presets import FIGURES

    rows: list[dict[str, Any]] = [
        {
            "method": name,
            "label": spec.label,
            "space": spec.space.name,
            "constituents": [f"{c.space.name}/{'+'.join(c.cores)}" for c in spec.constituents],
            "after": spec.after,
            "figures": [figure.name for figure in FIGURES.values() if name in figure.known],
        }
        for name, spec in METHODS.items()
    ]
    if as_json:
        print_json(rows)
        return
    cells = [[", ".join(cell) if isinstance(cell, list) else cell for cell in row.values()] for row in rows]
    print_table(tuple(rows[0]), cells)


def presets(as_json: AsJson = False) -> None:
    """List the presets, from seconds to the paper's scale, and how often members of their populations decide.

    \b
    Examples:
      mmlib presets
      mmlib presets --json
    """
    from mmlib.experiments.clock import table
    from mmlib.experiments.presets import PRESETS

    if as_json:
        print_json([asdict(preset) for preset in PRESETS.values()])
        return
    rows = []
    for preset in PRESETS.values():
        first = "the miniature of a figure's first level" if preset.miniature else "a figure's first level"
        levels = "all levels of a figure" if preset.all_levels else preset.level or first
        steps = preset.settings["agent_steps"]
        rows.append((preset.name, f"{preset.description}; {steps:,} agent steps on {levels}"))
    print_table(("preset", ""), rows)
    print("\nPopulation based training, of one member in a run:")
    ticks = table()
    print_table(tuple(ticks[0]), [[str(cell) for cell in row.values()] for row in ticks])
