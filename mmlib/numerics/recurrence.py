"""The LSTM's loop over time, forward and back: P members with N environments each, T steps, n units."""

from __future__ import annotations

import torch
from torch import Tensor

from mmlib.numerics import fused


class Recurrence(torch.autograd.Function):
    """The LSTM's loop over time with a backward pass of one weight-gradient product, not T."""

    @staticmethod
    def forward(ctx, gates, weight, keep, hidden, cell):
        """Outputs and state, of `gates [T, P, N, 4 * 256]` before h W; `keep [T, P, N, 1]` is 0
        where an episode begins."""
        n = weight.shape[1]
        activations = torch.empty_like(gates)  # after their nonlinearities
        hiddens = gates.new_empty(gates.shape[0], *hidden.shape)  # entering step t, after the reset
        cells = torch.empty_like(hiddens)
        outputs, squashed = torch.empty_like(hiddens), torch.empty_like(hiddens)  # h_t, tanh(c_t)
        for t in range(gates.shape[0]):
            torch.mul(hidden, keep[t], out=hiddens[t])
            torch.mul(cell, keep[t], out=cells[t])
            a = torch.baddbmm(gates[t], hiddens[t], weight, out=activations[t])
            a[..., : 3 * n].sigmoid_()
            a[..., 3 * n :].tanh_()
            o, i, f, g = a.split(n, dim=-1)
            cell = (f * cells[t]).addcmul_(i, g)
            torch.tanh(cell, out=squashed[t])
            hidden = torch.mul(o, squashed[t], out=outputs[t])
        ctx.save_for_backward(weight, keep, activations, hiddens, cells, squashed)
        return outputs, hidden.clone(), cell

    @staticmethod
    def backward(ctx, d_outputs, d_hidden, d_cell):
        """Gradients of `forward`'s inputs but `keep`, from those of its outputs, back through time;
        checked against finite differences by tests/test_networks.py."""
        weight, keep, activations, hiddens, cells, squashed = ctx.saved_tensors
        n, steps = weight.shape[1], activations.shape[0]
        o, i, f, g = activations.split(n, dim=-1)
        # What does not depend on the gradients to come, for all steps at once.
        cell_of_hidden = o * (1 - squashed.square())  # d c_t / d h_t
        gate_of_hidden = squashed * o * (1 - o)
        of_i, of_f, of_g = g * i * (1 - i), cells * f * (1 - f), i * (1 - g.square())
        gates_of_cell = torch.stack([of_i, of_f, of_g], dim=-2)
        cell_of_cell = f * keep
        d_gates = torch.empty_like(activations)
        transposed = weight.transpose(1, 2)
        for t in reversed(range(steps)):
            d_hidden = d_hidden + d_outputs[t]
            d_cell = torch.addcmul(d_cell, d_hidden, cell_of_hidden[t])
            torch.mul(d_hidden, gate_of_hidden[t], out=d_gates[t, ..., :n])
            others = d_gates[t, ..., n:].unflatten(-1, (3, n))
            torch.mul(d_cell[..., None, :], gates_of_cell[t], out=others)
            d_hidden = torch.bmm(d_gates[t], transposed).mul_(keep[t])
            d_cell = d_cell * cell_of_cell[t]
        d_weight = _rows(hiddens).transpose(1, 2) @ _rows(d_gates)
        return d_gates, d_weight, None, d_hidden, d_cell


class FusedRecurrence(torch.autograd.Function):
    """`Recurrence` in float32 on a CPU: between two products, one pass over memory (fused.py)."""

    @staticmethod
    def forward(ctx, gates, weight, keep, hidden, cell):
        """Outputs `[T, P, N, 256]` and state, as `Recurrence.forward`."""
        steps = gates.shape[0]
        activations, outputs = torch.empty(gates.shape), gates.new_empty(steps, *hidden.shape)
        squashed = torch.empty_like(outputs)
        hiddens, cells = gates.new_empty(2, steps + 1, *hidden.shape)
        torch.mul(hidden, keep[0], out=hiddens[0])
        torch.mul(cell, keep[0], out=cells[0])
        buffers = [x.numpy() for x in (keep, activations, hiddens, cells, squashed, outputs)]
        for t in range(steps):
            torch.baddbmm(gates[t], hiddens[t], weight, out=activations[t])
            fused.advance(t, *buffers)
        ctx.save_for_backward(weight, keep, activations, hiddens, cells, squashed)
        return outputs, hiddens[-1].clone(), cells[-1].clone()

    @staticmethod
    def backward(ctx, d_outputs, d_hidden, d_cell):
        """As `Recurrence.backward`, and checked against it by tests/test_networks.py."""
        weight, keep, activations, hiddens, cells, squashed = ctx.saved_tensors
        d_gates, transposed = torch.empty_like(activations), weight.transpose(1, 2).contiguous()
        d_hidden, d_cell, d_outputs = d_hidden.clone(), d_cell.clone(), d_outputs.contiguous()
        tensors = (keep, activations, cells, squashed, d_outputs, d_hidden, d_cell, d_gates)
        buffers = [x.numpy() for x in tensors]
        for t in reversed(range(len(activations))):
            fused.retreat(t, *buffers)
            torch.bmm(d_gates[t], transposed, out=d_hidden).mul_(keep[t])
        d_weight = _rows(hiddens[:-1]).transpose(1, 2) @ _rows(d_gates)
        return d_gates, d_weight, None, d_hidden, d_cell


def _rows(x: Tensor) -> Tensor:
    """`[T, P, N, ...] -> [P, T * N, ...]`."""
    return x.transpose(0, 1).flatten(1, 2)
