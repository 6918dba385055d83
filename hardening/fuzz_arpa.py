"""Fuzz ARPA files, packed by gzip or not: a damaged one is refused, with its line, or works.

    python -m hardening.fuzz_arpa --runs 100000 --seed 1

A model that is read is used as the commands use it. Then it is written and read again, and must be
the same. One input in ten goes through the commands themselves.
"""

from __future__ import annotations

import gzip
import io
import string
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from hardening.fuzz_models import OTHER, TEXT, use
from hardening.fuzzing import main
from hardening.in_process import lm
from hardening.mutators import damaged, packed_again
from lmsuite.errors import LmError
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.ngram.arpa import escaped
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

PLAIN, PACKED, AGAIN, TEXT_FILE = "m.arpa", "m.arpa.gz", "again.arpa", "text.txt"
COMMANDS_EVERY = 10
LONG = 100_000  # bytes; what takes a second to read is not read twice
COMMANDS = (
    ("convert", "made.safetensors"),
    ("convert", "made.arpa.gz"),
    ("info",),
    ("check",),
    ("score", TEXT_FILE),
    ("eval", "--text", TEXT_FILE),
    ("sample", "the", "--max-tokens", "5", "--seed", "1"),
    ("explain", "the cat"),
)
NUMBERS = (
    *("0", "-0", "-1", "1", "-99", "-98.9999", "-100", "99", "1e3", "-1e400", "1e400", "1e39"),
    *("3.5e38", "-3.5e38", "1e308", "1.7e308", "-1e-400", "nan", "inf", "-inf", "infinity", "1_0"),
    *("-1.", ".5", "-.5", "0x10", "1e", "--1", "-1,5", "\u0661", "", "-" * 400, "9" * 5000, "-0.3"),
)
WORDS = (
    *(b"<s>", b"</s>", b"<unk>", b"<UNK>", b"the", b"zebra", b"\xff", b"\xed\xa0\x80", b"\0", b""),
    *(b"<0x20>", b"<0x00>", b"<0x0A>", b"\\end\\", b"\\data\\", b"\\1-grams:", b"a" * 5000, b"-1"),
    *("\u2028".encode(), "\u00a0".encode(), "\ufeff".encode(), "é".encode(), b"\x1b[2J", b"\x85"),
)


def target(data: bytes) -> None:
    """Read the ARPA file and do with it what the commands would."""
    name = PACKED if data[:2] == b"\x1f\x8b" else PLAIN
    path = Path(name)
    path.write_bytes(data)
    choice = zlib.crc32(data)
    if choice % COMMANDS_EVERY == 0:
        Path(TEXT_FILE).write_text(OTHER, encoding="utf-8")
        command, *rest = COMMANDS[choice // COMMANDS_EVERY % len(COMMANDS)]
        ended = lm((command, name, *rest))
        assert "not enough memory" not in ended.err, ended.err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = NgramModel.from_arpa(path)
        use(model)
        if len(data) < LONG:
            _come_again(model)


def _come_again(model: NgramModel) -> None:
    """Write the model and read it: it must be the same, unless it says that it cannot be written.

    A word that the file gave no probability and no longer n-gram is one without meaning.
    """
    with Path(AGAIN).open("wb") as stream:
        try:
            model.to_arpa(stream)
        except LmError:
            return
    again = NgramModel.from_arpa(Path(AGAIN))
    # A NUL in a word is written as white space is, which is restored in streams alone.
    escapes = [list(map(escaped, each.encoder.vocabulary.tokens)) for each in (again, model)]
    assert escapes[0] == escapes[1]
    ids = model.encoder.encode(OTHER)
    assert np.array_equal(again.score(ids), model.score(ids)), "another model after writing"


@cache
def sound_files() -> tuple[bytes, ...]:
    """ARPA files of streams and of lines, of our own making and as others write them."""
    lines, line_ids = TextEncoder.train(TEXT, TextSettings(boundaries=Boundaries.LINES))
    stream, ids = TextEncoder.train(TEXT, TextSettings())
    models = (
        NgramModel.fit(lines, line_ids, NgramSettings(order=3)),
        NgramModel.fit(lines, line_ids, NgramSettings(order=1, smoothing="mle")),
        NgramModel.fit(stream, ids, NgramSettings(order=2, smoothing="witten-bell")),
        NgramModel.fit(lines, line_ids[:40], NgramSettings(order=5, smoothing="witten-bell")),
    )
    written = []
    for model in models:
        into = io.BytesIO()
        model.to_arpa(into)
        written.append(into.getvalue())
    return *written, _PRUNED, gzip.compress(written[0], mtime=0)


_PRUNED = rb"""made by hand, as SRILM prunes: what longer n-grams begin and end with is not there

\data\
ngram 1=5
ngram 2=1
ngram 3=2

\1-grams:
-0.7	<UNK>
-99	<s>	-0.2
-0.5	the	-0.3
-0.6	cat
-0.9	</s>

\2-grams:
-0.2	<s> the	-0.1

\3-grams:
-0.3	the cat </s>
-0.1	<s> the cat

\end\
"""


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Sound files with damage of every kind."""
    files = sound_files()
    plain = [data for data in files if data[:2] != b"\x1f\x8b"]
    big = bombs()
    while True:
        kind = rng.random()
        if kind < 0.25:
            yield damaged(rng, rng.choice(files), plain)
        elif kind < 0.251:
            yield rng.choice(big)
        else:
            data = _with_lines_damaged(rng, rng.choice(plain))
            if rng.random() < 0.5:
                data = _with_counts_right(data)
            packed = rng.random() < 0.05
            yield gzip.compress(data, 1, mtime=0) if packed else data


def _with_lines_damaged(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(lines))
        kind = rng.random()
        if kind < 0.5:
            lines[place] = _line(rng, lines[place])
        elif kind < 0.6:
            del lines[place]
        elif kind < 0.7:
            lines.insert(rng.randint(0, len(lines)), lines[place])
        elif kind < 0.8:
            other = rng.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        elif kind < 0.9:
            section = [at for at, line in enumerate(lines) if line.count(b"\t")]
            if section:
                at = rng.choice(section)
                words = [rng.choice(WORDS) for _ in range(rng.choice((1, 2, 3)))]
                lines.insert(at, b"\t".join((_number(rng), b" ".join(words), _number(rng))))
        else:
            lines[place] = lines[place].replace(b"\t", rng.choice((b" ", b"  ", b"\v", b"\r", b"")))
        if not lines:
            return b""
    ending = b"\r\n" if rng.random() < 0.03 else b"\n"
    return ending.join(lines)


def _line(rng: Random, line: bytes) -> bytes:
    if line.startswith(b"ngram "):
        order, _, count = line[6:].partition(b"=")
        number = rng.choice(
            (b"0", b"-1", b"999999999999", b"1" + b"0" * 17, b"9" * 30, count + b"0")
        )
        return rng.choice((b"ngram %s=%s" % (order, number), b"ngram %s=%s" % (number, count)))
    fields = line.split(b"\t")
    if len(fields) == 1:
        pieces = (b"\\%d-grams:" % rng.randint(0, 12), b"\\end\\", b"\\data\\", b"\\", b"x", b"")
        return rng.choice(pieces)
    place = rng.randrange(len(fields))
    if place == 1:
        words = fields[1].split(b" ")
        words[rng.randrange(len(words))] = rng.choice(WORDS)
        fields[1] = b" ".join(words)
    else:
        fields[place] = _number(rng)
    return b"\t".join(fields)


def _number(rng: Random) -> bytes:
    return rng.choice(NUMBERS).encode()


def _with_counts_right(data: bytes) -> bytes:
    """The file with the counts in its head that its sections have."""
    lines, order = data.split(b"\n"), 0
    counts: dict[int, int] = {}
    for line in lines:
        mark = line.strip()
        if mark.startswith(b"\\"):
            digits = mark[1:].split(b"-")[0]
            is_section = mark.endswith(b"-grams:") and digits.isdigit() and len(digits) < 5
            order = int(digits) if is_section else 0
            if order:
                counts[order] = 0
        elif mark and order:
            counts[order] += 1
    for at, line in enumerate(lines):
        if line.startswith(b"ngram "):
            number = line[6:].partition(b"=")[0].strip()
            if number.isdigit() and len(number) < 5:
                lines[at] = b"ngram %s=%d" % (number, counts.get(int(number), 0))
    return b"\n".join(lines)


@cache
def bombs() -> tuple[bytes, ...]:
    """Small files that would take all memory or all time, if they were believed."""
    return tuple(_bombs())


def _bombs() -> Iterator[bytes]:
    for order, distinct in ((30, True), (90, True), (400, True), (1200, False), (1200, True)):
        yield one_long(order, order if distinct else 1)
    yield _arpa([[f"-1\tw{k}\t-0.1" for k in range(400)], *[[] for _ in range(25_000)]])
    every = [["-0.5 a -0.5"]] + [[f"-0.5 {' '.join('a' * n)} -0.5"] for n in range(2, 900)]
    every[-1] = [f"-0.5 {' '.join('a' * 899)}"]
    yield _arpa(every)
    letters = [a + b for a in string.ascii_letters for b in string.ascii_letters]
    rng = Random(1)
    long = [" ".join(rng.choices(letters, k=80)) for _ in range(4000)]
    yield _arpa([[f"-3 {word} -1" for word in letters], *[[] for _ in range(78)], _numbered(long)])
    for order in (5, 6, 20):
        rows = [" ".join(rng.choices(letters, k=order)) for _ in range(290_000 // (order + 1))]
        empty: list[list[str]] = [[] for _ in range(order - 2)]
        yield _arpa([[f"-3 {word} -1" for word in letters], *empty, _numbered(rows)])
    yield _arpa([[f"-6 {k:x}" for k in range(110_000)]])
    yield b"\\data\\\n" + b"ngram 1=999999999999\nngram 2=1000000000000\n\\1-grams:\n\\end\\\n"
    yield b"\\data\\\n" + b"".join(b"ngram %d=999999999999\n" % n for n in range(1, 30_000))
    yield b"\\\n" * 400_000
    yield b"\\data\\\nngram 1=1\n\\1-grams:\n" + b"-1 " * 300_000 + b"\n\\end\\\n"
    yield b"\\data\\\nngram 1=1\n\\1-grams:\n-" + b"1" * 900_000 + b" a\n\\end\\\n"
    yield packed_again(b"\\data\\\n", b"\n" * (1 << 24), 60)


def _numbered(ngrams: list[str]) -> list[str]:
    return [f"-1 {ngram}" for ngram in dict.fromkeys(ngrams)]


def one_long(order: int, words: int) -> bytes:
    """A file of one n-gram of this order, of so many different words; all shorter ones missing."""
    every = [f"w{k % words}" for k in range(order)]
    sections = [[f"-1 w{k} -0.1" for k in range(words)], *[[] for _ in range(order - 2)]]
    return _arpa([*sections, [f"-1 {' '.join(every)}"]])


def _arpa(sections: list[list[str]]) -> bytes:
    lines = ["\\data\\", *(f"ngram {n}={len(rows)}" for n, rows in enumerate(sections, start=1))]
    for n, rows in enumerate(sections, start=1):
        lines += ["", f"\\{n}-grams:", *rows]
    return "\n".join([*lines, "", "\\end\\", ""]).encode()


if __name__ == "__main__":
    main("ARPA files", target, make_inputs)
