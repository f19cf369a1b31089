"""Figures in bulk: what is planned, that a failure stops nothing, and the table at the end."""

import pytest

from mmlib.experiments import notebooks
from mmlib.experiments.design import ExperimentError
from mmlib.experiments.presets import OTHER_NOTEBOOKS

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
def test_figures_without_levels_of_their_own(figure, tmp_path):
    found = plan(figure, results=tmp_path)
    assert [task.notebook.name for task in found] == list(OTHER_NOTEBOOKS[figure])
    with pytest.raises(ExperimentError, match="takes no levels or methods"):
        plan(figure, levels=["nav_maze_static_01"], results=tmp_path)


def test_seeds_reach_the_notebooks_that_have_them(tmp_path):
    assert [task.parameters["seeds"] for task in plan("5", seeds=[1, 2], results=tmp_path)] == [[1, 2], [1, 2]]
    with pytest.raises(ExperimentError, match="figure 10 takes no seeds"):
        plan("10", seeds=[1], results=tmp_path)


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
