"""Figures in bulk: what is planned, that a failure stops nothing, and the table at the end."""

import papermill
import pytest

from mmlib.experiments import notebooks
from mmlib.experiments.design import ExperimentError
from mmlib.experiments.presets import OTHER_NOTEBOOKS
from mmlib.runs.lineage import AlphaSchedule

FAILING = """{"cells": [{"cell_type": "code", "execution_count": null, "id": "a", "metadata": {}, "outputs": [],
 "source": "CODE"}], "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
 "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}"""


def plan(figure="3", preset="smoke", levels=(), methods=None, seeds=None, results="results", **settings):
    return notebooks.tasks(figure, preset, levels, methods, seeds, settings, results, 1)


def test_a_figure_is_a_notebook_a_level(tmp_path):
    one, two = plan("7", levels=["nav_maze_static_01", "explore_object_locations_small"], results=tmp_path)
    assert one.notebook.name == "02_core_curricula.ipynb" and one.output.parent.parent == tmp_path / "smoke" / "figure6"
    assert one.parameters["level"] == "nav_maze_static_01" and one.parameters["jobs"] == 1
    assert two.parameters["methods"] == ["ff", "lstm", "mm_ff_lstm"] and len(two.plan) == 3


@pytest.mark.parametrize("figure", OTHER_NOTEBOOKS)
def test_figures_that_plan_no_runs_take_their_notebooks_parameters(figure, tmp_path):
    """What was not asked for is left to the notebook, whose backend need not be "auto"."""
    found = plan(figure, results=tmp_path)
    assert [task.notebook.name for task in found] == list(OTHER_NOTEBOOKS[figure])
    for task in found:
        assert not task.parameters.keys() & {"backend", "levels", "methods", "seeds", "settings"}
        assert task.parameters.keys() <= papermill.inspect_notebook(str(task.notebook)).keys()


def test_what_is_asked_for_reaches_the_notebooks_that_have_it(tmp_path):
    for task in plan("5", seeds=[1, 2], results=tmp_path, backend="minilab", unroll=10):
        assert task.parameters["seeds"] == [1, 2] and task.parameters["backend"] == "minilab"
        assert task.parameters["settings"] == {"unroll": 10}
    (ten,) = plan("10", levels=["nav_maze_static_01"], results=tmp_path)
    assert ten.parameters["levels"] == ["nav_maze_static_01"]
    (theory,) = plan("theory", methods=["mm"], results=tmp_path)
    assert theory.parameters["methods"] == ["mm"]
    for figure, given in (("10", {"seeds": [1]}), ("claims", {"learning_rate": 1.0}), ("theory", {"backend": "dmlab"})):
        name = {"seeds": "seeds", "learning_rate": "settings", "backend": "backend"}[next(iter(given))]
        with pytest.raises(ExperimentError, match=f"figure {figure} takes no {name}; it takes .*results"):
            plan(figure, results=tmp_path, **given)


def test_a_file_of_alpha_is_found_from_wherever_the_command_is_given(tmp_path, monkeypatch):
    AlphaSchedule(knots=((0, 0.0), (400, 1.0)), method="mm", space="big756", source="").save(tmp_path / "alpha.json")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    (task,) = plan("3", results=tmp_path, alpha="../alpha.json", methods=["mm"])
    assert (notebooks.repository_root() / task.parameters["settings"]["alpha"]).samefile(tmp_path / "alpha.json")


def test_an_unknown_figure_names_all(tmp_path):
    with pytest.raises(
        ExperimentError,
        match="unknown figure '11'; figures: 3, 4, 5, 6, 7, 8, 9, 10, alternatives, claims, controls, inspect, "
        "method, report, theory",
    ):
        plan("11", results=tmp_path)


def test_a_failure_stops_nothing_and_is_in_the_table(tmp_path):
    tasks = []
    for name, code in (("broken", "1 / 0"), ("whole", "1 + 1")):
        (tmp_path / f"{name}.ipynb").write_text(FAILING.replace("CODE", code))
        tasks.append(notebooks.Task(name, tmp_path / f"{name}.ipynb", tmp_path / name / "notebook.ipynb", {}))
        tasks[-1].execute()
    assert tasks[0].error == "ZeroDivisionError: division by zero" and tasks[1].error is None
    assert (tmp_path / "whole" / "notebook.ipynb").exists()
    lines = notebooks.table(tasks).splitlines()
    assert "ZeroDivisionError" in lines[1] and lines[2].startswith("whole") and "Error" not in lines[2]
