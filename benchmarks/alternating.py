"""Two programs timed turn about, so that what else the machine does falls on both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Seconds of every repetition, ours and the peer's, in the order they ran."""

    work: str
    peer_name: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median time of the peer over median time of ours: how many times faster we are."""
        return statistics.median(self.peer) / statistics.median(self.ours)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest ratio among the pairs."""
        ratios = [theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=True)]
        return min(ratios), max(ratios)

    def markdown_row(self) -> str:
        low, high = self.spread
        return (
            f"| {self.work} | {self.peer_name} | {statistics.median(self.ours):.4g} s "
            f"| {statistics.median(self.peer):.4g} s | {self.ratio:.3g} ({low:.3g} to {high:.3g}) |"
        )


MARKDOWN_HEAD = (
    "| work | peer | ours | peer's | times faster (spread) |\n| --- | --- | --- | --- | --- |"
)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    work: str,
    peer_name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    repeats: int = 5,
    warm_up: bool = True,
) -> Comparison:
    """Run both `repeats` times, turn about, after one run of each that is not counted."""
    if warm_up:
        ours()
        peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    return Comparison(work, peer_name, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
