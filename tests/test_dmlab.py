"""Backend dmlab beyond the contract: processes, deaths, settings, the map cache. Runs against the real DeepMind Lab
where it can be imported, else against a strict stand-in."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from dying import train_until

from mmlib import levels
from mmlib.cli import doctor
from mmlib.config import make_config
from mmlib.experiments.design import plan
from mmlib.experiments.presets import FIGURES, PRESETS
from mmlib.levels import dmlab, dmlab_found
from mmlib.levels.dmlab_found import IMPORTS
from mmlib.levels.dmlab_process import Worker
from mmlib.levels.dmlab_worker import LevelCache
from mmlib.runs.reader import Run
from mmlib.training.fitting import check
from mmlib.training.loop import train

REAL = dmlab_found.problem() is None
FAKE_DMLAB = Path(__file__).parent / "fake_dmlab"
OFFICIAL_WHEEL = Path(__file__).parent / "official_wheel"
NAME = "nav_maze_static_01"


@pytest.fixture(autouse=True)
def lab(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if not REAL:
        monkeypatch.syspath_prepend(str(FAKE_DMLAB))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return temporary


def make(num_envs: int = 2, name: str = NAME, **arguments) -> levels.Level:
    return levels.make(name, "dmlab", num_envs=num_envs, width=32, height=24, seed=3, **arguments)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], patience: float = 20.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end and any(map(alive, pids)):
        time.sleep(0.05)
    return not any(map(alive, pids))


def pids(level) -> list[int]:
    return [worker.pid for worker in level._workers]


def idle(num_envs: int = 2) -> np.ndarray:
    return np.zeros((num_envs, 7), np.int32)


def test_a_process_for_each_environment_and_none_after_close(lab, capfd):
    level = make()
    workers = pids(level)
    assert len(set(workers)) == 2 and os.getpid() not in workers and all(map(alive, workers))
    assert os.fstat(level._memory.fileno()).st_nlink == 0  # shared memory without a name cannot be left behind
    level.step(idle())
    level.close()
    level.close()
    assert gone(workers)
    with pytest.raises(RuntimeError, match="closed"):
        level.step(idle())
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""  # the engine prints to C's standard output
    assert list(lab.iterdir()) == []


def test_nothing_is_left_when_the_parent_is_killed(lab):
    code = (
        "import sys, time; from mmlib import levels\n"
        f"level = levels.make({NAME!r}, 'dmlab', num_envs=2, width=32, height=24)\n"
        "print(*(w.pid for w in level._workers), flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert len(list(lab.iterdir())) == 2
        parent.send_signal(signal.SIGKILL)
    assert gone(workers)
    assert list(lab.iterdir()) == []


def test_a_signal_to_the_group_is_for_the_parent_to_handle(lab, tmp_path):
    """As of `timeout` or a scheduler: the workers go on until the run has its checkpoint and lets them go."""
    settings = [
        "num_envs=2",
        "unroll=10",
        "learner_batches=1",
        "width=32",
        "height=24",
        "agent_steps=1000000",
        "log_every=20",
    ]
    options = [part for setting in settings for part in ("-p", setting)]
    command = [sys.executable, "-m", "mmlib", "train", "--preset", "smoke", "--method", "small", "--level", NAME]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = tmp_path / "run"
    with subprocess.Popen(
        [*command, "-p", "backend=dmlab", *options, "--directory", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as training:
        while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
            assert training.poll() is None, training.stderr.read()
            time.sleep(0.1)
        os.killpg(training.pid, signal.SIGTERM)
        said = training.communicate(timeout=60)[1]
    assert training.returncode == 143 and "died" not in said and "with a checkpoint" in said
    assert Run(run).state == "stopped" and (run / "checkpoint.pt").exists()
    assert list(lab.iterdir()) == []


def test_the_first_picture_of_an_episode_is_its_own():
    """In all of twenty it is nearer to the one after a frame without action than to the last of the episode before."""
    level = make(1, episode_seconds=0.5, action_repeat=1)
    turning = np.array([[20, 0, 0, 1, 0, 0, 0]], np.int32)

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one.astype(int) - other).mean())

    for _ in range(20):
        done, seen = False, level.reset().copy()
        while not done:
            last, step = seen, level.step(turning)
            done, seen = step.done.all(), step.observation.copy()
        first = seen
        assert distance(first, level.step(idle(1)).observation) < distance(first, last)
    level.close()


def test_a_worker_that_dies_is_replaced_and_its_episode_is_cut(lab, capfd):
    level, undisturbed = make(episode_seconds=0.5), make(episode_seconds=0.5)
    folders = set(lab.iterdir())
    for each in (level, undisturbed):
        each.step(idle())
        each.step(idle())
    victim = pids(level)[1]
    os.kill(victim, signal.SIGKILL)
    step = level.step(idle())
    assert step.done.tolist() == [False, True] and np.isnan(step.episode_return).all()
    assert step.episode_frames.tolist() == [0, 8] and step.reward[1] == 0
    assert level.cut_episodes == 1 and gone([victim]) and all(map(alive, pids(level)))
    assert len(folders) == len(set(lab.iterdir())) == 4 and len(folders - set(lab.iterdir())) == 1
    said = capfd.readouterr().err
    assert f"worker 1 of {NAME} died (exit code -9" in said and "is cut" in said
    expected = undisturbed.step(idle())
    assert np.array_equal(step.observation[0], expected.observation[0])
    for _ in range(5):
        step, expected = level.step(idle()), undisturbed.step(idle())
    # the other environment has played 8 of its 8 steps; the new episode is the one that comes next anyway
    assert step.done.tolist() == [True, False] and expected.done.all()
    level.reset()
    undisturbed.close()
    level.close()


@pytest.mark.skipif(REAL, reason="the real engine does not die on demand")
def test_five_deaths_within_a_minute_stop_the_run_with_the_last_words(monkeypatch, capfd):
    monkeypatch.setenv("FAKE_DMLAB_DIES", "6")
    level = make(1)
    with pytest.raises(RuntimeError, match=r"died 5 times within 60 s: exit code 3; [*\s]*ERROR: Hunk_Alloc failed"):
        for _ in range(30):
            level.step(idle(1))
    assert level.cut_episodes == 5
    assert capfd.readouterr().err.count("died") == 5
    last = pids(level)
    level.close()
    assert gone(last)


def test_pictures_are_of_the_observations_size_only():
    level = make(1)
    assert np.array_equal(level.reset()[0], level.render(0, 32, 24).transpose(2, 0, 1))
    with pytest.raises(levels.Unsupported, match="32 x 24, not 160 x 120"):
        level.render(0, 160, 120)
    with pytest.raises(levels.Unsupported, match="minilab does"):
        level.map_image(0, 64)
    level.close()


def test_lasertag_has_the_papers_six_bots_unless_told_otherwise():
    for given, bots in (({}, "6"), ({"botCount": 2}, "2")):
        level = make(1, "lt_horseshoe_color", **given)
        assert level._setup["config"]["botCount"] == bots
        level.close()


def test_settings_go_through_as_strings_and_are_refused_by_name():
    level = make(1, minimalUI=True, logLevel="ERROR")
    level.step(idle(1))
    level.close()
    with pytest.raises(ValueError, match=r"refuses gravity = '1' of nav_maze_static_01: .*Invalid setting"):
        make(gravity=1, minimalUI=False)
    for reserved in ("fps", "episodeLengthSeconds"):
        with pytest.raises(ValueError, match=f"{reserved} cannot be set"):
            make(**{reserved: 30})
    with pytest.raises(ValueError, match="unknown renderer 'glx'; renderers: software, hardware"):
        make(renderer="glx")


def test_every_level_of_the_paper_starts():
    assert len(dmlab.LEVELS) == 5
    for name, info in dmlab.LEVELS.items():
        level = make(1, name)
        assert level.step(idle(1)).observation.std() > 5
        assert level.episode_frames == info.episode_frames
        assert name not in levels.LEVELS or levels.LEVELS[name].episode_frames == info.episode_frames
        level.close()


def test_levels_that_it_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"'nav_maze_static_01_mini' is a miniature, which only minilab has; levels"):
        levels.make("nav_maze_static_01_mini", "dmlab")
    with pytest.raises(ValueError, match=r"unknown level 'seekavoid'; levels of dmlab: explore_"):
        levels.make("seekavoid", "dmlab")


def test_presets_of_miniatures_have_the_full_levels_here(tmp_path):
    settings = {"backend": "dmlab"}
    for preset in PRESETS:
        for figure in FIGURES:
            made = {
                name for job in plan(figure, preset, settings=settings, results=tmp_path) for name in job.config.levels
            }
            assert made <= set(dmlab.LEVELS)
    assert plan("3", "quick", settings=settings, results=tmp_path)[0].config.level == "nav_maze_static_01"


def test_auto_is_dmlab_for_its_levels_where_it_is_installed():
    assert levels.resolve_backend("auto", NAME) == "dmlab"
    assert levels.resolve_backend("auto", f"{NAME}_mini") == "minilab"
    assert levels.resolve_backend("minilab", NAME) == "minilab"


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """A function that installs DeepMind Lab's own wheel, all of whose imports are there but those named."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(FAKE_DMLAB)])

    def install(*lacking: str) -> None:
        for name in IMPORTS:
            lines = f"raise ModuleNotFoundError({f'No module named {name!r}'!r})" if name in lacking else ""
            (tmp_path / f"{name}.py").write_text(lines)
        shutil.copytree(OFFICIAL_WHEEL / "deepmind_lab", tmp_path / "deepmind_lab")
        (tmp_path / "deepmind_lab" / "engine.py").write_text((FAKE_DMLAB / "deepmind_lab.py").read_text())
        monkeypatch.syspath_prepend(str(tmp_path))
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in lacking else find(name))

    return install


@pytest.mark.skipif(REAL, reason="DeepMind Lab is installed")
@pytest.mark.parametrize("lacking", [*((name,) for name in IMPORTS), tuple(IMPORTS)], ids="+".join)
def test_a_wheel_whose_imports_are_missing_is_not_available(wheel, lacking, capfd):
    wheel(*lacking)
    assert dmlab_found.problem() is not None
    assert [levels.resolve_backend("auto", NAME) for _ in range(2)] == ["minilab"] * 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and said.startswith("mmlib: backend auto is minilab: deepmind_lab is installed but")
    needs = {"dm_env": "pip install dm-env", "pkg_resources": 'pip install "setuptools<81"', "imp": "Python 3.11"}
    for line in (said, doctor.backends()["dmlab"]):
        assert all((f"{name} (" in line and needs[name] in line) == (name in lacking) for name in needs)
    with pytest.raises(ValueError, match=r"backend dmlab cannot be used: deepmind_lab is installed but"):
        check(make_config(dict(level=NAME, backend="dmlab", method="small")))


@pytest.mark.skipif(REAL, reason="DeepMind Lab is installed")
def test_a_wheel_with_all_that_it_imports_is_available(wheel):
    wheel()
    assert dmlab_found.problem() is None and levels.resolve_backend("auto", NAME) == "dmlab"
    assert doctor.backends()["dmlab"] == "found"


@pytest.mark.skipif(REAL, reason="the real engine does not fail on demand")
def test_available_means_that_a_lab_can_be_made_and_it_is_tried_once(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("FAKE_DMLAB_FAILS", "Failed to connect RL API")
    copy = tmp_path / "broken"
    shutil.copytree(FAKE_DMLAB, copy)
    monkeypatch.syspath_prepend(str(copy))
    started = []
    monkeypatch.setattr(dmlab_found, "Worker", lambda setup: started.append(setup) or Worker(setup))
    for _ in range(3):
        assert levels.resolve_backend("auto", NAME) == "minilab"
    assert len(started) == 1
    assert "no Lab can be made: RuntimeError: Failed to connect RL API" in capfd.readouterr().err


@pytest.mark.skipif(REAL, reason="DeepMind Lab is installed")
def test_where_it_is_not_installed_the_error_says_how(monkeypatch):
    monkeypatch.undo()
    assert levels.resolve_backend("auto", NAME) == "minilab"
    with pytest.raises(ValueError, match=r"deepmind_lab is not installed; build it as https://github.com/"):
        levels.make(NAME, "dmlab")


def test_compiled_maps_are_shared_between_processes():
    def files() -> set[str]:
        return {path.name for path in dmlab.cache_directory().iterdir()}

    name = "explore_object_locations_small"
    first = make(2, name)
    seen, kept = first.reset().copy(), files()
    first.close()
    assert kept and all(file.endswith(".pk3") for file in kept)
    second = make(2, name)
    assert np.array_equal(second.reset(), seen) and files() == kept
    second.close()


def test_the_cache_keeps_whole_files_only(tmp_path):
    cache, other = LevelCache(tmp_path / "maps"), LevelCache(tmp_path / "maps")
    source, target = tmp_path / "a.pk3", tmp_path / "b.pk3"
    source.write_bytes(b"a map")
    assert not cache.fetch("key/of a map", str(target))
    cache.write("key/of a map", str(source))
    assert other.fetch("key/of a map", str(target)) and target.read_bytes() == b"a map"
    assert not other.fetch("another", str(target))
    cache.write("missing", str(tmp_path / "missing.pk3"))  # reported, not raised
    assert len(list((tmp_path / "maps").iterdir())) == 1


def test_an_interrupted_run_goes_on_with_new_episodes(tmp_path, monkeypatch):
    values = dict(level=NAME, backend="dmlab", method="small", num_envs=2, unroll=10, width=32, height=24, conv1=(4, 2))
    config = make_config(values | dict(agent_steps=120, log_every=20, checkpoint_every=40))
    train_until(4, config, tmp_path / "run")
    train(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.done and run.config["backend_in_force"] == "dmlab"
    assert run.metrics().agent_steps.tolist() == [20, 40, 60, 80, 100, 120]
