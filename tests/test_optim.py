"""RMSProp with TensorFlow's semantics against hand-computed steps, Adam against PyTorch's."""

import numpy as np
import pytest
import torch

from mmlib.method.optim import Adam, RMSProp, clip_by_global_norm


def test_first_two_steps_by_hand():
    parameter = torch.tensor([[1.0], [1.0]], dtype=torch.float64, requires_grad=True)  # two members
    optimiser = RMSProp({"w": parameter}, decay=0.9, epsilon=0.1)
    rates = torch.tensor([0.5, 0.05], dtype=torch.float64)
    parameter.grad = torch.tensor([[2.0], [2.0]], dtype=torch.float64)
    optimiser.step({"w": parameter}, rates)
    square = 0.9 * 1.0 + 0.1 * 4.0  # the mean square starts at 1
    first = 2.0 / np.sqrt(square + 0.1)  # epsilon inside the root
    np.testing.assert_allclose(parameter.detach().numpy().ravel(), [1 - 0.5 * first, 1 - 0.05 * first])

    parameter.grad = torch.tensor([[-1.0], [-1.0]], dtype=torch.float64)
    optimiser.step({"w": parameter}, rates)
    second = -1.0 / np.sqrt(0.9 * square + 0.1 * 1.0 + 0.1)
    expected = [1 - 0.5 * (first + second), 1 - 0.05 * (first + second)]
    np.testing.assert_allclose(parameter.detach().numpy().ravel(), expected)


def test_differs_from_pytorch_as_documented():
    """PyTorch adds epsilon outside the root and starts at 0: its first step is over ten times longer here."""
    ours, theirs = (torch.nn.Parameter(torch.ones(1, 1)) for _ in range(2))
    ours.grad, theirs.grad = torch.full((1, 1), 0.01), torch.full((1, 1), 0.01)
    RMSProp({"w": ours}, decay=0.99, epsilon=1e-8).step({"w": ours}, torch.tensor([0.1]))
    torch.optim.RMSprop([theirs], lr=0.1, alpha=0.99, eps=1e-8).step()
    assert (1 - theirs).item() > 10 * (1 - ours).item() > 0


def test_adam_is_pytorchs_for_each_member():
    generator = torch.Generator().manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(3, 4, 5, generator=generator, dtype=torch.float64))
    rates = [1e-2, 3e-3, 1e-4]
    theirs = [torch.nn.Parameter(member.detach().clone()) for member in ours]
    adam = Adam({"w": ours}, betas=(0.8, 0.99), epsilon=1e-3)
    peers = [torch.optim.Adam([p], lr=rate, betas=(0.8, 0.99), eps=1e-3) for p, rate in zip(theirs, rates, strict=True)]
    for _ in range(7):
        gradient = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
        ours.grad = gradient.clone()
        adam.step({"w": ours}, torch.tensor(rates, dtype=torch.float64))
        for p, g, peer in zip(theirs, gradient, peers, strict=True):
            p.grad = g
            peer.step()
    torch.testing.assert_close(ours.detach(), torch.stack([p.detach() for p in theirs]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("optimiser", [RMSProp, Adam])
def test_parameters_without_gradient_stay(optimiser):
    parameters = {"a": torch.nn.Parameter(torch.ones(1, 2)), "b": torch.nn.Parameter(torch.ones(1, 2))}
    parameters["a"].grad = torch.ones(1, 2)
    optimiser(parameters).step(parameters, torch.tensor([0.1]))
    assert torch.equal(parameters["b"].detach(), torch.ones(1, 2))
    assert (parameters["a"] < 1).all()


def test_clipping_is_per_member():
    a = torch.nn.Parameter(torch.zeros(2, 2))
    b = torch.nn.Parameter(torch.zeros(2, 1, 1))
    a.grad = torch.tensor([[3.0, 0.0], [0.3, 0.0]])
    b.grad = torch.tensor([[[4.0]], [[0.4]]])
    norms = clip_by_global_norm({"a": a, "b": b}, max_norm=1.0)
    torch.testing.assert_close(norms, torch.tensor([5.0, 0.5]))
    torch.testing.assert_close(a.grad, torch.tensor([[0.6, 0.0], [0.3, 0.0]]))
    torch.testing.assert_close(b.grad.ravel(), torch.tensor([0.8, 0.4]))


@pytest.mark.parametrize("optimiser", [RMSProp, Adam])
def test_fused_steps_are_the_tensor_operations(optimiser, monkeypatch):
    def trained():
        generator = torch.Generator().manual_seed(0)
        parameters = {"a": torch.nn.Parameter(torch.ones(2, 3, 5)), "b": torch.nn.Parameter(torch.ones(2, 7))}
        steps, before = optimiser(parameters), parameters["a"]._version
        for _ in range(4):
            for p in parameters.values():
                p.grad = torch.randn(p.shape, generator=generator)
            parameters["a"].grad = parameters["a"].grad.mT.contiguous().mT  # of another layout
            steps.step(parameters, torch.tensor([0.1, 0.02]))
        assert parameters["a"]._version > before  # what is kept of a parameter is out of date
        return [p.detach() for p in parameters.values()], steps.slots

    fast = trained()
    monkeypatch.setattr("mmlib.numerics.fused.fits", lambda tensor: False)
    torch.testing.assert_close(fast, trained(), rtol=1e-5, atol=1e-6)
