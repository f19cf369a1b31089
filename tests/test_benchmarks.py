"""The benchmark's command: what it measures and what a user who errs is told."""

import json

from typer.testing import CliRunner

from benchmarks.speed import app


def speed(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_every_part_is_measured_as_asked():
    size = ("--width", 32, "--height", 24, "--num-envs", 2, "--unroll", 5)
    result = speed("--level", "nav_maze_static_01_mini", "--method", "small", *size, "--seconds", 0.01, "--json")
    assert result.exit_code == 0, result.output
    measured = json.loads(result.output)
    assert (measured["setting"]["width"], measured["setting"]["height"], measured["setting"]["num_envs"]) == (32, 24, 2)
    assert set(measured["agent_steps_per_second"]) == {"engine", "acting", "learning", "loop_lag0", "loop_lag1"}
    assert all(rate > 0 for rate in measured["agent_steps_per_second"].values())


def test_bad_input_is_one_sentence_and_exit_code_2():
    result = speed("--method", "huge")
    assert result.exit_code == 2 and "unknown method 'huge'; methods: small" in result.stderr
