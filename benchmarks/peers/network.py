"""The network of appendix A in plain PyTorch, for the peers: torso, LSTM, one policy and one value.

Shape letters: T time, B environments, M any number of rows, A actions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 256
ACTIONS = 9  # of `mmlib.spaces.SMALL`

State = tuple[Tensor, Tensor]  # hidden and cell state, [B, 256] each


def first_convolution(height: int) -> tuple[int, int]:
    """Kernel and stride of the first convolution for frames of `height` pixels: the paper's, halved for half frames."""
    return (8, 4) if height >= 72 else (4, 2)


class Torso(nn.Module):
    """Two convolutions and a linear layer, each with a ReLU."""

    def __init__(self, height: int, width: int):
        super().__init__()
        kernel, stride = first_convolution(height)
        self.conv1, self.conv2 = nn.Conv2d(3, 16, kernel, stride), nn.Conv2d(16, 32, 4, 2)
        with torch.no_grad():
            size = self._convolved(torch.zeros(1, 3, height, width)).shape[1]
        self.linear = nn.Linear(size, FEATURES)

    def _convolved(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)

    def forward(self, frames: Tensor) -> Tensor:
        """Features `[M, 256]` of frames `[M, 3, H, W]`, 0 to 255."""
        return F.relu(self.linear(self._convolved(frames.float() / 255.0 - 0.5)))


class Network(nn.Module):
    """Torso, LSTM and heads.

    Args:
      height: of a frame, pixels.
      width: of a frame, pixels.
      extra: what the LSTM sees beside the torso's features, numbers a step.
    """

    def __init__(self, height: int, width: int, extra: int = 0):
        super().__init__()
        self.torso = Torso(height, width)
        self.core = nn.LSTM(FEATURES + extra, FEATURES)
        self.policy, self.value = nn.Linear(FEATURES, ACTIONS), nn.Linear(FEATURES, 1)

    def initial_state(self, batch: int) -> State:
        """Zeros, `[B, 256]` twice."""
        return torch.zeros(batch, FEATURES), torch.zeros(batch, FEATURES)

    def forward(
        self, frames: Tensor, first: Tensor, state: State, extra: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Runs over time.

        Args:
          frames: `[T, B, 3, H, W]`.
          first: `[T, B]` bool, whether step t is the first of an episode: the state is zeroed before it.
          state: before step 0.
          extra: `[T, B, extra]`, if the network takes any.

        Returns:
          logits `[T, B, A]`, values `[T, B]` and the state after the last step.
        """
        x = self.torso(frames.flatten(0, 1)).unflatten(0, first.shape)
        x = x if extra is None else torch.cat([x, extra], dim=-1)
        keep, outputs = (~first).float()[..., None], []
        hidden, cell = state[0][None], state[1][None]
        begins = first[1:].any(1).nonzero()[:, 0] + 1  # a stretch without an episode's beginning is one call: ×4
        edges = [0, *begins.tolist(), len(x)]
        for start, stop in pairwise(edges):
            output, (hidden, cell) = self.core(x[start:stop], (hidden * keep[start], cell * keep[start]))
            outputs.append(output)
        core = torch.cat(outputs)
        return self.policy(core), self.value(core)[..., 0], (hidden[0], cell[0])
