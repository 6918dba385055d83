"""Files of counts: saved, opened again, damaged, foreign."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lmsuite.errors import LmError, ModelFileError, UsageError
from lmsuite.files.header import read_header
from lmsuite.files.tensors import checksum, mapped, write
from lmsuite.ngram.count_files import is_counts_file, open_counts, read_counts, save_counts
from lmsuite.ngram.counting import count_ngrams
from lmsuite.ngram.longest import LongestNgrams
from lmsuite.ngram.text_counts import TextCounts
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.types import Array

ENTRY = "lmsuite-counts"


@pytest.fixture
def counts() -> TextCounts:
    text = "a b\na b c"
    encoder, ids = TextEncoder.train(text, TextSettings(tokenizer="word"))
    counts = count_ngrams(ids, len(encoder.vocabulary), 3, sentences=False)
    return TextCounts.of(LongestNgrams.of(counts), text, encoder, ids, grows=True, name="a text")


@pytest.fixture
def path(tmp_path: Path, counts: TextCounts) -> Path:
    save_counts(tmp_path / "it.counts", counts, corpus_sha256="0" * 64, command="lm count")
    return tmp_path / "it.counts"


def rewritten(path: Path, said: dict[str, object], **changed: Array) -> None:
    """The file with other entries and arrays, and the right checksum."""
    header = read_header(path)
    arrays = {name: np.array(array) for name, array in mapped(path, header).items()} | changed
    document = json.loads(header.metadata[ENTRY]) | {"checksum": checksum(arrays)} | said
    with path.open("wb") as stream:
        write(stream, arrays, {ENTRY: json.dumps(document)})


def test_opened_counts_are_those_that_were_saved(path: Path, counts: TextCounts) -> None:
    found = open_counts(path)
    assert (found.name, found.grows, found.is_open) == (str(path), True, True)
    assert found.encoder.fingerprint() == counts.encoder.fingerprint()
    assert np.array_equal(found.longest.ngrams, counts.longest.ngrams)
    assert np.array_equal(found.longest.count, counts.longest.count)
    assert found.longest.count.dtype == np.int64
    assert found.head.tolist() == counts.head.tolist()
    assert found.tail.tolist() == counts.tail.tolist()


def test_the_file_says_of_what_it_is(path: Path) -> None:
    said = json.loads(read_header(path).metadata[ENTRY])
    assert said["corpus"] == "a text" and said["corpus_sha256"] == "0" * 64
    assert said["command"] == "lm count" and said["format"] == 1
    assert said["text"]["boundaries"] == "stream"


def test_a_file_is_known_by_its_beginning_or_name(path: Path, tmp_path: Path) -> None:
    renamed, lines = tmp_path / "renamed", tmp_path / "counts.tsv"
    renamed.write_bytes(path.read_bytes())
    lines.write_bytes(b"a 1\nb 1\n")
    assert is_counts_file(renamed) and is_counts_file(tmp_path / "missing.counts")
    assert not is_counts_file(lines) and not is_counts_file(tmp_path / "missing")
    assert read_counts(renamed, {}, None).longest.order == 3
    assert read_counts(lines, {}, None).encoder.tokenizer.name == "whitespace"


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_file_cut_short_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelFileError, match=r"it\.counts (is empty|is no file of counts|was cut)"):
        open_counts(path)


def test_every_byte_counts(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="checksum"):
        open_counts(path)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"format": 2}, "newer lmsuite"),
        ({"format": "1"}, "damaged record"),
        ({"grows": 1}, "damaged record"),
        ({"surprise": 1}, "'surprise' is unknown"),
        ({"text": {}}, "cannot be used"),
        ({"text": {"tokenizer": {"name": "word"}, "boundaries": "pages"}}, "cannot be used"),
    ],
)
def test_a_record_that_says_nonsense_is_refused(
    path: Path, said: dict[str, object], reason: str
) -> None:
    rewritten(path, said)
    with pytest.raises(ModelFileError, match=reason):
        open_counts(path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ngrams": np.zeros((2, 3), np.int64)}, "'ngrams' is missing or is not int32"),
        ({"ngrams": np.zeros(3, np.int32)}, "not rows of 1 to 32 words"),
        ({"ngrams": np.zeros((1, 33), np.int32)}, "not rows of 1 to 32 words"),
        ({"count": np.ones(1, np.int64)}, "one count above 0 for each"),
        ({"count": np.zeros(6, np.int64)}, "one count above 0 for each"),
        ({"ngrams": np.full((6, 3), 99, np.int32)}, "outside the vocabulary"),
        ({"ngrams": np.full((6, 3), -2, np.int32)}, "outside the vocabulary"),
        ({"ngrams": np.array([[3, -1, 3]] * 6, np.int32)}, "goes on after the end"),
        ({"ngrams": np.array([[3, 1, 3]] * 6, np.int32)}, "goes on after the end"),
        ({"ngrams": np.array([[3, 2, -1]] * 6, np.int32)}, "a stream, but has"),
        ({"head": np.zeros(3, np.int32)}, "longer than its n-grams"),
        ({"tail": np.array([-1], np.int32)}, "outside the vocabulary"),
    ],
)
def test_arrays_that_are_no_counts_are_refused(
    path: Path, counts: TextCounts, changed: dict[str, Array], reason: str
) -> None:
    assert len(counts.longest.count) == 6
    rewritten(path, {}, **changed)
    with pytest.raises(ModelFileError, match=reason):
        open_counts(path)


def test_what_is_not_of_counts_is_refused_by_what_it_is(path: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    with model.open("wb") as stream:
        write(stream, {}, {"lmsuite": "{}"})
    with pytest.raises(ModelFileError, match="but none of counts"):
        read_counts(model, {}, None)
    with pytest.raises(LmError, match="no such file"):
        read_counts(tmp_path / "missing", {}, None)


@pytest.mark.parametrize(
    "chosen", [{"tokenizer": "char"}, {"boundaries": Boundaries.LINES}], ids=["tokens", "lines"]
)
def test_the_file_says_how_text_is_read(path: Path, chosen: dict[str, object]) -> None:
    assert read_counts(path, {"tokenizer": "word", "boundaries": "stream"}, None).grows
    with pytest.raises(UsageError, match="leave that choice out"):
        read_counts(path, chosen, None)
