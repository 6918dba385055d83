"""Fields, their numbers and words are those of Python's own split, float and dict."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmsuite.ngram import fields as module
from lmsuite.ngram.fields import Fields, WordIndex


def everything(fields: Fields) -> np.ndarray:
    return np.arange(len(fields))


def number(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return math.nan


EVERY_BYTE = b"".join(b"x%c%cy" % (byte, byte) for byte in range(256))


@given(st.one_of(st.binary(), st.text(" \t\n\v\f\rab\0\x1c\x85", max_size=60).map(str.encode)))
@example(EVERY_BYTE)
@example(b"a")
@example(b"")
def test_fields_and_lines_are_those_of_split(text: bytes) -> None:
    fields = Fields(text)
    assert fields.texts(everything(fields)) == text.split()
    assert fields.of_lines().tolist() == [len(line.split()) for line in text.split(b"\n")[:-1]]


def assert_numbers_of_float(text: bytes) -> None:
    fields = Fields(text)
    found = fields.numbers(everything(fields)).tolist()
    # Also -0.0 is told from 0.0, and one float from the next.
    assert list(map(repr, found)) == list(map(repr, map(number, text.split())))


UNUSUAL = (
    b"0 -0 5 -5 -5. 5. .5 -.5 . - -- -99 -1.5 1.5e2 -1.5e-05 +1.5 --1.5 1_0 1.5_0 0x1 nan -inf"
)
LIMITS = b"9.99999999999999 -9.99999999999999 9.999999999999999 -9.9999999999999999 1..5 5.5.5 1.5-"


@given(st.lists(st.text("-.0123456789+eE_naif/:\0", max_size=20).map(str.encode)).map(b" ".join))
@example(UNUSUAL)
@example(LIMITS)
def test_what_may_be_a_number_is_read_as_by_float(text: bytes) -> None:
    assert_numbers_of_float(text)


@given(st.floats(-9.9, 9.9).map("{:.9f}".format).map(str.encode), st.integers(0, 11))
def test_a_number_with_any_byte_for_one_of_its_own(text: bytes, at: int) -> None:
    damaged = (text[:at] + bytes([byte]) + text[at + 1 :] for byte in range(256))
    assert_numbers_of_float(b" ".join(damaged))


@pytest.mark.parametrize("form", ["{:.9g}", "{:.7f}", "{:.0f}", "{:.14f}", "{:.15f}", "{!r}"])
def test_numbers_are_those_of_float_to_the_last_bit(form: str) -> None:
    rng = np.random.default_rng(1)
    values = -(10 ** rng.uniform(-6, 2, 20_000))
    assert_numbers_of_float(" ".join(map(form.format, values.tolist())).encode())


def test_numbers_of_some_fields_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    fields = Fields(b"a -0.5 b c -12.25 1")
    np.testing.assert_array_equal(
        fields.numbers(np.array([5, 4, 1, 0, 1])), [1, -12.25, -0.5, np.nan, -0.5]
    )


# Words that begin alike, end where a head ends, or differ by bytes that look like padding.
WORDS = st.one_of(
    st.text("ab", min_size=1, max_size=3).map(str.encode),
    st.builds(
        lambda common, rest: b"abcdefghijklmnopqrstuvw"[:common] + rest,
        st.integers(6, 20),
        st.sampled_from([b"", b"\0", b"\0\0", b"a", b"b", b"\xff", "é".encode()]),
    ),
    st.binary(min_size=1, max_size=40).filter(lambda word: word.split() == [word]),
)


@given(st.lists(WORDS, unique=True), st.lists(WORDS))
@example([b"abcdefghijklmnop"], [b"abcdefghijklmnopq"])
@example([b"abcdefghijklmnopq"], [b"abcdefghijklmnop"])
@pytest.mark.parametrize("keys", ["spread", "few"])
def test_words_are_found_as_in_a_dict(keys: str, known: list[bytes], others: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if keys == "few":  # most words have the key of another
            patch.setattr(module, "_keys", lambda heads: (heads[:, 0] & 1).astype(np.int64))
        ids = {word: number for number, word in enumerate(known, start=5)}
        fields = Fields(b" ".join(known + others))
        found = WordIndex(ids).find(fields, everything(fields))
        assert found.tolist() == [ids.get(word, -1) for word in known + others]


def test_few_words_of_a_language_have_one_key() -> None:
    words = [b"%s%d" % (word, n) for word in (b"", b"w", b"abcdefgh") for n in range(20_000)]
    heads, is_whole = Fields(b" ".join(words)).heads(np.arange(len(words)))
    assert is_whole.all()
    assert len(np.unique(module._keys(heads))) == len(words)
