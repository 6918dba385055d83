"""Counts of texts, kept as longest n-grams, added and renumbered, against counting all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmsuite.errors import DataError, TextWarning, TrainingError, UsageError
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings, fit_counts
from lmsuite.ngram.counting import NgramCounts, count_ngrams
from lmsuite.ngram.longest import NOTHING, LongestNgrams
from lmsuite.ngram.smoothing.kneser_ney import adjusted_counts
from lmsuite.ngram.text_counts import TextCounts, joined
from lmsuite.ngram.workplace import Workplace
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import Vocabulary
from lmsuite.types import IntArray

FROM_COUNTS = [smoothing for smoothing in SMOOTHINGS if smoothing != "jelinek-mercer"]

# Few words, so that n-grams repeat; blanks and empty lines at the ends, where texts are joined.
pieces = st.sampled_from(["a", "b", "c", "<unk>", " ", "  ", "\n", "\n\n", "\na", "a b", "b a\n"])
texts = st.lists(pieces, max_size=30).map(" ".join)
boundaries = st.sampled_from(Boundaries)
tokenizers = st.sampled_from(["whitespace", "char", "word"])


def whole_of(parts: list[str], boundaries: Boundaries) -> str:
    """The text of several files, as it is read at once: each but the last has an end."""
    ended = [part if part.endswith(boundaries.end) else part + boundaries.end for part in parts]
    return "".join([*ended[:-1], parts[-1]])


def counts_of(encoder: TextEncoder, ids: IntArray, order: int) -> NgramCounts:
    sentences = encoder.boundaries.has_sequences
    return count_ngrams(ids, len(encoder.vocabulary), order, sentences=sentences)


def counted(text: str, order: int, chosen: TextSettings) -> TextCounts:
    encoder, ids = TextEncoder.train(text, chosen)
    counts = counts_of(encoder, ids, order)
    return TextCounts.of(LongestNgrams.of(counts), text, encoder, ids, grows=True, name="a part")


# A last line of blanks is none, until another text follows.
BLANK_END = (["b a\n  ", "a"], TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES))


def assert_same(found: NgramCounts, expected: NgramCounts) -> None:
    assert (found.vocabulary_size, found.order) == (expected.vocabulary_size, expected.order)
    for n, (ours, whole) in enumerate(zip(found.orders, expected.orders, strict=True), start=1):
        for name in ("prefix", "word", "suffix", "count"):
            assert np.array_equal(getattr(ours, name), getattr(whole, name)), (n, name)
        assert ours.sentence_starts == whole.sentence_starts
        if n < found.order:
            assert np.array_equal(ours.openings, whole.openings)


def has_tokens(text: str, chosen: TextSettings) -> bool:
    try:
        TextEncoder.train(text, chosen)
    except DataError:
        return False
    return True


@st.composite
def divided_texts(draw: st.DrawFn) -> tuple[list[str], TextSettings]:
    """Texts that each have tokens, and how all are read."""
    chosen = TextSettings(tokenizer=draw(tokenizers), boundaries=draw(boundaries))
    part = texts.map(lambda text: text.replace("\n", chosen.boundaries.end, 2))
    kept = part.filter(lambda text: has_tokens(text, chosen))
    return draw(st.lists(kept, min_size=1, max_size=4)), chosen


def test_the_longest_ngrams_of_a_text_by_hand() -> None:
    """In "a b a", ids 3 4 3: "a b" and "b a" begin once, and the last "a" has nothing after it."""
    counts = count_ngrams(np.array([3, 4, 3], np.int32), 5, 2, sentences=False)
    longest = LongestNgrams.of(counts)
    assert longest.ngrams.tolist() == [[3, NOTHING], [3, 4], [4, 3]]
    assert longest.count.tolist() == [1, 1, 1]
    assert longest.unigrams(5).tolist() == [0, 0, 0, 2, 1]
    assert_same(longest.counts(["<unk>", "<s>", "</s>", "a", "b"]), counts)


def test_the_joint_of_two_streams_by_hand() -> None:
    """ "a b" and "c", each without an end, are "a b", a line end, "c": 3 bigrams, of which "b" and
    the line end, and the line end and "c", are in neither."""
    chosen = TextSettings(tokenizer="whitespace")
    parts = [counted(text, 2, chosen) for text in ("a b", "c")]
    together = joined(parts, 2, {})
    encoder, counts = together.encoder, together.counts()
    tokens = encoder.vocabulary.tokens
    bigrams = counts.orders[1]
    found = {
        (tokens[prefix], tokens[word])
        for prefix, word in zip(bigrams.prefix.tolist(), bigrams.word.tolist(), strict=True)
    }
    assert found == {("a", "b"), ("b", "\n"), ("\n", "c")}
    assert bigrams.count.tolist() == [1, 1, 1]


@settings(max_examples=60)
@given(divided_texts(), st.integers(1, 6))
@example(BLANK_END, 2)
def test_joined_counts_are_those_of_the_whole_text(
    divided: tuple[list[str], TextSettings], order: int
) -> None:
    parts, chosen = divided
    together = joined([counted(part, order, chosen) for part in parts], order, {})
    encoder, counts = together.encoder, together.counts()
    expected, ids = TextEncoder.train(whole_of(parts, chosen.boundaries), chosen)
    assert encoder.fingerprint() == expected.fingerprint()
    assert_same(counts, counts_of(expected, ids, order))


@settings(max_examples=25)
@given(divided_texts(), st.integers(1, 6), st.integers(0, 3), st.integers(1, 3))
def test_lower_orders_and_limits_of_the_vocabulary_come_with_training(
    divided: tuple[list[str], TextSettings], order: int, more: int, min_count: int
) -> None:
    parts, chosen = divided
    counts = [counted(part, order + more, chosen) for part in parts]
    together = joined(counts, order, {"min_count": min_count, "max_vocab": 5})
    encoder, found = together.encoder, together.counts()
    limited = TextSettings(
        tokenizer=chosen.tokenizer, boundaries=chosen.boundaries, min_count=min_count, max_vocab=5
    )
    expected, ids = TextEncoder.train(whole_of(parts, chosen.boundaries), limited)
    assert encoder.fingerprint() == expected.fingerprint()
    assert_same(found, counts_of(expected, ids, order))


@settings(max_examples=60)
@given(divided_texts(), st.integers(1, 6), st.sampled_from(FROM_COUNTS), st.booleans())
def test_the_model_of_counts_is_the_model_of_the_text(
    divided: tuple[list[str], TextSettings], order: int, smoothing: str, pruned: bool
) -> None:
    parts, chosen = divided
    model_settings = NgramSettings(
        order=order, smoothing=smoothing, prune=(0, 1)[: order if pruned else 0]
    )
    encoder, ids = TextEncoder.train(whole_of(parts, chosen.boundaries), chosen)
    counts = joined([counted(part, order, chosen) for part in parts], order, {})
    try:
        expected = NgramModel.fit(encoder, ids, model_settings)
    except TrainingError as error:
        with pytest.raises(TrainingError) as ours:
            fit_counts(counts, model_settings)
        assert str(ours.value) == str(error)
        return
    found = fit_counts(counts, model_settings)
    assert found.messages == expected.messages
    arrays, whole = found.arrays(), expected.arrays()
    assert arrays.keys() == whole.keys()
    for name, array in whole.items():
        assert array.dtype == arrays[name].dtype, name
        assert array.tobytes() == arrays[name].tobytes(), name


@settings(max_examples=60)
@given(
    divided_texts(),
    st.integers(1, 6),
    st.integers(0, 1),
    st.sampled_from(FROM_COUNTS),
    st.booleans(),
    st.integers(2, 40),
)
def test_counts_in_parts_of_any_size_make_the_same_model(
    divided: tuple[list[str], TextSettings],
    order: int,
    more: int,
    smoothing: str,
    pruned: bool,
    part: int,
) -> None:
    parts, chosen = divided
    model_settings = NgramSettings(
        order=order, smoothing=smoothing, prune=(0, 1)[: order if pruned else 0]
    )
    counts = joined([counted(text, order + more, chosen) for text in parts], order, {})
    try:
        expected = fit_counts(counts, model_settings)
    except TrainingError as error:
        with pytest.raises(TrainingError) as ours:
            fit_counts(counts, model_settings, memory=1 << 30, threads=1)
        assert str(ours.value) == str(error)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workplace, "planned", lambda *_: part)
        found = fit_counts(counts, model_settings, memory=1 << 30, threads=1)
    assert found.messages == expected.messages
    arrays = found.arrays()
    for name, array in expected.arrays().items():
        assert array.tobytes() == arrays[name].tobytes(), name


@pytest.mark.parametrize(
    ("ngrams", "said"),
    [
        (["a b c a", "b c", "c a"], "the counts have 'a b c a', but not 'b c a'"),
        (["a b c", "b", "c a"], "the counts have 'a b c', but not 'b c'"),
        (["a b", "c a"], "the counts have 'a b', but not 'b'"),
    ],
)
def test_a_missing_end_is_named_in_parts_too(ngrams: list[str], said: str) -> None:
    encoder, _ = TextEncoder.train("a b c", TextSettings(tokenizer="whitespace"))
    rows = [[encoder.vocabulary.id(word) for word in ngram.split()] for ngram in ngrams]
    rows = [[*row, *[NOTHING] * (4 - len(row))] for row in rows]
    longest, nothing = (
        LongestNgrams.added(np.array(rows), np.ones(len(rows))),
        np.zeros(0, np.int32),
    )
    listed = TextCounts("x", encoder, True, longest, nothing, nothing, is_open=False)
    counts = joined([listed], 4, {}, encoder)
    for memory in (None, 1 << 30):
        with pytest.raises(DataError, match=said):
            fit_counts(counts, NgramSettings(order=4), memory=memory, threads=1)


def test_a_vocabulary_that_was_chosen_stays_as_it_is() -> None:
    """Its order is not that of frequency; words outside it are <unk>, and it cannot be limited."""
    encoder = TextEncoder(
        TextEncoder.train("a", TextSettings(tokenizer="whitespace"))[0].tokenizer,
        Vocabulary(["z", "b", "a"]),
        Boundaries.LINES,
    )
    texts = ["a b\n", "a c\n"]
    each = [(text, encoder.encode(text)) for text in texts]
    parts = [
        TextCounts.of(
            LongestNgrams.of(counts_of(encoder, ids, 2)),
            text,
            encoder,
            ids,
            grows=False,
            name="a part",
        )
        for text, ids in each
    ]
    found = joined(parts, 2, {})
    assert found.encoder == encoder
    assert_same(found.counts(), counts_of(encoder, encoder.encode("".join(texts)), 2))
    with pytest.raises(UsageError, match="chosen already"):
        joined(parts, 2, {"min_count": 2})
    other = counted("c a\n", 2, TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES))
    with pytest.warns(TextWarning, match="were counted there as <unk>"):
        found = joined([*parts, other], 2, {})
    assert found.encoder.vocabulary.tokens[3:] == ("a", "b", "c")
    assert found.counts().orders[0].count.tolist() == [1, 0, 3, 3, 1, 1]


def test_counts_like_a_model_have_its_vocabulary() -> None:
    chosen = TextSettings(tokenizer="whitespace", boundaries=Boundaries.LINES)
    like, _ = TextEncoder.train("b a\nb d\n", chosen)
    text = "a b\na c\n"
    found = joined([counted(text, 3, chosen)], 3, {}, like)
    assert found.encoder.vocabulary == like.vocabulary
    assert_same(found.counts(), counts_of(like, like.encode(text), 3))


def test_counts_that_do_not_belong_together_are_refused() -> None:
    one, other = (
        counted("a b\n", 2, TextSettings(tokenizer=tokenizer)) for tokenizer in ("char", "word")
    )
    with pytest.raises(DataError, match="read text differently") as refused:
        joined([one, other], 2, {})
    assert "char, stream" in str(refused.value)
    with pytest.raises(DataError, match="n-grams of at most 2 words, and order is 3"):
        joined([one], 3, {})


def test_counts_have_64_bits() -> None:
    """The counts of an n-gram may pass 2^31: they are added, and smoothed, as they are."""
    ngrams = np.array([[3, 4], [4, 3], [4, NOTHING]])
    many = LongestNgrams.added(ngrams, np.array([1 << 40, (1 << 40) - 1, 1]))
    counts = LongestNgrams.sum([many] * 3).counts(["<unk>", "<s>", "</s>", "a", "b"])
    assert counts.orders[0].count.tolist() == [0, 0, 0, 3 << 40, 3 << 40]
    assert counts.orders[1].count.tolist() == [3 << 40, 3 * ((1 << 40) - 1)]
    starts = np.array([[1, 3], [3, 2], [2, NOTHING]])  # <s> a, a </s>
    sentences = LongestNgrams.added(starts, np.full(3, 1 << 40))
    adjusted = adjusted_counts(sentences.counts(["<unk>", "<s>", "</s>", "a"]))
    assert adjusted[1].tolist() == [1 << 40, 1 << 40]


def test_the_end_of_an_ngram_is_missed_by_name() -> None:
    longest = LongestNgrams.added(np.array([[3, 4, 5]]), np.array([2]))
    with pytest.raises(DataError, match="'a b', but not 'b'"):
        longest.counts(["<unk>", "<s>", "</s>", "a", "b", "c"])


def test_rows_of_any_width_are_sorted_alike() -> None:
    """32 words of 18 bits each do not fit one number."""
    generator = np.random.default_rng(1)
    rows = generator.integers(NOTHING, 200_000, (300, 32))
    rows[:150, :20] = rows[0, :20]
    longest = LongestNgrams.added(np.concatenate((rows, rows)), np.ones(600, int))
    assert longest.ngrams.tolist() == sorted(rows.tolist())
    assert (longest.count == 2).all()
