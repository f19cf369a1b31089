"""Sliders for a mixture's weights: one alpha for two constituents, one a weight on the simplex for more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from mmlib.widgets.inspector_view import MIXTURE_COLOUR, SUBSCRIPTS, note
from mmlib.widgets.remix import on_simplex


class WeightSliders(widgets.VBox):
    """The weights [K] that the user mixes with, always non-negative and adding up to 1.

    Args:
      changed: called after every move of a slider.
    """

    def __init__(self, changed: Callable[[], object]):
        super().__init__(layout={"width": "100%"})
        self.changed = changed
        self.weights: tuple[float, ...] = (1.0,)
        self.sliders: list[Any] = []

    @property
    def alpha(self) -> float | None:
        """The weight of the second of two constituents; None for any other number of them."""
        return self.weights[1] if len(self.weights) == 2 else None

    def begin(self, weights: Sequence[float]) -> None:
        """Shows sliders for these weights, K = 1, 2, ... of them."""
        self.weights, count = tuple(weights), len(weights)
        titles = {1: {}, 2: {1: "α"}}.get(count, {k: f"α{SUBSCRIPTS[k]}" for k in range(count)})
        self.sliders = [
            widgets.FloatSlider(
                weights[k],
                min=0.0,
                max=1.0,
                step=0.01,
                description=title,
                readout_format=".2f",
                layout={"width": "auto"},
                style={"description_width": "24px", "handle_color": MIXTURE_COLOUR},
            )
            for k, title in titles.items()
        ]
        for k, slider in zip(titles, self.sliders):
            slider.observe(lambda change, k=k: self._moved(k, change["new"]), "value")
        self.children = self.sliders or [widgets.HTML(note("a single policy: there is nothing to mix"))]

    def _moved(self, k: int, value: float) -> None:
        if value == self.weights[k]:
            return  # it follows another
        self.weights = on_simplex(self.weights, k, value)
        for slider, weight in zip(self.sliders, self.weights[-len(self.sliders) :]):
            slider.value = weight
        self.changed()
