"""The note about a text whose end does not stand for the rest."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from lmsuite.sources.splitting import split_text
from lmsuite.sources.unlike import _cross_entropies, why_unlike


def why(text: str) -> str | None:
    return why_unlike(*split_text(text, 0.1, whole_lines=False))


def names() -> list[str]:
    rng = random.Random(4)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3000)]


def test_sorted_lines_are_seen() -> None:
    for ordered in (sorted(names()), sorted(names(), reverse=True)):
        assert "sorted" in (why("\n".join(ordered)) or "")
    assert why("\n".join(names())) is None


def test_sorted_lines_are_seen_in_a_long_text() -> None:
    assert "sorted" in (why("".join(f"{number:07} and so on\n" for number in range(50_000))) or "")


def test_another_language_at_the_end_is_seen(play: str) -> None:
    digits = "".join(random.Random(6).choices("0123456789", k=11_000))
    assert "unlike" in (why(play[:100_000] + play[100_000:115_000].upper()) or "")
    assert "unlike" in (why(play[:100_000] + digits) or "")


def test_a_second_half_of_another_kind_is_held_out_in_part_alone(play: str) -> None:
    assert why(play[:50_000] + play[50_000:100_000].upper()) is None


@pytest.mark.parametrize(
    "name",
    ["play", "tinyshakespeare/train.txt", "tinyshakespeare/valid.txt", "shakespeare/complete.txt"],
)
def test_no_false_alarm(name: str, play: str, shared: Path) -> None:
    text = play if name == "play" else (shared / "corpora" / name).read_text(encoding="utf-8")
    assert why(text) is None


@pytest.mark.parametrize("text", ["", "a", "\n\n\n", "one line " * 3, "same\n" * 5000])
def test_what_says_nothing_gives_no_note(text: str) -> None:
    assert why(text) is None


def test_the_cross_entropy_by_hand() -> None:
    # The end is "ba" after "b"; the rest holds the pairs ab ba ab (of "abab"), so that of "b" one
    # pair is left, "ba". Unigrams of the rest, each one more: b 2 + 1, a 1 + 1, of 3 + 2.
    last, *_ = _cross_entropies("ababba", 2)
    first = 0.1 * 3 / 5  # bb, never seen
    second = 0.9 * 1 + 0.1 * 2 / 5  # ba, the only pair with b
    assert last == pytest.approx(-np.log2([first, second]).mean())
