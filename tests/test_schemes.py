"""Figures 1 and 2 say what the agent table says."""

import itertools

import pytest
from matplotlib.image import imread

from mmlib.alternatives.methods import METHODS
from tools.schemes.drawing import draw_curriculum, draw_schemes, save_schemes
from tools.schemes.layout import HEIGHT, curriculum, scheme


@pytest.mark.parametrize("method", METHODS)
def test_every_module_is_one_box_and_no_boxes_overlap(method):
    spec = METHODS[method]
    drawn = scheme(spec)
    named = {f"torso {c.torso}" for c in spec.constituents} | {f"head {c.head}" for c in spec.constituents}
    named |= {f"core {name}" for c in spec.constituents for name in c.cores}
    named |= {f"baseline {c.baseline}" for c in spec.constituents}
    assert named == {key for key in drawn.boxes if key.split()[0] in ("torso", "head", "core", "baseline")}
    for one, two in itertools.combinations(drawn.boxes.values(), 2):
        apart = abs(one.x - two.x) >= (one.width + two.width) / 2 - 1e-9
        assert apart or abs(one.y - two.y) > HEIGHT / 2, (one, two)
    uppers = {upper for _, upper in drawn.lines}
    sources = {key for key in drawn.boxes if key.startswith("frame") or key == "last"}
    assert uppers == drawn.boxes.keys() - sources  # everything else is fed by something


def test_roles_follow_from_who_names_a_module():
    roles = {key: box.role for key, box in scheme(METHODS["mm_ff_lstm"]).boxes.items()}
    assert roles["torso torso"] == roles["head policy"] == "shared"
    assert (roles["core feed_forward"], roles["core lstm"]) == ("helper", "target")
    assert (roles["π0"], roles["π1"], roles["π mm"]) == ("helper", "target", "exposed")
    assert scheme(METHODS["lstm"]).boxes["π0"].role == "exposed"  # K = 1: the policy itself acts


def test_each_level_mixes_its_specialist_and_the_central_policy():
    drawn = scheme(METHODS["mm_multitask"], ["explore"])
    assert {"π explore", "π level 2", "π level 3"} <= drawn.boxes.keys()
    assert [lower for lower, upper in drawn.lines if upper == "π level 2"] == ["π1", "π3"]
    assert drawn.transfers == [("π0", "π3"), ("π1", "π3"), ("π2", "π3")]


def test_transfer_and_mixing_are_drawn_as_they_are():
    assert scheme(METHODS["mm_no_kl"]).transfers == []
    assert scheme(METHODS["mm_three"]).transfers == [("π0", "π1"), ("π1", "π2")]
    assert scheme(METHODS["mm_mixture_kl"]).transfers == [("π mm", "π1")]
    assert not scheme(METHODS["mm_stop_gradient"]).both_ways and scheme(METHODS["mm"]).both_ways
    alone = scheme(METHODS["kl_no_mixing"])
    assert [lower for lower, upper in alone.lines if upper == "π mm"] == ["π1"]
    assert scheme(METHODS["mm_shared_head"]).boxes["π0"].text == "π₁\nmasked to 9"
    assert [box.text for key, box in scheme(METHODS["ff_lstm"]).boxes.items() if key == "+0"] == ["+"]


def test_figure_1_has_a_box_for_each_constituent():
    drawn = curriculum(METHODS["mm_three"])
    assert list(drawn.boxes) == ["π0", "π1", "π2", "mm"]
    assert "9 actions" in drawn.boxes["π0"].text and "final" in drawn.boxes["π2"].text
    assert draw_curriculum(METHODS["mm_three"]).get_figwidth() >= 3.4


def test_figures_are_a_column_or_a_page_wide(tmp_path):
    widths = {name: draw_schemes({name: METHODS[name]}).get_figwidth() for name in ("small", "mm", "mm_multitask")}
    assert widths["small"] < 3.6 and 3.4 < widths["mm"] < 3.6 and widths["mm_multitask"] < 7.5
    paths = save_schemes(tmp_path)
    assert [path.name for path in paths] == ["figure1.png", "figure1.svg", "figure2.png", "figure2.svg"]
    assert imread(paths[2]).shape[1] > 1200
    assert "lt horseshoe color" in paths[3].read_text()
