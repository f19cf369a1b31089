"""The claims on runs whose truth is known: one that holds, one that does not, too little data."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmlib.analysis import baselines, claims, conditions, premises, stats, tables
from mmlib.analysis.claims import Claim, evaluate, judge
from mmlib.analysis.conditions import on_disk
from mmlib.cli.main import app
from mmlib.cli.training import read_configs
from mmlib.experiments.design import plan
from mmlib.figures import plots, report
from mmlib.figures import tables as shown
from mmlib.figures.figure import Figure
from mmlib.runs.reader import Run
from mmlib.runs.writer import RunWriter

LEVEL = "explore_object_locations_small_mini"
FRAMES = 1000
PBT = {"pbt": {"ready": 10}, "population": 2}


@pytest.fixture(autouse=True)
def no_scores(tmp_path, monkeypatch):
    """Reference scores are those that a test writes."""
    monkeypatch.setattr(baselines, "SHIPPED", tmp_path / "none")


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
                writer.append("episodes", named)
                entropy = 2.0 + frames / FRAMES * config.get("entropy_cost", 0)
                writer.append("metrics", [{"frames": frames, "member": 0, "alpha": 0.0, "collision_entropy": entropy}])
            for kind, more in rows:
                writer.append(kind, more)
            writer.finish()
        return directory

    return make


def found(results, number, preset=None, seeds=None):
    return [finding for finding in evaluate(results, preset, seeds) if finding.claim.number == number]


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
    assert {f.claim.number.rstrip("abcdefgh") for f in findings} == {str(i) for i in range(1, 13)}
    assert {f.verdict for f in findings} == {"not enough data"}
    assert all(f.effect == "" and f.evidence.runs == () for f in findings)


def test_returns_hold_and_do_not_hold(tmp_path, make_run):
    """Small is ahead early and behind at the end; M&M is as fast as Small and ends below Big."""
    for seed in (1, 2, 3):
        make_run("small", seed, early=5, late=5)
        make_run("big756", seed, early=1, late=9)
        make_run("mm", seed, early=5, late=6)
    verdicts = {f.claim.number: f for f in evaluate(tmp_path)}
    assert [verdicts[n].verdict for n in ("1a", "1b", "2a", "2b")] == ["holds", "holds", "holds", "does not hold"]
    evidence = verdicts["1a"].evidence
    assert (evidence.effect.mean, evidence.n, evidence.unit) == (pytest.approx(4.0), 6, "return")
    assert evidence.effect.low < 4 < evidence.effect.high and len(evidence.runs) == 6
    assert evidence.sentence == "early: Small action space 5.02 (3 runs) against Big action space 1.02 (3 runs), +392 %"
    assert verdicts["1a"].measured.endswith("means differ by 4 [3.99, 4.01], the first is above in 100 [100, 100] %")
    assert verdicts["3a"].verdict == "not enough data"


def test_two_runs_of_each_show_an_effect_without_a_verdict(tmp_path, make_run):
    for seed in (1, 2):
        make_run("small", seed, early=5)
        make_run("big756", seed, early=1)
    (finding,) = found(tmp_path, "1a")
    assert finding.verdict == "not enough data" and finding.evidence.effect.low > 0
    assert finding.measured.endswith("; too few runs of each")


def test_enough_runs_whose_interval_holds_the_bound_are_undecided(tmp_path, make_run):
    for seed, early in ((1, 5), (2, 0), (3, 4)):
        make_run("small", seed, early=early)
        make_run("big756", seed, early=2)
    (finding,) = found(tmp_path, "1a")
    assert finding.verdict == "undecided" and finding.measured.endswith("; the interval holds 0")


def test_a_single_run_on_each_of_three_levels_gives_no_interval_and_says_so(tmp_path, make_run):
    for level in ("one", "two", "three"):
        make_run("small", 1, early=5, level=level)
        make_run("big756", 1, early=1, level=level)
    (finding,) = found(tmp_path, "1a")
    assert finding.evidence.enough and finding.verdict == "not enough data"
    assert finding.measured.endswith("; a single run on a level gives no interval")


def test_seed_0_counts_only_when_it_is_asked_for(tmp_path, make_run):
    for seed in (0, 1, 2):
        make_run("small", seed, early=5)
        make_run("big756", seed, early=1)
    assert found(tmp_path, "1a")[0].verdict == "not enough data"
    assert found(tmp_path, "1a", seeds=[0, 1, 2])[0].verdict == "holds"
    assert found(tmp_path, "1a", seeds=[0])[0].evidence.n == 2
    (nothing,) = found(tmp_path, "1a", seeds=[7, 8])
    assert nothing.measured == "there is no run of seeds 7, 8 for it"


def test_runs_of_other_configurations_are_never_averaged(tmp_path, make_run):
    for seed in (1, 2, 3):
        for method, early in (("small", 5), ("big756", 1)):
            make_run(method, seed, early=early, entropy_cost=0.001 if seed < 3 else 0.1)
    assert sorted(finding.evidence.n for finding in found(tmp_path, "1a")) == [2, 4]
    labels = sorted(c.label for c in on_disk(tmp_path, "3"))
    assert labels == ["quick (entropy_cost 0.001)", "quick (entropy_cost 0.1)"]


def test_alternatives_divide_nothing_and_change_no_label(tmp_path, make_run):
    for method in ("small", "big756", "mm"):
        make_run(method, 1)
    (before,) = on_disk(tmp_path)
    for method in ("finetune", "mm_bandit", "q_mm", "q_small"):  # each has settings in force that the others lack
        make_run(method, 1)
    (after,) = on_disk(tmp_path)
    assert after.label == before.label and list(after.runs[LEVEL]) == list(before.runs[LEVEL])


def test_an_arm_with_the_papers_lambda_is_a_condition_of_its_own(tmp_path, make_run):
    """What is counted otherwise is tested against the figure's own plain agents; a lambda of another sweep is not."""
    for seed in (1, 2, 3):
        make_run("small", seed, early=5)
        make_run("big756", seed, late=4)
        make_run("mm", seed, early=3, late=1)
        make_run("mm", seed, early=6, late=9, figure="steps", transfer_normalisation="steps")
        make_run("mm", seed, early=9, late=9, figure="lambda_0.1", transfer_cost=0.1)
        make_run("mm_ff_lstm", seed, figure="again", transfer_cost=100.0)
        make_run("mm_ff_lstm", seed, figure="figure6", transfer_cost=100.0)  # the same runs, made again
    verdicts = [(f.verdict, "steps" in f.where) for f in found(tmp_path, "2a")]
    assert verdicts == [("does not hold", False), ("holds", True)]
    assert [f.verdict for f in found(tmp_path, "2b")] == ["does not hold", "holds"]
    assert [len(found(tmp_path, number)) for number in ("1a", "3a", "4a", "6a")] == [1, 1, 1, 1]
    arm = found(tmp_path, "2a")[1].evidence.runs
    assert sorted(Path(run).parts[-4] for run in arm) == ["figure3"] * 3 + ["steps"] * 3


def test_alphas_schedule_divides_the_mixtures_and_not_the_baselines(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed, early=2, transfer_cost=7.0)
        make_run("mm", seed, early=3, alpha=[[0, 0.0], [100, 1.0]])
    for seed in (4, 5, 6):
        make_run("mm", seed, early=1, alpha=[[0, 0.5]])
    assert {finding.verdict for finding in found(tmp_path, "2a")} == {"holds", "does not hold"}


def test_when_a_schedule_hands_over_is_known_of_mixtures_alone(tmp_path, make_run):
    make_run("small", 1)
    make_run("mm", 1, alpha=[[0, 0.0], [25, 0.0], [100, 0.5], [125, 1.0], [200, 1.0]])
    make_run("mm", 1, figure="constant", alpha=[[0, 0.5], [100, 0.5]])
    make_run("mm", 1, figure="adapted", **PBT)
    found = {each.runs[LEVEL]["mm"][0].directory.parts[-4]: each.handover for each in on_disk(tmp_path)}
    assert found == {"figure3": (100, 500), "constant": None, "adapted": None}  # frames, four a step
    (alone,) = on_disk(tmp_path, "3", seeds=[1])
    assert alone.handover == (100, 500)


def test_smoke_and_unfinished_runs_do_not_count(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed, early=5, preset="smoke")
        directory = make_run("big756", seed, early=1, preset="smoke")
    assert found(tmp_path, "1a")[0].evidence.n == 0
    assert found(tmp_path, "1a", "smoke")[0].evidence.n == 6
    (directory / "state.json").write_text('{"state": "running"}')
    assert found(tmp_path, "1a", "smoke")[0].evidence.n == 5


def test_levels_are_strata_and_normalised_by_the_expert(tmp_path, make_run):
    scores = {"one": (0, 10), "two": (100, 300)}
    for level, (zero, one) in scores.items():
        (tmp_path / "baselines").mkdir(exist_ok=True)
        text = json.dumps({"minilab": {"small": {"mean": zero}, "expert": {"mean": one}}})
        (tmp_path / "baselines" / f"{level}.json").write_text(text)
        for seed in (1, 2):
            make_run("small", seed, early=zero + 0.2 * (one - zero), level=level, backend_in_force="minilab")
            make_run("big756", seed, early=zero + 0.1 * (one - zero), level=level, backend_in_force="minilab")
    (finding,) = found(tmp_path, "1a")
    evidence = finding.evidence
    assert (evidence.effect.mean, evidence.unit, evidence.n) == (pytest.approx(0.1), "normalised score", 8)
    assert finding.verdict == "holds" and evidence.levels == ("one", "two")  # four runs of each method, two a level
    (tmp_path / "baselines" / "two.json").unlink()
    assert found(tmp_path, "1a")[0].evidence.unit == "share of the best"


def test_alpha_by_hand_says_nothing_and_by_pbt_something(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("mm", seed, rows=alphas((100, 0.95)))
    assert found(tmp_path, "4a")[0].evidence.n == 0
    for seed in (4, 5, 6):
        make_run("mm", seed, rows=alphas((100 + seed, 0.95)), **PBT)
    (finding,) = found(tmp_path, "4a")
    assert (finding.verdict, finding.evidence.effect.mean) == ("holds", pytest.approx(0.105))
    assert found(tmp_path, "4c")[0].verdict == "undecided"  # none of three fell: too few to deny it


def test_alpha_that_comes_late_or_never_is_not_early(tmp_path, make_run):
    for seed, changes in ((1, [(900, 1.0)]), (2, []), (3, [(800, 0.6), (900, 0.3), (950, 0.9)])):
        make_run("mm", seed, rows=alphas(*changes), **PBT)
    (finding,) = found(tmp_path, "4a")
    assert (finding.verdict, finding.evidence.effect.mean) == ("does not hold", pytest.approx((0.9 + 1 + 0.95) / 3))
    (finding,) = found(tmp_path, "4c")
    assert (finding.verdict, finding.evidence.effect) == ("holds", stats.share_interval(1, 3))


def test_lasertag_switches_later(tmp_path, make_run):
    for seed in (1, 2, 3):
        core = {"method": "mm_ff_lstm", "seed": seed, "figure": "figure6", **PBT}
        make_run(level="lt_horseshoe_color", rows=alphas((800 + seed, 1.0)), **core)
        make_run(level="nav_maze_static_01", rows=alphas((200 + seed, 1.0)), **core)
    (finding,) = found(tmp_path, "4b")
    assert (finding.verdict, finding.evidence.effect.mean) == ("holds", pytest.approx(0.6))
    assert "on lasertag 0.802 (3 runs) against elsewhere 0.202 (3 runs)" in finding.measured


@pytest.mark.parametrize(("slope", "verdict"), [(0.5, "holds"), (0.0, "undecided")])
def test_collision_entropy(tmp_path, make_run, slope, verdict):
    for seed in (1, 2, 3):
        make_run("mm", seed, entropy_cost=slope)
    (finding,) = found(tmp_path, "5")
    assert finding.verdict == verdict
    assert finding.evidence.effect.mean == pytest.approx(slope * (np.mean([0.85, 0.9, 0.95, 1.0]) - 0.05))


def test_a_member_that_diverged_leaves_its_runs_entropy_alone(tmp_path, make_run):
    broken = [("metrics", [{"frames": FRAMES, "member": 1, "alpha": 0.0, "collision_entropy": None}])]
    for seed in (1, 2, 3):
        make_run("mm", seed, entropy_cost=0.5, rows=broken)
    (finding,) = found(tmp_path, "5")
    assert finding.verdict == "holds"


def test_cores(tmp_path, make_run):
    returns = {"ff": (8, 8), "lstm": (1, 6), "ff_lstm": (2, 7.9), "mm_ff_lstm": (2, 8), "mm_lstm_lstm": (1, 3)}
    for method, (early, late) in returns.items():
        for seed in (1, 2, 3):
            make_run(method, seed, early, late, figure="figure6")
    verdicts = {f.claim.number: f.verdict for f in evaluate(tmp_path)}
    assert [verdicts[n] for n in ("6a", "6b", "7a", "7b", "8a", "8b", "8c", "8d")] == ["holds"] * 8
    assert [verdicts[n] for n in ("8e", "8f", "8g", "8h")] == ["holds", "undecided", "holds", "holds"]
    assert found(tmp_path, "8b")[0].evidence.effect.mean == pytest.approx(3)


def verdict(relation, first, second):
    """The verdict on two lists of returns of one level."""
    effect = stats.difference_interval([first], [second])
    enough = min(len(first), len(second)) >= 3
    return judge(relation, effect, reference=float(np.mean(second)), enough=enough)


def test_verdicts_by_hand():
    low, high, spread = [1.0, 1.1, 0.9], [5.0, 5.1, 4.9], [0.0, 5.0, 10.0]
    assert verdict(">", high, low) == verdict(">=", high, low) == verdict("<", low, high) == "holds"
    assert verdict(">", low, high) == verdict(">=", low, high) == verdict("<", high, low) == "does not hold"
    assert verdict(">", spread, low) == verdict("<", spread, low) == "undecided"  # the interval contains 0
    assert verdict(">", high[:2], low) == "not enough data"
    assert judge("<", stats.Interval(0.4, 0.3, 0.6), bound=0.5) == "undecided"
    assert judge("<", stats.Interval(0.4, 0.3, 0.49), bound=0.5) == "holds"


def test_as_high_allows_five_percent_and_no_more():
    reference = np.array([10.0, 10.001, 9.999])
    assert verdict(">=", reference - 0.4, reference) == "holds"
    assert verdict(">", reference - 0.4, reference) == "does not hold"
    assert verdict(">=", reference - 0.6, reference) == "does not hold"


def test_alike_allows_ten_percent_on_either_side():
    reference = np.array([10.0, 10.001, 9.999])
    for sign in (-1, 1):
        assert verdict("~", reference + sign * 0.9, reference) == "holds"
        assert verdict("~", reference + sign * 1.1, reference) == "does not hold"
    assert verdict("~", [9.2, 10.0, 10.9], reference) == "undecided"


def test_what_occurs_was_seen_and_what_does_not_is_rare():
    assert judge("occurs", stats.share_interval(1, 40)) == "holds"
    assert judge("occurs", stats.share_interval(0, 10)) == "undecided"  # up to 31 % of runs may do it
    assert judge("occurs", stats.share_interval(0, 40)) == "does not hold"  # at most 9 %


def test_unknown_relations_are_refused():
    with pytest.raises(ValueError, match="unknown relation '=='; relations: >, <, >=, ~, occurs, never"):
        Claim("1", "…", "3", "==", "mm", "small")


def test_lambda_divides_agents_of_several_policies_that_do_not_mix(tmp_path, make_run):
    for seed, weight in ((1, 1.0), (2, 1.0), (3, 10.0)):
        make_run("mm", seed, figure="controls", transfer_cost=weight)
        make_run("small_kl", seed, figure="controls", transfer_cost=weight)
        make_run("small", seed, figure="controls", transfer_cost=weight)  # to which it is nothing
        make_run("mm_no_kl", seed, figure="controls", transfer_cost=weight)  # nor to this
    found = on_disk(tmp_path, "controls")
    assert sorted(len(c.of(LEVEL, "small_kl")) for c in found) == [1, 2]
    assert all(len(c.of(LEVEL, "small")) == len(c.of(LEVEL, "mm_no_kl")) == 3 for c in found)


def test_the_budget_must_agree(tmp_path, make_run):
    for seed, steps in ((1, 250), (2, 250), (3, 500)):
        make_run("small", seed, agent_steps=steps)
    assert sorted(len(c.of(LEVEL, "small")) for c in on_disk(tmp_path, "3")) == [1, 2]


def test_controls_are_compared_with_mm_by_the_same_evaluator(tmp_path, make_run):
    alpha = [[0, 0.0], [100, 1.0]]
    for seed in (1, 2, 3):
        make_run("mm", seed, early=5, figure="controls", alpha=alpha)
        make_run("mm_sampled", seed, early=1, figure="controls", alpha=alpha)
    (condition,) = on_disk(tmp_path, "controls")
    verdicts = {f.claim.first: f.verdict for f in claims.findings_of(condition, "controls") if f.evidence.n}
    assert verdicts == {"mm_sampled": "holds"}  # at the end all are alike; early it "does not hold", listed before
    assert len(claims.findings_of(condition, "controls")) == 14


def test_a_figures_table_is_of_the_seeds_and_lengths_that_were_planned(tmp_path):
    settings = {"agent_steps": 1000}
    jobs = plan("3", "quick", methods=["small"], seeds=[1, 2, 3], settings=settings, results=tmp_path)
    longer = {job.config.seed: job for job in plan("3", "quick", methods=["small"], seeds=[3], results=tmp_path)}
    for job in jobs:
        config = longer.get(job.config.seed, job).config.model_dump(mode="json")
        with RunWriter(job.directory, {**config, "backend_in_force": "minilab"}) as writer:
            writer.finish("done" if job.config.seed != 2 else "failed")
    found = conditions.planned(jobs, tmp_path)
    assert [run.seed for run in found.of(jobs[0].config.level, "small")] == [1]
    assert [line.split(": ", 1)[1] for line in found.left_out] == [
        "failed",
        "agent_steps (600000 there, 1000 here)",
    ]
    only = Figure("3", methods=["small"], seeds=[3], results=tmp_path).everywhere
    assert [run.seed for run in only.of(jobs[0].config.level, "small")] == [3]


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
    assert (minimum.verdict, minimum.evidence.unit) == ("holds", "share of the best")
    assert minimum.evidence.effect.mean == pytest.approx(0.9 - 0.16, abs=0.02)  # explore 9 of 10, horseshoe 1 of 6
    assert alone.verdict == "does not hold"  # the central policy alone scores a tenth
    assert navigation.verdict == "holds" and navigation.evidence.effect.mean == pytest.approx(0.1, abs=0.01)


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
    findings = {f.claim.number: f for f in claims.findings_of(tmp_path / "theory" / "quick")}
    effects = {number: finding.evidence.effect for number, finding in findings.items()}
    verdicts = [findings[n].verdict for n in ("10a", "10b", "11a", "11b", "11c", "12")]
    assert verdicts == ["holds", "holds", "holds", "holds", "does not hold", "holds"]
    assert effects["10a"].mean == pytest.approx(50) and effects["10b"].low == pytest.approx(5)
    assert effects["12"].high == pytest.approx(1 - 0.025 ** (1 / 2000))  # no violation in 2,000

    write_facts(tmp_path, "mixing_enumerated", {**ratios, "largest_difference_of_means": 0.1})
    write_facts(tmp_path, "appendix_g", {"families": {"one": {**family, "violations": 1}}})
    assert found(tmp_path, "10a")[0].verdict == found(tmp_path, "12")[0].verdict == "does not hold"


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
    said = invoke(app, ["claims", "--seeds", "1,2", "--results", str(tmp_path)]).output
    assert "not enough data" in said and "holds" not in said
    for arguments, message in (
        (["--seeds", "one"], "seeds 'one' are not comma-separated whole numbers"),
        (["--preset", "fast"], "unknown preset 'fast'; presets: smoke, quick"),
        (["--results", str(tmp_path / "no")], "there are no results in"),
    ):
        result = invoke(app, ["claims", *arguments])
        assert result.exit_code == 2 and message in result.stderr


def test_a_schedule_plays_no_part_where_population_based_training_adapts_alpha(tmp_path, make_run):
    make_run("mm", 1, **PBT, alpha=[[0, 0.0]], transfer_cost=1.0)
    make_run("mm", 2, **PBT, alpha=[[100, 0.0], [900, 1.0]], transfer_cost=1.0)
    (both,) = on_disk(tmp_path, "3")
    assert [run.seed for run in both.of(LEVEL, "mm")] == [1, 2]
    make_run("mm", 3, alpha=[[0, 0.0]], transfer_cost=1.0)
    make_run("mm", 4, alpha=[[100, 0.0], [900, 1.0]], transfer_cost=1.0)
    assert sorted(len(condition.of(LEVEL, "mm")) for condition in on_disk(tmp_path, "3")) == [1, 1, 2]


def test_a_premise_needs_both_of_its_parts_on_one_level_and_five_runs(tmp_path, make_run):
    for seed in range(1, 6):
        make_run("small", seed, early=5, late=6)
        make_run("big756", seed, early=2, late=9)
        make_run("ff", seed, early=5, late=9, level="nav_maze_static_01_mini", figure="any")  # ends higher
        make_run("lstm", seed, early=2, late=6, level="nav_maze_static_01_mini", figure="any")
        if seed < 5:
            make_run("ff", seed, early=5, late=6)
            make_run("lstm", seed, early=2, late=9)
    verdicts = {(p.curriculum, p.level): p.verdict for p in premises.evaluate(on_disk(tmp_path))}
    assert verdicts == {
        ("actions", LEVEL): "holds",
        ("cores", LEVEL): "not enough data",
        ("cores", "nav_maze_static_01_mini"): "does not hold",
    }
    printed = CliRunner().invoke(app, ["premises", "--results", str(tmp_path)]).stdout
    assert "1 more with fewer than 5 runs of each" in printed and "holds" in printed
    listed = json.loads(CliRunner().invoke(app, ["premises", "--results", str(tmp_path), "--json"]).stdout)
    assert [len(premise["parts"]) for premise in listed] == [2, 2, 2]


def test_the_plain_multitask_agent_is_uneven_or_is_not(tmp_path, make_run):
    tasks = ["explore_object_locations_small_mini", "lt_chasm_mini", "lt_horseshoe_color_mini"]
    (tmp_path / "baselines").mkdir()
    for name in tasks:
        text = json.dumps({"minilab": {"small": {"mean": 0.0}, "expert": {"mean": 100.0}}})
        (tmp_path / "baselines" / f"{name}.json").write_text(text)
    for level, scores in (("+".join(tasks[:2]), (50.0, 2.0)), ("+".join(tasks[::2]), (2.0, 2.0))):
        for seed in range(1, 6):
            directory = make_run("multitask", seed, level=level, figure="figure9", backend_in_force="minilab")
            rows = [
                {"frames": 1000, "member": 0, "length_frames": 9, "level": name, "return": score + 0.01 * seed}
                for name, score in zip(level.split("+"), scores, strict=True)
            ]
            (directory / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert {p.level: p.verdict for p in premises.evaluate(on_disk(tmp_path))} == {
        "+".join(tasks[:2]): "holds",
        "+".join(tasks[::2]): "does not hold",
    }
    (tmp_path / "baselines" / f"{tasks[0]}.json").unlink()  # each level's best is 1 then, which says nothing
    assert premises.evaluate(on_disk(tmp_path)) == []


def test_a_run_made_for_two_figures_counts_once(tmp_path, make_run):
    for seed in (1, 2, 3):
        for figure in ("figure3", "controls"):
            make_run("small", seed, figure=figure)
    (condition,) = on_disk(tmp_path)
    assert [run.seed for run in condition.of(LEVEL, "small")] == [1, 2, 3]
    assert {run.directory.parts[-4] for run in condition.of(LEVEL, "small")} == {"controls"}


@pytest.mark.filterwarnings("error")
def test_the_course_of_a_run_that_returned_nothing_has_kept_nothing(make_run):
    assert tables.course([Run(make_run("small", 0, early=0, late=0))])["kept"].isna().all()


def test_the_course_of_a_run_by_eighths_and_what_it_kept(tmp_path, make_run):
    kept, lost = make_run("small", 1, early=1, late=4), make_run("small", 2, early=4, late=1)
    table = tables.course([Run(kept), Run(lost)])
    assert list(table.columns[5:13]) == list("12345678") and list(table["method"]) == ["small", "small"]
    assert table.loc[0, list("12345678")].tolist() == pytest.approx([1.01] * 4 + [4.01] * 4)
    assert table["kept"].tolist() == pytest.approx([1.0, 1.02 / 4.02])
    printed = CliRunner().invoke(app, ["runs", "seed2", "--returns", "--results", str(tmp_path)]).stdout
    assert "kept" in printed and "0.254" in printed and "4.02" in printed and "4.01" not in printed
    listed = json.loads(CliRunner().invoke(app, ["runs", "--returns", "--json", "--results", str(tmp_path)]).stdout)
    assert [row["seed"] for row in listed] == [1, 2] and listed[0]["8"] == pytest.approx(4.01)


def test_effects_are_drawn_a_panel_a_unit_whole_labels_and_one_wide_interval_flattens_nothing(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed, early=5, late=6)
        make_run("big756", seed, early=2, late=9)
    returns = found(tmp_path, "1a")[0]
    wide = replace(returns, evidence=replace(returns.evidence, effect=stats.Interval(1.0, -500.0, 500.0)))
    scores = replace(returns, evidence=replace(returns.evidence, unit="normalised score"))
    drawn = plots.forest([returns, wide, scores])
    drawn.draw_without_rendering()
    assert [axes.get_xlabel().split(" in ")[0] for axes in drawn.axes] == [
        "difference of normalised scores",
        "difference of returns",
    ]
    first, second = drawn.axes
    assert len(first.get_yticks()) == 1 and len(second.get_yticks()) == 2
    largest = max(abs(returns.evidence.effect.mean), 1.0)
    assert second.get_xlim()[1] == pytest.approx(1.05 * plots.CUT * largest)
    assert {line.get_marker() for line in second.lines} >= {"<", ">"}  # it goes on beyond the axis
    left = min(label.get_window_extent().x0 for axes in drawn.axes for label in axes.get_yticklabels())
    assert left >= 0


def test_the_report_has_every_claim_its_verdict_picture_and_command(tmp_path, make_run):
    for seed in range(1, 6):
        make_run("small", seed, early=5, late=6)
        make_run("big756", seed, early=2, late=9)
    page = tmp_path / "out" / "report.md"
    said = CliRunner().invoke(app, ["report", "-o", str(page), "--results", str(tmp_path)])
    assert said.exit_code == 0, said.output
    text = page.read_text()
    assert [f"## Claim {number}\n" in text for number in range(1, 13)] == [True] * 12
    assert text.count("Not tested: there is no run for it.") == 11
    assert f"| actions | {LEVEL} | quick | holds |" in text
    assert "| 1a | holds | Small learns faster than Big early |" in text
    (again,) = re.findall(r"Again: `(.*)`", text)
    listed = subprocess.run(["bash", "-c", again.replace("mmlib train", "echo")], capture_output=True, encoding="utf-8")
    places = [line.split() for line in listed.stdout.splitlines()]
    assert len(places) == 10  # two methods and five seeds
    for _, config, _, elsewhere in places:
        assert [each.level for each in read_configs(config, {})] == [LEVEL]  # what `mmlib train --config` takes
        assert elsewhere == f"again/{Path(config).parent}"
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert [Path(name).name.partition(f"_{LEVEL}")[0] for name in pictures] == [
        "claimed_3.png",
        "figure3",
        "forest.png",
    ]
    assert all((page.parent / name).stat().st_size > 10_000 for name in pictures)
    assert [type(part).__name__ for part in shown.page(page)] == [
        "Markdown",
        *["Image"] * 2,
        "Markdown",
        "Image",
        "Markdown",
    ]
    assert "| quick | figure3 | cpu | 10 | 0.0 |" in text  # runs, M agent steps
    assert "/{small,big756}/seed{1..5}; do" in again
    blocked = CliRunner().invoke(app, ["report", "-o", str(page / "x.md"), "--results", str(tmp_path)])
    assert blocked.exit_code == 2 and "cannot be written" in blocked.output


def test_the_report_takes_a_claim_of_ones_own(tmp_path, make_run, monkeypatch):
    """As docs/adding_a_curriculum.md has it: of any figure, numbered as one likes."""
    own = Claim("4", "mixing alone ends higher", "controls", ">", "mm_no_kl", "mm")
    monkeypatch.setattr(claims, "CLAIMS", (own,))
    for seed in (1, 2, 3):
        make_run("mm", seed)
        make_run("mm_no_kl", seed, late=5, figure="controls")
    report.write(tmp_path / "report.md", tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| 4 | holds | mixing alone ends higher |" in text
    (picture,) = set(re.findall(r"\((report/figurecontrols_.*?)\)", text))
    assert (tmp_path / picture).stat().st_size > 10_000


def test_runs_of_an_agent_that_has_been_changed_since_are_of_no_condition(tmp_path, make_run):
    for seed in range(1, 7):
        make_run("small", seed, early=2)
        make_run("mm", seed, early=3 if seed < 4 else 1, **({"agent": "another"} if seed > 3 else {}))
    (finding,) = found(tmp_path, "2a")
    assert finding.verdict == "holds" and "M&M 3.02 (3 runs)" in finding.measured


def test_a_share_of_runs_is_the_same_in_words_and_numbers(tmp_path, make_run):
    """Pooled over levels, whose numbers of runs differ."""
    for seed in range(1, 7):
        make_run("mm", seed, level="nav_maze_static_02_mini", rows=alphas((100, 0.5)), **PBT)
        if seed < 3:
            make_run("mm", seed, rows=alphas((100, 0.5), (200, 0.1)), **PBT)
    (finding,) = found(tmp_path, "4c")
    assert finding.evidence.effect.mean == 0.25 and "M&M 0.25 (8 runs)" in finding.measured


def test_the_report_says_what_each_of_several_levels_says_alone(tmp_path, make_run):
    for seed in (1, 2, 3):
        for level, late in ((LEVEL, 6), ("nav_maze_static_02_mini", 20)):
            make_run("small", seed, early=5, late=late, level=level)
            make_run("big756", seed, early=2, late=9, level=level)
    page = tmp_path / "report.md"
    report.write(page, tmp_path)
    (row,) = [line for line in page.read_text().splitlines() if line.startswith("| 1b | Small ends lower than Big | ")]
    assert re.findall(r"(holds|does not hold|undecided): (\S+)", row) == [("holds", "3"), ("does not hold", "-11")]


def test_the_report_concludes_by_the_premise_of_each_level(tmp_path, make_run):
    for seed in range(1, 6):
        for level, late in ((LEVEL, 20), ("nav_maze_static_02_mini", 6)):
            make_run("small", seed, early=5, late=late, level=level)
            make_run("big756", seed, early=2, late=9, level=level)
            make_run("mm", seed, early=5, late=3 * late, level=level)
    page = tmp_path / "report.md"
    report.write(page, tmp_path)
    second = page.read_text().split("## Claim 2")[1].split("## Claim 3")[0]
    assert f"on {LEVEL} (premise: does not hold) 2a holds, 2b holds" in second
    shown = "on nav_maze_static_02_mini (premise: holds) 2a holds, 2b holds"
    assert f"**To conclude**: {shown}; " in second  # those with the premise first


def test_claims_about_alpha_and_entropy_show_them(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("mm", seed)
    page = tmp_path / "report.md"
    report.write(page, tmp_path)
    fifth = page.read_text().split("## Claim 5")[1].split("## Claim 6")[0]
    entropy = ["sketch of the claim", LEVEL]
    assert re.findall(r"!\[(.*?)\]", fifth) == entropy


def test_a_sweep_is_of_one_setting_and_of_the_runs_in_which_it_plays_a_part(tmp_path, make_run):
    for seed in (1, 2, 3):
        make_run("small", seed)
        for value, late in ((0.1, 4), (1, 6), (10, 5)):
            make_run("mm", seed, 2, late, figure=f"lambda_{value}", transfer_cost=value, unroll=20)
        make_run("mm", seed, 2, 9, figure="other", transfer_cost=1, entropy_cost=0.5)  # another condition
    table = tables.sweep("transfer_cost", on_disk(tmp_path))
    assert set(table["method"]) == {"mm"} and set(table["runs"]) == {3}
    ends = table[table["part"] == "at the end"]
    assert ends["value"].tolist() == [0.1, 1, 10] and ends["mean"].tolist() == pytest.approx([4.02, 6.02, 5.02])
    assert (ends["high"] - ends["mean"]).tolist() == pytest.approx([4.303 * 0.01 / 3**0.5] * 3, rel=1e-3)
    assert tables.sweep("entropy_cost", on_disk(tmp_path)).empty  # two values
    alone = tables.sweep("transfer_cost", on_disk(tmp_path, seeds=[1]))
    assert set(alone["runs"]) == {1} and alone["low"].isna().all()
    page = tmp_path / "report.md"
    assert CliRunner().invoke(app, ["report", "-o", str(page), "--results", str(tmp_path)]).exit_code == 0
    assert "No control has runs enough" in page.read_text()
    for seed in (1, 2, 3):
        make_run("mm_no_kl", seed, 2, 1, figure="controls", unroll=20)
    assert CliRunner().invoke(app, ["report", "-o", str(page), "--results", str(tmp_path)]).exit_code == 0
    assert "| does not hold | as high as M&M: mixing without KL |" in page.read_text()
    assert (
        CliRunner().invoke(app, ["report", "-o", str(page), "--results", str(tmp_path), "--seeds", "1"]).exit_code == 0
    )
    assert (
        re.search(rf"\| mm \| {LEVEL} \| 10.0 \| 1 \| [\d.]+ \| 5.01 \|", page.read_text())
        and "[nan" not in page.read_text()
    )
    assert "![λ](report/lambda.png)" in page.read_text() and (tmp_path / "report" / "lambda.png").exists()


def test_the_report_takes_runs_that_are_too_short_or_of_a_method_that_is_gone(tmp_path, make_run):
    for value in (0.1, 1, 10):
        make_run("mm", 1, figure=f"lambda_{value}", transfer_cost=value)
    directory = tmp_path / "quick" / "lambda_1" / LEVEL / "mm" / "seed2"
    settings = {"level": LEVEL, "method": "mm", "seed": 2, "agent_steps": 250, "action_repeat": 4, "transfer_cost": 1}
    with RunWriter(directory, settings) as writer:  # no episode ended in its first quarter
        writer.append("metrics", [{"frames": FRAMES, "member": 0, "alpha": 0.0, "collision_entropy": 1.0}])
        writer.append("episodes", [{"frames": 950, "member": 0, "return": 3.0, "length_frames": 50}])
        writer.finish()
    make_run("my_method_of_last_year", 1)
    table = tables.sweep("transfer_cost", on_disk(tmp_path)).set_index(["value", "part"])
    assert (table.loc[(1, "early"), "runs"], table.loc[(1, "at the end"), "runs"]) == (1, 2)
    report.write(tmp_path / "report.md", tmp_path)
    took = re.findall(r"\| quick \| lambda_\S+ \| cpu \| (\d) \|", (tmp_path / "report.md").read_text())
    assert sum(map(int, took)) == 4  # not that of the method


def test_scores_do_not_apply_to_a_level_that_is_not_as_it_comes():
    usual = {"level_settings": {"threads": 2}, "action_repeat": 4}
    slower = {**usual, "action_repeat": 8}
    assert baselines.apply_to(usual) and not baselines.apply_to(slower)
    assert not baselines.apply_to({**usual, "level_settings": {"episode_seconds": 5}})
    other = baselines.scale("results", "nav_maze_static_01_mini", "minilab", slower, 5.0)
    assert other == (0.0, 5.0, "0 no reward, 1 the best run here") and not other.absolute
    published = "results", "explore_object_locations_small", "dmlab"
    assert baselines.scale(*published, usual, 5.0, measured=False).meaning == "0 random, 1 human, as published"
    assert baselines.scale(*published, slower, 5.0).meaning == other.meaning
