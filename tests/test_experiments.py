"""Figures as data: what a plan holds, what it refuses, and what may be drawn together."""

import dataclasses
from pathlib import Path

import pytest

from mmlib.config import ConfigError
from mmlib.experiments import campaign, design
from mmlib.experiments.design import ExperimentError, configure, finished, plan
from mmlib.experiments.presets import FIGURES, PRESETS
from mmlib.runs.reader import OtherRun
from mmlib.runs.writer import RunWriter

MINI = "explore_object_locations_small_mini"
QUICK = "nav_maze_static_01_mini"
PROTOCOL = Path(__file__).parents[1] / "campaigns" / "protocol.yaml"


def record(job, state="done", **changed):
    """A run on disk as training would leave it."""
    with RunWriter(job.directory, job.config.model_dump(mode="json") | {"backend_in_force": "minilab"} | changed) as w:
        w.append("episodes", [{"frames": 1800, "member": 0, "return": 1.0, "length_frames": 1800}])
        w.finish(state)


def test_quick_is_three_methods_of_one_seed_on_a_miniature(tmp_path):
    jobs = plan("3", "quick", results=tmp_path)
    assert [job.config.method for job in jobs] == ["small", "big756", "mm"]
    assert {(job.config.level, job.config.seed) for job in jobs} == {(QUICK, 0)}
    assert jobs[2].directory == tmp_path / "quick" / "figure3" / QUICK / "mm" / "seed0"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_can_be_planned_at_every_preset(figure, preset, tmp_path):
    jobs = plan(figure, preset, results=tmp_path)
    chosen, drawn = PRESETS[preset], FIGURES[figure]
    count = len(drawn.methods if chosen.ablations else drawn.main_methods)
    levels = [name for name in drawn.levels for _ in range(1 if chosen.all_levels or name == drawn.levels[0] else 0)]
    assert len(jobs) == count * len(levels) * len(chosen.seeds) == len({job.directory for job in jobs})
    assert all(part.endswith("_mini") == chosen.miniature for job in jobs for part in job.config.levels)


def test_a_run_that_several_figures_draw_is_made_once(tmp_path, monkeypatch):
    def of(figure):
        return {job.config.method: job for job in plan(figure, "quick", results=tmp_path)}

    assert of("controls")["mm"] == of("alternatives")["mm"] == of("3")["mm"]
    assert of("controls")["mm_no_kl"].directory.is_relative_to(tmp_path / "quick" / "controls")
    mine = dataclasses.replace(FIGURES["3"], name="mine", directory="mine", settings={"entropy_cost": 0.01})
    monkeypatch.setitem(FIGURES, "mine", mine)  # other settings: other runs
    assert {job.directory.parts[-4] for job in of("mine").values()} == {"mine"}


@pytest.mark.parametrize("figure", ["3", "6", "9", "controls"])
def test_preset_protocol_makes_the_runs_of_the_protocol(figure, tmp_path):
    made = {job.directory: job.config for job in campaign.plan(campaign.read(PROTOCOL), tmp_path)}
    planned = {job.directory: job.config for job in plan(figure, "protocol", results=tmp_path)}
    both = made.keys() & planned.keys()
    assert len(both) >= 10 and all(made[place] == planned[place] for place in both)


def test_all_levels_and_the_weights_of_the_transfer_cost(tmp_path):
    jobs = plan("6", "quick", ["all"], results=tmp_path)
    assert len({job.config.level for job in jobs}) == 4
    assert {job.config.transfer_cost for job in jobs} == {100.0}
    assert {job.config.transfer_cost for job in plan("3", "quick", results=tmp_path)} == {1.0}
    mixed, plain = plan("6", "quick", None, ["mm_ff_lstm", "lstm"], settings={"transfer_cost": 3}, results=tmp_path)
    assert (mixed.config.transfer_cost, plain.config.transfer_cost) == (3.0, 100.0)


def test_part_of_the_populations_settings_can_be_replaced(tmp_path):
    (job,) = plan("3", "population", None, ["mm"], [1], {"pbt": {"ready": 7}}, tmp_path)
    assert (job.config.pbt.ready, job.config.pbt.entropy_cost) == (7, (3e-4, 6e-3))
    assert job.config.alpha == ((0, 0.0),)  # PBT adapts it: no schedule


def test_larger_presets_hold_all_five_methods_and_paper_its_population(tmp_path):
    assert {job.config.method for job in plan("3", "workstation", results=tmp_path)} == set(FIGURES["3"].methods)
    paper = plan("3", "paper", results=tmp_path)[0].config
    assert (paper.population, paper.width, paper.height, paper.unroll) == (10, 96, 72, 100)


def test_methods_of_a_preset_differ_in_alpha_alone(tmp_path):
    """One set of hyperparameters for all methods."""
    small, big, mixed = (job.config.model_dump() for job in plan("3", "quick", results=tmp_path))
    assert {name for name in small if small[name] != big[name]} == {"method"}
    assert {name for name in big if big[name] != mixed[name]} == {"method", "alpha"}


def test_alpha_schedule_follows_the_length_of_the_run(tmp_path):
    preset = dataclasses.replace(PRESETS["quick"], alpha=((0.1, 0.0), (0.8, 1.0)))
    config = design.configure(preset, MINI, "mm", 0, {"agent_steps": 1000})
    assert config.alpha == ((100, 0.0), (800, 1.0))
    assert design.configure(preset, MINI, "mm", 0, {"alpha": [[0, 0.5]]}).alpha == ((0, 0.5),)


def test_choices_replace_the_presets(tmp_path):
    jobs = plan("3", "quick", ["nav_maze_static_01"], ["mm_masked_kl"], [4, 5], {"unroll": 7}, tmp_path)
    assert [(j.config.level, j.config.method, j.config.seed, j.config.unroll) for j in jobs] == [
        ("nav_maze_static_01", "mm_masked_kl", 4, 7),
        ("nav_maze_static_01", "mm_masked_kl", 5, 7),
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("33", "quick"), ExperimentError, "unknown figure '33'; figures: 3"),
        (("3", "fast"), ExperimentError, "unknown preset 'fast'; presets: smoke, quick, protocol, population, laptop"),
        (("3", "quick", ["nav_maze"]), ExperimentError, "figure 3 has no level 'nav_maze'; its levels: explore"),
        (("3", "quick", None, ["big"]), ExperimentError, "figure 3 has no method 'big'"),
        (("3", "quick", None, None, [-1]), ConfigError, "seed = -1"),
        (
            ("3", "quick", None, None, None, {"lr": 1}),
            ConfigError,
            "unknown setting 'lr'; settings: level, method",
        ),
        (("3", "quick", None, None, None, {"unroll": 0}), ConfigError, "unroll = 0"),
        (("3", "quick", None, None, None, {"agent_steps": "many"}), ConfigError, "agent_steps = 'many'"),
        (("3", "quick", None, None, None, {"alpha": [[0, 1.5]]}), ConfigError, "1.5"),
        (("3", "quick", None, None, None, {"seed": 3}), ExperimentError, "'seed' cannot be overridden"),
        (
            ("3", "quick", None, None, None, {"backend": "doom"}),
            ConfigError,
            "unknown backend 'doom'; backends: auto",
        ),
    ],
)
def test_bad_plans_name_the_value_and_the_choices(arguments, error, message, tmp_path):
    with pytest.raises(error) as caught:
        plan(*arguments, results=tmp_path)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # before any work


@pytest.mark.parametrize(
    ("method", "preset", "settings", "why"),
    [
        ("small", "quick", {"alpha": [[0, 1.0]]}, "'alpha' plays no part: method 'small' has one policy"),
        ("small_kl", "quick", {"alpha": [[0, 1.0]]}, "'alpha' plays no part: method 'small_kl' has its own"),
        ("small", "quick", {"transfer_cost": 7}, "'transfer_cost' plays no part: method 'small' has no transfer"),
        ("mm", "quick", {"transfer": "none", "transfer_cost": 7}, "method 'mm' has no transfer cost"),
        ("mm", "quick", {"rms_epsilon": 0.01}, "'rms_epsilon' plays no part: the optimiser is adam"),
        ("mm", "population", {"alpha": [[0, 1.0]]}, "adapts it; it starts within pbt.alpha"),
        ("small", "population", {"entropy_cost": 0.1}, "adapts it; it starts within pbt.entropy_cost"),
    ],
)
def test_a_setting_that_plays_no_part_is_refused(method, preset, settings, why):
    with pytest.raises(ExperimentError, match=why):
        configure(PRESETS[preset], "nav_maze_static_02_mini", method, 1, settings)


def test_in_a_figure_a_setting_is_of_the_methods_in_which_it_plays_a_part(tmp_path):
    given = {"alpha": [[0, 0.5]], "transfer_cost": 7}
    methods = {job.config.method: job.config for job in plan("3", "quick", settings=given, results=tmp_path)}
    assert (methods["mm"].alpha, methods["mm"].transfer_cost) == (((0, 0.5),), 7.0)
    assert (methods["small"].alpha, methods["small"].transfer_cost) == (((0, 0.0),), 1.0)


def test_a_directory_with_another_configuration_is_refused(tmp_path):
    record(plan("3", "quick", results=tmp_path, settings={"discount": 0.5})[0])
    with pytest.raises(OtherRun, match=r"small/seed0 holds a run of another .*discount \(0.5 there, 0.99 here\)"):
        plan("3", "quick", results=tmp_path)
    plan("3", "quick", results=tmp_path, seeds=[1])  # another seed is another directory
    faster = {"discount": 0.5, "checkpoint_every": 7, "log_every": 7, "level_settings": {"threads": 4}}
    plan("3", "quick", None, ["small"], settings=faster, results=tmp_path)  # what is learned is the same
    with pytest.raises(OtherRun, match=r"level_settings \({} there, {'episode_seconds': 9.*} here"):
        plan(
            "3",
            "quick",
            None,
            ["small"],
            settings=faster | {"level_settings": {"episode_seconds": 9}},
            results=tmp_path,
        )


def test_a_longer_run_of_a_presets_schedule_says_how_to_go_on(tmp_path):
    (job,) = plan("3", "quick", None, ["mm"], results=tmp_path)
    record(job)
    longer = {"agent_steps": 2 * job.config.agent_steps}
    with pytest.raises(OtherRun, match=r"alpha .* to go on for longer, give the alpha that is there"):
        plan("3", "quick", None, ["mm"], settings=longer, results=tmp_path)
    (same,) = plan("3", "quick", None, ["mm"], settings=longer | {"alpha": job.config.alpha}, results=tmp_path)
    assert not finished(same)


def test_finished_is_done_and_long_enough(tmp_path):
    job = plan("3", "quick", results=tmp_path)[0]
    assert not finished(job)
    record(job, "failed")
    assert not finished(job)
    record(job)
    assert finished(job)
    longer = plan("3", "quick", results=tmp_path, settings={"agent_steps": job.config.agent_steps + 1})[0]
    assert not finished(longer)


def test_description_names_what_the_runs_share(tmp_path):
    text = design.describe(plan("3", "quick", results=tmp_path))
    assert text.startswith("runs: small, big756, mm, seed 0\n")
    assert "learning_rate" in text and "alpha" not in text  # which they do not share
    assert "adam_epsilon" in text and "rms_epsilon" not in text and "bandit" not in text  # which play no part
    several = design.describe(plan("3", "quick", None, ["mm", "small"], [1, 2], results=tmp_path))
    assert several.startswith("runs: mm, small, seeds 1, 2\n")


def test_repository_is_found_from_below_and_else_the_start(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / FIGURES["3"].notebook).touch()
    for start, root in ((tmp_path / "notebooks", tmp_path), (tmp_path, tmp_path), (tmp_path.parent, tmp_path.parent)):
        monkeypatch.chdir(start)
        assert design.repository_root() == root


def test_what_ties_policies_concerns_the_methods_that_have_several(tmp_path):
    jobs = plan("6", "quick", settings={"transfer": "cross_entropy", "stop_gradient": True}, results=tmp_path)
    given = {job.config.method: job.config.ties for job in jobs}
    assert given == {"ff": {}, "lstm": {}, "mm_ff_lstm": {"transfer": "cross_entropy", "stop_gradient": True}}


def test_a_preset_may_set_a_single_figure_apart(tmp_path):
    windows = {name: plan(name, "population", results=tmp_path)[0].config.pbt.window for name in ("3", "6", "9")}
    assert windows == {"3": 8, "6": 8, "9": 4}
    part = plan("9", "population", settings={"pbt": {"p_value": 0.1}}, results=tmp_path)[0].config.pbt
    assert (part.p_value, part.window, part.ready) == (0.1, 4, 32)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("figure", FIGURES)
def test_committed_runs_are_in_no_plans_way(preset, figure):
    """Each is of its preset's settings, or lies elsewhere, so that a figure at any preset begins."""
    committed = Path(__file__).parent.parent / "results"
    assert plan(figure, preset, results=committed)
