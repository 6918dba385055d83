"""Counts as text: what is written is read again; what is missing follows, or is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmsuite.errors import DataError, TextWarning, TrainingError, UsageError
from lmsuite.models.ngram import NgramSettings, fit_counts
from lmsuite.ngram.count_files import listed_counts
from lmsuite.ngram.count_lines import count_lines, listed_ngrams, read_count_lines
from lmsuite.ngram.counting import NgramCounts, count_ngrams
from lmsuite.ngram.text_counts import joined
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.types import IntArray

pieces = st.sampled_from(["a", "b", "c", "\n", "\n\n", "a b\n", "b a c\n"])
texts = st.lists(pieces, min_size=1, max_size=30).map(" ".join).filter(str.strip)
boundaries = st.sampled_from(Boundaries)


def encoded(text: str, boundaries: Boundaries) -> tuple[TextEncoder, IntArray]:
    return TextEncoder.train(text, TextSettings(tokenizer="whitespace", boundaries=boundaries))


def counts_of(text: str, order: int, boundaries: Boundaries) -> tuple[TextEncoder, NgramCounts]:
    encoder, ids = encoded(text, boundaries)
    sentences = boundaries.has_sequences
    return encoder, count_ngrams(ids, len(encoder.vocabulary), order, sentences=sentences)


def lines_of(
    counts: NgramCounts, tokens: Sequence[str], least: int = 1
) -> Iterator[tuple[str, int]]:
    return count_lines(listed_ngrams(counts), tokens, least)


def written(lines: Iterable[tuple[str, int]]) -> bytes:
    return "".join(f"{ngram}\t{count}\n" for ngram, count in lines).encode()


def read_again(data: bytes, order: int, boundaries: Boundaries) -> tuple[TextEncoder, NgramCounts]:
    listed = listed_counts(BytesIO(data), "counts.tsv", {"boundaries": boundaries}, None)
    together = joined([listed], order, {})
    return together.encoder, together.counts()


def assert_same(found: NgramCounts, expected: NgramCounts) -> None:
    for n, (ours, whole) in enumerate(zip(found.orders, expected.orders, strict=True), start=1):
        for name in ("prefix", "word", "suffix", "count"):
            assert np.array_equal(getattr(ours, name), getattr(whole, name)), (n, name)
        if n < found.order:
            assert np.array_equal(ours.openings, whole.openings)


def test_the_lines_of_a_small_text() -> None:
    encoder, counts = counts_of("b a\nb\n", 2, Boundaries.LINES)
    lines = written(lines_of(counts, encoder.vocabulary.tokens)).decode().splitlines()
    unigrams = ["<s>\t2", "</s>\t2", "b\t2", "a\t1"]
    assert lines == [*unigrams, "<s> b\t2", "b </s>\t1", "b a\t1", "a </s>\t1"]
    frequent = written(lines_of(counts, encoder.vocabulary.tokens, least=2)).decode()
    assert frequent.splitlines() == ["<s>\t2", "</s>\t2", "b\t2", "<s> b\t2"]


def test_white_space_in_a_word_is_written_as_its_code() -> None:
    encoder, counts = counts_of("a\n", 1, Boundaries.STREAM)
    data = written(lines_of(counts, encoder.vocabulary.tokens))
    assert data == b"<0x0A>\t1\na\t1\n"
    assert read_count_lines([data], "it").tokens[3:] == ("\n", "a")
    with pytest.raises(DataError, match="both be '<0x0A>'"):
        list(lines_of(counts, ["<unk>", "<s>", "</s>", "\n", "<0x0A>"]))


@settings(max_examples=50)
@given(texts, st.integers(1, 6), boundaries)
def test_what_is_written_is_read_again(text: str, order: int, boundaries: Boundaries) -> None:
    encoder, counts = counts_of(text, order, boundaries)
    assume(len(counts.orders[-1]))
    data = written(lines_of(counts, encoder.vocabulary.tokens))
    found_encoder, found = read_again(data, order, boundaries)
    assert found_encoder.fingerprint() == encoder.fingerprint()
    assert_same(found, counts)


@settings(max_examples=50)
@given(texts, st.integers(2, 5), st.integers(1, 4), boundaries)
def test_the_counts_of_lower_orders_follow_if_they_are_missing(
    text: str, order: int, fewest: int, boundaries: Boundaries
) -> None:
    """From the n-grams of `fewest` words or more, and sentences of fewer, as "<s> a </s>"."""
    encoder, counts = counts_of(text, order, boundaries)
    assume(len(counts.orders[-1]))
    fewest = min(fewest, order)
    lines = [
        (ngram, count)
        for ngram, count in lines_of(counts, encoder.vocabulary.tokens)
        if len(words := ngram.split()) >= fewest or (words[0] == "<s>" and words[-1] == "</s>")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextWarning)
        try:
            _, found = read_again(written(lines), order, boundaries)
        except DataError as error:  # a stream that ends with the words with which it begins
            ids = encoded(text, boundaries)[1].tolist()
            assert "where the text begins and ends" in str(error)
            assert not boundaries.has_sequences
            assert ids[: fewest - 1] == ids[len(ids) - fewest + 1 :]
            return
    assert_same(found, counts)


@settings(max_examples=50)
@given(texts, st.integers(1, 4), boundaries, st.integers(2, 3))
def test_without_rare_ngrams_there_is_a_model_all_the_same(
    text: str, order: int, boundaries: Boundaries, least: int
) -> None:
    """Of all orders, the frequent n-grams alone: every distribution sums to one."""
    end = boundaries.end
    encoder, counts = counts_of(f"{text}{end}" * least + text, order, boundaries)
    assume(counts.orders[-1].count.max(initial=0) >= least)
    data = written(lines_of(counts, encoder.vocabulary.tokens, least))
    found_encoder, found = read_again(data, order, boundaries)
    tokens = found_encoder.vocabulary.tokens
    lines = dict(lines_of(counts, encoder.vocabulary.tokens, least))
    lines.pop("<s>", None)
    again = dict(lines_of(found, tokens))
    again.pop("<s>", None)
    assert again == lines
    assume(np.count_nonzero(found.orders[0].count) > 1)
    listed = listed_counts(BytesIO(data), "counts.tsv", {"boundaries": boundaries}, None)
    model = fit_counts(joined([listed], order, {}), NgramSettings(order=order))
    state = model.start(1)
    for word in [3, len(tokens) - 1, 3]:
        total = np.exp(model.log_probs(state).astype(np.float64)).sum()
        assert total == pytest.approx(1, abs=1e-5)
        state = model.step(state, np.array([word]))


def test_lines_are_numbered_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsuite.ngram.count_lines._BLOCK", 8)
    listed = read_count_lines([b"a b 1\n\nb", b" c 2\nc a 1\n", b"a 1\nb 3", b"\nc 2"], "it")
    assert listed.longest.count.tolist() == [1, 1, 2, 1, 1]
    with pytest.raises(DataError, match="it, line 6: 'x'"):
        read_count_lines([b"a b 1\n\nb c 2\n", b"c a 1\na 1\nb x\n"], "it")


def test_sentences_too_short_for_the_order_are_taken_for_absent() -> None:
    with pytest.warns(TextWarning, match="no n-grams of fewer than 3 words"):
        listed = read_count_lines([b"<s> a </s> 2\n"], "it")
    assert listed.longest.count.tolist() == [2, 2, 2]


def test_fields_may_be_parted_by_any_space_and_equal_lines_are_added() -> None:
    listed = read_count_lines([b"\xef\xbb\xbfa  b 1\r\n\na\tb\t2\na 3\nb 3\n"], "it")
    assert listed.tokens[3:] == ("a", "b")
    assert listed.longest.ngrams.tolist() == [[3, 4], [4, -1]]
    assert listed.longest.count.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it has no counts"),
        (b"\n \n", "it has no counts"),
        (b"\xff\xfe 1\n", "is not UTF-8"),
        (b"a b 1\na b\n", "it, line 2: 'b' is no count, which is a whole number above 0"),
        (b"a 0\n", "line 1: '0' is no count"),
        (b"a 1.5\n", "line 1: '1.5' is no count"),
        (b"a -1\n", "line 1: '-1' is no count"),
        (b"a 99999999999999999999999\n", "line 1: '9999"),
        (
            b"a 1\n7\n",
            "line 2: an n-gram of 1 to 32 words and its count should stand here, not 1 fields",
        ),
        (b"a " * 40 + b"1\n", "should stand here, not 41 fields"),
        (b"a <s> 1\n", "'a <s>' has <s> after, or </s> before another word"),
        (b"a 2\na b 3\nb 3\n", "'a' is rarer than all that begins with it"),
        (b"a 1\na b 1\nc b 1\nb 2\n", "'c b' is there, but not 'c'"),
        (b"a b 1\na 1\n", "'a b', but not 'b'"),
        (b"a 1\na b c 1\n", "n-grams of 1 and of 3 words, but none of 2"),
        (b"<s> a 1\na b 1\nb c 1\nc </s> 2\n", "'c' has not as many words before it as after it"),
        (b"a b 1\nb a 1\n", "do not tell where the text begins and ends"),
    ],
)
def test_what_is_no_counts_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DataError) as refused:
        listed = read_count_lines([data], "it")
        listed.longest.counts(listed.tokens)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "chosen"), [(b"a 1\n", Boundaries.LINES), (b"<s> 1\n</s> 1\n", Boundaries.STREAM)]
)
def test_boundaries_that_the_counts_do_not_have_are_refused(
    data: bytes, chosen: Boundaries
) -> None:
    with pytest.raises(DataError, match="so its boundaries are"):
        listed_counts(BytesIO(data), "it", {"boundaries": chosen}, None)


@pytest.mark.parametrize("boundaries", list(Boundaries))
@given(text=texts, order=st.integers(1, 5), least=st.integers(1, 2), part=st.integers(2, 40))
@settings(max_examples=25)
def test_lists_on_disk_make_the_same_model(
    boundaries: Boundaries, text: str, order: int, least: int, part: int
) -> None:
    """Of all counts, or of the frequent ones; with the list cut anywhere into pieces."""
    end = boundaries.end
    encoder, counts = counts_of(f"{text}{end}" * least + text, order, boundaries)
    data = written(lines_of(counts, encoder.vocabulary.tokens, least))
    assume(counts.orders[-1].count.max(initial=0) >= least)
    chosen = {"boundaries": boundaries}
    whole, on_disk = (
        joined([listed_counts(BytesIO(data), "it", chosen, None, on_disk=disk)], order, {})
        for disk in (False, True)
    )
    assert_same(on_disk.counts(), whole.counts())
    model_settings = NgramSettings(order=order)
    try:
        expected = fit_counts(whole, model_settings).arrays()
    except TrainingError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workplace, "planned", lambda *_: part)
        found = fit_counts(on_disk, model_settings, memory=1 << 30, threads=1).arrays()
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name


def test_a_list_on_disk_that_lacks_something_is_refused() -> None:
    with pytest.raises(UsageError, match="it has no 1-grams; to complete them"):
        read_count_lines([b"a b 1\nb c 2\n"], "it", on_disk=True)
    with pytest.raises(DataError, match="'a <s> b' has <s> after"):
        read_count_lines([b"a <s> b 1\n"], "it", on_disk=True)
    stream = BytesIO(b"a b 2\nb a 1\na 1\nb 2\n")
    listed = listed_counts(stream, "it", {}, None, on_disk=True)
    with pytest.raises(DataError, match="'a' is rarer than all that begins with it"):
        fit_counts(joined([listed], 2, {}), NgramSettings(order=2), memory=1 << 30, threads=1)
