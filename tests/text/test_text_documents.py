"""Texts of documents: each a sequence of its own, whose line ends are tokens."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.errors import DataError
from lmsuite.files.plain import DOCUMENT_END as END
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.settings import TOKENIZERS
from lmsuite.text.vocabulary import BOS, EOS

TRAINING = f'the king\nof the hill{END}{END}can\'t, he said:\n\n"no"\n{END}the end'
characters = st.characters(exclude_characters=END, exclude_categories=["Cs"])
documents = st.lists(
    st.lists(st.sampled_from(["the", "king", " ", "\n", ",", '"', "é"]) | characters).map("".join),
    max_size=5,
)
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS)


@cache
def trained(tokenizer: str) -> TextEncoder:
    how = TextSettings(tokenizer, Boundaries.DOCUMENTS, bpe_size=300)
    return TextEncoder.train(TRAINING, how)[0]


def test_the_ids_by_hand() -> None:
    encoder = trained("whitespace")
    the, king, newline, of = (encoder.vocabulary.id(token) for token in ("the", "king", "\n", "of"))
    ids = encoder.encode(f"the\nking{END}{END}of\n{END}").tolist()
    assert ids == [BOS, the, newline, king, EOS, BOS, EOS, BOS, of, newline, EOS]
    assert encoder.encode("of\n").tolist() == [BOS, of, newline, EOS]
    assert encoder.encode("").tolist() == []
    assert encoder.encode_sentence("").tolist() == [BOS, EOS]
    assert encoder.encode_prompt("the\n").tolist() == [the, newline]
    assert encoder.impossible.tolist() == [BOS]


@every_tokenizer
def test_line_ends_are_tokens_and_ends_of_documents_are_not(tokenizer: str) -> None:
    encoder = trained(tokenizer)
    assert encoder.tokenizer.newline in encoder.vocabulary
    assert tokenizer == "bpe" or END not in encoder.vocabulary
    ids = encoder.encode(TRAINING)
    assert (ids == encoder.vocabulary.id(encoder.tokenizer.newline)).sum() == TRAINING.count("\n")
    assert (ids == EOS).sum() == (ids == BOS).sum() == TRAINING.count(END) + 1


@every_tokenizer
@settings(max_examples=40)
@given(documents, st.booleans())
def test_a_text_is_its_documents_one_after_the_other(
    tokenizer: str, texts: list[str], ended: bool
) -> None:
    encoder = trained(tokenizer)
    whole = "".join(text + END for text in texts)
    if not ended and texts and encoder.encode(texts[-1]).size:  # white space alone is no document
        whole = whole.removesuffix(END)
    parts = [encoder.encode_sentence(text) for text in texts]
    ids = encoder.encode(whole)
    assert ids.dtype == np.int32
    assert ids.tolist() == [number for part in parts for number in part.tolist()]
    again, lengths = encoder.encode_lines(whole)
    assert again.tolist() == ids.tolist()
    assert lengths.tolist() == [len(part) - 1 for part in parts]
    located = list(encoder.located(whole))
    assert [token.id for token in located] == ids[ids != BOS].tolist()
    each = [token for text in texts for token in encoder.tokens(text) or ["</s>"]]
    assert each == [token.token for token in located]
    if encoder.lossless and 0 not in ids:
        assert encoder.decode(ids) == "".join(text + END for text in texts)


@every_tokenizer
def test_tokens_lie_in_their_document(tokenizer: str) -> None:
    texts = TRAINING.split(END)
    places = iter(trained(tokenizer).located(TRAINING))
    for text in texts:
        for token in places:
            if token.id == EOS:
                assert token.start == len(text)
                break
            assert token.end <= len(text)
            assert text[token.start : token.end] == token.token
    assert next(places, None) is None


def test_a_reserved_token_is_named_by_its_document() -> None:
    with pytest.raises(DataError, match=r"x, document 2: the token </s> .* end of a document"):
        trained("whitespace").encode(f"a\nb{END}c\nd </s>", name="x")


def test_other_boundaries_read_the_ends_of_documents_as_line_ends() -> None:
    for boundaries in (Boundaries.STREAM, Boundaries.LINES):
        assert boundaries.reads(f"a\nb{END}c") == "a\nb\nc"
        assert (boundaries.unit, boundaries.end) == ("line", "\n")
    assert Boundaries.DOCUMENTS.reads(f"a{END}") == f"a{END}"
