"""Who is measured, and with which settings: of each grid the fastest setting is found first, on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

Setting = dict[str, int]  # a script's own arguments


@dataclass(frozen=True)
class Peer:
    """A script and the settings that it may take."""

    name: str
    title: str
    module: str  # in benchmarks.peers
    grid: tuple[Setting, ...]
    requirements: str | None = None  # a file in requirements/ and a virtual environment; None: mmlib's own


def every(**values: tuple[int, ...]) -> Iterator[Setting]:
    """All combinations."""
    for combination in product(*values.values()):
        yield dict(zip(values, combination))


def distinct(*settings: Setting) -> tuple[Setting, ...]:
    """Settings without repetition: on one core some are the same."""
    return tuple(setting for place, setting in enumerate(settings) if setting not in settings[:place])


def peers(cores: int) -> tuple[Peer, ...]:
    """mmlib first, as it is used on `cores` cores, then the others."""
    batched = dict(envs_per_worker=2, agents_per_env=16, splits=2, serial=0)  # two halves in turn: double buffering
    single = dict(num_workers=cores, envs_per_worker=16, agents_per_env=1, splits=2, serial=0)
    sample_factory = distinct(
        *every(serial=(1,), agents_per_env=(32, 64), threads=(1, cores), rollout=(32, 100)),
        *({**batched, **more} for more in every(num_workers=(1, cores), rollout=(32, 100))),
        *({**single, **more} for more in every(rollout=(32, 100))),
    )
    monobeast = distinct(
        *every(actors=(cores, 2 * cores, 4 * cores), batch=(8,), learner_threads=(1,)),
        dict(actors=2 * cores, batch=8, learner_threads=cores),
        dict(actors=2 * cores, batch=32, learner_threads=1),
    )
    rllib = (
        *(dict(runners=n, num_envs=32 // n, rollout=t, batch=32 * t) for n in (1, 2) for t in (50, 100)),
        dict(runners=1, num_envs=64, rollout=50, batch=3200),
        dict(runners=1, num_envs=32, rollout=50, batch=1600, learners=1),
    )
    ppo = distinct(*every(num_envs=(8, 32), threads=(1, cores)))
    one_thread = dict(runs=cores, threads=1)
    serial = tuple(every(serial=(1,), agents_per_env=(32,), rollout=(32, 100)))
    many = f"{cores} runs of one thread"
    return (
        Peer("mmlib_lag0", "mmlib, lag 0: one thread", "mmlib_loop", (dict(lag=0),)),
        Peer("mmlib_lag1", "mmlib, lag 1: two threads", "mmlib_loop", (dict(lag=1),)),
        Peer("mmlib_runs", f"mmlib, {many}", "mmlib_loop", (dict(runs=cores),)),
        Peer("sample_factory", "Sample Factory, APPO", "sample_factory_appo", sample_factory, "sample_factory"),
        Peer(
            "sample_factory_runs",
            f"Sample Factory, APPO, {many}",
            "sample_factory_appo",
            tuple({**each, **one_thread} for each in serial),
            "sample_factory",
        ),
        Peer("monobeast", "MonoBeast's design", "monobeast", monobeast),
        Peer("ppo_lstm", "PPO with LSTM, 4 epochs", "ppo_lstm", ppo),
        Peer("ppo_lstm_1", "PPO with LSTM, 1 epoch", "ppo_lstm", tuple({**each, "epochs": 1} for each in ppo)),
        Peer(
            "ppo_lstm_1_runs",
            f"PPO with LSTM, 1 epoch, {many}",
            "ppo_lstm",
            ({**one_thread, "num_envs": 32, "epochs": 1},),
        ),
        Peer("rllib", "RLlib, IMPALA", "rllib_impala", rllib, "rllib"),
    )


def words(setting: dict[str, Any]) -> str:
    """A setting in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in setting.items())
