"""DeepMind Lab's whole action space: its head, its exact mixture with Small, and that nothing goes through it.

What takes an enumeration is compared on `CUT`, the same space with 41 values of yaw and of pitch.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.distributions import kl_divergence

from mmlib.alternatives.methods import METHODS
from mmlib.config import ConfigError, make_config
from mmlib.figures import run_plots
from mmlib.method import losses
from mmlib.method.mixture import Mixture, mixture_weights
from mmlib.method.policies import Factorised, Masked, OnSupport, masked_kl
from mmlib.numerics.spline import LogSpline
from mmlib.runs.reader import Run
from mmlib.spaces import SMALL, WHOLE, _big, embedding, warp
from mmlib.training.fitting import check
from mmlib.training.loop import train
from mmlib.training.trained import open_subject
from mmlib.widgets import inspector_view, recording, remix

LEVEL = "explore_object_locations_small_mini"
CUT = _big("cut", range(-20, 21), range(-20, 21), knots=(-20, -5, 0, 5, 20))
WRITTEN = {space.name: sum(map(len, space.feature_labels)) for space in (CUT, WHOLE)}  # F, what a head writes


def config(method, **overrides):
    base = dict(level=LEVEL, method=method, num_envs=4, unroll=10, learner_batches=2, width=48, height=36, conv1=(4, 2))
    return check(make_config(base | dict(agent_steps=160, log_every=80) | overrides))


def policies(space, *batch, seed=0, spread=1.0):
    """Small's policy and the whole one's, as the agent makes them, double precision, and what they are made from."""
    g = torch.Generator().manual_seed(seed)
    first = spread * torch.randn(*batch, 9, dtype=torch.float64, generator=g)
    second = spread * torch.randn(*batch, WRITTEN[space.name], dtype=torch.float64, generator=g)
    return *made(space, first, second), first, second


def made(space, first, second):
    support = torch.as_tensor(embedding(SMALL, space))
    small = OnSupport(first, support, space.num_actions, validate_args=False)
    return small, Factorised(LogSpline(space).double()(second), space.group_sizes, validate_args=False)


@pytest.fixture
def never_enumerated(monkeypatch):
    def enumerated(self):
        raise AssertionError(f"{type(self).__name__} enumerated the joint actions")

    for cls in (OnSupport, Factorised, Mixture):
        monkeypatch.setattr(cls, "joint_log_probs", enumerated)


# --- The head ---


def test_what_a_head_writes_becomes_log_probabilities_written_out():
    """log p(v) of yaw = what the head says, linear between the two knots around v on the axis, plus log of v's room."""
    *_, written = policies(WHOLE, seed=1, spread=3.0)
    knots = [
        int(label.replace("no yaw", "x 0").replace("look left ", "x -").split()[-1])
        for label in WHOLE.feature_labels[0]
    ]
    values = np.arange(-512, 513)
    said = np.interp(warp(values), warp(knots), written[:19].numpy())
    room = warp(values + 0.5) - warp(values - 0.5)
    expected = np.exp(said) * room / (np.exp(said) * room).sum()
    policy = made(WHOLE, torch.zeros(9), written)[1]
    groups = policy.logits.exp().split(WHOLE.group_sizes)
    np.testing.assert_allclose(groups[0], expected, rtol=1e-5)
    assert [float(group.sum()) for group in groups] == pytest.approx([1.0] * 6)
    torch.testing.assert_close(groups[2], torch.softmax(written[38:41], -1))  # three values are a softmax as ever


def test_it_begins_with_half_of_its_turns_within_21_pixels():
    start = made(WHOLE, torch.zeros(9), torch.zeros(WRITTEN["whole"], dtype=torch.float64))[1].logits.exp()[:1025]
    np.testing.assert_allclose(start, start.flip(0))
    assert start[512] == pytest.approx(2 * np.log(1.5) / (2 * np.log(513.5)), rel=1e-6)
    assert (
        start[512 - 21 : 512 + 22].sum()
        == pytest.approx(np.log(22.5) / np.log(513.5), rel=1e-6)
        == pytest.approx(0.5, abs=0.01)
    )


def test_log_probabilities_and_gradients_stay_finite_whatever_the_head_says():
    for scale in (1.0, 30.0, 1e4):
        written = (scale * torch.randn(5, WRITTEN["whole"])).requires_grad_()
        policy = Factorised(LogSpline(WHOLE)(written), WHOLE.group_sizes)
        value = policy.log_prob(policy.sample()) + policy.entropy() + policy.logits.mean(-1)
        assert torch.isfinite(policy.logits).all() and policy.logits.max() <= 0
        (gradient,) = torch.autograd.grad(value.sum(), written)
        assert torch.isfinite(gradient).all()


def test_it_can_come_as_near_to_one_value_as_a_policy_of_small_asks_for():
    """What KL(pi_1 || pi_2) leads to: nearly all mass on Small's 20 pixels to the left."""
    written = torch.zeros(WRITTEN["whole"], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([written], lr=0.5)
    for _ in range(300):
        group = torch.log_softmax(LogSpline(WHOLE).double()(written)[:1025], -1)
        optimiser.zero_grad()
        (-group[512 - 20]).backward()
        optimiser.step()
    assert group.exp()[512 - 20] > 0.9


# --- The mixture ---


def quantities(small, whole, mixed):
    return {
        "entropy": mixed.entropy(),
        "collision": mixed.collision_entropy(),
        "kl": kl_divergence(small, whole),
        "masked_kl": masked_kl(small, whole),
    }


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_mixture_is_exact_against_enumeration(alpha):
    small, whole, *_ = policies(CUT, 2, spread=2.0)
    mixed = Mixture(torch.tensor([1 - alpha, alpha], dtype=torch.float64), [small, whole])
    got = quantities(small, whole, mixed)
    p, q = small.probs, whole.probs
    joint = (1 - alpha) * p + alpha * q  # (2, 60,516)
    assert joint.shape == (2, 41 * 41 * 36) and joint.sum(-1).tolist() == pytest.approx([1, 1])
    logs = joint.clamp(min=1e-300).log()
    for action in (*embedding(SMALL, CUT)[[3, 5]], 0, CUT.num_actions - 1):
        torch.testing.assert_close(mixed.log_prob(torch.tensor(action)), joint[:, action].log())
    torch.testing.assert_close(got["entropy"], -(joint * logs).sum(-1))
    torch.testing.assert_close(got["collision"], -joint.square().sum(-1).log())
    on = embedding(SMALL, CUT)
    torch.testing.assert_close(got["kl"], (p * (p / q).log())[:, on].sum(-1))
    restricted = q[:, on] / q[:, on].sum(-1, keepdim=True)
    torch.testing.assert_close(got["masked_kl"], (p[:, on] * (p[:, on] / restricted).log()).sum(-1))
    table = joint.view(2, *CUT.group_sizes)
    marginals = mixed.marginals(CUT.group_sizes).split(CUT.group_sizes, -1)
    for g, part in enumerate(marginals):
        torch.testing.assert_close(part, table.sum([1 + k for k in range(6) if k != g]))


def test_gradients_are_the_finite_differences():
    *_, first, second = policies(CUT, 2, seed=3)
    weights = torch.tensor([0.6, 0.4], dtype=torch.float64)
    action = torch.tensor([embedding(SMALL, CUT)[3], 7])

    def function(x, y):
        small, whole = made(CUT, x, y)
        mixed = Mixture(weights, [small, whole], validate_args=False)
        return *quantities(small, whole, mixed).values(), mixed.log_prob(action)

    assert torch.autograd.gradcheck(function, (first.requires_grad_(), second.requires_grad_()))


def test_nothing_of_learning_and_acting_goes_through_the_joint_actions(never_enumerated):
    small, whole, *_ = policies(WHOLE, 5, 2, 3)
    weights = mixture_weights(torch.tensor([0.3, 1.0], dtype=torch.float64), 2)
    mixed = Mixture(weights[:, None], [small, whole], validate_args=False)
    values = quantities(small, whole, mixed) | {"masked": Masked(whole, small.support_actions).entropy()}
    values["log_prob"] = mixed.log_prob(mixed.sample())
    for name in losses.PAIR_COSTS:
        values[name] = losses.transfer_cost(name, [small, whole], weights)
    for name, value in values.items():
        assert value.shape[-3:] == (5, 2, 3) and torch.isfinite(value).all(), name


def test_samples_follow_the_probabilities():
    small, whole, *_ = policies(WHOLE, seed=4)
    mixed = Mixture(torch.tensor([0.5, 0.5], dtype=torch.float64), [small, whole])
    actions = mixed.sample((20_000,), generator=torch.Generator().manual_seed(0)).numpy()
    of_small = np.isin(actions, embedding(SMALL, WHOLE))
    expected = float(mixed.log_probs_at(small.support_actions).exp().sum())
    assert of_small.mean() == pytest.approx(expected, abs=4 * (0.25 / 20_000) ** 0.5)
    for g, part in enumerate(mixed.marginals(WHOLE.group_sizes).split(WHOLE.group_sizes)):
        bins = np.arange(len(part)) // max(1, len(part) // 41)  # each with enough in it
        counts = np.bincount(bins[WHOLE.unravel(actions)[:, g]], minlength=bins[-1] + 1)
        assert chisquare(counts, 20_000 * np.bincount(bins, part.numpy())).pvalue > 1e-3, g


# --- Runs ---


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    for method in ("whole", "mm_whole"):
        train(config(method, alpha=[[0, 0.5]], seed=1, checkpoint_every=160), root / method)
    return root


def test_a_run_trains_without_going_through_them_and_records_turns_by_their_knots(tmp_path, never_enumerated):
    for method in ("whole", "mm_whole"):
        train(config(method, transfer="masked_kl") if method == "mm_whole" else config(method), tmp_path / method)
        shares = np.stack(Run(tmp_path / method).metrics()["action_marginals"])
        assert shares.shape == (2, 48) and (shares >= 0).all()
        np.testing.assert_allclose(np.add.reduceat(shares, [0, 19, 38, 41, 44, 46], axis=1), 1, atol=2e-4)


def test_what_is_recorded_is_the_mean_of_the_actions_features(tmp_path, monkeypatch):
    taken = []
    encode = type(WHOLE).encode
    monkeypatch.setattr(type(WHOLE), "encode", lambda space, a: (taken.append(np.array(a)), encode(space, a))[1])
    train(config("whole", log_every=160), tmp_path)
    features = WHOLE.features[WHOLE.columns(np.concatenate([a.ravel() for a in taken]))].sum(1)
    np.testing.assert_allclose(Run(tmp_path).metrics()["action_marginals"][0], features.mean(0), atol=1e-5)


def test_the_inspector_shows_it(runs, never_enumerated):
    subject = open_subject(runs / "mm_whole")
    made = recording.record(subject, seconds=0.5)
    mixed = made.remix(0)
    assert [len(panel.labels) for panel in mixed.groups] == [19, 19, 3, 3, 2, 2] and len(mixed.joint[0].labels) == 9
    assert all(panel.probs.sum(-1).tolist() == pytest.approx([1, 1, 1]) for panel in mixed.groups)
    assert "look left 512" in inspector_view.group_panels(mixed, "mm_whole")
    assert mixed.joint[-1].labels[0] in inspector_view.joint_panels(mixed, "mm_whole", 0)


@pytest.mark.parametrize("alpha", [0.0, 0.02, 0.9])
def test_the_likeliest_actions_are_found_without_all_others(alpha, monkeypatch):
    small, whole, *_ = policies(CUT, seed=5)
    weights = (1 - alpha, alpha)
    everything = remix.remix([small, whole], [0, 0], weights, CUT)
    monkeypatch.setattr(remix, "ENUMERABLE", 1000)
    assert len(remix.likely([small, whole], CUT)) < CUT.num_actions / 4
    found = remix.remix([small, whole], [0, 0], weights, CUT)
    count = 9 if alpha == 0 else remix.TOP  # others have no probability, and no order
    assert found.joint[-1].actions[:count] == everything.joint[-1].actions[:count]
    np.testing.assert_allclose(found.joint[-1].probs[:, :count], everything.joint[-1].probs[:, :count])


def test_the_heat_map_has_a_row_a_knot(runs):
    figure = run_plots.action_heat_map(Run(runs / "mm_whole"))
    rows = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert rows == [label for group in WHOLE.feature_labels for label in group] and len(rows) == 48


def test_what_would_go_through_the_joint_actions_is_refused_before_any_work(monkeypatch):
    with pytest.raises(ConfigError, match=r"'mm_whole' has 37,822,500 joint actions.* transfer may be kl, masked_kl"):
        config("mm_whole", transfer="mixture_kl")
    target = METHODS["mm_whole"].constituents[1]
    two = replace(METHODS["mm_whole"], constituents=(replace(target, cores=("feed_forward",)), target))
    monkeypatch.setitem(METHODS, "own", two)
    with pytest.raises(
        ConfigError, match=r"'own' has 37,822,500 joint actions, .* one policy at most may have them all"
    ):
        config("own")
