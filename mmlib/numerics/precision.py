"""Products in bfloat16 with float32 sums, on every processor: convolutions and linear layers of the network.

Where the hardware has bfloat16 instructions they compute it. Where it has not, PyTorch's own bfloat16 kernels are 7 to
33 times slower than float32 (docs/performance.md), so the same numbers are computed in float32: factors and results,
and their gradients on the way back, are rounded to bfloat16. Only the order of the sums differs; on a GPU cuBLAS may
add parts of a long sum in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def product(operation: Callable[..., Tensor], dtype: torch.dtype, *factors: Tensor) -> Tensor:
    """`operation(*factors)` with factors and result in bfloat16 if that is `dtype`, else in the last factor's own type.

    The first factors may be of any type, bytes among them.
    """
    if dtype != torch.bfloat16:
        return operation(*(factor.to(factors[-1].dtype) for factor in factors))
    arithmetic = dtype if native_bfloat16(factors[0].device.type) else torch.float32
    return operation(*(_factor(factor, dtype, arithmetic) for factor in factors)).to(dtype)


def _factor(factor: Tensor, dtype: torch.dtype, arithmetic: torch.dtype) -> Tensor:
    """Rounded to `dtype`, in the type that is computed with; a parameter that only acts is kept until it changes.

    On a CPU, that is: the replay of a CUDA graph (replay.py) changes parameters without a word.
    """
    if factor.device.type != "cpu" or not (factor.requires_grad and not torch.is_grad_enabled()):
        return _convert(factor, dtype, arithmetic)
    kept = _KEPT.get(factor)
    if kept is None or kept[:2] != (factor._version, arithmetic):
        kept = factor._version, arithmetic, _convert(factor.detach(), dtype, arithmetic)
        _KEPT[factor] = kept
    return kept[2]


_KEPT = WeakTensorKeyDictionary()  # parameter: its version, the type computed with, the parameter rounded


def _convert(factor: Tensor, dtype: torch.dtype, arithmetic: torch.dtype) -> Tensor:
    # A conversion rounds the gradient that comes back through it, too. Bytes are exact in either type.
    return (factor.to(dtype) if factor.is_floating_point() else factor).to(arithmetic)


@cache
def native_bfloat16(device: str) -> bool:
    """Whether devices of this kind ("cpu", "cuda") have instructions for bfloat16."""
    if device != "cpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))
