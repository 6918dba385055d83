"""ARPA files: KenLM's, SRILM's, ours, and damaged ones."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmsuite.errors import ModelFileError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel
from lmsuite.ngram.arpa import escaped, read_arpa, unescaped
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import UNK

Entries = dict[str, tuple[float, float]]

TEXT = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"

SMALL = r"""
\data\
ngram 1=5
ngram 2=4
ngram 3=1

\1-grams:
-1.0	<unk>
-99	<s>	-0.3
-0.6	</s>
-0.5	a	-0.2
-0.4	b	-0.1

\2-grams:
-0.2	<s> a	-0.05
-0.3	a b	-0.04
-0.6	b a
-0.7	b </s>

\3-grams:
-0.1	<s> a b

\end\
"""


def exported(model: NgramModel) -> bytes:
    stream = io.BytesIO()
    model.to_arpa(stream)
    return stream.getvalue()


def imported(data: bytes | str, folder: Path) -> NgramModel:
    path = folder / "model.arpa"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return NgramModel.from_arpa(path)


def entries(data: bytes) -> Entries:
    split = [line.split("\t") for line in data.decode().splitlines() if "\t" in line]
    return {row[1]: (float(row[0]), float(row[2]) if len(row) > 2 else 0.0) for row in split}


def full_scores(path: Path, text: str) -> list[tuple[float, int, bool]]:
    kenlm = pytest.importorskip("kenlm", reason="the kenlm package does not build here")
    model = kenlm.Model(str(path))
    return [score for line in text.splitlines() for score in model.full_scores(line)]


def assert_same_scores(model: NgramModel, path: Path, text: str) -> None:
    theirs = full_scores(path, text)
    ids = model.encoder.encode(text)
    np.testing.assert_allclose(model.score(ids) / np.log(10), [s[0] for s in theirs], atol=2e-6)
    assert model.matched_orders(ids).tolist() == [s[1] for s in theirs]
    assert (ids[ids != 1] == UNK).tolist() == [s[2] for s in theirs]


def test_every_entry_is_that_of_lmplz(shared: Path, fit: Any) -> None:
    text = (shared / "reference" / "small.words.txt").read_text("utf-8")
    ours = entries(exported(fit(text, lines=True, order=3)))
    theirs = entries((shared / "reference" / "small.kenlm.3.arpa").read_bytes())
    assert ours.keys() == theirs.keys()
    for ngram, values in theirs.items():
        assert ours[ngram] == pytest.approx(values, abs=1e-5), ngram


def test_kenlm_reads_our_files_and_gives_our_scores(shared: Path, tmp_path: Path, fit: Any) -> None:
    text = (shared / "corpora" / "tinyshakespeare" / "valid.words.txt").read_text("utf-8")
    learned, rest = text[:60_000], text[60_000:].split("\n", 1)[1]
    for order in (2, 5):
        model = fit(learned, lines=True, order=order)
        path = tmp_path / f"{order}.arpa"
        path.write_bytes(exported(model))
        assert_same_scores(model, path, rest)


def test_we_read_kenlms_file_and_give_its_scores(shared: Path) -> None:
    path = shared / "reference" / "small.kenlm.3.arpa"
    model = NgramModel.from_arpa(path)
    assert model.encoder.boundaries is Boundaries.LINES
    folder = shared / "corpora" / "tinyshakespeare"
    assert_same_scores(model, path, (folder / "valid.words.txt").read_text("utf-8")[:20_000])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("lines", [True, False])
def test_export_then_import_changes_nothing(
    fit: Any, tmp_path: Path, smoothing: str, lines: bool
) -> None:
    model = fit(TEXT, lines=lines, order=3, smoothing=smoothing)
    again = imported(exported(model), tmp_path)
    assert again.encoder.vocabulary == model.encoder.vocabulary
    assert again.encoder.boundaries == model.encoder.boundaries
    for name, array in model.table.arrays().items():
        np.testing.assert_array_equal(array, again.table.arrays()[name], err_msg=name)


def test_gzipped_files_are_read_as_they_are(fit: Any, tmp_path: Path) -> None:
    model = fit(TEXT, lines=True)
    again = imported(gzip.compress(exported(model)), tmp_path)
    assert again.table.sizes == model.table.sizes


def test_white_space_in_tokens_is_escaped() -> None:
    assert escaped("a b\n") == "a<0x20>b<0x0A>"
    assert unescaped("a<0x20>b<0x0A><0x41>") == "a b\n<0x41>"


def test_tokens_that_would_be_written_alike_are_refused(fit: Any) -> None:
    with pytest.raises(ModelFileError, match="<0x0A>"):
        exported(fit("a <0x0A>\nb\n", order=1))


def test_srilm_style(tmp_path: Path) -> None:
    text = r"""
made by hand

\data\
ngram  1 = 4
ngram  2 = 3

\1-grams:
-99   <s>	-0.30103
-0.5  </s>
  -0.4	 a  -0.2
-0.6	b

\2-grams:
-0.1	<s> a
-0.2	a b
-0.7	b </s>

\end\
"""
    model = imported(text, tmp_path)
    assert model.encoder.vocabulary.tokens == ("<unk>", "<s>", "</s>", "a", "b")
    scores = model.score(model.encoder.encode("a b a c\n")) / np.log(10)
    # <s> a, a b, b backs off (no weight: 0) to a, a (-0.2) to the unknown c, which is impossible.
    np.testing.assert_allclose(scores, [-0.1, -0.2, -0.4, -np.inf, -0.5], atol=1e-6)


def test_missing_prefixes_and_suffixes_are_backed_off_to(tmp_path: Path) -> None:
    # "b a b" has neither its suffix "a b" nor, below it, anything but unigrams; "x y" is as if
    # it stood there with p(y) b(x).
    text = SMALL.replace("ngram 2=4", "ngram 2=2").replace("ngram 3=1", "ngram 3=2")
    text = text.replace("-0.3\ta b\t-0.04\n", "").replace("-0.6\tb a\n", "")
    text = text.replace("-0.1\t<s> a b\n", "-0.1\t<s> a b\n-0.05\tb a b\n")
    model = imported(text, tmp_path)
    assert model.table.sizes == (5, 4, 2)
    scores = model.score(model.encoder.encode("b a b b\n")) / np.log(10)
    # b: -0.3 - 0.4; b a: b(b) p(a) = -0.1 - 0.5; b a b; a b b: b(ab)=0, b(b) p(b); b </s>
    np.testing.assert_allclose(scores, [-0.7, -0.6, -0.05, -0.5, -0.7], atol=1e-6)


def test_kenlm_gives_a_file_without_some_suffixes_the_same_scores(
    shared: Path, tmp_path: Path, fit: Any
) -> None:
    text = (shared / "reference" / "small.words.txt").read_text("utf-8")
    lines = exported(fit(text, lines=True, order=3)).decode().splitlines()
    bigrams = {row.split("\t")[1]: row for row in lines if row.count("\t") == 2 and " " in row}
    trigrams = [line.split("\t")[1].split() for line in lines if line.count(" ") == 2]
    beginnings = {" ".join(words[:2]) for words in trigrams}
    endings = {" ".join(words[1:]) for words in trigrams}
    dropped = sorted((endings - beginnings) & bigrams.keys())[:20]
    assert len(dropped) == 20
    for bigram in dropped:
        lines.remove(bigrams[bigram])
    path = tmp_path / "pruned.arpa"
    header = f"ngram 2={len(bigrams)}"
    assert header in lines
    lines[lines.index(header)] = f"ngram 2={len(bigrams) - 20}"
    path.write_text("\n".join(lines) + "\n")
    model = NgramModel.from_arpa(path)
    assert model.table.sizes[1] > len(bigrams) - 20
    ids = model.encoder.encode(text)
    theirs = [score for score, _, _ in full_scores(path, text)]
    np.testing.assert_allclose(model.score(ids) / np.log(10), theirs, atol=2e-6)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("\\data\\", "data", 1, "not an ARPA file"),
        ("ngram 1=5", "ngram 1=4", 7, r"5 1-grams follow, but line 3 announces 4"),
        ("ngram 2=4", "ngram 2=999999999999999", 14, "4 2-grams follow, but line 4"),
        ("ngram 2=4\n", "", 4, "'ngram 2=...' should stand here"),
        ("ngram 1=5\nngram 2=4\nngram 3=1\n", "", 2, "no 'ngram 1=...'"),
        ("\\2-grams:", "\\3-grams:", 14, r"\\2-grams: should stand here"),
        ("\\end\\\n", "", 23, r"ends here without \\end\\"),
        ("-0.3\ta b", "-0.3\tb a", 17, "twice"),
        ("-0.5\ta", "-0.5\tb", 12, "the file has the unigram 'b' twice"),
        ("-0.3\ta b", "nan\ta b", 16, "'nan' is not a log10 probability"),
        ("-0.3\ta b", "inf\ta b", 16, "'inf' is not a log10 probability"),
        ("-0.3\ta b", "x\ta b", 16, "'x' is not a log10 probability"),
        ("-0.3\ta b", "0.3\ta b", 16, "above 0"),
        ("a b\t-0.04", "a b\tlow", 16, "'low' is not a back-off weight"),
        ("a b\t-0.04", "a b\t153", 16, "back-off weight is too large"),
        ("-0.3\ta b", "-0.3\ta c", 16, "'c' is not among the unigrams"),
        ("-0.3\ta b\t-0.04", "-0.3\ta b b -0.04", 16, "2 words"),
        ("-0.1\t<s> a b", "-0.1\t<s> a b\t-1", 21, "highest order"),
        ("-0.5\ta", "-0.5\t\udcff", 11, "UTF-8"),
    ],
)
def test_malformed_files_are_refused_by_line(
    old: str, new: str, line: int, message: str, tmp_path: Path
) -> None:
    assert SMALL.count(old) >= 1
    data = SMALL.replace(old, new, 1).encode("utf-8", "surrogateescape")
    with pytest.raises(ModelFileError, match=message) as error:
        imported(data, tmp_path)
    assert f"model.arpa, line {line}:" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_cut_anywhere_is_refused() -> None:
    whole = SMALL.encode()
    end = whole.index(b"\\end\\") + len(b"\\end\\")
    assert read_arpa(whole[:end], "x").table.sizes == (5, 4, 1)
    for cut in range(end):
        with pytest.raises(ModelFileError):
            read_arpa(whole[:cut], "x")


def test_other_formats_are_recognised(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="binary of KenLM"):
        imported(b"mmap lm http://kheafield.com/code format version 5\n\0", tmp_path)
    with pytest.raises(ModelFileError, match="gzip"):
        imported(gzip.compress(SMALL.encode())[:-9], tmp_path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        NgramModel.from_arpa(tmp_path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        NgramModel.from_arpa(tmp_path / "none.arpa")
