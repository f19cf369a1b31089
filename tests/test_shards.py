"""A population divided into shards: the same run, wherever its members are at work."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from divided import config, same_numbers, told

from mmlib import levels
from mmlib.runs.reader import Run
from mmlib.training import checkpoint
from mmlib.training.fleet import ShardDied
from mmlib.training.loop import TrainingLoop, train
from mmlib.training.shard import Shard, cut, join


class Divided:
    """A fleet of shards one after another in this process: what they do, without what carries them."""

    def __init__(self, config, *bounds):
        edges = [0, *bounds, config.population]
        self.shards = [Shard(config, range(a, b)) for a, b in pairwise(edges)]

    def everyone(self, method, *arguments):
        return [getattr(shard, method)(*arguments) for shard in self.shards]

    def close(self):
        self.everyone("close")


def divided(*bounds):
    return lambda config: Divided(config, *bounds)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        pytest.param({"lag": 1}, marks=pytest.mark.slow),
        pytest.param({"level": "lt_horseshoe_color_mini", "method": "small"}, marks=pytest.mark.slow),
        pytest.param({"method": "mm_ff_lstm", "evaluation_envs": 2}, marks=pytest.mark.slow),
        pytest.param({"method": "mm_sampled", "pbt": None, "alpha": ((0, 0.5),)}, marks=pytest.mark.slow),
        {"method": "mm_bandit", "pbt": None, "bandit": {"window": 4}},
    ],
    ids=str,
)
def test_a_seed_is_one_run_however_it_is_divided(tmp_path, overrides):
    """Episodes and decisions to the last digit, and what the checkpoint holds: weights, draws, environments."""
    run = config(**overrides)
    fleets = {"whole": divided(), "three": divided(1, 2)} | ({} if overrides else {"two": divided(1)})
    for name, fleet in fleets.items():
        train(run, tmp_path / name, make_fleet=fleet)
    whole = told(tmp_path / "whole")
    assert whole["episodes"].count("\n") > 20
    if run.pbt:
        assert any(json.loads(line)["copied"] for line in whole["decisions"].splitlines())
    saved = checkpoint.load(tmp_path / "whole")["loop"]
    for name in fleets.keys() - {"whole"}:
        assert told(tmp_path / name) == whole
        assert same_numbers(checkpoint.load(tmp_path / name)["loop"], saved)


@pytest.mark.parametrize("lag", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_goes_on_in_other_shards_than_it_began_in(tmp_path, lag):
    if lag == 0:
        train(config(lag=lag), tmp_path / "whole")
    for steps, fleet in ((480, divided(1)), (1200, divided(1, 2)), (80 * 18, divided())):
        train(config(lag=lag, agent_steps=steps), tmp_path / "moved", make_fleet=fleet)
    assert told(tmp_path / "moved")["decisions"].count("\n") > 4
    if lag == 0:  # with lag 1 the pipeline drains at each end, which is another run than one that goes through
        assert told(tmp_path / "moved") == told(tmp_path / "whole")


def test_a_member_of_a_shard_has_its_number_in_the_population():
    loop = TrainingLoop(config(pbt=None), Divided(config(pbt=None), 2))
    try:
        loop.iterate()
        last = loop.fleet.shards[1]
        with torch.no_grad():
            for value in last.learner.parameters.values():
                value[0] = float("nan")
        loop.iterate()
        assert "member 2: loss nan" in loop.facts["stopped_members"]["2"] and set(loop.stopped) == {2}
        saved = loop.state_dict()
        again = TrainingLoop(config(pbt=None), Divided(config(pbt=None), 1))
        again.load_state_dict(saved)
        assert [list(shard.learner.stopped) for shard in again.fleet.shards] == [[], [1]]
        again.close()
    finally:
        loop.close()


def test_what_was_cut_is_joined_again():
    state = {"a": torch.arange(12).view(6, 2), "deep": [{"b": torch.arange(3)}], "seed": torch.tensor(7), "none": None}
    parts = [cut(state, range(1), 3), cut(state, range(1, 3), 3)]
    assert parts[1]["a"].tolist() == [[4, 5], [6, 7], [8, 9], [10, 11]] and parts[0]["deep"][0]["b"].tolist() == [0]
    assert same_numbers(join(parts), state)


def test_a_batch_may_begin_with_any_of_its_seeds_environments():
    whole = levels.make("explore_object_locations_small_mini", num_envs=4, seed=3, width=32, height=24)
    part = levels.make("explore_object_locations_small_mini", num_envs=2, seed=3, width=32, height=24, first_env=2)
    assert np.array_equal(part.reset(), whole.reset()[2:]) and not np.array_equal(part.reset(), whole.reset()[:2])
    many = levels.make("CartPole-v1", "gymnasium", num_envs=4, seed=3, staggered=True)
    few = levels.make("CartPole-v1", "gymnasium", num_envs=2, seed=3, staggered=True, first_env=2)
    assert [few.seed_of(i) for i in range(2)] == [many.seed_of(i) for i in (2, 3)]
    assert [few.frames_to_cut(i) for i in range(2)] == [many.frames_to_cut(i) for i in (2, 3)]
    assert np.array_equal(few.reset(), many.reset()[2:])
    with pytest.raises(ValueError, match="first_env is -1; environments are numbered from 0"):
        levels.make("explore_object_locations_small_mini", first_env=-1)


class Dying(Divided):
    """A fleet that loses a shard at some of its calls."""

    calls = 0

    def __init__(self, config, deaths):
        super().__init__(config, 1)
        self.deaths = deaths

    def everyone(self, method, *arguments):
        if method == "iterate":
            Dying.calls += 1
            if Dying.calls in self.deaths:
                raise ShardDied("a shard is gone")
        return super().everyone(method, *arguments)


def test_a_shard_that_dies_costs_what_came_after_the_checkpoint_and_nothing_else(tmp_path, capsys):
    train(config(), tmp_path / "whole")
    Dying.calls = 0
    train(config(), tmp_path / "broken", make_fleet=lambda run: Dying(run, {3, 12, 13, 18}))
    assert capsys.readouterr().err.count("going on from the last checkpoint") == 4
    assert told(tmp_path / "broken") == told(tmp_path / "whole")
    assert Run(tmp_path / "broken").state == "done"


def test_shards_that_die_again_and_again_end_the_run(tmp_path):
    Dying.calls = 0
    with pytest.raises(ShardDied):
        train(config(), tmp_path, make_fleet=lambda run: Dying(run, range(10, 100)))
    assert Run(tmp_path).state == "failed" and Dying.calls == 13


def test_without_ray_its_option_says_what_to_install(monkeypatch):
    from typer.testing import CliRunner

    from mmlib.cli.main import app

    monkeypatch.setitem(sys.modules, "ray", None)  # as an import that fails
    result = CliRunner().invoke(app, ["train", "--shards", "2"])
    assert result.exit_code == 2 and "pip install 'mmlib[ray]'" in result.output
    result = CliRunner().invoke(app, ["train", "--shards", "none"])
    assert result.exit_code == 2 and "--shards none: a whole number from 1, or auto" in result.output
