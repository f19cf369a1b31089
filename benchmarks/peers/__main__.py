"""mmlib and its peers, measured in turn: first the best setting of each, then rounds of all of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.peers.choices import Peer, Setting, peers, words
from benchmarks.peers.measure import LEVEL
from benchmarks.peers.processes import Environments, Failed, Place, measure
from benchmarks.peers.table import Row, table
from benchmarks.speed import Json, machine
from mmlib import caches
from mmlib.cli.common import UsageError, bad_input

SIZES = ("96x72", "48x36")


def try_once(peer: Peer, setting: Setting, place: Place, seconds: float, environments: Environments) -> Row:
    """One measurement as a row; what fails is a row too, and is said."""
    row: Row = dict(peer=peer.name, width=place.width, height=place.height, setting=setting)
    said = f"{place.width}x{place.height}  {peer.name:<21}{words(setting)}"
    try:
        row["agent_steps_per_second"] = measure(peer, setting, place, seconds, environments)
        said += f": {row['agent_steps_per_second']:,.0f} agent steps/s"
    except Failed as failed:
        row["failed"] = str(failed)
        said += f": failed: {failed}"
    print(said, file=sys.stderr, flush=True)
    return row


def choose(peer: Peer, place: Place, seconds: float, environments: Environments) -> tuple[Setting | None, list[Row]]:
    """The fastest setting of a peer's grid, None if all fail, and a row for each that was tried."""
    if len(peer.grid) == 1:
        return peer.grid[0], []
    rows = [try_once(peer, setting, place, seconds, environments) for setting in peer.grid]
    best = max(rows, key=lambda row: row.get("agent_steps_per_second", -1.0))
    return (None if "failed" in best else best["setting"]), rows


def run(
    chosen: Sequence[Peer], places: Sequence[Place], rounds: int, seconds: float, choosing: float, where: Path
) -> dict[str, Any]:
    """Measures everything.

    Returns:
      machine, tried (a row for each setting of the grids) and rows (one for each peer, size and round).
    """
    environments, tried, rows = Environments(where), [], []
    for place in places:
        settings: dict[str, Setting] = {}
        for peer in chosen:
            best, attempts = choose(peer, place, choosing, environments)
            tried += attempts
            if best is None:
                rows.append(attempts[-1])
            else:
                settings[peer.name] = best
        for _ in range(rounds):
            turns = [peer for peer in chosen if peer.name in settings]
            rows += [try_once(peer, settings[peer.name], place, seconds, environments) for peer in turns]
    return {"machine": machine() | {"load": os.getloadavg()[0]}, "tried": tried, "rows": rows}


def _size(text: str) -> tuple[int, int]:
    """Width and height of "96x72"."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"size {text!r} is not a width and a height, for instance 96x72")
    return int(width), int(height)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    level: Annotated[str, typer.Option(help="One of MiniLab's.")] = LEVEL,
    size: Annotated[list[str], typer.Option(help="Of a frame, pixels; may be given again.")] = list(SIZES),  # noqa: B006
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A peer; may be given again.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each peer, in turn with the others'.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of a measurement.")] = 30.0,
    choosing: Annotated[float, typer.Option(help="Seconds for each setting of a peer's grid, before.")] = 10.0,
    warm_up: Annotated[float, typer.Option(help="Seconds of training before a measurement.")] = 5.0,
    cores: Annotated[int, typer.Option(min=1, help="That each may use.")] = 2,
    environments: Annotated[Path | None, typer.Option(help="For them; by default among mmlib's caches.")] = None,
    as_json: Json = False,
) -> None:
    """Measure agent steps a second of mmlib and its peers, in training, on the same level, network and cores.

    \b
    Each peer has a virtual environment of its own, made here (some GB), and is measured with the fastest setting of a
    small grid. Nothing else should run on the machine meanwhile.
    \b
    Examples:
      python -m benchmarks.peers
      python -m benchmarks.peers --only mmlib_lag1 --only sample_factory --size 48x36 --rounds 1
    """
    with bad_input():
        known = {peer.name: peer for peer in peers(cores)}
        if unknown := [name for name in only or () if name not in known]:
            raise UsageError(f"unknown peer {unknown[0]!r}; peers: {', '.join(known)}")
        places = [Place(level, *_size(each), cores=cores, warm_up=warm_up) for each in size]
    chosen = [peer for name, peer in known.items() if only is None or name in only]
    result = run(chosen, places, rounds, seconds, choosing, environments or caches.directory() / "peers")
    if as_json:
        print(json.dumps(result, indent=2))
        return
    host = result["machine"]
    print(f"{host['processor']}, {cores} of {host['cores']} cores, torch {host['torch']}; {level}\n")
    print(table(result["rows"], chosen))


if __name__ == "__main__":
    app()
