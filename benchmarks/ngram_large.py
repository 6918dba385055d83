"""N-grams of a text that is better not held in memory, whole processes, against KenLM.

The peer is `lmplz` with `build_binary trie`. Measured are wall time, the memory of all processes
together, and the temporary files. Two threads are compared with one, and a Dask cluster of this
machine with processes.

    python -m benchmarks --only ngram_large      # 60 million words: half an hour
    python -m benchmarks --only ngram_huge       # 300 million words, order 5
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.measuring import Cost, Options, Row, lm, process, program, require, shown_command
from benchmarks.measuring import turn_about as alternated
from benchmarks.synthetic_text import write_text

PEER = "lmplz + build_binary trie"
GIGABYTE = 1 << 30
MANY, QUICK_MANY = 60_000_000, 300_000


@dataclass(frozen=True)
class Large:
    """One text, and how both are trained on it."""

    text: Path
    folder: Path
    order: int
    memory: str | None  # as --memory and -S take it; None: no limit, and half for lmplz

    @property
    def limit(self) -> list[str]:
        """Our option for the memory."""
        return [] if self.memory is None else ["--memory", self.memory]

    def our_command(self, *more: str) -> list[str | Path]:
        command = lm("train", "ngram", self.text, "--n", str(self.order))
        command += ["--tokenizer", "whitespace", "--lines", "--valid", "0", "-q"]
        return [*command, "--models", self.folder / "models", *self.limit, *more]

    def peer_commands(self) -> list[list[str | Path]]:
        arpa, trie = self.folder / "kenlm.arpa", self.folder / "kenlm.trie"
        memory = self.memory or "50%"
        estimate = [program("lmplz"), "-o", str(self.order), "-S", memory, "-T", self._scratch]
        # In a drawn text, long n-grams may be too regular for the formula of the discounts.
        estimate += ["--text", self.text, "--arpa", arpa, "--discount_fallback"]
        build = [program("build_binary"), "-S", memory, "-T", self._scratch, "trie", arpa, trie]
        return [estimate, build]

    @property
    def _scratch(self) -> Path:
        (self.folder / "scratch").mkdir(exist_ok=True)
        return self.folder / "scratch"

    def ours(self, *more: str) -> Cost:
        return process(self.our_command(*more), scratch=self._scratch)

    def peers(self) -> Cost:
        estimate, build = (process(each, scratch=self._scratch) for each in self.peer_commands())
        return Cost(
            estimate.seconds + build.seconds,
            max(estimate.peak, build.peak),
            max(estimate.disk, build.disk),
        )

    def rows(self, work: str, reach: float, repeats: int, most: float | None) -> Iterator[Row]:
        """Time, memory and temporary files."""
        ours, theirs = alternated(self.ours, self.peers, repeats)
        commands = (
            shown_command(self.our_command()),
            "; ".join(map(shown_command, self.peer_commands())),
        )
        yield _row(work, PEER, "s", ours, theirs, lambda cost: cost.seconds, reach, commands)
        gigabytes = f"{work}: peak memory"
        yield _row(gigabytes, PEER, "GB", ours, theirs, lambda cost: cost.peak / GIGABYTE)
        if most is not None:
            peaks = tuple(cost.peak / GIGABYTE for cost in ours)
            yield Row(f"{gigabytes}, against the limit", "", "GB", peaks, reach=most)
        disk = f"{work}: temporary files"
        yield _row(disk, PEER, "GB", ours, theirs, lambda cost: cost.disk / GIGABYTE, 0.5)


def rows(options: Options) -> Iterator[Row]:
    """The rows of 60 million words."""
    words = QUICK_MANY if options.quick else MANY
    text = written(options.folder / "large.txt", words)
    named = f"{words / 1e6:g} M words"
    large = Large(text, options.folder, 3, "1G")
    limited = f"{named}, order 3, --memory 1G"
    yield from large.rows(limited, 0.7, options.repeats, 1.0)
    large = replace(large, memory=None)
    yield from large.rows(f"{named}, order 3, no limit", 0.5, options.repeats, None)
    two, one = alternated(
        partial(large.ours, "--threads", "2"),
        partial(large.ours, "--threads", "1"),
        options.repeats,
    )
    yield _row(
        f"{named}, order 3, --threads 1 beside --threads 2",
        "--threads 2",
        "s",
        one,
        two,
        lambda cost: cost.seconds,
        1.7,
        more_is_better=True,
    )
    require("distributed")
    cluster, processes = alternated(
        partial(large.ours, "--cluster", "local", "--threads", "2"),
        partial(large.ours, "--threads", "2"),
        options.repeats,
    )
    yield _row(
        f"{named}, order 3, --cluster local --threads 2",
        "--threads 2",
        "s",
        cluster,
        processes,
        lambda cost: cost.seconds,
        1.25,
        (shown_command(large.our_command("--cluster", "local", "--threads", "2")),),
    )


def written(text: Path, words: int) -> Path:
    """The text file, of so many words."""
    with text.open("wb") as stream:
        write_text(words, stream)
    return text


def _row(
    work: str,
    peer: str,
    unit: str,
    ours: tuple[Cost, ...],
    theirs: tuple[Cost, ...],
    value: Callable[[Cost], float],
    reach: float | None = None,
    commands: tuple[str, ...] = (),
    *,
    more_is_better: bool = False,
) -> Row:
    return Row(
        work,
        peer,
        unit,
        tuple(map(value, ours)),
        tuple(map(value, theirs)),
        reach,
        more_is_better=more_is_better,
        commands=commands,
    )
