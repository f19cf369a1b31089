"""What lambda does, over the decades that it was swept: return early and at the end, a panel a method and level."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mmlib.alternatives.methods import METHODS
from mmlib.analysis.evidence import counted
from mmlib.figures.style import BLUE, COLUMN, FINE, RULE, VERMILLION, label, legend_below, sheet, styled

PARTS = {"early": (BLUE, "o"), "at the end": (VERMILLION, "s")}


@styled
def transfer_costs(table: pd.DataFrame) -> Figure:
    """Draws `analysis.tables.sweep`'s table of "transfer_cost", means and 95 % intervals on a logarithmic axis.

    Lines say where the paper's lambda lies when |S| of eq. (1) counts trajectories, and when it counts agent steps.
    """
    places = [((str(m), str(level)), rows) for (m, level), rows in table.groupby(["method", "level"])]
    figure = sheet(COLUMN * max(1, len(places)), 2.6)
    grid = figure.subplots(1, max(1, len(places)), squeeze=False)[0]
    for axes, ((method, level), rows) in zip(grid, places):
        for k, (part, (colour, marker)) in enumerate(PARTS.items()):
            own = rows[rows["part"] == part]
            x, bars = own["value"] * 1.04 ** (2 * k - 1), [own["mean"] - own["low"], own["high"] - own["mean"]]
            axes.errorbar(x, own["mean"], bars, color=colour, marker=marker, ms=3.5, lw=1.2, capsize=2, label=part)
        weight = METHODS[method].transfer_weight
        readings = {"paper,\n|S| = steps": weight / rows["unroll"].iloc[0], "paper,\n|S| = trajectories": weight}
        for value in readings.values():
            axes.axvline(value, color=RULE, **FINE)
        counts = sorted(set(rows["runs"]))
        seeds = counted(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
        axes.set(
            xscale="log",
            xlabel="λ, with |S| = trajectories",
            ylabel="mean return",
            title=f"{label(method)}, {level}\n{seeds} a value",
        )
        top = axes.secondary_xaxis("top")
        top.set_xticks([*readings.values()], [*readings], fontsize=6)
        top.set_xticks([], minor=True)
    legend_below(figure, grid[0], 2)
    return figure
