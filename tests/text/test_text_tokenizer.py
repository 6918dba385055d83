"""The five tokenizers: hand-made tables, and what must hold for every text."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.text import tokenizer as module
from lmsuite.text.bpe import BpeTokenizer
from lmsuite.text.registry import make_tokenizer, tokenizer_from
from lmsuite.text.settings import TOKENIZERS
from lmsuite.text.tokenizer import Tokenizer
from lmsuite.text.words import WordTokenizer, word_pattern

# Texts in which the rules meet: marks next to letters, line ends, other spaces, specials in pieces.
tricky = st.text(
    st.sampled_from("abS'’s-_.,:;3 \n\t\r\0\v\u00a0\u2028\"`<>/unk—é\u0301क\u093f😀&c")
)
any_text = st.one_of(st.text(), tricky)

TRAINING = "low lower lowest, newest newer new; — naïve 'tis\n" * 8


@cache
def made(name: str) -> Tokenizer:
    return make_tokenizer(name, TRAINING, 300)


every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)


WORDS = [
    ("Speak, speak.", "Speak , speak ."),
    ("don't know't o'er", "don't know't o'er"),
    ("don’t the l’heure", "don’t the l’heure"),
    ("'Tis 'twas ’tis 'em", "'Tis 'twas ’tis 'em"),
    ("'Come,' he said", "' Come , ' he said"),
    ("the lords' coats o' th' town", "the lords' coats o' th' town"),
    ("it 's the '90s, rock 'n' roll", "it 's the '90s , rock 'n' roll"),
    ("salt-pans well-to-do", "salt-pans well-to-do"),
    ("3,000.50 10:30 2nd mid-1990s", "3,000.50 10:30 2nd mid-1990s"),
    ("ends 3, then 4.", "ends 3 , then 4 ."),
    ("e.g. the U.S. and Mr. X", "e.g. the U.S. and Mr . X"),
    ("had -- no--yes---", "had -- no -- yes ---"),
    ("well... so….", "well ... so … ."),
    ('"(a) [b]"', '" ( a ) [ b ] "'),
    ("Senators, &c.", "Senators , &c ."),
    ("_very_ snake_case", "_ very _ snake_case"),
    ("हिन्दी cafe\u0301", "हिन्दी cafe\u0301"),
    ("$5 100% a<s>b", "$ 5 100 % a < s > b"),
    ("?!", "? !"),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words(text: str, expected: str) -> None:
    assert WordTokenizer().tokens(text) == expected.split(" ")


def test_words_and_lines() -> None:
    assert WordTokenizer().tokens("A cooper:\n\nHath\n") == [
        "A",
        "cooper",
        ":",
        *"\n\n",
        "Hath",
        "\n",
    ]


def test_words_are_those_of_nltk_for_the_play(play: str) -> None:
    from nltk.tokenize import RegexpTokenizer

    assert WordTokenizer().tokens(play) == RegexpTokenizer(word_pattern()).tokenize(play)


def _in_both_engines(text: str) -> str:
    """The characters that NLTK's engine (`regex` since 3.10) and `re` put in the same classes.

    They differ in combining marks, superscript digits and the control characters 1C to 1F.
    """
    from nltk.tokenize import RegexpTokenizer

    classes = [(re.compile(one), RegexpTokenizer(one)) for one in (r"\w", r"\s", r"\d")]
    return "".join(c for c in text if all(a.findall(c) == b.tokenize(c) for a, b in classes))


@given(any_text.map(_in_both_engines))
def test_words_are_those_of_nltk(text: str) -> None:
    from nltk.tokenize import RegexpTokenizer

    assert WordTokenizer(1).tokens(text) == RegexpTokenizer(word_pattern()).tokenize(text)


@given(any_text)
def test_words_leave_out_nothing_but_white_space(text: str) -> None:
    tokens = WordTokenizer().tokens(text)
    assert "".join(t for t in tokens if t != "\n") == re.sub(r"\s", "", text)
    assert tokens.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\tc\rd\0e\n f  \n\ng", ["a", "b", "c", "d", "e", "\n", "f", "\n", "\n", "g"]),
        # What lmplz does not take for white space is part of a token.
        ("a\u00a0b c\vd e\ff g\u2028h i\x85j", ["a\u00a0b", "c\vd", "e\ff", "g\u2028h", "i\x85j"]),
        ("<unk> x", ["<unk>", "x"]),
        (" \t ", []),
    ],
)
def test_white_space_is_that_of_lmplz(text: str, expected: list[str]) -> None:
    assert made("whitespace").tokens(text) == expected


def test_treebank_is_nltks_a_line_at_a_time(shared: Path) -> None:
    """The reference tokens leave out the empty lines."""
    folder = shared / "corpora" / "tinyshakespeare"
    text = (folder / "valid.txt").read_text()[:40_000].rpartition("\n")[0]
    lines = "".join(
        token if token == "\n" else f"{token} " for token in made("treebank").tokens(text)
    ).split("\n")
    ours = [line.rstrip() for line in lines if line]
    assert len(ours) > 1000
    assert ours == (folder / "valid.words.txt").read_text().split("\n")[: len(ours)]


def test_bpe_merges_the_most_frequent_pair_first() -> None:
    """Pairs within " ab" and "ab": a b 4 times, then the space before it 3 times."""
    bpe = BpeTokenizer.train("ab ab ab ab c", 258)
    assert bpe.describe() == {"name": "bpe", "merges": ["a b", "Ġ ab"]}
    assert bpe.tokens("ab ab\nba") == ["ab", "Ġab", "Ċ", "b", "a"]
    assert len(bpe.fixed_tokens()) == 258


def test_bpe_shows_a_person_characters_and_loose_bytes() -> None:
    bpe = BpeTokenizer.train("é", 256)
    assert [bpe.visible(token) for token in bpe.tokens("é\n")] == ["\\xc3", "\\xa9", "\n"]


def test_bpe_is_the_same_in_every_process(play: str) -> None:
    code = (
        "import sys, hashlib\nfrom lmsuite.text.bpe import BpeTokenizer\n"
        "text = sys.stdin.read()\n"
        "print(hashlib.sha256(str(BpeTokenizer.train(text, 600).describe()).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=play[:60_000],
            capture_output=True,
            encoding="utf-8",
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_bpe_refuses_half_a_character() -> None:
    with pytest.raises(DataError, match="half a character"):
        BpeTokenizer.train("a\ud800", 300)
    with pytest.raises(DataError, match="at character 1"):
        made("bpe").tokens("a\ud800")


@every_tokenizer
@given(any_text)
@example("<s> </s> <unk>")
@example("<s></s><unk>")
def test_no_text_makes_a_special_token_but_where_it_is_meant(name: str, text: str) -> None:
    specials = {"<unk>", "<s>", "</s>"} & set(made(name).tokens(text))
    assert not specials or name == "whitespace"


@every_tokenizer
@settings(max_examples=40)
@given(any_text)
def test_distinct_is_tokens_and_lines_are_independent(name: str, text: str) -> None:
    tokenizer = made(name)
    tokens = tokenizer.tokens(text)
    types, index = tokenizer.distinct(text)
    assert [types[number] for number in index] == tokens
    assert sorted(set(tokens)) == sorted(types)
    assert tokens.count(tokenizer.newline) == text.count("\n")
    for end in (match.end() for match in re.finditer("\n", text)):
        assert tokenizer.tokens(text[:end]) + tokenizer.tokens(text[end:]) == tokens


@every_tokenizer
def test_a_long_text_is_cut_into_pieces_without_a_trace(
    name: str, play: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = play[:20_000]
    types, index = made(name).distinct(text)
    monkeypatch.setattr(module, "_PIECE", 1000)
    pieces = list(made(name).pieces(text))
    assert len(pieces) > 15
    assert "".join(pieces) == text
    cut_types, cut_index = made(name).distinct(text)
    assert [cut_types[number] for number in cut_index] == [types[number] for number in index]
    assert len(cut_types) == len(types)


def test_a_line_that_cannot_be_cut_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 10)
    assert list(made("word").pieces("ab" * 100)) == ["ab" * 100]
    treebank = made("treebank").pieces("a b " * 100 + "\nc" * 9)
    assert list(treebank) == ["a b " * 100 + "\n", "c\n" * 5, "c\n" * 3 + "c"]


@every_tokenizer
@given(any_text)
def test_tokens_are_located(name: str, text: str) -> None:
    """In order, apart, and with nothing but white space between; lossless ones cover the text."""
    tokenizer = made(name)
    try:
        tokens = tokenizer.tokens(text)
    except DataError:  # half a character, which bpe refuses
        return
    located = list(tokenizer.located(text))
    assert [token for token, _, _ in located] == tokens
    place = 0
    for token, start, end in located:
        if tokenizer.part_of_character(token) is not None:
            assert start < end <= len(text)
        else:
            assert not text[place:start].replace("\0", " ").strip()
            assert start >= place
            if name != "treebank":
                assert text[start:end] == tokenizer.detokenize([token])
        place = max(place, end)
    if name in ("char", "bpe"):
        assert place == len(text)


@pytest.mark.parametrize("name", ["char", "bpe"])
@given(any_text)
def test_lossless_tokenizers_give_every_text_back(name: str, text: str) -> None:
    assert made(name).lossless
    assert made(name).detokenize(made(name).tokens(text)) == text


@every_tokenizer
@settings(max_examples=30)
@given(any_text)
def test_description_makes_an_equal_tokenizer(name: str, text: str) -> None:
    again = tokenizer_from(made(name).describe())
    assert again.describe() == made(name).describe()
    assert again.tokens(text) == made(name).tokens(text)


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"name": "morse"},
        {"name": "char", "merges": []},
        {"name": "bpe"},
        {"name": "bpe", "merges": "a b"},
        {"name": "bpe", "merges": ["ab"]},
        {"name": "bpe", "merges": ["a b", "ab cd"]},
        {"name": "bpe", "merges": [["a", "b"]]},
    ],
)
def test_other_descriptions_are_refused(description: dict[str, object]) -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        tokenizer_from(description)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("morse",), "tokenizer must be one of char, word"),
        (("bpe",), "learned from a text"),
        (("bpe", "text", 255), "must be at least 256"),
    ],
)
def test_impossible_tokenizers(arguments: tuple[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_tokenizer(*arguments)


@given(any_text, st.sampled_from(TOKENIZERS), st.data())
def test_a_text_can_be_cut_and_no_token_changes(text: str, name: str, data: st.DataObject) -> None:
    tokenizer = made(name)
    position = data.draw(st.integers(0, len(text)))
    cut = tokenizer.cut_before(text, position)
    assert 0 <= cut <= position
    try:
        whole = tokenizer.tokens(text)
    except DataError:  # half a character, which bpe refuses
        return
    assert tokenizer.tokens(text[:cut]) + tokenizer.tokens(text[cut:]) == whole
