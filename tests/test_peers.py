"""mmlib beside its peers: what is made of the measurements, what is said of a peer that fails, and that ours train."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.peers import __main__ as command
from benchmarks.peers import processes
from benchmarks.peers.choices import Peer, peers, words
from benchmarks.peers.measure import Meter, largest_change, report
from benchmarks.peers.network import Network
from benchmarks.peers.processes import Environments, Failed, Place, last_line, measure
from benchmarks.peers.table import medians, ratios, table

SMALLEST = Place("nav_maze_static_01_mini", 32, 24, cores=2, warm_up=0.0)
RATES = {"mmlib_lag0": (90, 110, 100), "mmlib_lag1": (200, 190, 210), "mmlib_runs": (300,), "monobeast": (40, 60, 50)}


def rows(width=96, height=72, scale=1):
    place = dict(width=width, height=height, setting=dict(actors=2))
    return [
        {"peer": peer, **place, "agent_steps_per_second": float(rate * scale)}
        for peer, rates in RATES.items()
        for rate in rates
    ]


def failure(name, **size):
    return {
        "peer": name,
        **(size or dict(width=96, height=72)),
        "setting": dict(actors=2),
        "failed": "No | such engine",
    }


def test_ratios_are_of_medians_to_the_faster_single_run_and_to_runs_side_by_side():
    assert medians(rows()) == {"mmlib_lag0": 100.0, "mmlib_lag1": 200.0, "mmlib_runs": 300.0, "monobeast": 50.0}
    assert ratios(rows())["monobeast"] == (4.0, 6.0)
    assert ratios(rows())["mmlib_lag1"] == (1.0, 1.5)
    alone = [row for row in rows() if row["peer"] == "monobeast"]
    assert ratios(alone) == {"monobeast": (None, None)}


def test_the_table_has_every_size_and_names_who_failed():
    both = [*rows(), failure("rllib"), *rows(48, 36, scale=3), failure("monobeast", width=48, height=36)]
    large, small = table(both, peers(2)).split("48×36")
    assert "| MonoBeast's design | actors 2 | 50 | 40–60 | ×4.00 | ×6.00 |" in large.splitlines()
    assert "| RLlib, IMPALA | failed 1 of 1 times: No / such engine | – | – | – | – |" in large.splitlines()
    mine = "| MonoBeast's design | actors 2; failed 1 of 4 times: No / such engine | 150 | 120–180 | ×4.00 | ×6.00 |"
    assert mine in small.splitlines() and "RLlib" not in small and "PPO" not in large


def test_the_clock_starts_after_the_warm_up_and_ends_at_an_update(monkeypatch):
    now = iter([0.0, 1.0, 2.0, 4.0, 4.0, 8.0, 14.0])  # the fourth update starts it, which asks twice
    monkeypatch.setattr("benchmarks.peers.measure.time.perf_counter", lambda: next(now))
    meter = Meter(seconds=9.0, warm_up=3.0)
    assert [meter.add(steps) for steps in (10, 20, 30, 40, 60, 90)] == [True] * 5 + [False]
    assert meter.rate == (90 - 40) / (14.0 - 4.0)
    with pytest.raises(RuntimeError, match="ended after 0 updates"):
        _ = Meter(1.0, 0.0).rate


def test_what_changes_no_weight_is_no_training():
    before, after = [torch.zeros(2), torch.ones(3)], [torch.zeros(2), torch.tensor([1.0, 0.5, 1.25])]
    assert largest_change(before, after) == 0.5 and largest_change(before, before) == 0.0
    one_run = type("", (), dict(runs=1))()
    with pytest.raises(RuntimeError, match="no weight has changed"):
        report(lambda args, together: (100.0, 7, 0.0), one_run)


def test_the_network_begins_an_episode_with_a_zero_state():
    torch.manual_seed(0)
    network, frames = Network(24, 32, extra=2), torch.randint(256, (5, 3, 3, 24, 32), dtype=torch.uint8)
    extra, state = torch.randn(5, 3, 2), (torch.randn(3, 256), torch.randn(3, 256))
    first = torch.zeros(5, 3, dtype=torch.bool)
    first[0, 0] = first[3, 1] = True
    logits, values, end = network(frames, first, state, extra)
    for environment, begin in ((0, 0), (1, 3)):
        own = (slice(begin, None), slice(environment, environment + 1))
        alone = network(frames[own], torch.zeros(5 - begin, 1, dtype=torch.bool), network.initial_state(1), extra[own])
        torch.testing.assert_close(logits[own], alone[0])
        torch.testing.assert_close(values[own], alone[1])
        torch.testing.assert_close(end[1][environment], alone[2][1][0])
    assert not torch.allclose(logits[:, 0], network(frames, torch.zeros_like(first), state, extra)[0][:, 0])


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("monobeast", dict(actors=2, batch=2, unroll=5)),
        ("ppo_lstm", dict(num_envs=4, unroll=5, minibatches=2, epochs=2)),
        ("ppo_lstm", dict(num_envs=2, unroll=5, minibatches=1, epochs=1, runs=2)),
        ("mmlib_loop", dict(num_envs=2, unroll=5, lag=1)),
    ],
)
def test_ours_train(module, setting, tmp_path):
    """A script fails unless a weight has changed."""
    assert measure(Peer(module, module, module, (setting,)), setting, SMALLEST, 0.2, Environments(tmp_path)) > 0


def test_a_script_that_ends_with_an_error_is_a_row_that_says_so(tmp_path, capsys):
    peer, place = Peer("own", "Own", "ppo_lstm", ({},)), replace(SMALLEST, level="nowhere")
    row = command.try_once(peer, {}, place, 0.2, Environments(tmp_path))
    assert "nowhere" in row["failed"] and "agent_steps_per_second" not in row
    assert f"failed: {row['failed']}" in capsys.readouterr().err


def test_a_script_that_takes_too_long_is_ended(tmp_path):
    peer = Peer("own", "Own", "ppo_lstm", ({},))
    with pytest.raises(Failed, match="no result after 1 s"):
        measure(peer, {}, SMALLEST, 0.0, Environments(tmp_path), patience=1.0)


def test_a_peer_that_cannot_be_installed_is_asked_once_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "REQUIREMENTS", tmp_path)
    (tmp_path / "rllib.txt").write_text("./no-such-directory\n")
    calls = []
    run = processes.subprocess.run
    monkeypatch.setattr(processes.subprocess, "run", lambda *a, **k: calls.append(a) or run(*a, **k))
    peer = Peer("rllib", "RLlib, IMPALA", "rllib_impala", (dict(runners=1), dict(runners=2)), requirements="rllib")
    result = command.run([peer], [SMALLEST], 2, 0.1, 0.1, tmp_path / "environments")
    assert len(calls) == 2  # the environment, and pip in it, for both settings
    assert [row["setting"] for row in result["tried"]] == [dict(runners=1), dict(runners=2)]
    (row,) = result["rows"]
    assert row["failed"].startswith("could not be installed: ") and "no-such-directory" in row["failed"]
    assert "| RLlib, IMPALA | failed 1 of 1 times: could not be installed" in table(result["rows"], [peer])


def test_the_fastest_setting_of_a_grid_is_the_one_that_is_measured(tmp_path, monkeypatch):
    rates = {8: [10.0], 16: [30.0, 29.0, 31.0], 32: [20.0]}

    def measured(peer, setting, *_):
        if setting["num_envs"] not in rates:
            raise Failed("too many")
        return rates[setting["num_envs"]].pop(0)

    monkeypatch.setattr(command, "measure", measured)
    grid = tuple(dict(num_envs=n) for n in (8, 16, 32, 64))
    result = command.run([Peer("own", "Own", "ppo_lstm", grid)], [SMALLEST], 2, 1.0, 1.0, tmp_path)
    assert [row.get("failed") for row in result["tried"]] == [None, None, None, "too many"]
    assert [row["agent_steps_per_second"] for row in result["rows"]] == [29.0, 31.0]


def test_the_command_measures_who_is_named_and_refuses_who_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "measure", lambda *_: 12.0)
    arguments = ["--only", "mmlib_runs", "--size", "48x36", "--rounds", "1", "--environments", str(tmp_path)]
    done = CliRunner().invoke(command.app, [*arguments, "--json"])
    assert [row["agent_steps_per_second"] for row in json.loads(done.stdout)["rows"]] == [12.0]
    assert "| mmlib, 2 runs of one thread | runs 2 | 12 |" in CliRunner().invoke(command.app, arguments).stdout
    unknown = CliRunner().invoke(command.app, ["--only", "nobody"])
    assert unknown.exit_code == 2 and "unknown peer 'nobody'; peers: mmlib_lag0, mmlib_lag1" in unknown.stderr
    wrong = CliRunner().invoke(command.app, ["--size", "big"])
    assert wrong.exit_code == 2 and "size 'big' is not a width and a height" in wrong.stderr


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_a_grid_has_no_setting_twice(cores):
    for peer in peers(cores):
        assert len({words(setting) for setting in peer.grid}) == len(peer.grid), peer.name


def test_the_last_line_is_without_colours():
    assert last_line("\n", "first\n\x1b[31mRuntimeError: why\x1b[0m\n\n") == "RuntimeError: why"
    assert last_line("", " \n") == ""
