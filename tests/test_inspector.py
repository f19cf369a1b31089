"""The inspector: its numbers against brute force, its widgets driven from Python, and what it says of bad runs."""

import contextlib
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import numpy as np
import papermill
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inspected import METHODS, finish, train_run

from mmlib.errors import ResultsError
from mmlib.experiments.run_table import find_choices
from mmlib.method.policies import Factorised, OnSupport
from mmlib.spaces import BIG_756, SMALL, ActionSpace, embedding
from mmlib.training.checkpoint import VERSION
from mmlib.training.trained import open_subject, play
from mmlib.widgets import charts, remix
from mmlib.widgets.alpha_sweep import Point
from mmlib.widgets.inspector import MixtureInspector
from mmlib.widgets.recording import record

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "06_inspect_mixture.ipynb"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspected")
    for method in METHODS:
        train_run(root, method)
    return root


@pytest.fixture(scope="module")
def recorded(results):
    """A short recording of each of the runs."""
    return {method: record(open_subject(results / method / "seed0"), 3, seconds=0.5) for method in METHODS}


def two_policies(seed=0):
    generator = torch.Generator().manual_seed(seed)
    few, many = (torch.randn(n, generator=generator, dtype=torch.float64) * 2 for n in (9, 20))
    support = torch.as_tensor(embedding(SMALL, BIG_756))
    return OnSupport(few, support, 756), Factorised(many, BIG_756.group_sizes)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1), st.integers(0, 20))
def test_remix_is_the_mixture_enumerated(alpha, seed):
    policies = two_policies(seed)
    mixed = remix.remix(policies, [1.0, 3.0], (1 - alpha, alpha), BIG_756)
    first, second = (policy.probs.numpy() for policy in policies)
    both = (1 - alpha) * first + alpha * second
    nine = embedding(SMALL, BIG_756)
    assert np.allclose(mixed.joint[0].probs, np.stack([first, second, both])[:, nine])
    assert mixed.joint[0].labels == tuple(map(BIG_756.label, nine))
    groups = BIG_756.unravel(np.arange(756))
    for g, panel in enumerate(mixed.groups):
        sums = [both[groups[:, g] == value].sum() for value in range(BIG_756.group_sizes[g])]
        assert np.allclose(panel.probs[2], sums) and panel.labels == BIG_756.group_labels[g]
    assert np.allclose(mixed.joint[-1].probs[2], np.sort(both)[::-1][: remix.TOP])
    seen = both[both > 0]
    assert np.isclose(mixed.entropy[2], -(seen * np.log(seen)).sum())
    assert np.isclose(mixed.collision_entropy[2], -np.log((both**2).sum()))
    assert np.isclose(mixed.kl[0], (first[nine] * np.log(first[nine] / second[nine])).sum())
    assert np.isclose(mixed.value[2], 1 + 2 * alpha)


def test_the_few_actions_of_a_space_of_one_group_hide_no_others():
    space = ActionSpace("letters", ("letter",), (tuple("abcdefghijkl"),), np.arange(12, dtype=np.int32)[:, None])
    few, many = OnSupport(torch.zeros(3), torch.tensor([0, 4, 9]), 12), Factorised(torch.zeros(12), (12,))
    mixed = remix.remix([few, many], [0.0, 0.0], (0.5, 0.5), space)
    assert [panel.title for panel in mixed.joint] == ["π₁’s actions", "top 10 of 12 joint actions"]
    assert mixed.groups == () and mixed.joint[1].labels[:3] == ("a", "e", "j")


@pytest.mark.parametrize("weights", [(0.5, 0.6), (1.2, -0.2), (1.0,)])
def test_weights_off_the_simplex_are_refused(weights):
    with pytest.raises(ValueError, match="2 numbers of at least 0 that add up to 1"):
        remix.remix(two_policies(), [0.0, 0.0], weights, BIG_756)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.data())
def test_a_moved_weight_stays_on_the_simplex(raw, data):
    total = sum(raw)
    weights = [w / total for w in raw] if total > 1e-6 else [1.0, *[0.0] * (len(raw) - 1)]
    k, value = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.floats(0, 1))
    moved = remix.on_simplex(weights, k, value)
    assert moved[k] == value and min(moved) >= 0 and sum(moved) == pytest.approx(1)
    i, j = [n for n in range(len(raw)) if n != k][:2] if len(raw) > 2 else (0, 0)
    assert moved[i] * weights[j] == pytest.approx(moved[j] * weights[i], abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_recorded_policies_are_those_that_acted(recorded, results, method):
    made = recorded[method]
    count, steps = made.subject.constituents, len(made)
    assert steps == 8
    assert len(made.views) == len(made.maps) == len(made.places) == steps and made.values.shape == (count, steps)
    assert (made.places > 0).all() and (made.places < 1).all()
    assert made.views[0].startswith(b"\xff\xd8") and made.map_with_trail(steps - 1).startswith(b"\x89PNG")
    for t in range(steps):
        mixed = made.remix(t)
        assert len(mixed.kl) == count - 1 and mixed.entropy[-1] == pytest.approx(made.entropies(made.weights)[t])
    again = record(made.subject, 3, seconds=0.5)
    assert (again.actions == made.actions).all() and again.views == made.views
    acting = open_subject(results / method / "seed0").acting_weights
    assert made.weights == acting and len(acting) == count


def test_a_member_alone_acts_as_in_its_population(results):
    from mmlib.training import trained

    population = trained.load(results / "mm" / "seed0")
    subject = open_subject(results / "mm" / "seed0", member=1)
    assert subject.members == 2 and subject.alpha == pytest.approx(0.3)
    frames = torch.randint(0, 255, (1, 2, 1, 3, 36, 48), dtype=torch.uint8)
    none, first = torch.zeros(1, 2, 1), torch.ones(1, 2, 1, dtype=torch.bool)
    together = population.agent.unroll(frames, none.long(), none, first, population.agent.initial_state(1).cores)
    alone = subject.agent.unroll(
        frames[:, 1:], none[:, 1:].long(), none[:, 1:], first[:, 1:], subject.agent.initial_state(1).cores
    )
    for one, all_of_them in zip(alone.policies, together.policies):
        assert torch.allclose(one.probs[0, 0], all_of_them.probs[0, 1], atol=1e-6)


def test_it_plays_the_level_as_the_run_had_it(tmp_path):
    train_run(tmp_path, "small", level_settings={"episode_seconds": 3})
    with contextlib.closing(play(open_subject(tmp_path / "small" / "seed0")).level) as level:
        assert level.episode_frames == 180


@pytest.mark.parametrize("method", ["mm", "small"])
def test_the_static_twin_shows_the_state(recorded, method):
    made = recorded[method]
    figure = charts.state_figure(made, charts.telling_step(made))
    titles = [axes.get_title(loc="right") for axes in figure.axes]
    for alpha in ("α = 0:", "α = 0.5:", "α = 1:"):
        assert any(alpha in title for title in titles) == (method == "mm")


@pytest.fixture(scope="module")
def inspector(results):
    widget = MixtureInspector(results, seconds=0.5, episodes=1)
    finish(widget.work)
    return widget


def choose(inspector, name):
    """Chooses a run by its method and waits for its recording."""
    inspector.run.value = next(place for label, place in inspector.run.options if label.startswith(f"{name} "))
    finish(inspector.work)
    assert inspector.message.value == "" and inspector.body.layout.display == ""


def test_the_alpha_slider_mixes_at_once_without_playing(inspector):
    choose(inspector, "mm")
    made = inspector.recording
    inspector.step.value = 4
    (alpha,) = inspector.weights.sliders
    assert alpha.value == pytest.approx(0.3)
    for value in (0.0, 0.8):
        alpha.value = value
        mixed = made.remix(4, (1 - value, value))
        assert f"<td>{mixed.entropy[-1]:.2f}</td>" in inspector.table.value
        assert f"{mixed.joint[-1].probs[-1, 0]:.3f}" in inspector.joint.value
        assert all(f">{label}<" in inspector.joint.value for label in mixed.joint[0].labels)
        assert f"{mixed.groups[0].probs[-1, 2]:.3f}" in inspector.groups.value
    assert inspector.recording is made
    assert inspector.picture.value == made.views[4] and "step <b>4</b>" in inspector.clock.value
    inspector.on.click()
    assert inspector.step.value == 5 and inspector.picture.value == made.views[5]


def test_it_opens_on_a_run_with_a_mixture_and_its_follower_sees_what_is_chosen(results, inspector):
    found = find_choices(results)
    assert [choice.single for choice in found] == [False] * (len(METHODS) - 1) + [True]
    assert inspector.run.options[0][1] == found[0].directory and "small" not in found[0].label
    seen = []
    inspector.follow(seen.append)
    choose(inspector, "mm_three")
    choose(inspector, "mm")
    assert [made.subject.directory.parent.name for made in seen[-2:]] == ["mm_three", "mm"]
    assert seen[-1] is inspector.recording


def test_the_strip_keeps_its_scale_and_lies_under_the_slider(recorded):
    made = recorded["mm"]
    for weights in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)):
        drawn = charts.strip(made, weights).replace(charts.AT, "3")
        box = f"0 {-charts.TOP} {len(made) - 1} {charts.TOP - charts.BOTTOM}"
        assert f'viewBox="{box}" preserveAspectRatio="none"' in drawn
        *_, entropy, cursor = re.findall(r'<polyline points="([^"]+)"', drawn)
        points = np.array([[float(n) for n in pair.split(",")] for pair in entropy.split()])
        assert np.array_equal(points[:, 0], np.arange(len(made)))
        assert {pair.split(",")[0] for pair in cursor.split()} == {"3"}
        assert np.allclose(points[:, 1] * made.most_entropy, made.entropies(weights), atol=1e-4)


def test_charts_in_a_page_have_the_page_s_colours_and_a_line_that_moves(recorded):
    points = [Point(alpha, [1.0, 2.0 + alpha], 1.0, 0.5, 3.0) for alpha in (0.0, 0.5, 1.0)]
    drawn = charts.sweep_charts(points, 0.37).replace(charts.AT, "0.37")
    assert "var(--jp-ui-font-color1" in drawn and not any(code in drawn for code in charts.PAGE_COLOURS)
    assert "#ffffff" not in drawn.lower()  # no background of its own
    for chart in ElementTree.fromstring(drawn.replace("xlink:href", "href")):
        text = ElementTree.tostring(chart, "unicode")
        left, _, across, _ = map(float, re.search(r"translate\((.+?) (.+?)\) scale\((.+?) (.+?)\)", text).groups())
        line = left + across * (0.37 + float(re.search(r"\) translate\(([0-9.]+) 0\)", text)[1]))
        upright = [float(x) for x, to in re.findall(r'd="M (\S+) \S+\s+L (\S+) ', text) if x == to]
        assert line == pytest.approx(min(upright, key=lambda x: abs(x - line)), abs=0.01)  # on the dotted one at 0.37


def test_members_levels_and_three_weights(inspector):
    choose(inspector, "mm")
    inspector.member.value = 1
    finish(inspector.work)
    assert inspector.recording.subject.member == 1
    choose(inspector, "mm_multitask")
    inspector.level.index = 2
    finish(inspector.work)
    assert inspector.recording.subject.level == "nav_maze_static_02_mini" and "central" in inspector.table.value
    choose(inspector, "mm_ff_lstm")
    assert "FF" in inspector.table.value and "LSTM" in inspector.table.value
    choose(inspector, "mm_three")
    first, second, third = inspector.weights.sliders
    second.value = 0.5
    first.value = 0.25
    assert sum(inspector.weights.weights) == pytest.approx(1) and second.value + third.value == pytest.approx(0.75)
    inspector.again.click()
    finish(inspector.work)
    assert inspector.recording.weights == pytest.approx(inspector.weights.weights)
    choose(inspector, "small")
    assert inspector.weights.sliders == [] and inspector.sweep.layout.display == "none"


def spoil(root, source):
    """Runs that cannot be inspected, beside one that can; what the widget is to say of each."""
    for name in ("good", "bare", "cut", "old", "broken", "other", "scribbled"):
        shutil.copytree(source, root / name)
        (root / name / "checkpoint.previous.pt").unlink(missing_ok=True)
    (root / "bare" / "checkpoint.pt").unlink()
    whole = (root / "cut" / "checkpoint.pt").read_bytes()
    (root / "cut" / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    (root / "old" / "checkpoint.pt").write_bytes(whole.replace(f"checkpoint {VERSION}".encode(), b"checkpoint 1", 1))
    (root / "scribbled" / "episodes.jsonl").write_text("nothing that the inspector reads\n")
    (root / "broken" / "config.json").write_text('{"method": ')
    config = json.loads((root / "other" / "config.json").read_text())
    (root / "other" / "config.json").write_text(json.dumps({**config, "method": "mm_ff_lstm"}))
    return {
        "bare": "has no checkpoint",
        "cut": "is damaged: its contents do not match",
        "old": f"has checkpoint version 1; this mmlib reads version {VERSION}",
        "broken": "config.json cannot be read",
        "other": "does not fit its config.json",
    }


def test_what_cannot_be_inspected_is_said_in_words(results, tmp_path):
    expected = spoil(tmp_path, results / "mm" / "seed0")
    problems = {choice.label: choice.problem for choice in find_choices(tmp_path)}
    assert (
        problems["bare"] == "no checkpoint"
        and problems["broken"] == "broken"
        and problems["good"] == problems["scribbled"] == ""
    )
    widget = MixtureInspector(tmp_path, seconds=0.5)
    finish(widget.work)
    for name, words in expected.items():
        widget.run.value = tmp_path / name
        assert words in widget.message.value and "Traceback" not in widget.message.value
        assert widget.body.layout.display == "none"
    widget.run.value = tmp_path / "good"
    finish(widget.work)
    assert widget.message.value == "" and widget.recording is not None
    assert "there is no directory" in MixtureInspector(tmp_path / "absent").message.value
    (tmp_path / "empty").mkdir()
    assert "holds no run" in MixtureInspector(tmp_path / "empty").message.value
    with pytest.raises(ResultsError, match="there is no member 2; members: 0 … 1"):
        open_subject(tmp_path / "good", member=2)


def executed(parameters, where):
    """Notebook 06 through papermill: the outputs of its cells."""
    papermill.execute_notebook(
        str(NOTEBOOK), str(where), {"seconds": 0.5, **parameters}, cwd=str(NOTEBOOK.parent), progress_bar=False
    )
    cells = [cell for cell in nbformat.read(where, as_version=4).cells if cell.cell_type == "code"]
    return [output for cell in cells for output in cell.outputs]


def pictures(outputs):
    return sum("image/png" in output.get("data", {}) for output in outputs)


def said(outputs):
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_notebook_06_under_papermill_has_pictures_and_no_widget(results, tmp_path):
    outputs = executed({"run": str(results / "mm" / "seed0"), "results": str(tmp_path)}, tmp_path / "out.ipynb")
    assert not any("widget-view" in kind for output in outputs for kind in output.get("data", {}))
    assert pictures(outputs) == 1
    assert (tmp_path / "smoke" / "06_inspect_mixture" / "state.png").stat().st_size > 10_000
    committed = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in committed.cells)


@pytest.mark.slow
def test_notebook_06_trains_a_run_where_there_is_none(tmp_path):
    """A directory without runs, then with one beside it that has no checkpoint, as a clone of the repository has."""
    (tmp_path / "results" / "baselines").mkdir(parents=True)
    settings = {"agent_steps": 200, "num_envs": 2, "unroll": 50, "learner_batches": 1, "log_every": 100}
    parameters = {"results": str(tmp_path / "results"), "preset": "smoke", "settings": settings}
    outputs = executed(parameters, tmp_path / "out.ipynb")
    assert "mm seed 0: started" in said(outputs) and pictures(outputs) == 1
    (made,) = (tmp_path / "results").rglob("checkpoint.pt")
    shutil.copytree(made.parent, tmp_path / "results" / "quick" / "seed1", ignore=shutil.ignore_patterns("*.pt"))
    outputs = executed(parameters, tmp_path / "again.ipynb")
    assert "started" not in said(outputs) and "seed1  no checkpoint" in said(outputs) and pictures(outputs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("run, words", [("bare", "has no checkpoint (checkpoint.pt is not"), ("", "there is no dir")])
def test_notebook_06_says_in_words_what_it_cannot_open(results, tmp_path, run, words):
    if run:
        shutil.copytree(results / "mm" / "seed0", tmp_path / run, ignore=shutil.ignore_patterns("*.pt"))
    parameters = {"run": str(tmp_path / (run or "absent")), "results": str(tmp_path)}
    outputs = executed(parameters, tmp_path / "out.ipynb")
    assert words in said(outputs) and pictures(outputs) == 0
    assert list(tmp_path.rglob("checkpoint.pt")) == []
