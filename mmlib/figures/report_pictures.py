"""The report's pictures: a sketch of what the paper says, beside what was measured."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Drawing

from mmlib.alternatives.methods import METHODS, own_methods
from mmlib.analysis import curves
from mmlib.analysis.claims import Finding
from mmlib.analysis.conditions import Condition
from mmlib.analysis.evidence import ENTROPY_GROWTH, FALLS_BACK, SWITCH_TIME
from mmlib.analysis.tables import markdown
from mmlib.experiments.presets import FIGURES
from mmlib.figures import claimed, plots, run_plots
from mmlib.figures.style import save

SKETCH = "sketch of the claim"
POLICIES = {"3": "action spaces", "6": "cores"}  # whose alpha claim 4 is about, by figure


class Pictures:
    """The pictures of a page, in the folder of its name beside it, each drawn and shown once."""

    def __init__(self, page: Path):
        self.page = page
        self._drawn: dict[str, Path] = {}
        self._shown: dict[tuple[str, ...], str] = {}

    def link(self, name: str, draw: Callable[[], Drawing]) -> str:
        """Where the page finds the picture of that name."""
        if name not in self._drawn:
            (self._drawn[name],) = save(draw(), self.page.with_suffix(""), name, ["png"])
        return Path(os.path.relpath(self._drawn[name], self.page.parent)).as_posix()

    def under(self, number: str, links: Mapping[str, str]) -> str:
        """A claim's pictures in a row, or the number of the claim under which they are already."""
        first = self._shown.setdefault(tuple(links.values()), number)
        return row(links) if first == number else f"The curves are those of [claim {first}](#claim-{first})."


def row(links: Mapping[str, str]) -> str:
    """Pictures side by side, by what each shows."""
    return markdown(pd.DataFrame({what: [f"![{what}]({link})"] for what, link in links.items()}))


def links(finding: Finding, pictures: Pictures) -> dict[str, str]:
    """A sketch of a claim, if there is one, then what was measured in a finding's condition: links to pictures, by what
    each shows."""
    assert finding.condition is not None
    where, figure, first = finding.condition, finding.claim.figure, finding.claim.first
    if finding.claim.measure in (SWITCH_TIME, FALLS_BACK):
        runs = {level: where.of(level, first) for level in finding.evidence.levels}
        what = POLICIES.get(figure, figure)
        title = f"{METHODS[first].label}, {what} (thick: each population's best member)"
        return {
            SKETCH: pictures.link("claimed_alpha", lambda: claimed.rise("alpha")),
            f"α, {what}": pictures.link(
                f"alpha_{figure}_{told(where)}", lambda: run_plots.alpha_trajectories(runs, title)
            ),
        }
    sketch = {}
    if finding.claim.measure is ENTROPY_GROWTH:
        draw, kind = partial(_entropies, where, first), "collision_entropy"
        sketch[SKETCH] = pictures.link("claimed_entropy", lambda: claimed.rise("entropy"))
    else:
        draw, kind = partial(returns, where, figure), f"figure{figure}"
        if figure in claimed.CURVES:
            sketch[SKETCH] = pictures.link(f"claimed_{figure}", lambda: claimed.returns(figure))
    names = {level: f"{kind}_{level.replace('+', '_')}_{told(where)}" for level in finding.evidence.levels}
    return sketch | {level: pictures.link(name, partial(draw, level)) for level, name in names.items()}


def told(where: Condition) -> str:
    """A condition in the name of a file: labels are long."""
    return f"{zlib.crc32(where.label.encode()):08x}"


def returns(where: Condition, figure: str, level: str) -> Drawing:
    """The learning curves of a figure's methods, and of yours, on a level."""
    methods = dict.fromkeys([*FIGURES[figure].methods, *sorted(own_methods())])
    learned = curves.learning({method: where.of(level, method) for method in methods if where.of(level, method)})
    if "+" in level:
        return plots.panels({name: learned[learned["level"] == name] for name in level.split("+")})
    return plots.learning_curves(learned, title=level, unit=where.unit, handover=where.handover)


def _entropies(where: Condition, method: str, level: str) -> Drawing:
    """Collision entropies of a method beside those of plain agents."""
    methods = [name for name in ("small", "big756", method) if where.of(level, name)]
    return run_plots.collision_entropies({name: where.of(level, name) for name in methods}, title=level)
