"""The claims on runs whose truth is known: one that holds, one that does not, too little data."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mmlib.analysis import claims, stats
from mmlib.analysis.claims import effect_text, evaluate
from mmlib.analysis.conditions import conditions
from mmlib.cli.main import app
from mmlib.runs.writer import RunWriter

LEVEL = "explore_object_locations_small_mini"
FRAMES = 1000
PBT = {"pbt": {"ready": 10}, "population": 2}


@pytest.fixture
def make_run(tmp_path):
    """Writes a run of 1,000 frames whose episodes, one every 50 frames, return `early` and then `late`."""

    def make(method, seed, early=1.0, late=1.0, level=LEVEL, figure="figure3", preset="quick", rows=(), **config):
        directory = tmp_path / preset / figure / level / method / f"seed{seed}"
        settings = {"level": level, "method": method, "seed": seed, "agent_steps": 250, "action_repeat": 4, **config}
        names = level.split("+")
        with RunWriter(directory, settings) as writer:
            for frames in range(50, FRAMES + 1, 50):
                value = (early if frames <= FRAMES // 2 else late) + 0.01 * seed
                row = {"frames": frames, "member": 0, "return": value, "length_frames": 50}
                named = [row] if len(names) == 1 else [{**row, "level": name} for name in names]
                writer.episodes(named)
                entropy = 2.0 + frames / FRAMES * config.get("entropy_cost", 0)
                writer.metrics({"frames": frames, "member": 0, "alpha": 0.0, "collision_entropy": entropy})
            for kind, more in rows:
                getattr(writer, kind)(more)
            writer.finish()
        return directory

    return make


def found(results, number, preset=None):
    return [finding.effect for finding in evaluate(results, preset) if finding.claim.number == number]


def alphas(*changes):
    """Decisions of member 0 that set alpha at given frames."""
    before, rows = 0.0, []
    for frames, alpha in changes:
        rest = {"learning_rate": 1e-3, "entropy_cost": 1e-3}
        rows.append({"frames": frames, "member": 0, "opponent": 1, "mean": 0.0, "opponent_mean": 0.0, "p": 0.5})
        rows[-1] |= {
            "copied": False,
            "explored": True,
            "old": {**rest, "alpha": before},
            "new": {**rest, "alpha": alpha},
        }
        before = alpha
    return [("decisions", rows)]


def test_every_claim_is_there_and_without_runs_none_has_a_verdict(tmp_path):
    findings = evaluate(tmp_path)
    assert {f.claim.number.rstrip("abcd") for f in findings} == {str(i) for i in range(1, 13)}
    assert {f.effect.verdict for f in findings} == {"not enough data"}
    assert all(effect_text(f.effect) == "" and f.effect.runs == () for f in findings)


def test_returns_hold_and_do_not_hold(tmp_path, make_run):
    """Small is ahead early and behind at the end; M&M is as fast as Small and ends below Big."""
    for seed in (1, 2, 3):
        make_run("small", seed, early=5, late=5)
        make_run("big756", seed, early=1, late=9)
        make_run("mm", seed, early=5, late=6)
    verdicts = {f.claim.number: f.effect for f in evaluate(tmp_path)}
    assert [verdicts[n].verdict for n in ("1a", "1b", "2a", "2b")] == ["holds", "holds", "holds", "does not hold"]
    effect = verdicts["1a"]
    assert (effect.estimate, effect.n, effect.unit) == (pytest.approx(4.0), 6, "return")
    assert effect.low < 4 < effect.high and len(effect.runs) == 6
    assert effect.sentence == "early: Small action space 5.02 (3 runs) against Big action space 1.02 (3 runs), +392 %"
    assert verdicts["3a"].verdict == "not enough data"


def test_two_runs_of_each_show_an_effect_without_a_verdict(tmp_path, make_run):
    for seed in (1, 2):
        make_run("small", seed, early=5)
        make_run("big756", seed, early=1)
    (effect,) = found(tmp_path, "1a")
    assert effect.verdict == "not enough data" and effect.low > 0
    assert effect.sentence.endswith("fewer than 3 runs of each")


def test_runs_of_other_configurations_are_never_averaged(tmp_path, make_run):
    for seed in (1, 2, 3):
        for method, early in (("small", 5), ("big756", 1)):
            make_run(method, seed, early=early, entropy_cost=0.001 if seed < 3 else 0.1)
    effects = found(tmp_path, "1a")
    assert sorted(effect.n for effect in effects) == [2, 4]
    labels = [c.label for c in conditions(tmp_path, "figure3")]
    assert labels == ["quick (entropy_cost 0.001)", "quick (entropy_cost 0.1)"]


def test_alphas_schedule_divides_the_mixtures_and_not_the_baselines(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed, early=2, transfer_cost=7.0)
        make_run("mm", seed, early=3, alpha=[[0, 0.0], [100, 1.0]])
    for seed in (4, 5, 6):
        make_run("mm", seed, early=1, alpha=[[0, 0.5]])
    assert [effect.verdict for effect in found(tmp_path, "2a")] == ["holds", "does not hold"]


def test_smoke_and_unfinished_runs_do_not_count(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed, early=5, preset="smoke")
        directory = make_run("big756", seed, early=1, preset="smoke")
    assert found(tmp_path, "1a")[0].estimate != found(tmp_path, "1a", "smoke")[0].estimate
    assert found(tmp_path, "1a", "smoke")[0].n == 6
    (directory / "state.json").write_text('{"state": "running"}')
    assert found(tmp_path, "1a", "smoke")[0].n == 5


def test_levels_are_strata_and_normalised_by_the_expert(tmp_path, make_run):
    scores = {"one": (0, 10), "two": (100, 300)}
    for level, (zero, one) in scores.items():
        (tmp_path / "baselines").mkdir(exist_ok=True)
        text = json.dumps({"minilab": {"small": {"mean": zero}, "expert": {"mean": one}}})
        (tmp_path / "baselines" / f"{level}.json").write_text(text)
        for seed in (1, 2):
            make_run("small", seed, early=zero + 0.2 * (one - zero), level=level, backend_in_force="minilab")
            make_run("big756", seed, early=zero + 0.1 * (one - zero), level=level, backend_in_force="minilab")
    (effect,) = found(tmp_path, "1a")
    assert (effect.estimate, effect.unit, effect.n) == (pytest.approx(0.1), "normalised score", 8)
    assert effect.verdict == "holds"  # four runs of each method, two a level
    (tmp_path / "baselines" / "two.json").unlink()
    (effect,) = found(tmp_path, "1a")
    assert effect.unit == "share of the best"


def test_alpha_by_hand_says_nothing_and_by_pbt_something(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("mm", seed, rows=alphas((100, 0.95)))
    assert found(tmp_path, "4a")[0].n == 0
    for seed in (4, 5, 6):
        make_run("mm", seed, rows=alphas((100 + seed, 0.95)), **PBT)
    (effect,) = found(tmp_path, "4a")
    assert (effect.verdict, effect.estimate) == ("holds", pytest.approx(0.105))
    assert found(tmp_path, "4c")[0].verdict == "not enough data"  # none of three fell: too few to deny it


def test_alpha_that_comes_late_or_never_is_not_early(tmp_path, make_run):
    for seed, changes in ((1, [(900, 1.0)]), (2, []), (3, [(800, 0.6), (900, 0.3), (950, 0.9)])):
        make_run("mm", seed, rows=alphas(*changes), **PBT)
    (effect,) = found(tmp_path, "4a")
    assert (effect.verdict, effect.estimate) == ("does not hold", pytest.approx((0.9 + 1 + 0.95) / 3))
    (effect,) = found(tmp_path, "4c")
    assert (effect.verdict, effect.estimate) == ("holds", pytest.approx(1 / 3))
    assert effect.high == pytest.approx(0.9057, abs=1e-4)  # Clopper and Pearson's, of tables


def test_lasertag_switches_later(tmp_path, make_run):
    for seed in (1, 2, 3):
        core = {"method": "mm_ff_lstm", "seed": seed, "figure": "figure6", **PBT}
        make_run(level="lt_horseshoe_color", rows=alphas((800 + seed, 1.0)), **core)
        make_run(level="nav_maze_static_01", rows=alphas((200 + seed, 1.0)), **core)
    (effect,) = found(tmp_path, "4b")
    assert (effect.verdict, effect.estimate) == ("holds", pytest.approx(0.6))


@pytest.mark.parametrize(("slope", "verdict"), [(0.5, "holds"), (0.0, "not enough data")])
def test_collision_entropy(tmp_path, make_run, slope, verdict):
    for seed in (1, 2, 3):
        make_run("mm", seed, entropy_cost=slope)
    (effect,) = found(tmp_path, "5")
    assert effect.verdict == verdict
    assert effect.estimate == pytest.approx(slope * (np.mean([0.85, 0.9, 0.95, 1.0]) - 0.05))


def test_cores(tmp_path, make_run):
    returns = {"ff": (8, 8), "lstm": (1, 6), "ff_lstm": (2, 7.9), "mm_ff_lstm": (2, 8), "mm_lstm_lstm": (1, 3)}
    for method, (early, late) in returns.items():
        for seed in (1, 2, 3):
            make_run(method, seed, early, late, figure="figure6")
    verdicts = {f.claim.number: f.effect.verdict for f in evaluate(tmp_path)}
    assert [verdicts[n] for n in ("6a", "6b", "7a", "7b", "8")] == ["holds"] * 5
    (effect,) = found(tmp_path, "8")
    assert effect.estimate == pytest.approx(3) and effect.sentence.endswith("the least lead of 4 of 4 methods")


def test_worse_than_every_other_needs_every_other_to_hold_and_one_to_fall(tmp_path, make_run):
    for method, late in (("ff", 8), ("lstm", 6), ("mm_lstm_lstm", 3)):
        for seed in (1, 2, 3):
            make_run(method, seed, 1, late, figure="figure6")
    assert found(tmp_path, "8")[0].verdict == "not enough data"
    for seed in (1, 2, 3):
        make_run("ff_lstm", seed, 1, 2, figure="figure6")
    assert found(tmp_path, "8")[0].verdict == "does not hold"


def test_multitask_minimum_and_navigation(tmp_path, make_run):
    level = "explore_object_locations_small+lt_horseshoe_color+lt_chasm"
    explore, horseshoe, chasm = level.split("+")
    by_method = {
        "multitask": {explore: 10, horseshoe: 1, chasm: 2},
        "mm_multitask": {explore: 9, horseshoe: 6, chasm: 5},
    }

    def late(scores, seed, share=1.0):
        frames = ({"frames": 1000, "member": 0, "length_frames": 9}, 0.01 * seed)
        return [{**frames[0], "return": share * score + frames[1], "level": name} for name, score in scores.items()]

    for method, scores in by_method.items():
        for seed in (1, 2, 3):
            directory = make_run(method, seed, level=level, figure="figure9")
            (directory / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in late(scores, seed)))
            alone = "".join(json.dumps(row) + "\n" for row in late(scores, seed, 0.1))
            (directory / "evaluations.jsonl").write_text(alone)
    minimum, alone, navigation = (found(tmp_path, number)[0] for number in ("9a", "9b", "9c"))
    assert (minimum.verdict, minimum.unit) == ("holds", "share of the best")
    assert minimum.estimate == pytest.approx(0.9 - 0.16, abs=0.02)  # explore 9 of 10, horseshoe 1 of 6
    assert alone.verdict == "does not hold"  # the central policy alone scores a tenth
    assert navigation.verdict == "holds" and navigation.estimate == pytest.approx(0.1, abs=0.01)


def write_facts(results, name, facts):
    folder = results / "theory" / "quick"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"settings": {}, "facts": facts}))


def test_theorys_claims_are_read_from_their_facts(tmp_path):
    ratios = {"ratios": [[1.4, 1.5, 1.6], [1.4, 1.5, 1.6]], "largest_difference_of_means": 1e-16}
    write_facts(tmp_path, "mixing_enumerated", ratios)
    row = {"alpha": 0.5, "ratio": 1.1, "low": 1.05, "high": 1.2, "trajectories": 64}
    write_facts(tmp_path, "network_mm", {"label": "M&M", "level": LEVEL, "rows": [row]})
    curve = {"updates": [0, 9], "kl": [[5.0, 5.0, 5.0], [0.01, 0.011, 0.012]], "floor": [[0.8] * 3] * 2}
    stuck = {**curve, "kl": [[5.0, 5.0, 5.0], [0.8, 0.81, 0.82]]}
    write_facts(tmp_path, "remark_1", {"curves": {"linear": curve, "deep": curve, "deep, factorised": stuck}})
    family = {"cases": 2000, "violations": 0, "printed_line_false": 7}
    write_facts(tmp_path, "appendix_g", {"families": {"one": family}})
    effects = {f.claim.number: f.effect for f in evaluate(tmp_path)}
    verdicts = [effects[n].verdict for n in ("10a", "10b", "11a", "11b", "11c", "12")]
    assert verdicts == ["holds", "holds", "holds", "holds", "does not hold", "holds"]
    assert effects["10a"].estimate == pytest.approx(50) and effects["10b"].low == pytest.approx(5)
    assert effects["12"].high == pytest.approx(1 - 0.025 ** (1 / 2000))  # no violation in 2,000

    write_facts(tmp_path, "mixing_enumerated", {**ratios, "largest_difference_of_means": 0.1})
    write_facts(tmp_path, "appendix_g", {"families": {"one": {**family, "violations": 1}}})
    assert found(tmp_path, "10a")[0].verdict == found(tmp_path, "12")[0].verdict == "does not hold"


def test_stratified_intervals_by_hand():
    one, two = [1.0, 2.0, 4.0], [0.0, 3.0]
    assert stats.stratified_difference([one], [two]) == stats.difference_interval(one, two)
    both = stats.stratified_mean([[0.0, 2.0], [10.0, 12.0]])
    # variance 2 each: standard error sqrt(2/2/4 + 2/2/4) = sqrt(1/2); freedom 2: t = 4.3027
    assert both.mean == 6 and both.high - both.mean == pytest.approx(4.30265 * 0.5**0.5, rel=1e-5)
    assert np.isnan(stats.stratified_mean([[1.0], [2.0, 3.0]]).low)


def test_command_line(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed, early=5)
        make_run("big756", seed, early=1)
    invoke = CliRunner(env={"COLUMNS": "200"}).invoke
    said = invoke(app, ["claims", "--results", str(tmp_path)]).output
    assert "Small learns faster than Big early" in said and "holds" in said and LEVEL in said
    rows = json.loads(invoke(app, ["claims", "--json", "--preset", "quick", "--results", str(tmp_path)]).output)
    assert [row["verdict"] for row in rows if row["claim"] == "1a"] == ["holds"]
    assert len(rows) == len(claims.CLAIMS) and len(rows[0]["runs"]) == 6
    for arguments, message in (
        (["--preset", "fast"], "unknown preset 'fast'; presets: smoke, quick"),
        (["--results", str(tmp_path / "no")], "there are no results in"),
    ):
        result = invoke(app, ["claims", *arguments])
        assert result.exit_code == 2 and message in result.stderr


def test_a_schedule_plays_no_part_where_population_based_training_adapts_alpha(tmp_path, make_run):
    make_run("mm", 1, **PBT, alpha=[[0, 0.0]], transfer_cost=1.0)
    make_run("mm", 2, **PBT, alpha=[[100, 0.0], [900, 1.0]], transfer_cost=1.0)
    (both,) = conditions(tmp_path, "figure3")
    assert [run.seed for run in both.of(LEVEL, "mm")] == [1, 2]
    make_run("mm", 3, alpha=[[0, 0.0]], transfer_cost=1.0)
    make_run("mm", 4, alpha=[[100, 0.0], [900, 1.0]], transfer_cost=1.0)
    assert sorted(len(condition.of(LEVEL, "mm")) for condition in conditions(tmp_path, "figure3")) == [1, 1, 2]
