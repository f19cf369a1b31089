"""The network of appendix A with a leading population axis: torso, cores, heads.

Every parameter is `[P, ...]`. Linear and recurrent layers are batched matrix products over P;
convolutions loop over members, because a grouped one is slower on a CPU, and on a GPU in the
backward pass: only acting on a GPU takes one for all (docs/performance.md). Initialisation (stated
choice): normal with zero biases; He's deviation in the torso, PyTorch's in the LSTM, near zero in
the heads. Shape letters: T time, P population, N environments of a member, M any number of rows.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmlib.numerics import fused
from mmlib.numerics.precision import product
from mmlib.numerics.recurrence import FusedRecurrence, Recurrence
from mmlib.spaces import ActionSpace

FEATURES = 256  # width of the torso's output and of every core (appendix A)
HEAD_GAIN = 0.01  # heads start near zero: a uniform policy, no value error pushed into the torso
LSTM_GAIN = 0.58  # PyTorch's deviation; larger states make the heads' steps too long
NARROW = 64  # outputs, below which a CPU rounds products in a batch otherwise than one alone
CHUNK = 128  # frames a convolution call takes on a CPU; larger ones thrash its allocator

State = tuple[Tensor, Tensor]  # an LSTM's hidden and cell state, [P, N, FEATURES] each


class Linear(nn.Module):
    """One affine map for each member: `[P, M, in] -> [P, M, out]`, of type `dtype`."""

    def __init__(
        self,
        population: int,
        inputs: int,
        outputs: int,
        *,
        gain: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.dtype = dtype
        self.weight = nn.Parameter(_normal(population, inputs, outputs, fan_in=inputs, gain=gain))
        self.bias = nn.Parameter(torch.zeros(population, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x W + b of each member, `[P, M, in] -> [P, M, out]`."""
        if len(x) > 1 and x.device.type == "cpu" and self.weight.shape[-1] < NARROW:
            rows = zip(*(whole.split(1) for whole in (self.bias, x, self.weight)), strict=True)
            return torch.cat([product(torch.baddbmm, self.dtype, *row) for row in rows])
        return product(torch.baddbmm, self.dtype, self.bias, x, self.weight)


class Torso(nn.Module):
    """Two convolutions and a linear layer, each with a ReLU (appendix A).

    Frames are centred, x / 255 - 1/2 (stated choice): uncentred, the features' common part grows
    until the core saturates and the policy is blind.
    """

    def __init__(
        self,
        population: int,
        height: int,
        width: int,
        first: tuple[int, int] = (8, 4),
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.dtype = dtype
        (kernel, self.stride1), self.stride2 = first, 2
        he = 2**0.5
        conv1 = _normal(population, 16, 3, kernel, kernel, fan_in=3 * kernel**2, gain=he)
        conv2 = _normal(population, 32, 16, 4, 4, fan_in=16 * 4**2, gain=he)
        self.conv1, self.bias1 = nn.Parameter(conv1), nn.Parameter(torch.zeros(population, 16))
        self.conv2, self.bias2 = nn.Parameter(conv2), nn.Parameter(torch.zeros(population, 32))

        def after_both(size: int) -> int:
            return ((size - kernel) // self.stride1 + 1 - 4) // self.stride2 + 1

        rows, columns = after_both(height), after_both(width)
        self.linear = Linear(population, 32 * rows * columns, FEATURES, gain=he, dtype=dtype)

    def forward(self, frames: Tensor) -> Tensor:
        """Features `[P, M, 256]` of frames, bytes `[P, M, 3, H, W]`."""
        # Bytes become x / 255 - 1/2 in the first convolution's weights and bias: no pass over the
        # frames for it.
        first = self.conv1 / 255.0, self.bias1 - 0.5 * self.conv1.sum((2, 3, 4))
        if frames.device.type != "cpu" and not torch.is_grad_enabled():
            filters = (x.flatten(0, 1) for x in (*first, self.conv2, self.bias2))
            together = self._convolve(frames.transpose(0, 1).flatten(1, 2), *filters)  # (M, P * s)
            seen = together.unflatten(1, (len(frames), -1)).transpose(0, 1)
            return F.relu(self.linear(seen))
        members = zip(*(x.unbind() for x in (*first, self.conv2, self.bias2)), strict=True)
        size = CHUNK if frames.device.type == "cpu" else frames.shape[1]
        seen = [
            self._convolve(chunk, *filters)
            for whole, filters in zip(frames.unbind(), members, strict=True)
            for chunk in whole.split(size)
        ]
        return F.relu(self.linear(torch.cat(seen).unflatten(0, frames.shape[:2])))  # (P, M, 256)

    def _convolve(
        self, frames: Tensor, conv1: Tensor, bias1: Tensor, conv2: Tensor, bias2: Tensor
    ) -> Tensor:
        groups = frames.shape[1] // conv1.shape[1]  # members, each with its own frames and filters
        # Channels last: back through a convolution this takes a third less time on a CPU.
        last = torch.channels_last if groups == 1 else torch.contiguous_format
        x = frames.contiguous(memory_format=last)
        for stride, *filters in ((self.stride1, conv1, bias1), (self.stride2, conv2, bias2)):
            convolution = partial(F.conv2d, stride=stride, groups=groups)
            x = F.relu_(product(convolution, self.dtype, x, *filters))
        return x.flatten(1)


class VectorTorso(nn.Module):
    """For vectors in place of frames: a linear layer and a ReLU."""

    def __init__(self, population: int, size: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.linear = Linear(population, size, FEATURES, gain=2**0.5, dtype=dtype)

    def forward(self, vectors: Tensor) -> Tensor:
        """Features `[P, M, 256]` of vectors `[P, M, n]`."""
        return F.relu(self.linear(vectors))


class LogSpline(nn.Module):
    """Logits `[P, M, C]` of a space of ordered values, of what a head says at knots, `[P, M, F]`.

    They are linear between knots, as a log-spline density (Kooperberg and Stone 1991). Of a head
    that says nothing a value has the share of `spaces.warp` that it takes up (stated choice).
    """

    def __init__(self, space: ActionSpace):
        super().__init__()
        self.register_buffer("basis", torch.tensor(space.features.T), persistent=False)
        self.register_buffer("start", torch.tensor(space.log_widths), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, not normalised."""
        return x @ self.get_buffer("basis") + self.get_buffer("start")


class FeedForward(nn.Module):
    """The core without memory: a linear projection (section 4.2). Called as `LSTM`."""

    def __init__(self, population: int, inputs: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.linear = Linear(population, inputs, FEATURES, dtype=dtype)

    def initial_state(self, num_envs: int) -> State | None:
        """It has none."""
        return None

    def forward(self, x: Tensor, first: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Outputs `[T, P, N, 256]` of `x [T, P, N, in]`; no state, and episodes play no part."""
        return unflatten_time(self.linear(flatten_time(x)), x.shape[0]), None


class LSTM(nn.Module):
    """An LSTM core of 256 units (appendix A) whose state is zeroed wherever an episode begins."""

    def __init__(self, population: int, inputs: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        # Gate order: output, input, forget, candidate.
        self.input = Linear(population, inputs, 4 * FEATURES, gain=LSTM_GAIN, dtype=dtype)
        recurrent = _normal(population, FEATURES, 4 * FEATURES, fan_in=FEATURES, gain=LSTM_GAIN)
        self.recurrent = nn.Parameter(recurrent)

    def initial_state(self, num_envs: int) -> State:
        """Zeros, `[P, N, 256]` twice."""
        zeros = self.recurrent.new_zeros(self.recurrent.shape[0], num_envs, FEATURES)
        return zeros, zeros.clone()

    def forward(self, x: Tensor, first: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Runs over time.

        Args:
          x: `[T, P, N, in]`.
          first: `[T, P, N]` bool, whether step t is the first of an episode: the state is zeroed
            before it.
          state: the state before step 0, `[P, N, 256]` twice.

        Returns:
          outputs `[T, P, N, 256]` and the state after the last step.
        """
        assert state is not None
        # The input's projection is hoisted out of the loop over time.
        gates = unflatten_time(self.input(flatten_time(x)).float(), x.shape[0])
        keep = (~first).to(self.recurrent.dtype)[..., None]
        recurrence = FusedRecurrence if fused.fits(gates) else Recurrence
        outputs, hidden, cell = recurrence.apply(gates, self.recurrent, keep, *state)
        return outputs, (hidden, cell)


class SilentLSTM(LSTM):
    """An LSTM whose outputs are zero until it learns: its candidates' weights begin at zero.

    Added to another core it leaves an agent's function as it is (Net2Net, Chen et al. 2016).
    """

    def __init__(self, population: int, inputs: int, dtype: torch.dtype = torch.float32):
        super().__init__(population, inputs, dtype)
        with torch.no_grad():
            for weight in (self.input.weight, self.recurrent):
                weight[..., 3 * FEATURES :] = 0.0


CORES = {"lstm": LSTM, "feed_forward": FeedForward, "silent_lstm": SilentLSTM}


def flatten_time(x: Tensor) -> Tensor:
    """`[T, P, N, ...] -> [P, T * N, ...]`."""
    return x.transpose(0, 1).flatten(1, 2)


def unflatten_time(x: Tensor, steps: int) -> Tensor:
    """`[P, T * N, ...] -> [T, P, N, ...]`, the inverse of `flatten_time`."""
    return x.unflatten(1, (steps, -1)).transpose(0, 1)


def _normal(*shape: int, fan_in: int, gain: float = 1.0) -> Tensor:
    return torch.randn(*shape) * (gain / fan_in**0.5)
