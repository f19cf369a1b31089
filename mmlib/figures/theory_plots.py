"""The theory notebook's figures, drawn from the facts of `theory.facts`. Bands are ranges over seeds or problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.figures.plots import COLUMN, STYLE

Facts = Mapping[str, Any]

# Okabe and Ito's colours with a dash each.
LINES: dict[str, dict[str, Any]] = {
    "linear": {"color": "#0072B2", "ls": "-"},
    "deep": {"color": "#009E73", "ls": (0, (5, 1.5))},
    "deep, online": {"color": "#CC79A7", "ls": (0, (1.5, 1))},
    "deep, factorised": {"color": "#D55E00", "ls": "-"},
}
LEAST = 1e-6  # nats: below this KLs in single precision are noise


def remark_1(facts: Facts) -> Figure:
    """KL(pi_1 || pi_2) over updates, and what is left after them by the number of trajectories."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, curve in facts["curves"].items():
            _band(left, curve["updates"], np.maximum(curve["kl"], LEAST), name, LINES[name])
        floor = np.mean(facts["curves"]["deep, factorised"]["floor"])
        label = "least KL of a product of groups"
        left.axhline(floor, color="#D55E00", lw=0.8, ls=(0, (1, 1.5)), label=label)
        left.set(yscale="log", xlabel="updates", ylabel="KL(π₁ ‖ π₂), nats", xlim=(0, None))
        left.set_title("mean over all states, by updates")
        covered = facts["coverage"]
        count = covered["trajectories"]
        style = {"color": "#009E73", "ls": "-", "marker": "o", "markersize": 3}
        _band(right, count, np.maximum(covered["kl"], LEAST), "all states", style)
        style = {"color": "#56B4E9", "ls": (0, (3, 1)), "marker": "s", "markersize": 3}
        _band(right, count, np.maximum(covered["kl_seen"], LEAST), "states in the trajectories", style)
        for n, share in zip(count, np.mean(covered["seen"], axis=1), strict=True):
            right.annotate(f"{share:.0%} seen", (n, 2.2), ha="center", fontsize=5.8, color="#555555")
        right.set(
            xscale="log",
            yscale="log",
            xlabel="trajectories N of the predefined mix",
            ylim=(LEAST / 1.5, 6),
            xlim=(count[0] / 1.9, count[-1] * 1.9),
        )
        right.set_xticks(count, [str(n) for n in count], minor=False)
        right.minorticks_off()
        right.set_title("deep, after the last update")
        figure.legend(loc="outside lower center", ncols=4)
        return figure


def pull(facts: Facts) -> Figure:
    """What the transfer cost alone does to pi_1 when its gradient reaches both policies."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        styles = {"softmax": LINES["deep"], "factorised": LINES["deep, factorised"]}
        for name, curve in facts["pull"].items():
            label = "π₂ one softmax over 756" if name == "softmax" else "π₂ a product of six groups (the paper's)"
            _band(left, curve["updates"], curve["entropy"], label, styles[name])
            _band(right, curve["updates"], np.maximum(curve["kl"], LEAST), label, styles[name])
        left.axhline(np.log(9), color="#888888", lw=0.8, ls=(0, (1, 1.5)), label="uniform over Small, log 9")
        left.set(xlabel="updates", ylabel="entropy of π₁, nats", xlim=(0, None), ylim=(0, 2.45))
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        right.set(xlabel="updates", ylabel="KL(π₁ ‖ π₂), nats", yscale="log", xlim=(0, None))
        return figure


def bound(facts: Facts) -> Figure:
    """Appendix G's gap over alpha, in nats and as a share of KL(pi_1 || pi_2)."""
    colours = ("#0072B2", "#D55E00", "#009E73")
    dashes = ("-", (0, (5, 1.5)), (0, (1.5, 1)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        alphas = np.asarray(facts["alphas"])
        for (name, family), colour, dash in zip(facts["families"].items(), colours, dashes, strict=True):
            left.plot(alphas, family["gap"], color=colour, ls=dash, label=f"{name} (KL {family['kl']:.2g})")
            share = {part: 100 * np.asarray(values) for part, values in family["share"].items()}
            right.plot(alphas, share["median"], color=colour, ls=dash, label=name)
            right.fill_between(alphas, share["low"], share["high"], color=colour, alpha=0.15, lw=0)
        entropy = -(alphas * np.log(np.clip(alphas, 1e-12, 1)) + (1 - alphas) * np.log(np.clip(1 - alphas, 1e-12, 1)))
        left.plot(alphas, entropy, color="#888888", lw=0.8, ls=(0, (1, 1.5)), label="greatest possible, H(α)")
        left.set(xlabel="α", ylabel="gap, nats", xlim=(0, 1), ylim=(0, 0.75))
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, columnspacing=0.9)
        right.set(xlabel="α", ylabel="gap, % of KL(π₁ ‖ π₂)", xlim=(0, 1), ylim=(0, None))
        return figure


def mixing(enumerated: Facts, networks: Sequence[Facts]) -> Figure:
    """Variance of sampled over explicit mixing: enumerated problems, and the agent's network with intervals."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * COLUMN, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        ratios = np.asarray(enumerated["ratios"])
        for row in ratios.T:
            left.plot(enumerated["alphas"], row, color="#bbbbbb", lw=0.5)
        left.plot(enumerated["alphas"], ratios.mean(1), color="#0072B2", label=f"mean of {ratios.shape[1]} problems")
        left.set(xlabel="α", xlim=(0, 1), ylabel="variance, sampled / explicit")
        left.set_title("a small problem, every trajectory enumerated")
        left.legend(loc="upper right", fontsize=6.2)
        colours, markers = ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), "osD^"
        for i, network in enumerate(networks):
            alphas, ratio, low, high = (
                np.array([row[part] for row in network["rows"]]) for part in ("alpha", "ratio", "low", "high")
            )
            bars = [np.maximum(ratio - low, 0), np.maximum(high - ratio, 0)]
            style = {"color": colours[i % 4], "marker": markers[i % 4], "markersize": 3.5, "ls": ":", "capsize": 2}
            right.errorbar(alphas + 0.008 * i, ratio, bars, label=network["label"], lw=1, **style)
        right.set(xlabel="α", xlim=(0, 1))
        right.set_title("the agent's network on " + " / ".join(dict.fromkeys(n["level"] for n in networks)), fontsize=7)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2)
        for axes in (left, right):
            axes.axhline(1, color="#888888", lw=0.8, ls=(0, (1, 1.5)))
        return figure


def _band(axes: Axes, x: Sequence[float], values: Any, label: str, style: Mapping[str, Any]) -> None:
    """The mean over seeds of `[points, seeds]` and the range of the seeds."""
    rows = np.asarray(values)
    axes.plot(x, rows.mean(1), label=label, **style)
    axes.fill_between(x, rows.min(1), rows.max(1), color=style["color"], alpha=0.18, lw=0)
