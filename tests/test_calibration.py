"""MiniLab against DeepMind Lab: the samples, the table, and the page that it is written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmlib.cli.common import UsageError
from tools.calibration import table as calibration
from tools.calibration.__main__ import app
from tools.calibration.mazes import EXPLORE, MOVEMENT, random_play
from tools.calibration.table import MARKER, TARGETS, Measured, calibrate, markdown, row, write
from tools.calibration.target import REFERENCE_BIG, Target

PAGE = Path(__file__).parents[1] / "docs" / "minilab.md"
MOVED = {quantity for _, quantity, *_ in MOVEMENT}


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("target", [t for t in TARGETS if t.quantity in MOVED], ids=lambda t: t.quantity)
def test_movement_is_within_two_percent_of_what_was_measured(target):
    values = target.sample(3, 0)
    assert values.shape == (25,)
    assert values.mean() == pytest.approx(target.measured, rel=0.02)


def test_maps_are_those_that_were_measured():
    maps = [t for t in TARGETS if t.level == EXPLORE and ("maps" in t.quantity or t.quantity == "apples placed")]
    assert len(maps) == 4
    for measured in calibrate(maps, episodes=1000):
        assert measured.number == 1000
        assert abs(measured.deviation) < 3.5


def test_the_random_policy_measured_there_has_540_actions():
    assert REFERENCE_BIG.shape == (540, 7)
    assert len(np.unique(REFERENCE_BIG, axis=0)) == 540
    assert np.unique(REFERENCE_BIG[:, 0]).tolist() == [-100, -20, 0, 20, 100]


def test_random_play_counts_whole_episodes():
    played = random_play("nav_maze_static_01_mini", "big", 5, 3)
    assert {name: len(values) for name, values in played.items()} == {"return": 5, "goals": 5, "cells": 5}
    assert ((played["return"] >= 10 * played["goals"]) & (played["cells"] <= 8) & (played["cells"] > 1)).all()
    assert played["goals"].sum() > 0
    assert np.array_equal(played["return"], random_play.__wrapped__("nav_maze_static_01_mini", "big", 5, 3)["return"])


def target(measured=10.0, error=None, values=(11.0, 13.0)):
    return Target("a_level", "height", "units", measured, error, lambda episodes, seed: np.array(values))


def test_a_row_by_hand():
    (measured,) = calibrate([target(error=0.0)])
    assert (measured.mean, measured.error, measured.number) == (12, 1, 2)
    assert measured.deviation == 2
    assert row(measured) == ("a_level", "height (units)", "10 ± 0", "12 ± 1", "2", "+2.0 s.e.")
    assert row(next(calibrate([target()])))[-1] == "+2 (+20.0%)"
    assert row(Measured(target(12.0), 12.0, 0.0, 1))[3:] == ("12", "1", "0")
    assert row(Measured(target(0.0), 0.5, 0.0, 1))[-1] == "+0.5"


def test_the_page_is_changed_between_the_markers_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKER}\nold\n{MARKER}\nafter\n")
    rows = [row(measured) for measured in calibrate([target()])]
    write(page, rows)
    assert page.read_text() == f"before\n{MARKER}\n{markdown(rows)}{MARKER}\nafter\n"
    write(page, rows)
    assert page.read_text().count("| a_level |") == 1
    page.write_text("no place")
    with pytest.raises(UsageError, match="has 0 lines <!-- calibration -->; the table needs two"):
        write(page, rows)
    with pytest.raises(UsageError, match="cannot read"):
        write(tmp_path / "nowhere.md", rows)


def test_the_committed_table_has_every_target():
    table = PAGE.read_text().split(MARKER)[1]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    assert lines[0] == list(calibration.COLUMNS)
    expected = [row(Measured(t, 0.0, 0.0, 1))[:3] for t in TARGETS]
    assert [tuple(line[:3]) for line in lines[1:]] == expected
    sampled = [line for line in lines if "random play" in line[1]]
    assert all(int(line[4]) >= 30 for line in sampled)


def test_the_command_prints_a_level_s_table_and_refuses_bad_input():
    result = command("--level", "nav_maze_static_02", "--episodes", 2)
    assert result.exit_code == 0, result.output
    assert result.output.count("nav_maze_static_02") == sum(t.level == "nav_maze_static_02" for t in TARGETS)
    for message, arguments in {
        "nothing was measured on DeepMind Lab for level 'doom'; levels: nav_maze_static_01": ["--level", "doom"],
        "leave out --level": ["--write", "--level", EXPLORE],
        "Invalid value for '--episodes'": ["--episodes", 1],
    }.items():
        result = command(*arguments)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
