"""Where the members of a population are at work: in this process, or (ray_fleet.py) in processes on many machines."""

from __future__ import annotations

from typing import Any, Protocol

from mmlib.config import RunConfig
from mmlib.errors import WorkersDied
from mmlib.training.shard import Shard


class ShardDied(WorkersDied):
    """A shard's process is gone, with what it did since the last checkpoint."""


class Fleet(Protocol):
    """The shards of a population. Any call may raise ShardDied; the fleet is of no use then, but to be closed."""

    def everyone(self, method: str, *arguments: Any) -> list[Any]:
        """Calls a method of every `Shard`, all at once, with the same arguments; the results in the members' order."""

    def close(self) -> None:
        """Ends the shards."""


class InProcess:
    """One shard, of all members, in this process."""

    def __init__(self, config: RunConfig):
        self.shard = Shard(config)

    def everyone(self, method: str, *arguments: Any) -> list[Any]:
        """See `Fleet.everyone`."""
        return [getattr(self.shard, method)(*arguments)]

    def close(self) -> None:
        """See `Fleet.close`."""
        self.shard.close()
