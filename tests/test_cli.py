"""The command line: what works, and what a user who errs is told."""

import json
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from mmlib.cli.main import app
from mmlib.experiments.design import PRESETS
from mmlib.levels import LEVELS
from mmlib.runs.reader import Run, find_runs

MINI = "explore_object_locations_small_mini"
TINY = ["-p", "agent_steps=40", "-p", "num_envs=2", "-p", "unroll=10", "-p", "learner_batches=1", "-p", "log_every=20"]


def mmlib(*arguments, **options):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments], **options)


def test_help_names_the_presets():
    assert all(name in " ".join(mmlib("figure", "--help").output.split()) for name in PRESETS)


def test_levels_and_presets_are_listed():
    listed = mmlib("levels").output
    assert all(name in listed for name in LEVELS)
    assert listed.count("miniature;") == sum(info.miniature for info in LEVELS.values())
    narrow = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["levels"]).output  # but no terminal
    assert 80 < max(map(len, narrow.splitlines())) <= 160
    listed = mmlib("presets").output
    assert (
        all(name in listed for name in PRESETS)
        and f"{PRESETS['quick'].settings['agent_steps']:,} agent steps" in listed
    )


def test_train_writes_a_run_and_goes_on_from_its_end(tmp_path):
    result = mmlib("train", "--preset", "smoke", "--method", "small", *TINY, "--results", tmp_path)
    assert result.exit_code == 0, result.output
    (run,) = find_runs(tmp_path)
    assert run.done and run.directory == tmp_path / "smoke" / "runs" / MINI / "small" / "seed0"
    assert run.metrics()["agent_steps"].tolist() == [20, 40]
    assert "160 of 160 frames" in result.output

    longer = [argument.replace("=40", "=60") for argument in TINY]
    assert mmlib("train", "--preset", "smoke", "--method", "small", *longer, "--results", tmp_path).exit_code == 0
    assert run.metrics()["agent_steps"].tolist() == [20, 40, 60]


def test_train_repeats_a_run_from_the_config_beside_it(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert mmlib("train", "--preset", "smoke", *TINY, "--seed", 7, "--directory", first).exit_code == 0
    result = mmlib("train", "--config", first / "config.json", "--directory", second)
    assert result.exit_code == 0, result.output
    assert Run(second).config == Run(first).config
    assert (second / "metrics.jsonl").read_text() == (first / "metrics.jsonl").read_text()


def test_train_repeats_a_run_with_a_setting_changed(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert mmlib("train", "--preset", "smoke", *TINY, "--seed", 7, "--directory", first).exit_code == 0
    again = "train", "--config", first / "config.json", "--directory", second
    changed = "-p", "entropy_cost=0.5", "-p", "seed=3", "--backend", "minilab"
    assert mmlib(*again, *changed).exit_code == 0
    one, two = (Run(path).config for path in (first, second))
    assert {name for name in one if one[name] != two[name]} == {"entropy_cost", "seed", "backend"}
    assert two["entropy_cost"] == 0.5 and two["seed"] == 3
    refused = mmlib(*again, "--level", "nav_maze_static_01_mini")
    assert refused.exit_code == 2 and "--config has its own level" in refused.stderr
    assert "unknown setting 'lr'" in mmlib(*again, "-p", "lr=1").stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_run_that_a_gpu_made_is_made_again_on_what_there_is(tmp_path):
    assert mmlib("train", "--preset", "smoke", *TINY, "--directory", tmp_path / "a").exit_code == 0
    text = (tmp_path / "a" / "config.json").read_text().replace('"cpu"', '"cuda"')
    again = "train", "--config", "-", "--directory", tmp_path / "b"
    refused = mmlib(*again, input=text)
    assert refused.exit_code == 2 and "this machine has no CUDA device; use --device cpu" in refused.stderr
    assert mmlib(*again, "--device", "cpu", input=text).exit_code == 0
    assert Run(tmp_path / "b").config["device"] == "cpu"


def test_train_reads_its_configuration_from_standard_input(tmp_path):
    assert mmlib("train", "--preset", "smoke", *TINY, "--directory", tmp_path / "a").exit_code == 0
    text = (tmp_path / "a" / "config.json").read_text()
    assert mmlib("train", "--config", "-", "--directory", tmp_path / "b", input=text).exit_code == 0
    assert Run(tmp_path / "b").done


BAD = {
    "level": (["train", "--level", "nav_maze"], "unknown level 'nav_maze'; levels: nav_maze_static_01"),
    "method": (["train", "--method", "huge"], "unknown method 'huge'; methods: small, big756, mm"),
    "preset": (["train", "--preset", "fast"], "unknown preset 'fast'; presets: smoke, quick"),
    "backend": (["train", "-p", "backend=doom"], "unknown backend 'doom'; backends: auto, dmlab, gymnasium, minilab"),
    "device": (["train", "--device", "tpu"], "unknown device 'tpu'; devices: cpu, cuda"),
    "setting": (["train", "-p", "lr=1"], "unknown setting 'lr'; settings:"),
    "form": (["train", "-p", "unroll"], "setting 'unroll' is not of the form NAME=VALUE"),
    "alpha": (["train", "-p", "alpha=[[0, 1.5]]"], "1.5"),
    "population": (["train", "-p", "population=0"], "population = 0"),
    "unroll": (["train", "-p", "unroll=0"], "unroll = 0"),
    "digits": (["train", "-p", "unroll=" + "9" * 5000], "unroll = '999"),
    "seed": (["train", "--seed", 2**63], "seed = 9223372036854775808: input should be less"),
    "config": (["train", "--config", "nowhere.json", "--directory", "x"], "cannot read the configuration nowhere"),
    "config alone": (["train", "--config", "-"], "--config needs --directory"),
    "figure": (["figure", "33"], "unknown figure '33'; figures: 3"),
    "figure's level": (["figure", "3", "--level", "nav_maze"], "figure 3 has no level 'nav_maze'; its levels: "),
    "figure's method": (["figure", "3", "--method", "big"], "figure 3 has no method 'big'; its methods: small"),
    "figure's seeds": (["figure", "3", "--seeds", "one"], "seeds 'one' are not comma-separated whole numbers"),
    "backwards": (["train", "--seeds", "3-1"], "seeds '3-1': the smaller end of a range comes first"),
    "figure's seed": (["figure", "3", "--seeds", 2**63], "seed = 9223372036854775808: input should be less"),
    "figure's jobs": (["figure", "3", "--jobs", "0"], "--jobs 0: at least 1 run at a time"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[name]
    result = mmlib(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []  # before any work


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_cuda_without_a_device_names_the_alternative(tmp_path):
    result = mmlib("train", "--device", "cuda", "--results", tmp_path)
    assert result.exit_code == 2 and "no CUDA device; use --device cpu" in result.stderr


@pytest.mark.parametrize("command", [["train", "--preset", "smoke"], ["figure", "3", "--preset", "smoke"]])
def test_results_that_cannot_be_written_are_refused(command, tmp_path):
    (tmp_path / "file").write_text("")
    result = mmlib(*command, "--results", tmp_path / "file" / "results")
    assert result.exit_code == 2
    assert "cannot write to the results directory" in result.stderr and "--results" in result.stderr


def test_a_directory_that_cannot_be_written_names_its_own_option(tmp_path):
    (tmp_path / "file").write_text("")
    result = mmlib("train", "--preset", "smoke", "--directory", tmp_path / "file")
    assert result.exit_code == 2 and "choose another with --directory" in result.stderr


def test_a_run_of_another_configuration_is_refused(tmp_path):
    command = ["train", "--preset", "smoke", *TINY, "--directory", tmp_path, "-p"]
    assert mmlib(*command, "entropy_cost=0.25").exit_code == 0
    result = mmlib(*command, "entropy_cost=0.5")
    assert result.exit_code == 2 and "entropy_cost (0.25 there, 0.5 here)" in result.stderr
    assert "records in" not in result.output  # nothing is said to begin


def test_what_is_finished_says_so_and_an_alpha_that_would_not_be_reached_is_said(tmp_path):
    command = ["train", "--preset", "smoke", *TINY, "--directory", tmp_path, "-p", "alpha=[[0,0],[100,1]]"]
    first, again = mmlib(*command), mmlib(*command)
    assert "is done" not in first.stdout and "is done after 40 agent steps" in again.stdout
    assert "alpha's last knot is at 100 agent steps, and the run has 40" in first.stderr


def test_words_that_no_run_has_are_said(tmp_path):
    assert mmlib("train", "--preset", "smoke", *TINY, "--results", tmp_path).exit_code == 0
    assert "done" in mmlib("runs", "mm", "--results", tmp_path).output
    result = mmlib("runs", "mm", "doen", "--results", tmp_path)
    assert result.exit_code == 2 and "of 1 runs none has all of mm, doen; presets: smoke" in result.stderr
    assert "states: done" in result.stderr
    assert json.loads(mmlib("runs", "doen", "--json", "--results", tmp_path).output) == []


def test_the_module_runs_and_bad_input_has_no_traceback(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mmlib", "train", "--level", "nav_maze"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("mmlib: unknown level 'nav_maze'; levels: ") and result.stderr.count("\n") == 1
