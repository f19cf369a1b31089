"""The theory notebook's figures, drawn from the facts of `theory.facts`. Bands are ranges over seeds or problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.figures.style import (
    BLUE,
    COLUMN,
    FINE,
    GREEN,
    GREY,
    LONG,
    PURPLE,
    RULE,
    SKY,
    SOLID,
    VERMILLION,
    legend_below,
    sheet,
    styled,
)

Facts = Mapping[str, Any]

SPARSE = (0, (1.5, 1))
LINES: dict[str, dict[str, Any]] = {
    "linear": {"color": BLUE, "ls": SOLID},
    "deep": {"color": GREEN, "ls": LONG},
    "deep, online": {"color": PURPLE, "ls": SPARSE},
    "deep, factorised": {"color": VERMILLION, "ls": SOLID},
}
LEAST = 1e-6  # nats: below this KLs in single precision are noise


@styled
def remark_1(facts: Facts) -> Figure:
    """KL(pi_1 || pi_2) over updates, and what is left after them by the number of trajectories."""
    figure = sheet(2 * COLUMN, 2.9)
    left, right = figure.subplots(1, 2)
    for name, curve in facts["curves"].items():
        _band(left, curve["updates"], np.maximum(curve["kl"], LEAST), name, LINES[name])
    floor = np.mean(facts["curves"]["deep, factorised"]["floor"])
    left.axhline(floor, color=VERMILLION, label="least KL of a product of groups", **FINE)
    left.set(yscale="log", xlabel="updates", ylabel="KL(π₁ ‖ π₂), nats", xlim=(0, None))
    left.set_title("mean over all states, by updates")
    covered = facts["coverage"]
    count = covered["trajectories"]
    style = {"color": GREEN, "ls": SOLID, "marker": "o", "markersize": 3}
    _band(right, count, np.maximum(covered["kl"], LEAST), "all states", style)
    style = {"color": SKY, "ls": (0, (3, 1)), "marker": "s", "markersize": 3}
    _band(right, count, np.maximum(covered["kl_seen"], LEAST), "states in the trajectories", style)
    for n, share in zip(count, np.mean(covered["seen"], axis=1), strict=True):
        right.annotate(f"{share:.0%} seen", (n, 2.2), ha="center", fontsize=5.8, color=GREY)
    right.set(xscale="log", yscale="log", xlabel="trajectories N of the predefined mix", ylabel="")
    right.set(ylim=(LEAST / 1.5, 6), xlim=(count[0] / 1.9, count[-1] * 1.9), title="deep, after the last update")
    right.set_xticks(count, [str(n) for n in count], minor=False)
    right.minorticks_off()
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def pull(facts: Facts) -> Figure:
    """What the transfer cost alone does to pi_1 when its gradient reaches both policies."""
    figure = sheet(2 * COLUMN, 2.6)
    left, right = figure.subplots(1, 2)
    styles = {"softmax": LINES["deep"], "factorised": LINES["deep, factorised"]}
    for name, curve in facts["pull"].items():
        label = "π₂ one softmax over 756" if name == "softmax" else "π₂ a product of six groups (the paper's)"
        _band(left, curve["updates"], curve["entropy"], label, styles[name])
        _band(right, curve["updates"], np.maximum(curve["kl"], LEAST), label, styles[name])
    left.axhline(np.log(9), color=RULE, label="uniform over Small, log 9", **FINE)
    left.set(xlabel="updates", ylabel="entropy of π₁, nats", xlim=(0, None), ylim=(0, 2.45))
    right.set(xlabel="updates", ylabel="KL(π₁ ‖ π₂), nats", yscale="log", xlim=(0, None))
    legend_below(figure, columns=3)
    return figure


@styled
def bound(facts: Facts) -> Figure:
    """Appendix G's gap over alpha, in nats and as a share of KL(pi_1 || pi_2)."""
    figure = sheet(2 * COLUMN, 2.7)
    left, right = figure.subplots(1, 2)
    alphas, looks = np.asarray(facts["alphas"]), ((BLUE, SOLID), (VERMILLION, LONG), (GREEN, SPARSE))
    for (name, family), (colour, dash) in zip(facts["families"].items(), looks, strict=True):
        left.plot(alphas, family["gap"], color=colour, ls=dash, label=f"{name} (KL {family['kl']:.2g})")
        share = {part: 100 * np.asarray(values) for part, values in family["share"].items()}
        right.plot(alphas, share["median"], color=colour, ls=dash)
        right.fill_between(alphas, share["low"], share["high"], color=colour, alpha=0.15, lw=0)
    entropy = -(alphas * np.log(np.clip(alphas, 1e-12, 1)) + (1 - alphas) * np.log(np.clip(1 - alphas, 1e-12, 1)))
    left.plot(alphas, entropy, color=RULE, label="greatest possible, H(α)", **FINE)
    left.set(xlabel="α", ylabel="gap, nats", xlim=(0, 1), ylim=(0, 0.75))
    right.set(xlabel="α", ylabel="gap, % of KL(π₁ ‖ π₂)", xlim=(0, 1), ylim=(0, None))
    legend_below(figure, columns=4)
    return figure


@styled
def mixing(enumerated: Facts, networks: Sequence[Facts]) -> Figure:
    """Variance of sampled over explicit mixing: enumerated problems, and the agent's network with intervals."""
    figure = sheet(2 * COLUMN, 2.7)
    left, right = figure.subplots(1, 2)
    ratios = np.asarray(enumerated["ratios"])
    left.plot(enumerated["alphas"], ratios, color="#bbbbbb", lw=0.5)
    left.plot(enumerated["alphas"], ratios.mean(1), color=BLUE, label=f"mean of {ratios.shape[1]} problems")
    left.set(xlabel="α", xlim=(0, 1), ylabel="variance, sampled / explicit")
    left.set_title("a small problem, every trajectory enumerated")
    left.legend(loc="upper right", fontsize=6.2)
    looks = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "D"), (PURPLE, "^"))
    for i, network in enumerate(networks):
        rows = pd.DataFrame(network["rows"])
        bars = [(rows["ratio"] - rows["low"]).clip(lower=0), (rows["high"] - rows["ratio"]).clip(lower=0)]
        style = {"color": looks[i % 4][0], "marker": looks[i % 4][1], "markersize": 3.5, "ls": ":", "capsize": 2}
        right.errorbar(rows["alpha"] + 0.008 * i, rows["ratio"], bars, label=network["label"], lw=1, **style)
    right.set(xlabel="α", xlim=(0, 1))
    right.set_title("the agent's network on " + " / ".join(dict.fromkeys(n["level"] for n in networks)), fontsize=7)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    for axes in (left, right):
        axes.axhline(1, color=RULE, **FINE)
    return figure


def _band(axes: Axes, x: Sequence[float], values: Any, label: str, style: Mapping[str, Any]) -> None:
    """The mean over seeds of `[points, seeds]` and the range of the seeds."""
    table = pd.DataFrame(np.asarray(values), index=pd.Index(x, name="x")).melt(ignore_index=False, value_name="y")
    band = {"errorbar": ("pi", 100), "err_kws": {"alpha": 0.18, "lw": 0}, "markeredgewidth": 0}
    sns.lineplot(table.reset_index(), x="x", y="y", label=label, ax=axes, legend=False, **band, **style)
