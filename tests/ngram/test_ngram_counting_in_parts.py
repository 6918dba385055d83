"""The counts of a text in parts are those in memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lmsuite.ngram.blocks import TextSource
from lmsuite.ngram.count_lines import count_lines, listed_ngrams
from lmsuite.ngram.counting import count_ngrams
from lmsuite.ngram.counting_in_parts import listed_in_parts, longest_in_parts
from lmsuite.ngram.longest import LongestNgrams
from lmsuite.ngram.workplace import Workplace, workplace

TOKENS = ("<unk>", "<s>", "</s>", "a", "b", "c", "d")
sequences = st.lists(
    st.lists(st.sampled_from([0, 3, 4, 5, 6]), max_size=12), min_size=1, max_size=12
)


@given(sequences, st.integers(1, 6), st.booleans(), st.integers(3, 60), st.integers(1, 3))
@examples(max_examples=40)
def test_parts_of_any_size_have_the_counts(
    texts: list[list[int]], order: int, sentences: bool, part: int, least: int
) -> None:
    if sentences:
        ids = np.array([id for text in texts for id in [1, *text, 2]], np.int32)
    else:
        ids = np.array([3, *(id for text in texts for id in text)], np.int32)
    counts = count_ngrams(ids, len(TOKENS), order, sentences=sentences)
    unigrams = np.bincount(ids, minlength=len(TOKENS))
    source = TextSource(ids, sentences)
    with pytest.MonkeyPatch.context() as patch, workplace(threads=1) as place:
        patch.setattr(Workplace, "planned", lambda *_: part)
        longest = longest_in_parts(source, unigrams, order, None, place)
        listed = listed_in_parts(source, unigrams, order, None, place)
        lines = list(count_lines(listed, TOKENS, least))
    expected = LongestNgrams.of(counts)
    np.testing.assert_array_equal(longest.ngrams, expected.ngrams)
    np.testing.assert_array_equal(longest.count, expected.count)
    assert lines == list(count_lines(listed_ngrams(counts), TOKENS, least))
