"""Products in bfloat16: in float32 on rounded numbers they are what bfloat16 instructions give."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from mmlib.numerics import precision
from mmlib.numerics.precision import product

BF16 = torch.bfloat16


@pytest.fixture(params=[True, False], ids=["bfloat16", "float32"])
def native(request, monkeypatch):
    """Both arithmetics, whatever this processor has: PyTorch computes bfloat16 everywhere, if slowly."""
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: request.param)
    return request.param


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def cases():
    affine = torch.baddbmm, (numbers(2, 1, 5, seed=1), numbers(2, 7, 64, seed=2), numbers(2, 64, 5, seed=3))
    convolution = partial(F.conv2d, stride=2)
    factors = numbers(3, 3, 12, 16, seed=4), numbers(4, 3, 4, 4, seed=5), numbers(4, seed=6)
    return {"linear": affine, "convolution": (convolution, factors)}


def through(operation, factors, dtype=BF16):
    """The result of a product, and the gradients of its factors under fixed weights."""
    result = product(operation, dtype, *factors)
    weights = numbers(*result.shape, seed=7).detach()
    return [result, *torch.autograd.grad((result.float() * weights).sum(), factors)]


@pytest.mark.parametrize("case", ["linear", "convolution"])
def test_float32_arithmetic_against_float64_on_rounded_numbers(case, monkeypatch):
    monkeypatch.setattr(precision, "native_bfloat16", lambda device: False)
    operation, factors = cases()[case]
    rounded = [factor.detach().to(BF16).double().requires_grad_() for factor in factors]
    result = operation(*rounded)
    weights = numbers(*result.shape, seed=7).detach().to(BF16).double()  # the gradient that comes back is rounded
    expected = [result, *torch.autograd.grad(result, rounded, weights)]
    for found, exact in zip(through(operation, factors), expected):
        # A sum in float32 may round to the neighbour: one unit in the last of 8 places.
        torch.testing.assert_close(found.double(), exact.to(BF16).double(), rtol=2**-7, atol=1e-5)


@pytest.mark.parametrize("case", ["linear", "convolution"])
def test_both_arithmetics_agree(case, monkeypatch):
    operation, factors = cases()[case]
    found = {}
    for has in (True, False):
        monkeypatch.setattr(precision, "native_bfloat16", lambda device, has=has: has)
        found[has] = through(operation, factors)
    assert found[True][0].dtype == found[False][0].dtype == BF16
    for native, emulated in zip(found[True], found[False]):
        # Looser: without the instructions PyTorch's own bfloat16 kernels round partial sums, of up to 8, as well.
        torch.testing.assert_close(emulated.float(), native.float(), rtol=2**-7, atol=2**-5)


def test_factors_result_and_gradients_are_rounded(native):
    tiny = 2.0**-10  # 1 + tiny is 1 in bfloat16
    x = torch.tensor([[[1 + tiny]]], requires_grad=True)
    weight = torch.tensor([[[1 - tiny]]], requires_grad=True)
    result = product(torch.bmm, BF16, x, weight)
    assert result.item() == 1.0
    (gradient,) = torch.autograd.grad(result.float().sum() * (3 + tiny), x)
    assert gradient.item() == 3.0 and gradient.dtype == torch.float32


def test_bytes_are_exact(native):
    frames, ones = torch.arange(256, dtype=torch.uint8).view(1, 256, 1), torch.ones(1, 1, 1)
    assert torch.equal(product(torch.bmm, BF16, frames, ones).flatten(), torch.arange(256).to(BF16))


def test_float32_is_left_alone(native):
    operation, factors = cases()["linear"]
    assert torch.equal(product(operation, torch.float32, *factors), operation(*factors))


def test_a_parameter_that_acts_follows_its_changes(native):
    weight, x = torch.nn.Parameter(torch.ones(1, 2, 2)), torch.ones(1, 1, 2)
    with torch.no_grad():
        assert product(torch.bmm, BF16, x, weight).tolist() == [[[2, 2]]]
        weight.mul_(3)  # an optimiser's step
        assert product(torch.bmm, BF16, x, weight).tolist() == [[[6, 6]]]
        weight[0, 0] = 0.0  # a copy of another member
        assert product(torch.bmm, BF16, x, weight).tolist() == [[[3, 3]]]


def test_only_what_acts_is_kept(native):
    weight, x = torch.nn.Parameter(torch.ones(1, 2, 2)), torch.ones(1, 1, 2)
    with torch.no_grad():
        product(torch.bmm, BF16, x, weight)
    assert product(torch.bmm, BF16, x, weight).requires_grad  # learning sees the parameter itself
