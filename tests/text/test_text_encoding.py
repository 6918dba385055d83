"""TextEncoder: boundaries, vocabulary rules, decoding, restoring, speed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.settings import TOKENIZERS
from lmsuite.text.vocabulary import SPECIALS

TRAINING = 'low lower lowest, newest newer "new"; — naïve \'tis 😀\n' * 8
any_text = st.one_of(st.text(), st.text(st.sampled_from("low newr,.'\" \n😀—é")))


@cache
def trained(tokenizer: str, boundaries: Boundaries = Boundaries.STREAM) -> TextEncoder:
    return TextEncoder.train(TRAINING, TextSettings(tokenizer, boundaries, bpe_size=300))[0]


def shown(encoder: TextEncoder, ids: np.ndarray) -> str:
    return " ".join(encoder.token_text(number) for number in ids)


every_encoder = pytest.mark.parametrize(
    ("tokenizer", "boundaries"), [(name, mode) for name in TOKENIZERS for mode in Boundaries]
)
LINES = TextSettings("whitespace", Boundaries.LINES)
STREAM = TextSettings("whitespace")


@pytest.mark.parametrize(
    ("text", "stream", "lines", "prompt_in_lines"),
    [
        ("", "", "", ""),
        ("\n", "\\n", "<s> </s>", "</s> <s>"),
        ("a b", "a b", "<s> a b </s>", "a b"),
        ("a b\n", "a b \\n", "<s> a b </s>", "a b </s> <s>"),
        ("a\n\nb", "a \\n \\n b", "<s> a </s> <s> </s> <s> b </s>", "a </s> <s> </s> <s> b"),
        ("a\n ", "a \\n", "<s> a </s>", "a </s> <s>"),
        ("zzz <unk>", "<unk> <unk>", "<s> <unk> <unk> </s>", "<unk> <unk>"),
    ],
)
def test_boundaries(text: str, stream: str, lines: str, prompt_in_lines: str) -> None:
    encoder, _ = TextEncoder.train("a b\na", STREAM)
    assert shown(encoder, encoder.encode(text)) == stream
    assert shown(encoder, encoder.encode_prompt(text)) == stream
    encoder, _ = TextEncoder.train("a b\na", LINES)
    assert shown(encoder, encoder.encode(text)) == lines
    assert shown(encoder, encoder.encode_prompt(text)) == prompt_in_lines


@every_encoder
@settings(max_examples=40)
@given(text=any_text, ended=st.booleans())
def test_a_short_text_has_the_ids_of_a_long_one(
    tokenizer: str, boundaries: Boundaries, text: str, ended: bool
) -> None:
    encoder = trained(tokenizer, boundaries)
    text += boundaries.end * ended
    ids = encoder.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lmsuite.text.encoding._SHORT", -1)
        assert ids.tolist() == encoder.encode(text).tolist()
    assert ids.dtype == np.int32


def test_only_a_newline_ends_a_line() -> None:
    encoder, ids = TextEncoder.train("a\u2028b\vc\x85d\fe", TextSettings("char", Boundaries.LINES))
    assert ids.tolist().count(2) == 1
    assert "\u2028" in encoder.vocabulary


def test_what_no_text_continues_with() -> None:
    assert trained("word").impossible.tolist() == [1, 2]
    assert trained("word", Boundaries.LINES).impossible.tolist() == [1]


@every_encoder
def test_training_gives_the_ids_that_encode_gives(tokenizer: str, boundaries: Boundaries) -> None:
    encoder, ids = TextEncoder.train(TRAINING, TextSettings(tokenizer, boundaries, bpe_size=300))
    assert ids.dtype == np.int32
    assert ids.tolist() == encoder.encode(TRAINING).tolist()
    assert encoder.encode("").shape == (0,)
    counts = np.bincount(ids, minlength=len(encoder.vocabulary))[len(SPECIALS) :]
    assert (np.diff(counts) <= 0).all()
    newline_is_a_token = encoder.tokenizer.newline in encoder.vocabulary
    assert newline_is_a_token is (boundaries is not Boundaries.LINES)


@every_encoder
@settings(max_examples=40)
@given(text=any_text)
def test_decoding_as_it_comes_is_decoding(
    tokenizer: str, boundaries: Boundaries, text: str
) -> None:
    encoder = trained(tokenizer, boundaries)
    ids = encoder.encode(text)
    decoder = encoder.decoder()
    pieces = [decoder.push(number) for number in ids.tolist()]
    assert "".join(pieces) + decoder.finish() == encoder.decode(ids)


@every_encoder
@settings(max_examples=40)
@given(st.data())
def test_any_ids_can_be_decoded(
    tokenizer: str, boundaries: Boundaries, data: st.DataObject
) -> None:
    """A sampler may put bytes together that are no character."""
    encoder = trained(tokenizer, boundaries)
    ids = data.draw(st.lists(st.integers(0, len(encoder.vocabulary) - 1)))
    decoder = encoder.decoder()
    text = "".join(map(decoder.push, ids)) + decoder.finish()
    assert text == encoder.decode(np.array(ids, np.int32))
    assert text.count(boundaries.end) >= ids.count(2)


def test_a_character_is_written_when_its_last_byte_is_there() -> None:
    encoder, _ = TextEncoder.train("ab", TextSettings("bpe", bpe_size=256))
    decoder = encoder.decoder()
    ids = encoder.encode("é😀").tolist()
    assert [decoder.push(number) for number in ids] == ["", "é", "", "", "", "😀"]
    assert decoder.push(ids[0]) == ""
    assert decoder.finish() == "\ufffd"


@settings(max_examples=60)
@given(any_text)
def test_char_and_bpe_give_every_text_back(text: str) -> None:
    bpe = trained("bpe")
    assert bpe.decode(bpe.encode(text)) == text
    assert 0 not in bpe.encode(text)
    if text:
        char, ids = TextEncoder.train(text, TextSettings("char"))
        assert char.decode(ids) == text


def test_decoding_shows_unknown_tokens_and_line_ends() -> None:
    words, _ = TextEncoder.train("my lord, so\n", TextSettings("word", Boundaries.LINES))
    assert words.decode(words.encode("my liege, so\n\nso")) == "my <unk>, so\n\nso\n"
    char = trained("char")
    assert char.decode(char.encode("loX")) == "lo<unk>"


@pytest.mark.parametrize("number", [-1, 99])
def test_an_id_outside_the_vocabulary_is_refused(number: int) -> None:
    encoder, _ = TextEncoder.train("a b", STREAM)
    with pytest.raises(DataError, match=rf"id {number} is no token; the vocabulary has 0 to 4"):
        encoder.decode([number])


@pytest.mark.parametrize("token", ["<s>", "</s>"])
@pytest.mark.parametrize("before", ["a\nb ", "a\n\t", "<unk> x<s>\nb\0"])
def test_reserved_tokens_are_refused_by_name_and_line(token: str, before: str) -> None:
    text = f"{before}{token} c\nd"
    encoder, _ = TextEncoder.train("a", STREAM)
    with pytest.raises(DataError, match=rf"play\.txt, line 2: the token {token} is reserved"):
        encoder.encode(text, name="play.txt")
    with pytest.raises(DataError, match=rf"play\.txt, line 2: the token {token} is reserved"):
        TextEncoder.train(text, LINES, name="play.txt")
    with pytest.raises(DataError, match="the prompt, line 2"):
        encoder.encode_prompt(text)
    sentence = f"a {token} c"
    with pytest.raises(DataError, match=rf"the sentence, line 1: the token {token} is reserved"):
        encoder.encode_sentence(sentence)


@pytest.mark.parametrize("tokenizer", ["char", "word", "treebank", "bpe"])
def test_elsewhere_they_are_just_text(tokenizer: str) -> None:
    text = "<s> <unk> </s>"
    encoder, ids = TextEncoder.train(text, TextSettings(tokenizer, bpe_size=300))
    assert ids.min() > 2
    assert encoder.decode(ids).replace(" ", "") == "<s><unk></s>"


def test_limits_make_unknown_tokens() -> None:
    text = "a a a b b c"
    encoder, ids = TextEncoder.train(text, TextSettings("whitespace", min_count=2))
    assert shown(encoder, ids) == "a a a b b <unk>"
    encoder, ids = TextEncoder.train(text, TextSettings("whitespace", max_vocab=4))
    assert shown(encoder, ids) == "a a a <unk> <unk> <unk>"


@pytest.mark.parametrize(
    ("boundaries", "listed", "tokens"),
    [
        (Boundaries.STREAM, "c\nunseen\na\n", ("c", "unseen", "a", "\n")),
        (Boundaries.STREAM, "c\n\\n\na\n", ("c", "\n", "a")),
        (Boundaries.LINES, "c\n\\n\na\n", ("c", "a")),
    ],
)
def test_a_vocabulary_file_is_used_in_its_order(
    tmp_path: Path, boundaries: Boundaries, listed: str, tokens: tuple[str, ...]
) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text(listed)
    encoder, ids = TextEncoder.train(
        "a b c", TextSettings("whitespace", boundaries, vocab=str(file))
    )
    assert encoder.vocabulary.tokens == (*SPECIALS, *tokens)
    assert encoder.decode(ids).strip() == "a <unk> c"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (TextSettings("word", vocab="v", min_count=2), "leave out min_count and max_vocab"),
        (TextSettings("bpe", vocab="v"), "learns its own vocabulary, of bpe_size tokens"),
        (TextSettings("bpe", max_vocab=500), "learns its own vocabulary, of bpe_size tokens"),
        (TextSettings("bpe", min_count=2), "learns its own vocabulary, of bpe_size tokens"),
    ],
)
def test_settings_that_contradict_each_other(chosen: TextSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TextEncoder.train("some text", chosen)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(DataError, match=r"blank\.txt has no tokens for the tokenizer whitespace"):
        TextEncoder.train(" \t ", STREAM, name="blank.txt")


@every_encoder
def test_description_and_arrays_restore_the_encoder(tokenizer: str, boundaries: Boundaries) -> None:
    encoder = trained(tokenizer, boundaries)
    restored = TextEncoder.restore(encoder.describe(), encoder.arrays())
    assert restored.fingerprint() == encoder.fingerprint()
    assert restored.lossless is (tokenizer in ("char", "bpe"))
    text = "newest, low é 😀\nlowest"
    assert restored.encode(text).tolist() == encoder.encode(text).tolist()


def test_encoders_that_differ_have_other_fingerprints() -> None:
    encoders = [
        *(trained(name, mode) for name in TOKENIZERS for mode in Boundaries),
        TextEncoder.train(TRAINING, TextSettings("word", min_count=9))[0],
        TextEncoder.train(TRAINING, TextSettings("bpe", bpe_size=260))[0],
    ]
    assert len({encoder.fingerprint() for encoder in encoders}) == len(encoders)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda description, arrays: description.pop("tokenizer"),
        lambda description, arrays: description.pop("boundaries"),
        lambda description, arrays: description.update(boundaries="pages"),
        lambda description, arrays: description.update(tokenizer={"name": "morse"}),
        lambda description, arrays: description.update(tokenizer="char"),
        lambda description, arrays: arrays.pop("vocabulary"),
        lambda description, arrays: arrays.update(vocabulary=np.zeros(4, np.uint8)),
    ],
)
def test_a_damaged_encoder_is_refused(spoil: Callable[[Any, Any], None]) -> None:
    description, arrays = trained("char").describe(), dict(trained("char").arrays())
    spoil(description, arrays)
    with pytest.raises(ModelFileError, match="damaged"):
        TextEncoder.restore(description, arrays)


def test_tokens_are_shown_with_their_spaces_and_line_ends() -> None:
    encoder, ids = TextEncoder.train("a \n\t\u200b", TextSettings("char"))
    assert sorted(encoder.token_text(number) for number in ids) == sorted(
        ["a", "␣", "\\n", "\\t", "\\u200b"]
    )
    assert [encoder.token_text(number) for number in range(3)] == list(SPECIALS)
    bpe, _ = TextEncoder.train("to be or not to be", TextSettings("bpe", bpe_size=300))
    assert "␣be" in {bpe.token_text(number) for number in range(len(bpe.vocabulary))}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("boundaries", list(Boundaries))
def test_the_end_of_a_long_prompt_is_the_end_of_the_whole(
    name: str, boundaries: Boundaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmsuite.text.encoding.PROMPT_END", 16)
    encoder, _ = TextEncoder.train(TRAINING, TextSettings(name, boundaries, bpe_size=300))
    prompt = TRAINING + "newest low " * 20
    whole = encoder.encode_prompt(prompt)
    for last in (0, 1, 4, 30, 10_000):
        end = encoder.encode_prompt(prompt, last)
        assert min(last, len(whole)) <= len(end) <= len(whole)
        np.testing.assert_array_equal(end, whole[len(whole) - len(end) :])
    assert len(encoder.encode_prompt(prompt, 1)) < len(whole)
