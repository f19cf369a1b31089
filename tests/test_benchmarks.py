"""The benchmark's command: what it measures and what a user who errs is told."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import operations, shards
from benchmarks.speed import app


def speed(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_every_part_is_measured_as_asked():
    size = ("--width", 32, "--height", 24, "--num-envs", 2, "--unroll", 5)
    result = speed("--level", "nav_maze_static_01_mini", "--method", "small", *size, "--seconds", 0.01, "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    assert (measured["setting"]["width"], measured["setting"]["height"], measured["setting"]["num_envs"]) == (32, 24, 2)
    assert set(measured["agent_steps_per_second"]) == {"engine", "acting", "learning", "loop_lag0", "loop_lag1"}
    assert all(rate > 0 for rate in measured["agent_steps_per_second"].values())
    assert measured["gpu_memory_gb"] is None


def test_a_populations_members_are_measured_together():
    size = ("--width", 32, "--height", 24, "--num-envs", 2, "--unroll", 5, "--population", 3)
    result = speed("--level", "nav_maze_static_01_mini", "--method", "mm", *size, "--seconds", 0.01)
    assert result.exit_code == 0 and "population 3" in result.output and "whole loop, lag 1" in result.output


def test_bad_input_is_one_sentence_and_exit_code_2():
    result = speed("--method", "huge")
    assert result.exit_code == 2 and "unknown method 'huge'; methods: small" in result.stderr


def test_operations_on_a_gpu_hardly_grow_with_the_population():
    """Members share their launches, but for learning's convolutions; the LSTM has some for each step of an unroll."""
    size = dict(width=48, height=36, conv1=(4, 2), num_envs=4)
    one, ten, long = (
        operations.count("mm", population, unroll=unroll, **size) for population, unroll in ((1, 8), (10, 8), (1, 16))
    )
    convolutions = {p: acting["convolution"] for p, (acting, _) in ((1, one), (10, ten))}
    assert convolutions == {1: 2, 10: 2}  # grouped; learning has each member's own
    assert ten[1].total() < 1.5 * one[1].total() and ten[0].total() < 2 * one[0].total()
    assert (long[1].total() - one[1].total()) / 8 < 20  # two LSTM passes, forward and back; V-trace's by doubling
    assert one[1]["convolution_backward"] == 2 and ten[1]["convolution_backward"] == 20


def test_populations_divided_are_compared_with_independent_processes():
    whole, divided, apart = shards.divisions(members=6, parts=3)
    assert [peer.grid[0] for peer in (whole, divided, apart)] == [
        {"population": 6},
        {"population": 6, "shards": 3},
        {"population": 2, "runs": 3},
    ]
    place = dict(width=32, height=24, setting={})
    rows = [
        dict(peer=name, agent_steps_per_second=rate, **place) for name, rate in (("shards", 190.0), ("apart", 200.0))
    ]
    rows.append(dict(peer="whole", failed="no", **place))
    table = shards.table(rows, (whole, divided, apart))
    assert "| 6 members in 3 shards over Ray | 190 | 95% |" in table and "one process" not in table
    uneven = CliRunner().invoke(shards.app, ["--members", "4", "--parts", "3"])
    assert uneven.exit_code == 2 and "--members 4 cannot be dealt out to --parts 3 evenly" in uneven.stderr


@pytest.mark.slow
def test_a_population_trains_in_shards():
    pytest.importorskip("ray")
    from benchmarks.peers.processes import Environments, Place, measure

    place = Place("nav_maze_static_01_mini", 32, 24, cores=2, warm_up=0.0)
    _, divided, _ = shards.divisions(members=2, parts=2)
    setting = {**divided.grid[0], "num_envs": 2, "unroll": 10}
    assert measure(divided, setting, place, 0.1, Environments(None)) > 0
