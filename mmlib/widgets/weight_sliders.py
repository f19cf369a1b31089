"""Sliders for a mixture's weights: one alpha for two constituents, one a weight on the simplex for more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from mmlib.widgets.inspector_view import SUBSCRIPTS, note
from mmlib.widgets.remix import on_simplex

Changed = Callable[[tuple[float, ...]], object]


class WeightSliders(widgets.VBox):
    """The weights [K] that the user mixes with, always non-negative and adding up to 1.

    Args:
      changed: called with the weights after every move of a slider.
    """

    def __init__(self, changed: Changed):
        super().__init__(layout={"width": "100%"})
        self.children: tuple[Any, ...] = ()
        self.changed = changed
        self.weights: tuple[float, ...] = (1.0,)
        self.sliders: list[widgets.FloatSlider] = []
        self._moving = False

    @property
    def alpha(self) -> float | None:
        """The weight of the second of two constituents; None for any other number of them."""
        return self.weights[1] if len(self.weights) == 2 else None

    def begin(self, weights: Sequence[float]) -> None:
        """Shows sliders for these weights, K = 1, 2, ... of them."""
        count = len(weights)
        if count != len(self.weights) or not self.children:
            titles = ["α"] if count == 2 else [f"α{SUBSCRIPTS[k]}" for k in range(count)] if count > 2 else []
            self.sliders = [_slider(title) for title in titles]
            for k, slider in enumerate(self.sliders):
                slider.observe(lambda change, k=k: self._moved(k, change["new"]), "value")
            alone = widgets.HTML(note("a single policy: there is nothing to mix"))
            self.children = tuple(self.sliders) or (alone,)
        self._show(tuple(float(w) for w in weights))

    def _moved(self, k: int, value: float) -> None:
        if self._moving:
            return
        weights = (1 - value, value) if len(self.sliders) == 1 else on_simplex(self.weights, k, value)
        self._show(weights)
        self.changed(weights)

    def _show(self, weights: tuple[float, ...]) -> None:
        self.weights, self._moving = weights, True
        try:
            shown = weights[1:] if len(self.sliders) == 1 else weights
            for slider, weight in zip(self.sliders, shown):
                slider.value = min(1.0, max(0.0, weight))
        finally:
            self._moving = False


def _slider(title: str) -> Any:
    return widgets.FloatSlider(
        value=0.0,
        min=0.0,
        max=1.0,
        step=0.01,
        description=title,
        readout_format=".2f",
        layout={"width": "auto"},
        style={"description_width": "24px", "handle_color": "#009E73"},
    )
