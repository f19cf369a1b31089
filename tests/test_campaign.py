"""Campaigns: the order of a file's runs, what is refused, what is done, and two arms made for real."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.config import ConfigError
from mmlib.experiments import campaign
from mmlib.experiments.design import ExperimentError, finished
from mmlib.runs import sources
from mmlib.runs.owner import being_written, claimed
from mmlib.runs.reader import OtherRun, Run
from mmlib.runs.sources import digest
from mmlib.runs.writer import RunWriter

LEVEL, OTHER = "explore_object_locations_small_mini", "nav_maze_static_02_mini"
BLOCK = {"levels": [LEVEL], "methods": ["small", "mm"], "seeds": [1, 2]}
FILE = {
    "name": "trial",
    "preset": "smoke",
    "settings": {"unroll": 10, "entropy_cost": 0.01},
    "arms": {"fast": {"learning_rate": 0.01}, "cheap": {"entropy_cost": 0.001}},
    "blocks": [BLOCK],
}


def written(tmp_path, **changed):
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump({**FILE, **changed}, sort_keys=False))
    return path


def planned(tmp_path, **changed):
    return campaign.plan(campaign.read(written(tmp_path, **changed)), tmp_path / "results")


def test_seeds_come_first_so_that_every_arm_and_method_has_as_many(tmp_path):
    jobs = planned(tmp_path, blocks=[{**BLOCK, "levels": [LEVEL, OTHER]}])
    parts = [job.directory.relative_to(tmp_path / "results").parts for job in jobs]
    assert parts == [
        ("trial", arm, level, method, f"seed{seed}")
        for seed in (1, 2)
        for level in (LEVEL, OTHER)
        for arm in ("fast", "cheap")
        for method in ("small", "mm")
    ]
    assert jobs[0].name == f"fast {LEVEL} small seed 1"


def test_an_arm_is_over_the_campaigns_settings_and_these_over_the_presets(tmp_path):
    fast, _, cheap, _ = planned(tmp_path, blocks=[{**BLOCK, "seeds": [1]}])
    assert (fast.config.learning_rate, fast.config.entropy_cost) == (0.01, 0.01)
    assert (cheap.config.learning_rate, cheap.config.entropy_cost) == (0.0003, 0.001)
    assert {job.config.unroll for job in (fast, cheap)} == {10}
    assert {job.config.width for job in (fast, cheap)} == {48}  # the preset's


def test_a_campaign_named_like_its_preset_makes_the_runs_that_figures_draw(tmp_path):
    levels = ["nav_maze_static_02_mini+lt_chasm_mini"]
    blocks = [{"levels": levels, "methods": ["multitask"], "seeds": [1]}]
    arms = {"figure9": {}}
    (job,) = planned(tmp_path, name="smoke", arms=arms, blocks=blocks)
    assert job.directory.relative_to(tmp_path / "results").parts[:2] == ("smoke", "figure9")
    assert job.config.evaluation_envs == 4  # the figure's
    (other,) = planned(tmp_path, name="other", arms=arms, blocks=blocks)
    assert other.config.evaluation_envs == 0


def test_blocks_follow_one_another_and_a_run_named_twice_is_made_once_where_it_comes_first(tmp_path):
    blocks = [{**BLOCK, "arms": ["cheap"], "seeds": [2], "methods": ["mm"]}, BLOCK]
    jobs = planned(tmp_path, blocks=blocks)
    assert len(jobs) == 8 == len({job.directory for job in jobs})
    assert jobs[0].directory.parts[-4:] == ("cheap", LEVEL, "mm", "seed2")
    assert [job.config.seed for job in jobs[1:]] == [1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"preset": "fast"}, ExperimentError, "unknown preset 'fast'; presets: smoke"),
        ({"name": "a/b"}, ExperimentError, "name = 'a/b': .*pattern"),
        ({"arms": {}}, ExperimentError, "arms = {}: "),
        ({"blocks": []}, ExperimentError, r"blocks = \[\]: "),
        ({"block": [BLOCK]}, ExperimentError, "block: unknown; did you mean 'blocks'.; known: name, preset"),
        ({"blocks": [{**BLOCK, "level": ["a"]}]}, ExperimentError, "blocks.0.level: unknown; did you mean 'levels'"),
        ({"blocks": [{**BLOCK, "seeds": ["one"]}]}, ExperimentError, "blocks.0.seeds.0 = 'one': "),
        ({"blocks": [{**BLOCK, "seeds": "1-3"}]}, ExperimentError, "seeds = '1-3': should be a list, in brackets$"),
        ({"blocks": [{**BLOCK, "levels": []}]}, ExperimentError, r"blocks.0.levels = \[\]: "),
        ({"blocks": [{**BLOCK, "arms": ["fsat"]}]}, ExperimentError, "unknown arm 'fsat'; arms: .*did you mean 'fast'"),
        ({"blocks": [{**BLOCK, "methods": ["mmm"]}]}, ExperimentError, "unknown method 'mmm'"),
        ({"blocks": [{**BLOCK, "levels": ["nowhere"]}]}, ConfigError, "unknown level 'nowhere'"),
        ({"settings": {"lr": 1}}, ConfigError, "unknown setting 'lr'"),
        ({"arms": {"slow": {"unroll": 0}}}, ConfigError, "arm slow, method small: unroll = 0"),
        ({"blocks": [{**BLOCK, "methods": ["kickstart"]}]}, ExperimentError, "needs a finished run in .*small_teacher"),
        ({"arms": {"bots": {"level_settings": {"bot_count": 3}}}}, ConfigError, "takes no setting 'bot_count'"),
        ({"arms": {"seeded": {"seed": 3}}}, ExperimentError, "'seed' cannot be overridden"),
    ],
)
def test_a_bad_file_names_what_is_wrong_before_any_work(changed, error, message, tmp_path):
    with pytest.raises(error, match=message):
        planned(tmp_path, **changed)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("text", ["name: [", "- a list\n", "", "\x00"])
def test_a_file_that_is_no_campaign_is_named(text, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ExperimentError, match=r"bad\.yaml (cannot be read|is no campaign)"):
        campaign.read(path)
    with pytest.raises(ExperimentError, match="cannot be read"):
        campaign.read(tmp_path / "none.yaml")


def test_a_teacher_is_found_whatever_the_results_are_called(tmp_path):
    blocks = [{**BLOCK, "methods": ["kickstart", "small_teacher"], "seeds": [1]}]
    (tmp_path / "here").mkdir()
    student, teacher, *_ = campaign.plan(
        campaign.read(written(tmp_path, blocks=blocks)), tmp_path / "here" / ".." / "r"
    )
    assert student.teacher == teacher.directory


def test_the_committed_campaigns_can_be_planned(tmp_path):
    for path in (Path(__file__).parents[1] / "campaigns").glob("*.yaml"):
        assert campaign.plan(campaign.read(path), tmp_path)


def record(job, state, frames, speed=1000.0):
    """A run on disk as training would leave it."""
    with RunWriter(job.directory, job.config.model_dump(mode="json") | {"backend_in_force": "minilab"}) as writer:
        writer.append("timing", [{"frames": frames, "seconds": 1.0, "agent_steps_per_second": speed}])
        writer.finish(state)


def test_another_configuration_in_a_runs_place_is_refused(tmp_path):
    record(planned(tmp_path)[0], "done", 100)
    with pytest.raises(OtherRun, match=r"small/seed1 holds a run of another .*learning_rate \(0.01 there, 0.02"):
        planned(tmp_path, arms={"fast": {"learning_rate": 0.02}})


def test_status_counts_what_is_done_and_what_is_left(tmp_path):
    jobs = planned(tmp_path)
    record(jobs[0], "done", jobs[0].config.frames)
    record(jobs[1], "stopped", jobs[1].config.frames // 2)
    lines = campaign.status(jobs, workers=2).splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["fast", LEVEL, "small", "1", "done,", "1", "waiting"],
        ["fast", LEVEL, "mm", "1", "stopped,", "1", "waiting"],
    ]
    steps = jobs[0].config.agent_steps * 6.5
    assert lines[-1] == f"1 of 8 runs done, {steps / 1e6:.1f} M agent steps left, about {steps / 7.2e6:.1f} hours on 2"
    assert campaign.status(jobs, 1, together=4).endswith(f"about {steps / 14.4e6:.1f} hours on 1")


def test_a_level_whose_runs_are_all_made_says_nothing_about_the_rest(tmp_path):
    """Neither its speed, which may be a GPU's, nor its code."""
    jobs = planned(tmp_path, blocks=[{**BLOCK, "levels": [OTHER]}, BLOCK])
    for job in (job for job in jobs if job.config.level == OTHER):
        record(job, "done", job.config.frames, speed=50_000.0)
        config = job.directory / "config.json"
        config.write_text(config.read_text().replace(digest(), "0" * 12))
    record(jobs[8], "stopped", 0)
    assert campaign.other_code(jobs) is None
    hours = jobs[8].config.agent_steps * 8 / 3.6e6
    assert campaign.status(jobs, workers=1).endswith(f"about {hours:.1f} hours on 1")


@pytest.mark.slow
def test_two_arms_are_made_and_the_second_time_there_is_nothing_to_do(tmp_path):
    short = {"agent_steps": 200, "num_envs": 2, "unroll": 10, "learner_batches": 1, "log_every": 100}
    file = written(tmp_path, settings=short, blocks=[{**BLOCK, "methods": ["small"], "seeds": [1]}])
    command = ["campaign", str(file), "--workers", "2", "--results", str(tmp_path / "results")]
    made = CliRunner().invoke(app, command)
    assert made.exit_code == 0, made.output
    assert "2 of 2 runs done, 0.0 M agent steps left" in made.stdout and made.stdout.count("started") == 2
    runs = {
        job.directory.parts[-4]: Run(job.directory) for job in campaign.plan(campaign.read(file), tmp_path / "results")
    }
    assert {arm: (run.state, run.config["learning_rate"]) for arm, run in runs.items()} == {
        "fast": ("done", 0.01),
        "cheap": ("done", 0.0003),
    }
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0 and "started" not in again.stdout and again.stdout.count("on disk") == 2
    status = CliRunner().invoke(app, [*command, "--status"])
    assert status.exit_code == 0 and "on disk" not in status.stdout and "2 of 2 runs done" in status.stdout


def test_the_command_names_what_is_wrong(tmp_path):
    result = CliRunner().invoke(app, ["campaign", str(written(tmp_path, preset="fast"))])
    assert result.exit_code == 2 and "unknown preset 'fast'" in result.stderr


def test_finished_runs_are_collected_from_elsewhere_if_one_code_made_them_all(tmp_path):
    file = written(tmp_path)
    here, there = (campaign.plan(campaign.read(file), tmp_path / name) for name in ("here", "there"))
    for job in there[:3]:
        record(job, "done", job.config.frames)
    record(there[3], "stopped", 100)
    (there[0].directory / "checkpoint.pt").write_bytes(b"large")
    other = there[2].directory / "config.json"
    other.write_text(other.read_text().replace(digest(), "0" * 12))
    command = ["campaign", str(file), "--collect", str(tmp_path / "there"), "--results", str(tmp_path / "here")]

    said = CliRunner().invoke(app, command)
    assert said.exit_code == 1 and said.stdout.count("collected ") == 2
    said_of = f"{other.parent} was made by sources 000000000000 on cpu, and the level's runs here by"
    assert f"{said_of} sources {digest()} on cpu" in said.stdout
    assert [finished(job) for job in here] == [True, True] + [False] * 6
    names = {path.name for path in here[0].directory.iterdir()}
    assert names == {"config.json", "state.json", "timing.jsonl.gz"}
    pd.testing.assert_frame_equal(Run(here[0].directory).timing(), Run(there[0].directory).timing())

    other.write_text(other.read_text().replace("0" * 12, digest()))
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0 and said.stdout.count("collected ") == 1
    assert "3 of 8 runs done" in said.stdout and said.stdout.endswith("no claim is decided yet\n")
    record(there[3], "done", there[3].config.frames)
    with claimed(here[3].directory):  # this campaign has got to it
        said = CliRunner().invoke(app, command)
        assert said.exit_code == 1 and f"{here[3].directory} is being written here" in said.stdout
        assert being_written(here[3].directory)
    nowhere = CliRunner().invoke(app, [*command[:3], str(tmp_path / "nowhere"), *command[4:]])
    assert nowhere.exit_code == 2 and "there are no results in" in nowhere.output


def test_status_says_which_claims_are_decided(tmp_path):
    path = written(tmp_path, name="quick", arms={"figure3": {}}, blocks=[{**BLOCK, "seeds": [1, 2, 3]}])
    for job in campaign.plan(campaign.read(path), tmp_path / "results"):
        with RunWriter(job.directory, job.config.model_dump(mode="json") | {"backend_in_force": "minilab"}) as writer:
            value = job.config.seed + 10.0 * (job.config.method == "mm")
            for frames in (2000, job.config.frames):
                writer.append("episodes", [{"frames": frames, "member": 0, "return": value, "length_frames": 100}])
                row = {"frames": frames, "member": 0, "alpha": 0.0, "collision_entropy": 1.0}
                writer.append("metrics", [row])
            writer.finish()
    said = CliRunner().invoke(app, ["campaign", str(path), "--status", "--results", str(tmp_path / "results")])
    assert f"claim 2a, quick, α by hand: {LEVEL}: holds" in said.stdout, said.stdout


def test_a_run_resumed_by_other_code_names_both(tmp_path):
    job = planned(tmp_path)[0]
    record(job, "stopped", 100)
    config = job.directory / "config.json"
    config.write_text(config.read_text().replace(digest(), "0" * 12))
    record(job, "done", 200)
    assert Run(job.directory).config["sources"] == ["0" * 12, digest()]
    assert f"there are some by sources {'0' * 12}+{digest()} on cpu" in campaign.other_code(planned(tmp_path))


def test_runs_of_other_code_are_warned_of(tmp_path):
    job = planned(tmp_path)[0]
    record(job, "done", 100)
    assert campaign.other_code(planned(tmp_path)) is None
    config = job.directory / "config.json"
    config.write_text(config.read_text().replace(digest(), "0" * 12))
    status = ["campaign", str(written(tmp_path)), "--status", "--results", str(tmp_path / "results")]
    said = CliRunner().invoke(app, status)
    assert f"would be made by sources {digest()} on cpu, and there are some by sources {'0' * 12} on cpu" in said.stderr


def test_runs_beside_a_campaigns_that_another_device_made_are_warned_of(tmp_path):
    """What its runs are compared with need not be its own: the baselines of another file, of the same name."""
    beside = planned(tmp_path, arms={"baselines": {}})[0]
    record(beside, "done", beside.config.frames)
    config = beside.directory / "config.json"
    config.write_text(config.read_text().replace('"device":"cpu"', '"device":"cuda"').replace('"cpu"', '"cuda"'))
    assert Run(beside.directory).config["device"] == "cuda"
    assert campaign.other_code(planned(tmp_path)).endswith(f"there are some by sources {digest()} on cuda")
    assert campaign.other_code(planned(tmp_path, blocks=[{**BLOCK, "levels": [OTHER]}])) is None


def test_the_digest_is_of_the_code_and_not_of_its_comments(tmp_path):
    package = Path(sources.__file__).parents[1]
    code = "import importlib.util, sys\nspec = importlib.util.spec_from_file_location('s', sys.argv[1])\n"
    code += "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nprint(module.digest())"

    def of(place):
        command = [sys.executable, "-c", code, str(place / "runs" / "sources.py")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    copy = tmp_path / "mmlib"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert of(copy) == digest()
    vtrace, claims = copy / "method" / "vtrace.py", copy / "analysis" / "claims.py"
    vtrace.write_text('"""Other words."""\n' + vtrace.read_text().split('"""', 2)[2] + "# a comment\n")
    claims.write_text(claims.read_text() + "MARGIN = 0.5\n")
    assert of(copy) == digest()
    vtrace.write_text(vtrace.read_text() + "CLIP = 2.0\n")
    assert of(copy) != digest()


def test_pythons_versions_agree_on_what_a_tree_is_written_as():
    """They have other empty fields: `type_params` of a function since 3.12, which dumps leave out since 3.13."""
    code = 'class A(B):\n    """Words."""\n    y: int = 1\n    def f(self, *a, k=None): return k\n'
    parts = [
        "AnnAssign(target=Name(id='y',ctx=Store()),annotation=Name(id='int',ctx=Load()),value=Constant(value=1),simple=1)",
        "FunctionDef(name='f',args=arguments(args=[arg(arg='self')],vararg=arg(arg='a'),kwonlyargs=[arg(arg='k')],"
        "kw_defaults=[Constant()]),body=[Return(value=Name(id='k',ctx=Load()))])",
    ]
    whole = f"Module(body=[ClassDef(name='A',bases=[Name(id='B',ctx=Load())],body=[{','.join(parts)}])])"
    assert sources.written(ast.parse(code)) == whole
