"""Fuzz counts, in files of ours and as text: damaged ones are refused with a sentence, or work.

    python -m hardening.fuzz_counts --runs 100000 --seed 1

Most files of ours get a correct checksum, so that the checks of the contents meet the damage. From
counts that are read a model is made, which is used as the commands use it. One input in ten goes
through the commands themselves.
"""

from __future__ import annotations

import gzip
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from hardening.fuzz_models import OTHER, TEXT, use
from hardening.fuzzing import main
from hardening.in_process import lm
from hardening.mutators import (
    Safetensors,
    damaged,
    edited,
    packed_again,
    with_damaged_arrays,
    with_lies,
)
from lmsuite.errors import TextWarning
from lmsuite.models.ngram import NgramSettings, fit_counts
from lmsuite.ngram.count_files import read_counts, save_counts
from lmsuite.ngram.count_lines import count_lines, listed_ngrams
from lmsuite.ngram.counting import count_ngrams
from lmsuite.ngram.longest import LongestNgrams
from lmsuite.ngram.text_counts import TextCounts, joined
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

FILE, TEXT_FILE = Path("it"), Path("text.txt")
ENTRY = "lmsuite-counts"
ORDER = 2
COMMANDS_EVERY = 10
COMMANDS = (
    ("train", "ngram", "--counts", str(FILE), "--n", str(ORDER), "--valid", str(TEXT_FILE)),
    ("train", "ngram", "--counts", str(FILE), str(FILE), "--n", "1", "--min-count", "2"),
    ("count", str(TEXT_FILE), "--like", "./it.counts", "-o", "made.counts"),
)
WORDS = (
    *(b"<s>", b"</s>", b"<unk>", b"the", b"zebra", b"\xff", b"\xed\xa0\x80", b"\0", b"", b"a b"),
    *(b"<0x20>", b"<0x0A>", b"a" * 5000, b"\xc2\x85", b"\xe2\x80\xa8", b"\x1b[2J", b"\xef\xbb\xbf"),
)
NUMBERS = (
    *(b"0", b"1", b"2", b"-1", b"1.5", b"1e3", b"", b"007", b"9" * 15, b"9" * 16, b"9" * 5000),
    *(b"1_0", b"+1", "\u0661".encode(), b"nan", b"99"),
)


def target(data: bytes) -> None:
    """Read the counts and do with them what the commands would."""
    FILE.write_bytes(data)
    choice = zlib.crc32(data)
    if choice % COMMANDS_EVERY == 0:
        TEXT_FILE.write_text(OTHER, encoding="utf-8")
        FILE.with_suffix(".counts").write_bytes(data)
        ended = lm(COMMANDS[choice // COMMANDS_EVERY % len(COMMANDS)])
        assert "not enough memory" not in ended.err, ended.err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TextWarning)
        counts = read_counts(FILE, {}, None)
        smoothing = ("modified-kneser-ney", "katz", "stupid-backoff")[choice % 3]
        together = joined([counts, counts][: 1 + choice % 2], ORDER, {})
        use(fit_counts(together, NgramSettings(order=ORDER, smoothing=smoothing)))


@cache
def sound_files() -> tuple[bytes, ...]:
    """Counts of streams and lines, in files and as text."""
    return tuple(_sound_files())


def _sound_files() -> Iterator[bytes]:
    for boundaries in (Boundaries.STREAM, Boundaries.LINES):
        encoder, ids = TextEncoder.train(TEXT, TextSettings(boundaries=boundaries))
        counts = count_ngrams(
            ids, len(encoder.vocabulary), ORDER, sentences=boundaries.has_sequences
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "it.counts"
            save_counts(
                path,
                TextCounts.of(
                    LongestNgrams.of(counts), TEXT, encoder, ids, grows=True, name="a text"
                ),
            )
            yield path.read_bytes()
        lines = list(count_lines(listed_ngrams(counts), encoder.vocabulary.tokens))
        yield _written(lines)
        yield gzip.compress(_written([line for line in lines if " " in line[0]]), mtime=0)


def _written(lines: list[tuple[str, int]]) -> bytes:
    return "".join(f"{ngram}\t{count}\n" for ngram, count in lines).encode()


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Sound files with damage of every kind."""
    files = sound_files()
    ours = [Safetensors.parsed(data, ENTRY) for data in files if data[8:9] == b"{"]
    lists = [data for data in files if b"\t" in data and data[8:9] != b"{"]
    big = bombs()
    while True:
        kind = rng.random()
        if kind < 0.2:
            yield damaged(rng, rng.choice(files), files)
        elif kind < 0.202:
            yield rng.choice(big)
        elif kind < 0.6:
            yield _with_contents_damaged(rng, rng.choice(ours))
        else:
            yield _with_lines_damaged(rng, rng.choice(lists))


def _with_contents_damaged(rng: Random, file: Safetensors) -> bytes:
    kind = rng.random()
    if kind < 0.7:
        file = with_damaged_arrays(rng, file)
    else:
        file = file.copy()
        file.metadata = edited(rng, file.metadata)
    told = with_lies(rng, file.described()) if rng.random() < 0.1 else None
    if isinstance(file.metadata, dict) and rng.random() < 0.95:
        file.metadata["checksum"] = file.checksum()
    return file.built(told=told)


def _with_lines_damaged(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(lines))
        ngram, _, count = lines[place].rpartition(b"\t")
        kind = rng.random()
        if kind < 0.3:
            words = ngram.split(b" ")
            words[rng.randrange(len(words))] = rng.choice(WORDS)
            lines[place] = b" ".join(words) + b"\t" + count
        elif kind < 0.6:
            lines[place] = ngram + b"\t" + rng.choice(NUMBERS)
        elif kind < 0.7 and len(lines) > 1:
            del lines[place]
        elif kind < 0.9:
            more = [rng.choice(WORDS) for _ in range(rng.choice((1, 2, 3)))]
            lines.insert(place, b" ".join(more) + b"\t" + rng.choice(NUMBERS))
        else:
            lines[place] = lines[place].replace(b"\t", rng.choice((b" ", b"\v", b"\r", b"")))
    return b"\n".join(lines)


@cache
def bombs() -> tuple[bytes, ...]:
    """Small files that would take all memory or all time, if they were believed."""
    long = b" ".join(b"%x" % k for k in range(150_000))
    return (
        long + b" 1\n",
        b"".join(b"%x 1\n" % k for k in range(110_000)),
        b"".join(b"%s %d 1\n" % (b"a " * 31, k) for k in range(13_000)),
        b"a " + b"9" * 900_000 + b"\n",
        b"\n" * 900_000,
        packed_again(b"a 1\n", b"a a 1\n" * (1 << 20), 100),
    )


if __name__ == "__main__":
    main("counts", target, make_inputs)
