"""Texts in the forms they come in, damaged: JSON lines, CSV, TSV, Parquet, compressed streams.

    python -m hardening.fuzz_forms --runs 100000 --seed 1

An input's first byte is its form, the second how it is read; the rest is the file. What is accepted
is a text that is the same in lines and in documents, and whose records are the same each by itself.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the others reserve gigabytes

import pyarrow
import zstandard
from pyarrow import parquet

from hardening.fuzzing import main
from hardening.in_process import lm
from hardening.mutators import damaged, dumped, json_value, packed_again
from hardening.texts import raw
from lmsuite.files.plain import DOCUMENT_END
from lmsuite.sources.corpus import read_corpus

NAMES = ("text.jsonl", "text.csv", "text.tsv", "text.parquet", "text.txt")
COMMANDS_EVERY = 40
_RECORDS = ("to be or not to be", "", 'that is "the" question,\nsaid he', "é\tor <s> é", "\x1e")


def target(data: bytes) -> None:
    """Read the file, in lines and in documents."""
    form, how = (data + bytes(2))[:2]
    name = NAMES[form % len(NAMES)]
    Path(name).write_bytes(data[2:])
    tempfile.tempdir = str(Path.cwd())  # where tables that are compressed are unpacked
    reading = {
        "errors": "replace" if how & 1 else "strict",
        "encoding": ("utf-8", "utf-16", "latin-1", "cp1252")[how >> 1 & 3] if how & 8 else "utf-8",
        "field": "text" if how & 48 else "n",
        "delimiter": "" if how & 64 else None,
    }
    if how % COMMANDS_EVERY == 0:
        lm(["corpus", "show", name, "--json"])
    lines = read_corpus(name, **reading)
    documents = read_corpus(name, documents=True, **reading)
    assert lines.origin.files == documents.origin.files
    assert len(lines.text) == len(documents.text)
    again = lines.text.replace(DOCUMENT_END, " ")
    assert documents.text.replace(DOCUMENT_END, "\n") == again


def as_jsonl(records: Sequence[object]) -> bytes:
    """The records as objects of JSON."""
    return "".join(f"{dumped({'n': n, 'text': each})}\n" for n, each in enumerate(records)).encode()


def as_csv(records: Sequence[object]) -> bytes:
    """The records as a table of commas."""
    stream = io.StringIO()
    rows = [("text", "n"), *((each, n) for n, each in enumerate(records))]
    csv.writer(stream).writerows(rows)
    return stream.getvalue().encode("utf-8", "replace")


def as_tsv(records: Sequence[object]) -> bytes:
    """The records as a table of tabs."""
    rows = ["text\tn", *(f"{' '.join(str(each).split())}\t{n}" for n, each in enumerate(records))]
    return "".join(f"{row}\n" for row in rows).encode("utf-8", "replace")


def as_parquet(records: Sequence[object], rng: Random) -> bytes:
    """The records as a table of Parquet, in one of its codings."""
    column = pyarrow.array([str(each).encode("utf-8", "replace").decode() for each in records])
    if rng.random() < 0.3:
        column = column.cast(pyarrow.large_string())
    if rng.random() < 0.3:
        column = column.dictionary_encode()
    stream = io.BytesIO()
    parquet.write_table(
        pyarrow.table({"text": column, "n": range(len(records))}),
        stream,
        compression=rng.choice(("none", "snappy", "gzip", "zstd", "brotli", "lz4")),
        use_dictionary=rng.random() < 0.5,
        row_group_size=rng.choice((1, 3, 1000)),
        data_page_version=rng.choice(("1.0", "2.0")),
    )
    return stream.getvalue()


def plain(records: Sequence[object]) -> bytes:
    """The records as lines."""
    return "".join(f"{each}\n" for each in records).encode("utf-8", "replace")


PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    gzip.compress,
    bz2.compress,
    lzma.compress,
    zstandard.compress,
    zstandard.ZstdCompressor(write_checksum=True).compress,
)


def make_inputs(rng: Random) -> Iterator[bytes]:
    """Sound files of every form, packed and not, and such with damage."""
    while True:
        form = rng.randrange(len(NAMES))
        how = rng.choice((16, rng.randrange(256)))
        if rng.random() < 0.001:
            form, content = rng.choice(bombs())
            yield bytes([form, 16]) + content
            continue
        content = _content(rng, form)
        if rng.random() < 0.6:
            content = damaged(rng, content)
        if rng.random() < 0.4:
            members = rng.choice((1, 1, 2, 3))
            cuts = sorted(rng.randint(0, len(content)) for _ in range(members - 1))
            parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
            pack = rng.choice(PACKERS)
            content = b"".join(map(pack, parts))
            if rng.random() < 0.5:
                content = damaged(rng, content, [rng.choice(PACKERS)(b"another")])
        yield bytes([form, how]) + content


def _content(rng: Random, form: int) -> bytes:
    records: list[object] = [rng.choice(_RECORDS) for _ in range(rng.choice((1, 2, 5, 40)))]
    if rng.random() < 0.3:
        records[rng.randrange(len(records))] = raw(rng, 20).decode("utf-8", "replace")
    if form == 0 and rng.random() < 0.3:
        records[rng.randrange(len(records))] = json_value(rng)
    if form == 3:
        return as_parquet(records, rng)
    if rng.random() < 0.05:
        return raw(rng)
    return (as_jsonl, as_csv, as_tsv, plain, plain)[form](records)


@cache
def bombs() -> tuple[tuple[int, bytes], ...]:
    """Small files that hold much: in members, in pages, in a line, in a number, in brackets."""
    empty = bytes(1 << 28)
    frame = zstandard.compress(empty)
    places = pyarrow.array([0] * 2000, pyarrow.int32())
    spaces = pyarrow.DictionaryArray.from_arrays(places, [" " * (1 << 20)])
    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": spaces}), table, compression="zstd")
    return (
        (4, frame * 400),  # a hundred gigabytes
        (0, frame * 400),
        (3, frame * 400),
        (4, packed_again(b"a\n", b"\n" * (1 << 24), 8)),
        (1, bz2.compress(bytes(80 << 20), 1)),
        (2, lzma.compress(bytes(80 << 20), preset=0)),
        (3, table.getvalue()),
        (0, b'{"text": ' + b"[" * 1_000_000),
        (0, b'{"text": ' + b"9" * 1_000_000 + b"}"),
        (0, json.dumps({str(n): n for n in range(100_000)}).encode()),
        (1, b"," * 2_000_000),
        (1, b'text\n"' + b"a\n" * 1_000_000),
        (2, b"\t" * 2_000_000 + b"\n" + b"\t" * 2_000_000),
    )


if __name__ == "__main__":
    main("forms", target, make_inputs)
