"""What was measured as a table: agent steps a second, and how many times that mmlib makes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.peers.choices import Peer, words

ONE_RUN, SIDE_BY_SIDE = ("mmlib_lag0", "mmlib_lag1"), ("mmlib_runs",)
COLUMNS = ("", "setting", "agent steps/s", "least–most", "mmlib, one run", "mmlib, side by side")

Row = dict[str, Any]
"""peer, width, height, setting; and agent_steps_per_second, or failed: why it has none."""


def medians(rows: Sequence[Row]) -> dict[str, float]:
    """Agent steps a second by peer, the median of its rounds; a peer that failed in all of them is not there."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        if "failed" not in row:
            rates.setdefault(row["peer"], []).append(row["agent_steps_per_second"])
    return {peer: median(each) for peer, each in rates.items()}


def ratios(rows: Sequence[Row]) -> dict[str, tuple[float | None, float | None]]:
    """By peer: the speed of mmlib's faster single run over its own, and of mmlib's runs side by side over its own."""
    found = medians(rows)
    best = [max((found[name] for name in names if name in found), default=None) for names in (ONE_RUN, SIDE_BY_SIDE)]
    one_run, side_by_side = best
    return {peer: (one_run and one_run / rate, side_by_side and side_by_side / rate) for peer, rate in found.items()}


def table(rows: Sequence[Row], peers: Sequence[Peer]) -> str:
    """A Markdown table for each size of frames; a peer that failed is named, with the last thing that it said."""
    sizes = list(dict.fromkeys((row["width"], row["height"]) for row in rows))
    parts = []
    for width, height in sizes:
        here = [row for row in rows if (row["width"], row["height"]) == (width, height)]
        lines = [f"{width}×{height}", "", _line(COLUMNS), _line(["---", "---", "---:", "---:", "---:", "---:"])]
        parts.append("\n".join([*lines, *(_of_peer(peer, here) for peer in peers if any(_is(peer, r) for r in here))]))
    return "\n\n".join(parts)


def _of_peer(peer: Peer, rows: Sequence[Row]) -> str:
    mine = [row for row in rows if _is(peer, row)]
    rates = [row["agent_steps_per_second"] for row in mine if "failed" not in row]
    failures = [row for row in mine if "failed" in row]
    said = f"failed {len(failures)} of {len(mine)} times: {failures[-1]['failed']}" if failures else ""
    if not rates:
        return _line([peer.title, said, "–", "–", "–", "–"])
    times = ["–" if ratio is None else f"×{ratio:.2f}" for ratio in ratios(rows)[peer.name]]
    setting = "; ".join(text for text in (words(mine[-1]["setting"]), said) if text)
    return _line([peer.title, setting, f"{median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}", *times])


def _is(peer: Peer, row: Row) -> bool:
    return row["peer"] == peer.name


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
