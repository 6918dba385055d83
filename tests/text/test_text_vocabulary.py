"""Vocabulary: order, limits, files, arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, UNK, Vocabulary

COUNTS = {"b": 2, "the": 5, "a": 2, "é": 2, "once": 1, "never": 0, "<unk>": 9, "<s>": 9}


def test_ids_are_specials_then_by_falling_count_and_code_point() -> None:
    vocabulary = Vocabulary.build(COUNTS)
    assert vocabulary.tokens == ("<unk>", "<s>", "</s>", "the", "a", "b", "é", "once")
    assert [vocabulary.id(token) for token in SPECIALS] == [UNK, BOS, EOS]
    assert vocabulary.ids(["a", "nowhere", "the"]).tolist() == [4, UNK, 3]
    assert vocabulary.ids(["a"]).dtype == np.int32
    assert "a" in vocabulary
    assert "nowhere" not in vocabulary


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"min_count": 2}, ("the", "a", "b", "é")),
        ({"min_count": 6}, ()),
        ({"min_count": 0}, ("the", "a", "b", "é", "once", "never")),
        ({"max_size": 5}, ("the", "a")),
        ({"max_size": 4, "min_count": 2}, ("the",)),
        ({"max_size": 100}, ("the", "a", "b", "é", "once")),
    ],
)
def test_limits(limits: dict[str, int], kept: tuple[str, ...]) -> None:
    assert Vocabulary.build(COUNTS, **limits).tokens[3:] == kept


def test_a_limit_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 4"):
        Vocabulary.build(COUNTS, max_size=3)


def test_a_file_lists_the_vocabulary_in_its_own_order(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_bytes("\ufeffzebra\r\n</s>\r\n \r\n\\n\r\nape\r\n<unk>\r\n".encode())
    assert Vocabulary.read(file).tokens == (*SPECIALS, "zebra", " ", "\n", "ape")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nb\na\n", r"v\.txt, line 3: 'a' is already on line 1"),
        ("<s>\n<s>\n", r"v\.txt, line 2: '<s>' is already on line 1"),
        ("a\n\nb\n", r"v\.txt, line 2: empty"),
        ("", r"v\.txt, line 1: empty"),
    ],
)
def test_a_bad_file_is_refused_by_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        Vocabulary.read(tmp_path / "v.txt")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Vocabulary.read(tmp_path / "v.txt")


@given(st.sets(st.text(min_size=1)))
def test_array_gives_the_vocabulary_back(tokens: set[str]) -> None:
    vocabulary = Vocabulary(sorted(tokens - set(SPECIALS)))
    restored = Vocabulary.from_array(vocabulary.to_array())
    assert restored == vocabulary
    assert hash(restored) == hash(vocabulary)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3, np.int64), "not a row of bytes"),
        (np.zeros((2, 2), np.uint8), "not a row of bytes"),
        (np.frombuffer(b"<unk>\xff<s>", np.uint8), "does not begin with"),
        (np.frombuffer(b"<unk>\xff<s>\xff</s>\xff\x80", np.uint8), "not UTF-8"),
        (np.frombuffer(b"<unk>\xff<s>\xff</s>\xffa\xffb\xffa", np.uint8), "'a' twice"),
    ],
)
def test_a_damaged_array_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        Vocabulary.from_array(array)
