"""A text of any length, drawn from a model with a vocabulary of 50,000 words.

The model is an n-gram mixture that needs no table. Words have the Zipf-Mandelbrot distribution
p(rank r) proportional to 1 / (r + 2.7)^1.3. With probability 0.55 the next word is one of the
favourites of the last two words, with 0.25 one of those of the last word, else a word drawn
without context. A context's favourites are numbered; the number is geometric (mean 2.5 after two
words, 12 after one), and a hash of context and number says which word it is, drawn in its turn
from the distribution of words. So frequent words stay frequent, and longer n-grams repeat, as they
do in text. Lines are geometric too, 20 words on the average.

Many lines are drawn at once, a column of words at a time; the seed decides everything.

    python -m benchmarks.synthetic_text 20000000 > text.txt
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 50_000
_OFFSET, _EXPONENT = 2.7, 1.3
_AFTER_TWO, _AFTER_ONE = 0.55, 0.25
_FAVOURITES_AFTER_TWO, _FAVOURITES_AFTER_ONE = 2.5, 12.0
_LINE = 20.0
_LINES_AT_ONCE = 20_000
_MIX = np.uint64(0x9E3779B97F4A7C15)

Array = NDArray[Any]


def write_text(tokens: int, stream: BinaryIO, seed: int = 1) -> None:
    """Write lines of at least `tokens` words in all."""
    rng = np.random.default_rng(seed)
    mass = np.cumsum((np.arange(VOCABULARY) + 1 + _OFFSET) ** -_EXPONENT)
    mass /= mass[-1]
    spelled = np.array([_spelling(rank) for rank in range(VOCABULARY)], dtype=object)
    written = 0
    while written < tokens:
        lengths = rng.geometric(1 / _LINE, _LINES_AT_ONCE)
        lengths = np.sort(lengths)[::-1]  # so that the lines still open come first
        if written + lengths.sum() > tokens:
            lengths = lengths[: np.searchsorted(np.cumsum(lengths), tokens - written) + 1]
        words = _drawn(lengths, mass, rng)
        for line in rng.permutation(len(lengths)):
            stream.write(b" ".join(spelled[words[line, : lengths[line]]]) + b"\n")
        written += int(lengths.sum())


def _drawn(lengths: Array, mass: Array, rng: np.random.Generator) -> Array:
    """Words (lines, longest line), those beyond a line's length meaningless."""
    words = np.zeros((len(lengths), int(lengths[0])), dtype=np.int64)
    for at in range(words.shape[1]):
        open_ = int(np.searchsorted(-lengths, -at))
        last = words[:open_, at - 1] if at > 0 else np.full(open_, VOCABULARY)
        last_but_one = words[:open_, at - 2] if at > 1 else np.full(open_, VOCABULARY)
        kind = rng.random(open_)
        quantile = rng.random(open_)
        after_two = kind < _AFTER_TWO
        after_one = ~after_two & (kind < _AFTER_TWO + _AFTER_ONE)
        number = rng.geometric(1 / _FAVOURITES_AFTER_TWO, open_)
        pair = (last_but_one + 1) * (VOCABULARY + 1) + last
        quantile[after_two] = _hashed(pair, number)[after_two]
        number = rng.geometric(1 / _FAVOURITES_AFTER_ONE, open_)
        quantile[after_one] = _hashed(last, number)[after_one]
        words[:open_, at] = np.searchsorted(mass, quantile)
    return words


def _hashed(context: Array, number: Array) -> Array:
    """A number from 0 to 1 for each context's favourite of that number."""
    key = context.astype(np.uint64) * np.uint64(1 << 20) + number.astype(np.uint64)
    for shift in (29, 32):
        key = (key ^ (key >> np.uint64(shift))) * _MIX
    return (key >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _spelling(rank: int) -> bytes:
    """A pronounceable word for each rank, short ones first."""
    syllables = [c + v for c in "bdfghklmnprstvwz" for v in "aeiou"]
    spelled = ""
    number = rank
    while True:
        spelled += syllables[number % len(syllables)]
        number //= len(syllables)
        if number == 0:
            return spelled.encode()
        number -= 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tokens", type=int)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    write_text(given.tokens, sys.stdout.buffer, given.seed)


if __name__ == "__main__":
    main()
