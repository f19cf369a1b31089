"""What a policy head says of ordered values at a few of them, taken to all."""

import torch
from torch import Tensor, nn

from mmlib.spaces import ActionSpace


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
