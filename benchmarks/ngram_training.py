"""A word 5-gram, text file to saved model, whole processes, against KenLM.

The peer is `lmplz` with `build_binary trie`. Measured are wall time, peak memory (of lmplz), and
the size of the model file.

    python -m benchmarks --only ngram_training
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import (
    Cost,
    Options,
    Row,
    SkippedError,
    lm,
    process,
    program,
    shown_command,
    turn_about,
)
from benchmarks.synthetic_text import write_text

ORDER = "5"
PEER = "lmplz + build_binary trie"
MANY, QUICK_MANY = 20_000_000, 300_000
TINY, WORKS = "tinyshakespeare/train.words.txt", "shakespeare/complete.txt"
GIGABYTE = 1 << 30


def rows(options: Options) -> Iterator[Row]:
    """Training, memory and size."""
    tiny = Contest(options.text(TINY), options.folder, memory="2G")
    yield tiny.row("train a 5-gram, 228 k tokens, text file to saved model", 1.0, options.repeats)
    yield _size("size of the saved 5-gram, 228 k tokens", tiny.ours, tiny.trie, 1.3)
    yield from _quantized(tiny, options)
    if not options.quick:
        works = Contest(options.text(WORKS), options.folder, memory="2G")
        yield works.row("the same, the complete works (0.9 M tokens)", 0.6, options.repeats)
    yield from _many(options)


@dataclass
class Contest:
    """Both trained on one text."""

    text: Path
    folder: Path
    memory: str  # for lmplz

    @property
    def ours(self) -> Path:
        return self.folder / "models" / "ngram.safetensors"

    @property
    def arpa(self) -> Path:
        return self.folder / "kenlm.arpa"

    @property
    def trie(self) -> Path:
        return self.folder / "kenlm.trie"

    def our_command(self, *more: str) -> list[str | Path]:
        command = lm("train", "ngram", self.text, "--n", ORDER, "--tokenizer", "whitespace")
        command += ["--lines", "--valid", "0", "--models", self.ours.parent, "-q", *more]
        return command

    def train_ours(self, *more: str) -> Cost:
        return process(self.our_command(*more))

    def peer_commands(self) -> list[list[str | Path]]:
        estimate = [program("lmplz"), "-o", ORDER, "-S", self.memory, "-T", self.folder]
        # As ours does: where a text gives no discounts, the same fallback.
        estimate += ["--discount_fallback"]
        return [estimate, [program("build_binary"), "trie", self.arpa, self.trie]]

    def train_peer(self) -> Cost:
        estimate, build = self.peer_commands()
        estimated = process(estimate, stdin=self.text, stdout=self.arpa)
        built = process(build)
        return Cost(estimated.seconds + built.seconds, estimated.peak)

    def costs(self, repeats: int) -> tuple[tuple[Cost, ...], tuple[Cost, ...]]:
        return turn_about(self.train_ours, self.train_peer, repeats)

    def row(self, work: str, reach: float, repeats: int) -> Row:
        """The times, after one run of each that is not counted."""
        self.costs(1)
        return self.time_row(work, reach, *self.costs(repeats))

    def time_row(
        self, work: str, reach: float, ours: tuple[Cost, ...], theirs: tuple[Cost, ...]
    ) -> Row:
        return Row(
            work,
            PEER,
            "s",
            tuple(cost.seconds for cost in ours),
            tuple(cost.seconds for cost in theirs),
            reach,
            commands=(
                shown_command(self.our_command()),
                "; ".join(map(shown_command, self.peer_commands())),
            ),
        )


def _size(work: str, ours: Path, trie: Path, reach: float) -> Row:
    sizes = ours.stat().st_size / 1e6, trie.stat().st_size / 1e6
    return Row(work, "build_binary trie", "MB", (sizes[0],), (sizes[1],), reach)


def _quantized(tiny: Contest, options: Options) -> Iterator[Row]:
    valid = str(options.text("tinyshakespeare/valid.words.txt"))
    perplexities = []
    for more in ((), ("--quantize",)):
        tiny.train_ours(*more)
        said = options.folder / "evaluation.json"
        process(lm("eval", tiny.ours, "--text", valid, "--json"), stdout=said)
        perplexities.append(json.loads(said.read_text("utf-8"))[0]["perplexity"])
    yield _size("the same with --quantize", tiny.ours, tiny.trie, 0.7)
    exact, rounded = perplexities
    work = "perplexity with --quantize"
    yield Row(work, "ours without", "", (rounded,), (exact,), 1.005)


def _many(options: Options) -> Iterator[Row]:
    tokens = QUICK_MANY if options.quick else MANY
    text = options.folder / "synthetic.txt"
    with text.open("wb") as stream:
        write_text(tokens, stream)
    contest = Contest(text, options.folder, memory="4G")
    ours, theirs = contest.costs(options.repeats)
    named = f"{tokens / 1e6:g} M tokens"
    yield contest.time_row(f"the same, {named} drawn from 50,000 words", 0.9, ours, theirs)
    yield Row(
        f"peak memory, {named}",
        "lmplz -S 4G",
        "GB",
        tuple(cost.peak / GIGABYTE for cost in ours),
        tuple(cost.peak / GIGABYTE for cost in theirs),
        1.5,
    )
    capped, free = turn_about(
        lambda: contest.train_ours("--memory", "1G"), contest.train_ours, options.repeats
    )
    yield Row(
        f"--memory 1G, {named}",
        "ours without the cap",
        "s",
        tuple(cost.seconds for cost in capped),
        tuple(cost.seconds for cost in free),
        3.0,
        commands=(shown_command(contest.our_command("--memory", "1G")),),
    )
    peaks = tuple(cost.peak / GIGABYTE for cost in capped)
    yield Row(f"peak memory with --memory 1G, {named}", "", "GB", peaks, reach=1.0)
    yield _same_bytes(contest, named)


def _same_bytes(contest: Contest, named: str) -> Row:
    """How many bytes of the arrays differ, with the cap and without."""
    from lmsuite.files.header import read_header

    contents = []
    for more in (("--memory", "1G"), ()):
        contest.train_ours(*more)
        start = read_header(contest.ours).data_start
        contents.append(contest.ours.read_bytes()[start:])
    if len(contents[0]) != len(contents[1]):
        raise SkippedError("the files differ in length, with --memory and without")
    differing = 0 if contents[0] == contents[1] else 1
    work = f"files that differ, with --memory and without, {named}"
    return Row(work, "", "", (float(differing),), reach=0.0)
