"""A fleet over Ray: each shard an actor on a core or a GPU of its own, on this machine or on many.

The process that trains, which holds the records, the checkpoints and the decisions, needs no core to speak of: shards
do the work, weights go between them through Ray's object store, and nothing is read from a disk that they share.
Needs `pip install mmlib[ray]`, and the same mmlib on every machine.
"""

from __future__ import annotations

import os
import time
import warnings
from contextlib import suppress
from itertools import pairwise
from typing import Any, Literal

from mmlib.config import ConfigError, RunConfig
from mmlib.errors import say_once
from mmlib.training.fleet import ShardDied
from mmlib.training.shard import Shard
from mmlib.training.signals import StopRequests

PATIENCE = 30.0  # seconds without the resources for the shards, after which that is said


class RayFleets:
    """Makes the fleets of runs on a Ray cluster, which it joins at once.

    Args:
      address: of the cluster, HOST:PORT; "auto" for the one that this machine is part of, if it is, else a cluster of
        this machine alone, which ends with this process.
      shards: into which a population is divided; "auto" for as many as there are GPUs, or cores where it trains on
        those. A population of P has P shards at most.

    Raises:
      ConfigError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str = "auto", shards: int | Literal["auto"] = "auto"):
        self.shards = shards
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the cluster unless the user says so
        self._ray = _ray()
        options = {"include_dashboard": False} if address == "auto" else {"address": address}
        try:
            self._ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from error

    @property
    def address(self) -> str:
        """Of the cluster, for other processes."""
        return self._ray.get_runtime_context().gcs_address

    def number(self, config: RunConfig) -> int:
        """The shards of a run: no more than were asked for, than there are members, and than the cluster carries."""
        what, each = _needs(config.device, config.lag)
        carried = int(self._ray.cluster_resources().get(what, 0) // each)
        asked = config.population if self.shards == "auto" else min(config.population, self.shards)
        if 0 < carried < asked and self.shards != "auto":
            say_once(f"shards: {carried} in place of {asked}; each takes {each} {what}, and the cluster has no more")
        return max(1, min(asked, carried))

    def runs_at_once(self, device: str, lag: int) -> int:
        """How many runs the cluster carries: one, if each takes all that there is."""
        if self.shards == "auto":
            return 1
        what, each = _needs(device, lag)
        return max(1, int(self._ray.cluster_resources().get(what, 1) // (each * self.shards)))

    def __call__(self, config: RunConfig) -> RayFleet:
        """The fleet of a run, when all its shards are there; fewer of them if the cluster loses places meanwhile.

        Raises:
          errors.Stopped: a signal came while it waited.
        """
        began, (what, each) = time.monotonic(), _needs(config.device, config.lag)
        with StopRequests() as requests:  # a run's own are heard between iterations, of which there is none yet
            while True:
                shards = self.number(config)
                fleet = RayFleet(config, shards)
                while not fleet.placed(seconds=1.0):
                    if requests.received:
                        fleet.kill()
                        raise requests.stopped()
                    if self.number(config) < shards:
                        fleet.kill()
                        break
                    if time.monotonic() - began > PATIENCE:
                        say_once(f"waiting for places for {shards} shards, each with {each} {what}")
                else:
                    return fleet


class RayFleet:
    """The shards of a population as Ray actors; see `fleet.Fleet`."""

    def __init__(self, config: RunConfig, shards: int):
        self._ray = ray = _ray()
        what, each = _needs(config.device, config.lag)
        if what == "CPU":
            options = {"num_cpus": min(each, max(1, int(ray.cluster_resources().get("CPU", each))))}
        else:
            options = {"num_cpus": 1, "num_gpus": each}
        bounds = [config.population * k // shards for k in range(shards + 1)]
        actor = ray.remote(**options, max_restarts=0)(Shard)
        self._actors = [actor.remote(config, range(a, b)) for a, b in pairwise(bounds)]
        self._made = [actor.__ray_ready__.remote() for actor in self._actors]

    def placed(self, seconds: float) -> bool:
        """Whether all shards are made, after `seconds` at most; raises what went wrong in making one."""
        _, waiting = self._ray.wait(self._made, num_returns=len(self._made), timeout=seconds)
        return not waiting and bool(self._results(self._made))

    def everyone(self, method: str, *arguments: Any) -> list[Any]:
        """See `Fleet.everyone`."""
        shared = [self._ray.put(argument) for argument in arguments]
        return self._results([getattr(actor, method).remote(*shared) for actor in self._actors])

    def _results(self, calls: list[Any]) -> list[Any]:
        raised = self._ray.exceptions
        try:
            return self._ray.get(calls)
        except raised.RayTaskError as error:  # raised in a shard: as it would have been here
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except (raised.RayActorError, raised.ObjectLostError) as error:
            raise ShardDied(f"a shard is gone: {_first_words(error)}") from None

    def close(self) -> None:
        """Ends the shards: asked first, so that their levels end, and then by Ray."""
        with suppress(Exception):  # of one that is gone
            self._ray.wait([actor.close.remote() for actor in self._actors], num_returns=len(self._actors), timeout=10)
        self.kill()

    def kill(self) -> None:
        """Ends the shards as they are."""
        for actor in self._actors:
            with suppress(Exception):
                self._ray.kill(actor)


def _needs(device: str, lag: int) -> tuple[str, int]:
    """The resource that shards are counted by, and how much of it each takes."""
    return ("CPU", 1 + lag) if device == "cpu" else ("GPU", 1)


def _ray() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations
            import ray
    except ImportError as error:
        raise ConfigError("Ray is not installed: pip install 'mmlib[ray]'") from error
    return ray


def _first_words(error: Exception) -> str:
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return said[0] if said else type(error).__name__
