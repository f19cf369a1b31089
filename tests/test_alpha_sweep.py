"""The sweep of alpha: measured once, kept beside the run, ended with whoever started it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from inspected import finish, train_run

from mmlib.training.trained import open_subject
from mmlib.widgets import alpha_sweep, charts, sweep_panel
from mmlib.widgets.sweep_panel import SweepPanel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("swept")
    train_run(root, "mm")
    return root


def test_sweep_is_measured_once_and_kept_beside_the_run(results, tmp_path, monkeypatch):
    monkeypatch.setattr(alpha_sweep, "ALPHAS", (0.0, 1.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(results / "mm" / "seed0", tmp_path / "run")
    subject = open_subject(tmp_path / "run")
    *_, points = alpha_sweep.alpha_sweep(subject, episodes=1)
    assert [point.alpha for point in points] == [0.0, 1.0] and len(points[0].returns) == 1
    assert points[0].entropy < np.log(9) < points[1].entropy < np.log(756) and points[0].kl > 0
    (path,) = (tmp_path / "run" / "alpha_sweep").glob("*.json")
    assert alpha_sweep.cached(subject, 1) == points and json.loads(path.read_text())["checksum"] == subject.checksum
    assert alpha_sweep.cached(open_subject(tmp_path / "run", "checkpoint.previous.pt"), 1) == []
    path.write_text("{")
    assert alpha_sweep.cached(subject, 1) == []
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("")  # nothing can be put beside the run now
    alpha_sweep.store(subject, points, 1)
    assert len([*(tmp_path / "cache").rglob("*.json")]) == 1 and alpha_sweep.cached(subject, 1) == points
    assert len(charts.sweep_figure(points).axes) == 3


def test_the_sweep_button_measures_beside_all_else_and_what_is_kept_is_not_measured_again(tmp_path):
    train_run(tmp_path, "mm", level_settings={"episode_seconds": 5})
    run = tmp_path / "mm" / "seed0"
    subject, panel = open_subject(run), SweepPanel(episodes=1)
    panel.begin(subject)
    assert panel.button.description == "sweep α" and panel.progress.value == 0
    first = alpha_sweep.measure(subject, 0.0, 1)
    alpha_sweep.store(subject, [replace(first, alpha=alpha) for alpha in alpha_sweep.ALPHAS[:-1]], 1)
    panel.begin(subject)
    assert panel.button.description == "go on" and panel.progress.value == 10
    seen = []
    panel.button.observe(lambda change: seen.append((change["new"], panel.progress.layout.visibility)), "description")
    panel.button.click()
    assert panel.work.running
    finish(panel.work)
    assert seen[0] == ("stop", "visible") and not panel.work.running and panel.progress.value == 11
    assert panel.points[-1] == alpha_sweep.measure(subject, 1.0, 1) and panel.points[0] == first
    assert "measured and kept" in panel.said.value and panel.charts.value.count("<svg") == 3
    (path,) = (run / "alpha_sweep").iterdir()  # and no half-written file
    again, written = SweepPanel(episodes=1), path.stat().st_mtime_ns
    again.begin(open_subject(run))
    assert again.points == panel.points and again.charts.value == panel.charts.value
    assert again.button.layout.display == "none" and not again.work.running
    again.measure()  # as if it were pressed all the same: nothing is left to measure
    finish(again.work)
    assert path.stat().st_mtime_ns == written and again.points == panel.points


def test_what_is_drawn_when_another_run_is_opened_is_not_shown(results, tmp_path, monkeypatch):
    subject, other = open_subject(results / "mm" / "seed0"), open_subject(results / "mm" / "seed0")
    panel, drawn = SweepPanel(episodes=1), []

    def opened_meanwhile(points, alpha):
        drawn.append(len(points))
        if points:
            panel.begin(other)
        return "drawn"

    monkeypatch.setattr(sweep_panel, "sweep_charts", opened_meanwhile)
    monkeypatch.setattr(alpha_sweep, "alpha_sweep", lambda subject, episodes, go_on: [["a point"]])
    panel.begin(subject)
    panel.button.click()
    finish(panel.work)
    assert 1 in drawn and panel.points == [] and panel.charts.value == "" and not panel.work.running


def test_a_stopped_sweep_ends_and_says_what_is_missing(results, tmp_path):
    shutil.copytree(results / "mm" / "seed0", tmp_path / "run")
    panel = SweepPanel(episodes=2000)  # which would play for minutes
    panel.begin(open_subject(tmp_path / "run"))
    panel.button.click()
    panel.button.click()
    assert not panel.work.running
    finish(panel.work)
    assert "0 of 11 α measured" in panel.said.value and panel.button.description == "sweep α"
    assert alpha_sweep.cached(open_subject(tmp_path / "run"), 2000) == []


def test_a_sweep_that_cannot_be_made_says_why(results):
    panel = SweepPanel(episodes=0)
    panel.begin(open_subject(results / "mm" / "seed0"))
    panel.button.click()
    finish(panel.work)
    assert "The sweep ended early: alpha 0.0 and 0 episodes cannot be measured" in panel.said.value
    assert not panel.work.running and panel.button.description == "sweep α"


def test_a_killed_kernel_leaves_no_sweep(results, tmp_path):
    """It ends with its process, a sweep of minutes too."""
    shutil.copytree(results / "mm" / "seed0", tmp_path / "run")
    program = (
        "import sys; from mmlib.training.trained import open_subject\n"
        "from mmlib.widgets.sweep_panel import SweepPanel; panel = SweepPanel(2000)\n"
        "panel.begin(open_subject(sys.argv[1])); panel.measure(); print('measures', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], capture_output=True, timeout=120)
    assert done.stdout == b"measures\n"
