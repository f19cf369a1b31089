"""What a CPU does in one compiled pass over memory where tensor operations take many: LSTM gates, optimisers' steps.

All is float32. The same in tensor operations stands where it is called, for other devices and types, and is what the
tests compare it with.

The LSTM's buffers are of a whole unroll: `activations` and `d_gates` `[T, P, N, 4 * H]` in gate order output, input,
forget, candidate; `outputs`, `squashed` (tanh of the cell) and `d_outputs` `[T, P, N, H]`; `hiddens` and `cells`,
which enter the steps, `[T + 1, P, N, H]`; `keep` `[T, P, N, 1]`, 0 where an episode begins.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmlib.numerics.kernels import njit

F, U = np.float32, np.int32
ONE, TWO = F(1.0), F(2.0)
FLAGS = {"contract", "nsz"}  # a number that is none stays none


def fits(tensor: Tensor) -> bool:
    """Whether tensors like this one may be handed over (as NumPy arrays of their memory)."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


@njit(inline="always")
def _exp(x):
    """e^x to float32's precision, of -87 below and of 87 above it: 2^n times a polynomial of what is left of x.

    Unlike the library's function it becomes vector instructions.
    """
    x = F(-87.0) if x < F(-87.0) else F(87.0) if x > F(87.0) else x
    n = np.floor(x * F(1.44269504) + F(0.5))
    r = (x - n * F(0.693359375)) + n * F(2.12194440e-4)  # ln 2 in two parts
    p = F(1 / 720) * r + F(1 / 120)
    p = ((((p * r + F(1 / 24)) * r + F(1 / 6)) * r + F(0.5)) * r + ONE) * r + ONE
    return p * U((U(n) + U(127)) << U(23)).view(F)


@njit(nogil=True, cache=True, fastmath=FLAGS, error_model="numpy")
def advance(t, keep, activations, hiddens, cells, squashed, outputs):
    """Step t, from the gates before their nonlinearities in `activations[t]` to what enters step t + 1."""
    size = outputs.shape[3]
    for p in range(outputs.shape[1]):
        for n in range(outputs.shape[2]):
            kept = keep[t + 1, p, n, 0] if t + 1 < len(keep) else ONE
            a, c, tanh_c, h = activations[t, p, n], cells[t, p, n], squashed[t, p, n], outputs[t, p, n]
            next_c, next_h = cells[t + 1, p, n], hiddens[t + 1, p, n]
            for k in range(3 * size):
                a[k] = ONE / (ONE + _exp(-a[k]))
            for k in range(3 * size, 4 * size):
                a[k] = ONE - TWO / (ONE + _exp(TWO * a[k]))
            for k in range(size):
                new = a[2 * size + k] * c[k] + a[size + k] * a[3 * size + k]
                tanh_c[k] = ONE - TWO / (ONE + _exp(TWO * new))
                h[k] = a[k] * tanh_c[k]
                next_c[k], next_h[k] = kept * new, kept * h[k]


@njit(nogil=True, cache=True, fastmath=FLAGS)
def retreat(t, keep, activations, cells, squashed, d_outputs, d_hidden, d_cell, d_gates):
    """Back through step t: the gradient of the state after it, `[P, N, H]` twice, makes `d_gates[t]`.

    `d_cell` becomes the gradient of the cell state before the step; that of the hidden state is a product away.
    """
    size = squashed.shape[3]
    for p in range(squashed.shape[1]):
        for n in range(squashed.shape[2]):
            a, c, tanh_c, d = activations[t, p, n], cells[t, p, n], squashed[t, p, n], d_gates[t, p, n]
            d_c, d_h, d_out = d_cell[p, n], d_hidden[p, n], d_outputs[t, p, n]
            for k in range(size):
                o, i, f, g = a[k], a[size + k], a[2 * size + k], a[3 * size + k]
                dh = d_h[k] + d_out[k]
                dc = d_c[k] + dh * o * (ONE - tanh_c[k] * tanh_c[k])
                d[k] = dh * tanh_c[k] * o * (ONE - o)
                d[size + k] = dc * g * i * (ONE - i)
                d[2 * size + k] = dc * c[k] * f * (ONE - f)
                d[3 * size + k] = dc * i * (ONE - g * g)
                d_c[k] = dc * f * keep[t, p, n, 0]


@njit(nogil=True, cache=True, fastmath=FLAGS, error_model="numpy")
def rmsprop(parameter, gradient, mean_square, rate, decay, epsilon):
    """`optim.RMSProp` of a parameter `[P, M]` with learning rates `[P]`."""
    keep, new, inside = F(decay), F(1.0 - decay), F(epsilon)
    for p in range(parameter.shape[0]):
        x, g, square = parameter[p], gradient[p], mean_square[p]
        for k in range(len(x)):
            square[k] = keep * square[k] + new * (g[k] * g[k])
            x[k] -= rate[p] * g[k] / np.sqrt(square[k] + inside)


@njit(nogil=True, cache=True, fastmath=FLAGS, error_model="numpy")
def adam(parameter, gradient, mean, square, count, rate, beta_1, beta_2, epsilon):
    """`optim.Adam` of a parameter `[P, M]` with learning rates `[P]`, after its steps are counted, `[P]` float64."""
    keep_1, keep_2, new_1, new_2 = F(beta_1), F(beta_2), F(1.0 - beta_1), F(1.0 - beta_2)
    for p in range(parameter.shape[0]):
        x, g, m, s = parameter[p], gradient[p], mean[p], square[p]
        root = np.sqrt(1.0 - beta_2 ** count[p])  # the correction of the bias
        step, floor = F(rate[p] * root / (1.0 - beta_1 ** count[p])), F(epsilon * root)
        for k in range(len(x)):
            m[k] = keep_1 * m[k] + new_1 * g[k]
            s[k] = keep_2 * s[k] + new_2 * (g[k] * g[k])
            x[k] -= step * m[k] / (np.sqrt(s[k]) + floor)
