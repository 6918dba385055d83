"""The division of a text: at its end, or by lines drawn at random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.errors import UsageError
from lmsuite.files.plain import DOCUMENT_END
from lmsuite.sources.splitting import HeldOut, SplitRule, split_text

TEXTS = st.lists(
    st.sampled_from(["a", "bb", "ccc", "Anna", "", "  ", "é", "a b"]), max_size=60
).map("\n".join)
SHARES = st.floats(0.01, 0.99)


def at_random(text: str, share: float = 0.1, seed: int = 0) -> tuple[str, str]:
    return split_text(text, share, whole_lines=False, by="random", seed=seed)


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


@given(TEXTS, SHARES, st.integers(0, 3))
def test_equal_lines_are_on_one_side(text: str, share: float, seed: int) -> None:
    training, valid = at_random(text, share, seed)
    assert not set(lines(training)) & set(lines(valid))


@given(TEXTS, SHARES)
def test_every_line_is_on_a_side_in_its_order(text: str, share: float) -> None:
    training, valid = at_random(text, share)
    assert len(training) + len(valid) == len(text)
    held_out = set(lines(valid))
    assert lines(valid) == [line for line in lines(text) if line in held_out]
    assert lines(training) == [line for line in lines(text) if line not in held_out]


def test_the_share_is_that_of_the_characters() -> None:
    text = "".join(f"line {number}\n" for number in range(5000))
    for share in (0.1, 0.25, 0.9):
        assert len(at_random(text, share)[1]) == pytest.approx(share * len(text), abs=10)


def test_the_lines_come_from_everywhere_and_another_seed_draws_others() -> None:
    text = "".join(f"{number}\n" for number in range(1000, 3000))
    numbers = [int(line) for line in lines(at_random(text)[1])]
    for begin in range(1000, 3000, 500):
        assert 25 <= sum(begin <= number < begin + 500 for number in numbers) <= 75
    assert at_random(text) == at_random(text) != at_random(text, seed=1)


def test_a_line_is_drawn_whatever_the_others_are() -> None:
    text = "".join(f"{number}\n" for number in range(1000, 3000))
    before = set(lines(at_random(text)[1]))
    after = set(lines(at_random("".join(f"{n}\n" for n in range(1000, 3010)))[1]))
    assert len(before - after) <= 2


def test_empty_lines_stay_with_the_line_before() -> None:
    text = "".join(f"{number}\n\n\n" for number in range(100, 200))
    training, valid = at_random(text)
    assert valid and valid.count("\n") == 3 * len(lines(valid))
    assert training.count("\n") == 3 * len(lines(training))


@pytest.mark.parametrize("text", ["", "one line", "same\n" * 50, "\n\n"])
def test_what_cannot_be_divided_is_for_training(text: str) -> None:
    assert at_random(text) == (text, "")


@pytest.mark.parametrize(
    "rule",
    [SplitRule(0.1), *(SplitRule(0.25, HeldOut.RANDOM, 7, unit) for unit in ("line", "document"))],
)
def test_a_rule_is_read_as_it_is_written(rule: SplitRule) -> None:
    assert SplitRule.parse(str(rule)) == rule


def test_what_is_no_rule() -> None:
    assert SplitRule.parse("none") is None
    assert SplitRule.parse("valid.txt") is None
    assert SplitRule.parse("my file of random lines, seed 3") is None
    for number in ("0", "1", "-0.5", "nan", "1 of random lines, seed 0"):
        with pytest.raises(UsageError, match="above 0 and below 1"):
            SplitRule.parse(number)
    with pytest.raises(UsageError, match="by end or random, not by 'middle'"):
        split_text("a\nb\n", 0.5, whole_lines=True, by="middle")


@pytest.mark.parametrize(
    ("text", "share", "valid"),
    [
        ("ab|cd\nef|gh|", 0.3, "gh|"),
        ("ab|cd\nef|gh", 0.7, "cd\nef|gh"),  # the cut is where a document begins
        ("a|b|a very long one|", 0.1, "a very long one|"),  # rather the last than none
        ("a|b|a very long one", 0.1, "a very long one"),
        ("only one|", 0.1, "only one|"),
        ("", 0.1, ""),
    ],
)
def test_a_text_of_documents_is_cut_between_them(text: str, share: float, valid: str) -> None:
    text, valid = text.replace("|", DOCUMENT_END), valid.replace("|", DOCUMENT_END)
    parts = SplitRule(share).divide(text, whole_units=True, end=DOCUMENT_END)
    assert parts == (text.removesuffix(valid), valid)


def test_random_documents_are_whole_and_equal_ones_on_one_side() -> None:
    texts = [f"the {number % 40}th\n\nof them" for number in range(100)]
    text = "".join(each + DOCUMENT_END for each in texts)
    rule = SplitRule(0.2, HeldOut.RANDOM)
    training, valid = rule.divide(text, whole_units=True, end=DOCUMENT_END)
    sides = [part.removesuffix(DOCUMENT_END).split(DOCUMENT_END) for part in (training, valid)]
    assert sorted(sides[0] + sides[1]) == sorted(texts)
    assert not set(sides[0]) & set(sides[1])
    assert abs(len(valid) - 0.2 * len(text)) < 3 * len(max(texts))
