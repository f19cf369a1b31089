"""CUDA graphs: a function's kernels recorded once, and launched together from then on.

Most operations here keep a GPU busy for less time than the host takes to launch them (benchmarks/operations.py).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Generator, Tensor

from mmlib.numerics.trees import mapped, tensors

WARM_UP = 3  # calls as they are, after which all tables, plans and workspaces are made
_RECORDING = threading.Lock()  # PyTorch records one graph at a time in a process

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


class Replayed(Generic[Given, Returned]):
    """A function on CUDA tensors that is replayed as a graph after some calls.

    What it returns is overwritten by the next call: keep copies.

    Args:
      function: of positional arguments, in which only the numbers of tensors change from call to call. It may change
        tensors of its own in place, and neither waits for the device nor asks it for numbers.
      generators: that it draws from.
    """

    def __init__(self, function: Callable[Given, Returned], generators: Sequence[Generator] = ()):
        self.function, self.generators, self.calls = function, generators, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: Returned

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Returned:
        """The function of these arguments."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.function(*args, **kwargs)
        if self._graph is None:
            self._graph = self._record(args)
        for mine, given in zip(self._inputs, tensors(args), strict=True):
            mine.copy_(given)
        self._graph.replay()
        return self._outputs

    def _record(self, args: Any) -> torch.cuda.CUDAGraph:
        with _RECORDING, torch.cuda.device(tensors(args)[0].device):
            graph, own = torch.cuda.CUDAGraph(), mapped(Tensor.clone, args)
            for generator in self.generators:
                graph.register_generator_state(generator)
            stream = _stream(torch.cuda.current_device(), torch.cuda.current_stream().priority)
            gc.collect()  # garbage may hold another graph, of a run that is over: to collect that would end a recording
            collects = gc.isenabled()
            gc.disable()
            try:
                # Another thread may be using the device meanwhile (lag 1).
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    self._outputs = self.function(*own)  # type: ignore[call-arg]
            finally:
                if collects:
                    gc.enable()
        self._inputs = tensors(own)
        return graph


@cache
def _stream(device: int, priority: int) -> torch.cuda.Stream:
    """To record on: a graph's kernels have the priority of the stream that they were recorded on."""
    return torch.cuda.Stream(device, priority=priority)


def replayed(
    function: Callable[Given, Returned], device: torch.device | str, generators: Sequence[Generator] = ()
) -> Callable[Given, Returned]:
    """The function, `Replayed` where the device can do that."""
    return Replayed(function, generators) if torch.device(device).type == "cuda" else function
