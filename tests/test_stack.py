"""Seeds side by side: each is the run that it would have been alone, whatever happens to the others."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from divided import config as population
from divided import same_numbers, told
from typer.testing import CliRunner

from mmlib import levels
from mmlib.config import ConfigError, RunConfig, make_config
from mmlib.errors import DivergedError, ResultsError, Stopped
from mmlib.experiments import design, jobs
from mmlib.runs.reader import Run, find_runs
from mmlib.runs.writer import RunWriter
from mmlib.training import checkpoint, stack
from mmlib.training.fitting import as_recorded
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.signals import PARENT
from mmlib.training.stack import train_together

MINI = "explore_object_locations_small_mini"
SEEDS = (3, 4, 5)


def configs(**overrides):
    """Eighteen iterations of each seed, in two updates an unroll whose environments each run deals out by its own."""
    alone = {"pbt": None, "population": 1, "alpha": [[0, 0.0], [1000, 1.0]], "max_grad_norm": 40.0}
    return [population(**alone | overrides, seed=seed) for seed in SEEDS]


def places(directory):
    return [directory / f"seed{seed}" for seed in SEEDS]


EXACT = ["frames", "agent_steps", "updates", "learning_rate", "entropy_cost", "episodes", "return_mean"]


def same_run(one, other):
    """Whether two directories hold the same run: all counts, draws and returns; what was summed, but for rounding."""
    a, b = (Run(each).metrics().select_dtypes("number") for each in (one, other))
    saved = (checkpoint.load(each)["loop"] for each in (one, other))
    assert Run(one).config == Run(other).config and Run(one).state == Run(other).state
    assert a[EXACT].equals(b[EXACT])
    np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=1e-3, atol=1e-3)
    return told(one) == told(other) and same_numbers(*saved)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each seed trained alone, to its end."""
    directory = tmp_path_factory.mktemp("alone")
    for config, where in zip(configs(), places(directory), strict=True):
        train(config, where)
    return places(directory)


def test_a_batch_of_several_seeds_is_their_batches_one_after_the_other():
    for name in (MINI, "lt_horseshoe_color_mini"):
        at = {"width": 32, "height": 24, "staggered": True, "episode_seconds": 1}
        both = levels.make(name, num_envs=4, seed=[7, 3], **at)
        each = [levels.make(name, num_envs=2, seed=seed, **at) for seed in (7, 3)]
        assert np.array_equal(both.reset(), np.concatenate([level.reset() for level in each]))
        actions = np.zeros((4, 7), np.int32)
        actions[:, 3] = 1
        for _ in range(40):
            step, steps = both.step(actions), [level.step(actions[:2]) for level in each]
            for name in ("observation", "reward", "done", "episode_return"):
                parts = np.concatenate([getattr(part, name) for part in steps])
                assert np.array_equal(getattr(step, name), parts, equal_nan=name == "episode_return")
        assert not np.array_equal(step.observation[:2], step.observation[2:])
    with pytest.raises(ValueError, match="num_envs is 3; it must be a multiple of 2, the number of seeds"):
        levels.make(MINI, num_envs=3, seed=[7, 3])
    with pytest.raises(
        ValueError, match=r"backend gymnasium takes one seed a batch, not \[7, 3\]; minilab takes several"
    ):
        levels.make("CartPole-v1", "gymnasium", num_envs=2, seed=[7, 3])


def test_each_seed_is_the_run_that_it_is_alone(tmp_path, alone):
    assert train_together(configs(), places(tmp_path)) == {}
    for one, other in zip(places(tmp_path), alone, strict=True):
        assert same_run(one, other) and told(one)["episodes"].count("\n") > 20
        assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    assert len({told(one)["episodes"] for one in alone}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        {"lag": 1},
        {"level": "lt_horseshoe_color_mini", "method": "small"},
        {"method": "mm_ff_lstm", "evaluation_envs": 2},
        {"method": "mm_sampled", "learner_batches": 1, "optimiser": "rmsprop"},
        {"method": "mm_bandit", "bandit": {"window": 4}},
        {"method": "mm_multitask", "level": f"{MINI}+nav_maze_static_01_mini+nav_maze_static_02_mini"},
    ],
    ids=str,
)
def test_so_is_every_kind_of_run(tmp_path, overrides):
    runs = configs(**overrides, agent_steps=80 * 8)
    for config, where in zip(runs, places(tmp_path / "alone"), strict=True):
        train(config, where)
    assert train_together(runs, places(tmp_path)) == {}
    assert all(map(same_run, places(tmp_path), places(tmp_path / "alone")))


def test_runs_part_and_meet_where_they_were(tmp_path, alone, monkeypatch):
    """Together, then each alone to another length, then together: those behind go first."""
    sizes, together = [], stack.put_together
    monkeypatch.setattr(stack, "put_together", lambda group: (sizes.append(len(group)), together(group)))
    train_together(configs(agent_steps=320)[:2], places(tmp_path)[:2])
    train(configs(agent_steps=640)[1], places(tmp_path)[1])
    assert train_together(configs(), places(tmp_path)) == {}
    assert sizes == [2] * 4 + [1] * 4 + [2] * 4 + [3] * 10  # the third is new, the first is at 320 agent steps
    assert all(map(same_run, places(tmp_path), alone))
    assert train_together(configs(), places(tmp_path)) == {} and len(sizes) == 22  # they have ended


@pytest.mark.slow
def test_with_lag_a_run_that_has_drained_its_pipeline_meets_one_that_has_not(tmp_path):
    runs = configs(lag=1, agent_steps=800)
    train(runs[0].model_copy(update={"agent_steps": 400}), tmp_path / "drained")
    assert train_together(runs[:2], [tmp_path / "drained", tmp_path / "through"]) == {}
    train(runs[1], tmp_path / "alone")
    assert same_run(tmp_path / "through", tmp_path / "alone")


def test_a_run_that_diverges_ends_alone(tmp_path, alone, monkeypatch, capsys):
    iterate = TrainingLoop.iterate

    def poisoned(loop):
        if loop.config.seed == SEEDS[1] and loop.agent_steps == 480:
            with torch.no_grad():
                for value in loop.fleet.stack.learner.parameters.values():
                    value[loop.fleet.member] = float("nan")
        return iterate(loop)

    monkeypatch.setattr(TrainingLoop, "iterate", poisoned)
    early = train_together(configs(), places(tmp_path))
    (where, error), (first, second, third) = *early.items(), places(tmp_path)
    assert where == second and isinstance(error, DivergedError) and "member 0: loss nan" in str(error)
    assert Run(second).state == "failed" and "loss nan" in Run(second).facts["reason"]
    assert "seed4: member 0: loss nan" in capsys.readouterr().err
    assert same_run(first, alone[0]) and same_run(third, alone[2])


def test_a_damaged_checkpoint_is_one_runs_affair(tmp_path, alone, capsys):
    train_together(configs(agent_steps=960), places(tmp_path))
    damaged = places(tmp_path)[1] / checkpoint.FILE
    content = bytearray(damaged.read_bytes())
    content[-100] ^= 4
    damaged.write_bytes(content)
    assert train_together(configs(), places(tmp_path)) == {}
    assert f"{damaged} is damaged" in capsys.readouterr().err
    assert all(map(same_run, places(tmp_path), alone))


def test_a_run_without_any_good_checkpoint_or_in_use_leaves_the_others_going(tmp_path, alone):
    train_together(configs(agent_steps=480)[1:2], places(tmp_path)[1:2])
    for path in places(tmp_path)[1].glob("*.pt"):
        path.write_bytes(b"nothing of ours")
    with RunWriter(places(tmp_path)[2], configs()[2].model_dump(mode="json")):
        early = train_together(configs(), places(tmp_path))
    assert [type(early[where]) for where in places(tmp_path)[1:]] == [checkpoint.CheckpointError, ResultsError]
    assert len(early) == 2 and same_run(places(tmp_path)[0], alone[0])


def test_what_is_nobodys_own_ends_all(tmp_path, monkeypatch):
    iterate = TrainingLoop.iterate

    def full(loop):
        if loop.config.seed == SEEDS[1] and loop.agent_steps == 160:
            raise OSError(28, "No space left on device")
        return iterate(loop)

    monkeypatch.setattr(TrainingLoop, "iterate", full)
    with pytest.raises(OSError, match="No space left"):
        train_together(configs(), places(tmp_path))
    assert [Run(where).state for where in places(tmp_path)] == ["failed"] * 3
    assert all("No space left" in Run(where).facts["reason"] for where in places(tmp_path))


def test_they_end_with_the_process_that_started_them(tmp_path, monkeypatch, alone):
    with monkeypatch.context() as patched:
        patched.setenv(PARENT, str(os.getpid()))  # this process is not its own parent
        early = train_together(configs(), places(tmp_path))
    assert [type(early[where]) for where in places(tmp_path)] == [Stopped] * 3
    assert all(Run(where).state == "stopped" and checkpoint.names(where) for where in places(tmp_path))
    for config, where, whole in zip(configs(), places(tmp_path), alone, strict=True):
        train(config, where)
        assert same_run(where, whole)


@pytest.mark.slow
def test_a_signal_ends_the_command_with_a_checkpoint_of_each(tmp_path):
    tiny = {"agent_steps": 100_000, "num_envs": 4, "unroll": 20, "learner_batches": 2, "log_every": 160}
    settings = [part for name, value in tiny.items() for part in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "mmlib", "train", "--preset", "smoke", "--seeds", "1,3-4", *settings]
    process = subprocess.Popen([*command, "--results", tmp_path], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while len(rows := list(tmp_path.rglob("timing.jsonl"))) < 3 or not all(path.stat().st_size for path in rows):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 143 and "goes on from there" in said and "Traceback" not in said
    runs = find_runs(tmp_path)
    assert [run.config["seed"] for run in runs] == [1, 3, 4] and {run.state for run in runs} == {"stopped"}
    for run in runs:
        steps = checkpoint.load(run.directory)["loop"]["actors"][0]["steps"] * 4
        values = {name: run.config[name] for name in RunConfig.model_fields} | {"agent_steps": steps}
        train(make_config(values), tmp_path / "alone" / run.directory.name)
        assert told(tmp_path / "alone" / run.directory.name) == told(run.directory)


@pytest.mark.slow
def test_a_plan_has_processes_make_seeds_side_by_side(tmp_path, monkeypatch):
    """Three runs in two processes; one, whose directory another run has taken meanwhile, ends alone."""
    tiny = {"agent_steps": 2000, "num_envs": 4, "unroll": 20, "learner_batches": 2, "log_every": 160}
    plan = design.plan("3", "smoke", methods=["small"], seeds=[1, 2, 3], settings=tiny, results=tmp_path)
    taken = plan[1].directory
    taken.mkdir(parents=True)
    (taken / "config.json").write_text(json.dumps(as_recorded(plan[1].config) | {"discount": 0.5}))
    monkeypatch.setenv(jobs.TOGETHER, "2")
    outcome = jobs.run(plan, 1, poll_seconds=0.1)
    assert [progress.state for progress in outcome] == ["done", "failed", "done"]
    why = outcome[1].status.reason
    assert f"mmlib: {taken}: " in why and "discount" in why and why.endswith(f"(see {plan[0].directory / jobs.LOG})")
    assert [job.config.seed for job in plan if (job.directory / jobs.LOG).exists()] == [1, 3]
    train(plan[0].config, tmp_path / "alone")
    assert told(tmp_path / "alone") == told(plan[0].directory)


def test_what_cannot_be_side_by_side_is_refused_before_any_work(tmp_path):
    one, two, _ = configs()
    for wrong, said in (
        ([one, one], "seeds 3, 3: each may be there once"),
        ([one, two.model_copy(update={"num_envs": 2})], r"differ in their seed alone, not in num_envs \(4 and 2\)"),
        (configs(population=2), "population = 2: seeds side by side are runs of population 1"),
        (
            configs(level="CartPole-v1", backend="gymnasium", method="big756"),
            "backend gymnasium does not train seeds side by side; minilab does",
        ),
    ):
        with pytest.raises(ConfigError, match=said):
            train_together(wrong, places(tmp_path)[: len(wrong)])
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_cannot_do(tmp_path):
    def said(*arguments):
        done = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["train", "--results", str(tmp_path), *arguments])
        assert done.exit_code == 2 and list(tmp_path.rglob("*.json*")) == []
        return done.output

    from mmlib.cli.main import app

    assert "seeds '1..3' are not comma-separated whole numbers, for instance 1,2,3 or 1-3" in said("--seeds", "1..3")
    assert "population = 4: seeds side by side" in said("--seeds", "1-2", "--preset", "population")
    assert "--seeds are side by side in this process" in said("--seeds", "1-2", "--shards", "2")
    assert "--directory is given 1 times for a number of runs of 2" in said("--seeds", "1-2", "--directory", "x")
    assert "--config has its own seeds; what is to differ is given as -p" in said("--seeds", "1", "--config", "-")
    several = tmp_path / "several"
    several.write_text(f"[{','.join(config.model_dump_json() for config in configs())}]")
    assert "--directory is given 2 times for a number of runs of 3" in said(
        *("--config", str(several), "--directory", "x", "--directory", "y")
    )
    several.write_text('[{"method": "mm"}, 3]')
    assert "is not a JSON object, or a list of such" in said("--config", str(several), "--directory", "x")
