"""Commands that inform: `mmlib levels`, `methods`, `presets` and `settings`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel

from mmlib.cli.common import AsJson, UsageError, print_json, print_table


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


def methods(
    name: Annotated[str | None, typer.Argument(help="All of one: its modules, and what ties its policies.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods: agents as data, and the figures that compare them; or show one.

    \b
    Examples:
      mmlib methods
      mmlib methods mm_ff_lstm
      mmlib methods --json
    """
    from mmlib.alternatives.methods import METHODS
    from mmlib.experiments.design import choose
    from mmlib.experiments.presets import FIGURES
    from mmlib.training.fitting import described

    if name is not None:
        parts = [("label", choose("method", name, METHODS).label), ("after", METHODS[name].after)]
        parts += described(METHODS[name])
        print_json(parts) if as_json else print_table(None, parts)
        return
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


def settings(
    word: Annotated[str | None, typer.Argument(help="Only those with it in their name or meaning.")] = None,
    preset: Annotated[str | None, typer.Option(help="Their values there, in place of the defaults.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the settings of a run, which `-p NAME=VALUE` gives: defaults, choices and meaning.

    \b
    Examples:
      mmlib settings
      mmlib settings entropy --preset quick
    """
    from mmlib.config import PARTS, RunConfig
    from mmlib.experiments.design import preset_named

    at = preset_named(preset).settings if preset else {}
    models: dict[str, type[BaseModel]] = {"": RunConfig, **{f"{part}.": model for part, model in PARTS.items()}}
    rows = []
    for place, model in models.items():
        given = (at.get(place[:-1]) or {}) if place else at
        for name, field in model.model_fields.items():
            value = given.get(name, "" if field.is_required() else field.default)
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            said = [f"one of {', '.join(map(str, choices))}"] * bool(choices) + [field.description or ""]
            shown = json.dumps(value.model_dump() if hasattr(value, "model_dump") else value)
            rows.append({"setting": f"{place}{name}", "value": shown, "meaning": "; ".join(filter(None, said))})
    rows = [row for row in rows if word is None or word.lower() in f"{row['setting']} {row['meaning']}".lower()]
    if not rows:
        raise UsageError(f"no setting has {word!r} in its name or meaning; `mmlib settings` lists all")
    if as_json:
        print_json(rows)
        return
    print_table(("setting", f"at {preset}" if preset else "default", "meaning"), [[*row.values()] for row in rows])
