"""The LSTM's own backward pass, resets, the torso's chunks, and parameter counts."""

import pytest
import torch
from torch.nn import functional as F

from mmlib.alternatives.methods import METHODS
from mmlib.method.agent import MixMatchAgent
from mmlib.method.methods import CONTROL_METHODS
from mmlib.method.networks import LSTM, Torso
from mmlib.numerics.recurrence import FusedRecurrence, Recurrence


def small_lstm(population=2, inputs=3):
    torch.manual_seed(0)
    return LSTM(population, inputs)


def test_lstm_gradient():
    torch.manual_seed(0)
    T, P, N, H = 4, 2, 3, 5
    gates = torch.randn(T, P, N, 4 * H, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(P, H, 4 * H, dtype=torch.float64, requires_grad=True)
    state = [torch.randn(P, N, H, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    keep = (torch.rand(T, P, N, 1) > 0.3).double()
    assert torch.autograd.gradcheck(Recurrence.apply, (gates, weight, keep, *state))


@pytest.mark.parametrize("scale", [1.0, 60.0])  # gates in their working range, and far into saturation
def test_fused_recurrence_is_the_recurrence(scale):
    torch.manual_seed(0)
    T, P, N, H = 5, 2, 3, 19
    gates, weight = scale * torch.randn(T, P, N, 4 * H), torch.randn(P, H, 4 * H)
    keep, state = (torch.rand(T, P, N, 1) > 0.3).float(), torch.randn(2, P, N, H)
    d_outputs, d_state = torch.randn(T, P, N, H), torch.randn(2, P, N, H)

    def results(recurrence):
        inputs = [x.clone().requires_grad_() for x in (gates, weight, state[0], state[1])]
        outputs = recurrence.apply(*inputs[:2], keep, *inputs[2:])
        return outputs, torch.autograd.grad(outputs, inputs, (d_outputs, *d_state))

    torch.testing.assert_close(results(FusedRecurrence), results(Recurrence), rtol=1e-4, atol=1e-5)


def test_fused_recurrence_passes_on_what_is_not_finite():
    gates, weight, keep, state = (
        torch.zeros(2, 1, 3, 16),
        torch.zeros(1, 4, 16),
        torch.ones(2, 1, 3, 1),
        torch.zeros(1, 3, 4),
    )
    gates[0, 0, 0, 3], gates[0, 0, 1, 3] = float("nan"), float("inf")
    outputs, *_ = FusedRecurrence.apply(gates, weight, keep, state, state)
    expected, *_ = Recurrence.apply(gates, weight, keep, state, state)
    torch.testing.assert_close(outputs, expected, equal_nan=True)
    assert outputs[0, 0, 0, 3].isnan() and outputs[:, 0, 2].isfinite().all()


def test_lstm_agrees_with_pytorch():
    lstm, T, N, H = small_lstm(population=1), 6, 2, 256
    theirs = torch.nn.LSTM(3, H)
    o, i, f, g = lstm.input.weight[0].T.split(H)
    bo, bi, bf, bg = lstm.input.bias[0, 0].split(H)
    ro, ri, rf, rg = lstm.recurrent[0].T.split(H)
    with torch.no_grad():  # PyTorch's gate order: input, forget, candidate, output
        theirs.weight_ih_l0.copy_(torch.cat([i, f, g, o]))
        theirs.weight_hh_l0.copy_(torch.cat([ri, rf, rg, ro]))
        theirs.bias_ih_l0.copy_(torch.cat([bi, bf, bg, bo]))
        theirs.bias_hh_l0.zero_()
    x = torch.randn(T, 1, N, 3)
    first = torch.zeros(T, 1, N, dtype=torch.bool)
    outputs, (hidden, cell) = lstm(x, first, lstm.initial_state(N))
    expected, (h, c) = theirs(x[:, 0])
    torch.testing.assert_close(outputs[:, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((hidden[0], cell[0]), (h[0], c[0]), rtol=1e-4, atol=1e-5)


def test_a_new_episode_forgets():
    lstm, N = small_lstm(), 3
    x = torch.randn(5, 2, N, 3)
    first = torch.zeros(5, 2, N, dtype=torch.bool)
    first[2, :, 1] = True
    dirty = tuple(torch.randn(2, N, 256) for _ in range(2))
    outputs, _ = lstm(x, first, dirty)
    fresh, _ = lstm(x[2:], first[2:], lstm.initial_state(N))
    torch.testing.assert_close(outputs[2:, :, 1], fresh[:, :, 1])
    assert not torch.allclose(outputs[2:, :, 0], fresh[:, :, 0])


def test_torso_does_not_depend_on_chunks(monkeypatch):
    torch.manual_seed(0)
    torso = Torso(2, 72, 96)
    frames = torch.randint(0, 256, (2, 7, 3, 72, 96), dtype=torch.uint8)
    whole = torso(frames)
    monkeypatch.setattr("mmlib.method.networks.CHUNK", 3)
    torch.testing.assert_close(torso(frames), whole)
    assert whole.shape == (2, 7, 256)


def test_torso_centres_bytes():
    """The first convolution's scaled weights are the plain network on x / 255 - 1/2."""
    torch.manual_seed(0)
    torso = Torso(1, 36, 48, (4, 2)).double()
    torch.nn.init.normal_(torso.bias1)
    frames = torch.randint(0, 256, (1, 3, 3, 36, 48), dtype=torch.uint8)
    x = F.relu(F.conv2d(frames[0].double() / 255 - 0.5, torso.conv1[0], torso.bias1[0], stride=2))
    x = F.relu(F.conv2d(x, torso.conv2[0], torso.bias2[0], stride=2))
    expected = F.relu(x.flatten(1) @ torso.linear.weight[0] + torso.linear.bias[0])
    torch.testing.assert_close(torso(frames)[0], expected)


# Appendix A by hand at 96x72: convolutions and 2,240 -> 256; an LSTM over 256 + last action + reward; heads.
TORSO = (16 * 3 * 8 * 8 + 16) + (32 * 16 * 4 * 4 + 32) + (32 * 10 * 7 * 256 + 256)


def lstm_of(actions: int) -> int:
    return (256 + actions + 1 + 256) * 1024 + 1024


FF = (256 + 18 + 1) * 256 + 256
SMALL, BIG_540, BIG_756, VALUE = 257 * 9, 257 * 18, 257 * 20, 257
WHOLE = 257 * 48  # 19 knots of yaw and of pitch
MM = TORSO + lstm_of(20) + SMALL + BIG_756 + 2 * VALUE
CORE = TORSO + BIG_540 + VALUE


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        *((name, TORSO + lstm_of(9) + SMALL + VALUE) for name in ("small", "q_small")),
        *((name, TORSO + lstm_of(20) + BIG_756 + VALUE) for name in ("big756", "q_big756")),
        *((name, MM) for name in ("mm", "mm_masked_kl", *CONTROL_METHODS)),
        ("mm_shared_head", TORSO + lstm_of(20) + BIG_756 + VALUE),
        *((name, MM + BIG_540 + VALUE) for name in ("mm_three", "mm_three_simplex")),
        ("ff", CORE + FF),
        ("ff_teacher", CORE + FF),
        ("lstm", CORE + lstm_of(18)),
        ("ff_lstm", CORE + FF + lstm_of(18)),
        ("mm_ff_lstm", CORE + FF + lstm_of(18)),
        ("mm_lstm_lstm", CORE + 2 * lstm_of(18)),
        ("multitask", CORE + lstm_of(18)),
        *((name, TORSO + 4 * (lstm_of(18) + BIG_540 + VALUE)) for name in ("mm_multitask", "distral")),
        *((name, MM) for name in ("finetune", "small_teacher", "mm_bandit", "q_mm")),
        ("mm_learned_alpha", MM + 1),
        ("whole", TORSO + lstm_of(48) + WHOLE + VALUE),
        ("mm_whole", TORSO + lstm_of(48) + SMALL + WHOLE + 2 * VALUE),
        *(
            (name, CORE + FF + lstm_of(18))
            for name in ("finetune_ff_lstm", "mm_three_cores", "mm_three_cores_simplex", "net2net")
        ),
        *((name, MM + TORSO + lstm_of(20)) for name in ("distil", "kickstart")),
        *((name, 2 * CORE + FF + lstm_of(18)) for name in ("distil_ff_lstm", "kickstart_ff_lstm")),
    ],
)
def test_parameter_counts(method, expected):
    agent = MixMatchAgent(METHODS[method], population=2)
    assert sum(p[0].numel() for p in agent.parameters()) == expected


def test_every_method_has_its_count_tested():
    counted = {method for method, _ in test_parameter_counts.pytestmark[0].args[1]}
    assert counted == METHODS.keys()
