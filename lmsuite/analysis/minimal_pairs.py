"""Minimal pairs: of two sentences that differ in one point, which does a model find more probable?

Each sentence is scored as if it were alone, with its end (Linzen, Dupoux and Goldberg 2016;
Warstadt et al. 2020, "BLiMP"). The first sentence of a pair is the acceptable one, so a model is
right where it gives the first more probability. The share of pairs in which it is right has the
interval of Wilson (1927), which holds near 0 and 1 and with few pairs. Two models are compared on
the pairs in which only one of them is right, by McNemar's test (1947) in its exact form.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lmsuite.errors import DataError
from lmsuite.files import AnyPath
from lmsuite.files.plain import read_text
from lmsuite.models.interface import LanguageModel
from lmsuite.models.sentences import score_sentences
from lmsuite.types import BoolArray, Float64Array

_Z = 1.959963984540054  # 97.5 % of a normal distribution lie below


class Pair(NamedTuple):
    """Two sentences."""

    good: str
    """The acceptable one."""
    bad: str


@dataclass(frozen=True)
class PairScores:
    """What one model makes of some pairs."""

    log_probs: Float64Array
    """(P, 2) of both sentences of each pair, in nats."""

    @property
    def is_right(self) -> BoolArray:
        """(P,) whether the first sentence is more probable than the second."""
        return self.log_probs[:, 0] > self.log_probs[:, 1]

    @property
    def ties(self) -> int:
        """The pairs whose sentences are equally probable; in them the model is not right."""
        return int((self.log_probs[:, 0] == self.log_probs[:, 1]).sum())

    @property
    def accuracy(self) -> float:
        """The share of the pairs in which the model is right."""
        return float(self.is_right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson(int(self.is_right.sum()), len(self.log_probs))


def read_pairs(path: AnyPath, encoding: str = "utf-8") -> list[Pair]:
    """The pairs in a file of two columns, separated by a tab; in one named ``.csv`` by a comma.

    Raises:
        DataError: the file cannot be read, or a line has not two sentences; the message names it.
    """
    text = read_text(Path(path), encoding)
    is_csv = Path(path).name.removesuffix(".gz").endswith(".csv")
    lines = text.removesuffix("\n").split("\n") if text else []
    rows: Iterable[list[str]] = (line.split("\t") for line in lines)
    if is_csv:
        rows = csv.reader(lines, strict=True)
    pairs = []
    try:
        for number, cells in enumerate(rows, start=1):
            if len(cells) != 2 or not all(map(str.strip, cells)):
                between = "a comma" if is_csv else "a tab"
                found = f"{len(cells)} columns" if len(cells) != 2 else "an empty one"
                raise DataError(
                    f"{path}, line {number}: {found}, not two sentences with {between} between them"
                )
            pairs.append(Pair(*cells))
    except csv.Error as error:
        raise DataError(f"{path}, line {len(pairs) + 1}: {error}") from None
    if not pairs:
        raise DataError(f"{path} has no pairs")
    return pairs


def score_pairs(model: LanguageModel, pairs: Sequence[Pair]) -> PairScores:
    """Score both sentences of each pair, each as if it were alone.

    Raises:
        DataError: a sentence holds a reserved token.
    """
    end = model.encoder.boundaries.end
    sentences = (sentence.replace("\n", " ") + end for pair in pairs for sentence in pair)
    scored = score_sentences(model, sentences, name="the pairs")
    log_probs = np.array([sentence.log_prob for sentence in scored])
    return PairScores(log_probs.reshape(-1, 2))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share, in which 0 and 1 may lie, too."""
    middle = successes + _Z**2 / 2
    spread = _Z * math.sqrt(successes * (trials - successes) / trials + _Z**2 / 4)
    whole = trials + _Z**2
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def mcnemar(a: PairScores, b: PairScores) -> float:
    """The two-sided p-value of the hypothesis that both models are right equally often."""
    only_a = int((a.is_right & ~b.is_right).sum())
    only_b = int((b.is_right & ~a.is_right).sum())
    trials, fewer = only_a + only_b, min(only_a, only_b)
    tail, combinations = 0, 1
    for successes in range(fewer + 1):
        tail += combinations
        combinations = combinations * (trials - successes) // (successes + 1)
    return float(min(1.0, 2 * tail / 2**trials))
