"""A population in one process, in shards over Ray, and as independent processes, measured in turn."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.peers.__main__ import try_once
from benchmarks.peers.choices import Peer
from benchmarks.peers.measure import LEVEL
from benchmarks.peers.processes import Environments, Place
from benchmarks.peers.table import Row, medians
from benchmarks.speed import machine
from mmlib import caches
from mmlib.cli.common import UsageError, bad_input

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def divisions(members: int, parts: int) -> tuple[Peer, ...]:
    """A population of `members`: whole, in as many shards as `parts`, and as so many populations of its share."""

    def loop(name: str, title: str, **setting: int) -> Peer:
        return Peer(name, title, "mmlib_loop", (setting,))

    return (
        loop("whole", f"{members} members in one process", population=members),
        loop("shards", f"{members} members in {parts} shards over Ray", population=members, shards=parts),
        loop("apart", f"{parts} processes of {members // parts} members", population=members // parts, runs=parts),
    )


def table(rows: list[Row], peers: tuple[Peer, ...]) -> str:
    """Medians of agent steps a second, of all members together, as Markdown, beside the independent processes'."""
    found = medians(rows)
    lines = ["| | agent steps/s | of independent processes' |", "|---|---:|---:|"]
    for peer in peers:
        if peer.name in found:
            share = f"{found[peer.name] / found['apart']:.0%}" if "apart" in found else "–"
            lines.append(f"| {peer.title} | {found[peer.name]:,.0f} | {share} |")
    return "\n".join(lines)


@app.command()
def main(
    level: Annotated[str, typer.Option(help="One of MiniLab's.")] = LEVEL,
    width: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 48,
    height: Annotated[int, typer.Option(help="Of a frame, pixels.")] = 36,
    members: Annotated[int, typer.Option(min=1, help="Of the population.")] = 4,
    parts: Annotated[int, typer.Option(min=1, help="Shards, or processes; a core each.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each, in turn.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of a measurement.")] = 30.0,
    warm_up: Annotated[float, typer.Option(help="Seconds of training before it.")] = 5.0,
) -> None:
    """Measure what dividing a population costs, in training. Nothing else should run on the machine meanwhile.

    \b
    Example:
      python -m benchmarks.shards --members 4 --parts 2
    """
    with bad_input():
        if members % parts:
            raise UsageError(f"--members {members} cannot be dealt out to --parts {parts} evenly")
    place, environments = Place(level, width, height, cores=parts, warm_up=warm_up), Environments(caches.directory())
    peers = divisions(members, parts)
    rows = [try_once(p, p.grid[0], place, seconds, environments) for _ in range(rounds) for p in peers]
    print(f"{machine()['processor']}, {parts} cores; {level}, {width}x{height}\n\n{table(rows, peers)}")


if __name__ == "__main__":
    app()
