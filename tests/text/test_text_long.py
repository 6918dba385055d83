"""A long text has the ids of a short one, whatever the pieces, the processes and where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lmsuite.errors import DataError, TextWarning
from lmsuite.files.stored_text import StoredText, Text, TextWriter
from lmsuite.text import encoding, long_texts
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import TOKENIZERS, Boundaries, TextSettings
from lmsuite.text.tokenizer import Tokenizer
from lmsuite.text.whitespace import WhitespaceTokenizer


def stored(text: str) -> Text:
    writer = TextWriter(0)
    writer.write(text)
    return writer.text()


@contextmanager
def long_from(
    characters: int, piece: int, workers: int = 1, most_types: int = 1 << 17
) -> Iterator[None]:
    """Texts of more characters are long, and are cut into pieces."""
    with (
        mock.patch.object(encoding, "LONG", characters),
        mock.patch.object(long_texts, "LONG", characters),
        mock.patch.object(long_texts, "_PIECE", piece),
        mock.patch.object(long_texts, "_MOST_TYPES", most_types),
        mock.patch.object(long_texts, "thread_count", lambda: workers),
    ):
        yield


WORDS = st.sampled_from(
    ["the", "king's", "é", "語", "🙂", " ", "\n", "\n\n", "\x1e", "-", "3.5", "\t"]
)


@pytest.mark.parametrize("boundaries", Boundaries)
@pytest.mark.parametrize("tokenizer", [name for name in TOKENIZERS if name != "bpe"])
@examples(max_examples=25)
@given(st.lists(WORDS, min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 4))
@example(["the", " ", "king's", "\n"], 1, 1)
def test_the_pieces_do_not_show(
    tokenizer: str, boundaries: Boundaries, words: list[str], piece: int, most_types: int
) -> None:
    text = "".join(words)
    settings = TextSettings(tokenizer=tokenizer, boundaries=boundaries)
    try:
        encoder, ids = TextEncoder.train(text, settings)
    except DataError as error:
        with long_from(0, piece), pytest.raises(DataError, match=f"^{error}$"):
            TextEncoder.train(stored(text), settings)
        return
    with long_from(0, piece, most_types=most_types):
        for given_text in (text, stored(text)):
            again, long_ids = TextEncoder.train(given_text, settings)
            assert again.fingerprint() == encoder.fingerprint()
            assert long_ids.tolist() == ids.tolist()
            assert encoder.encode(given_text).tolist() == ids.tolist()


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("boundaries", Boundaries)
def test_the_processes_do_not_show(tokenizer: str, boundaries: Boundaries, play: str) -> None:
    text = play[:30_000].replace("\n\n", "\x1e") + " naïve 語 🙂"
    settings = TextSettings(tokenizer=tokenizer, boundaries=boundaries, bpe_size=400)
    encoder, ids = TextEncoder.train(text, settings)
    with long_from(100, 2000, workers=3, most_types=50):
        again, long_ids = TextEncoder.train(stored(text), settings)
    assert again.fingerprint() == encoder.fingerprint()
    assert np.array_equal(long_ids, ids)
    assert not long_ids.flags.writeable  # on disk


def test_a_reserved_token_is_found_in_its_line() -> None:
    text = "a b\n" * 50 + "c <s> d\n" + "a </s>\n"
    settings = TextSettings(tokenizer="whitespace")
    for piece in (3, 40, 1000):
        with long_from(0, piece), pytest.raises(DataError, match="line 51: the token <s>"):
            TextEncoder.train(stored(text), settings, name="x")


def test_a_reserved_token_is_found_in_a_piece_that_cannot_be_cut() -> None:
    settings = TextSettings(tokenizer="treebank")
    encoder, _ = TextEncoder.train("a b\n", settings)
    reserved = mock.patch.object(encoder.tokenizer, "tokens", lambda text: text.split())
    with long_from(0, 10), reserved, pytest.raises(DataError, match="line 1: the token <s>"):
        encoder.encode(stored("a " * 50 + "<s> b"), name="x")


def test_a_long_text_without_tokens_is_refused() -> None:
    with long_from(0, 10), pytest.raises(DataError, match="has no tokens"):
        TextEncoder.train(stored(" \t " * 20), TextSettings(tokenizer="whitespace"))


def test_bpe_learns_from_everywhere_in_a_long_text() -> None:
    text = "abab " * 300 + "cdcd " * 300
    settings = TextSettings(tokenizer="bpe", bpe_size=262)
    with (
        long_from(100, 100),
        mock.patch.object(long_texts, "LEARNED", 1000),
        pytest.warns(TextWarning, match="learned from 1,000 of the text's 3,000 characters"),
    ):
        encoder, _ = TextEncoder.train(stored(text), settings)
    assert len(encoder.encode("abab abab")) < 5  # not the nine of single bytes
    assert len(encoder.encode(" cdcd cdcd")) < 5


@given(st.text("ab \n\t\r\0\x1eé語🙂\u00a0\ud800", max_size=60), st.integers(0, 30))
@example("a" * 8 + " " + "a" * 9 + " " + "a" * 16 + " " + "a" * 17 + " " + "a" * 16, 0)
def test_white_space_is_found_in_bytes_as_in_strings(text: str, repeat: int) -> None:
    """Held to the plain form; tokens of one, two and more words of eight bytes."""
    tokenizer = WhitespaceTokenizer()
    text = text * (repeat + 1)
    types, index = tokenizer.distinct(text)
    assert [types[number] for number in index] == tokenizer.tokens(text)
    assert len(set(types)) == len(types)
    assert sorted(types) == sorted(Tokenizer.distinct(tokenizer, text)[0])


def test_a_stored_text_is_one() -> None:
    assert isinstance(stored("a"), StoredText)
