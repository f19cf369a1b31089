"""What the commands that inform say, to people and to scripts."""

import json
import os

import pytest
import typer
from typer.testing import CliRunner

from mmlib.alternatives.methods import METHODS
from mmlib.cli import doctor
from mmlib.cli.common import print_table
from mmlib.cli.main import app
from mmlib.config import PARTS, RunConfig
from mmlib.experiments.presets import PRESETS
from mmlib.levels import LEVELS


def mmlib(*arguments):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


COMMANDS = typer.main.get_command(app).commands


def test_there_are_commands():
    assert {"train", "figure", "schedule", "levels", "doctor", "runs", "pack", "claims", "video"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_of_itself(name):
    text = mmlib(name, "--help").replace("│", " ")
    after = text.partition("Examples:")[2]
    assert f"mmlib {name}" in after, text


def test_scripts_get_json():
    assert [level["name"] for level in json.loads(mmlib("levels", "--json"))] == list(LEVELS)
    methods = {row["method"]: row for row in json.loads(mmlib("methods", "--json"))}
    assert list(methods) == list(METHODS)
    assert methods["mm"]["constituents"] == ["small/lstm", "big756/lstm"] and methods["mm"]["figures"][0] == "3"
    (_, after), *parts = json.loads(mmlib("methods", "kickstart", "--json"))[1:]
    assert after == "Schmitt et al. 2018" and ["transfer_weight", "32.0"] in parts
    presets = {row["name"]: row for row in json.loads(mmlib("presets", "--json"))}
    assert presets["quick"]["settings"]["agent_steps"] == PRESETS["quick"].settings["agent_steps"]


def test_every_setting_is_listed_with_its_meaning():
    rows = {row["setting"]: row for row in json.loads(mmlib("settings", "--json"))}
    parts = [f"{part}.{name}" for part, model in PARTS.items() for name in model.model_fields]
    assert rows.keys() == {*RunConfig.model_fields, *parts} and all(row["meaning"] for row in rows.values())
    assert rows["lag"]["meaning"].startswith("one of 0, 1; 0: act") and rows["discount"]["value"] == "0.99"
    (cost,) = json.loads(mmlib("settings", "entropy_cost", "--preset", "quick", "--json"))[:1]
    assert float(cost["value"]) == PRESETS["quick"].settings["entropy_cost"]
    wrong = CliRunner().invoke(app, ["settings", "nothing-like-it"])
    assert wrong.exit_code == 2 and "no setting has 'nothing-like-it'" in wrong.stderr


def test_completion_is_on_for_the_shells_that_typer_knows():
    assert "--install-completion" in mmlib("--help") and "--show-completion" in mmlib("--help")
    environment = {"_MMLIB_COMPLETE": "complete_bash", "COMP_WORDS": "mmlib do", "COMP_CWORD": "1"}
    result = CliRunner(env=environment).invoke(app, [], prog_name="mmlib")
    assert result.output.split() == ["doctor"]


def test_the_doctor_reports_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "mmlib" / "kernels-0").mkdir(parents=True)
    (tmp_path / "cache" / "mmlib" / "kernels-0" / "x.nbc").write_bytes(bytes(1500))
    results = tmp_path / "results"
    (results / "run").mkdir(parents=True)
    (results / "run" / "config.json").write_text("{}")
    facts = json.loads(mmlib("doctor", "--json", "--results", results))
    assert facts["results"] == {"path": str(results), "bytes": 2, "runs": 1}
    assert facts["cores"] == len(os.sched_getaffinity(0)) and facts["memory"] > 1e8
    assert facts["packages"]["torch"] and facts["backends"]["minilab"] == f"{len(LEVELS)} levels"
    assert facts["caches"] == {"path": str(tmp_path / "cache" / "mmlib"), "bytes": 1500}
    said = mmlib("doctor", "--results", tmp_path / "nowhere")
    assert "backend dmlab" in said and "0 runs" in said and facts["mmlib"] in said and "1.5 kB in" in said


def test_names_in_tables_are_what_they_are(capsys):
    print_table(("name", "of"), [("a[red]b", ":warning: [/]")])
    assert capsys.readouterr().out.split() == ["name", "of", "a[red]b", ":warning:", "[/]"]


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda *args, **options: None)
    said = " ".join(doctor.advice(doctor.examine()))
    assert "JupyterLab was not found" in said
