"""Is one model better than another on a text? By how much, and where?

A difference is A's value minus B's, in nats per token, bits per character or perplexity; it is
negative if A is better. Its interval and p-value come from a paired bootstrap
(`lmsuite.analysis.bootstrap`): both models are scored on the same resampled texts, so the
difficulty of a text, which is common to both, cancels.

Models with the same tokens are compared token by token. Others are compared line by line: a line
with its end is the smallest piece of text that both predict as a whole. A token belongs to the line
in which it ends. Then the numbers of tokens differ, so nats per token and perplexity are left out;
bits per character can still be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.analysis.bootstrap import (
    Bootstrap,
    Estimate,
    Statistic,
    UnitSums,
    blocks,
    joined,
    ratio,
)
from lmsuite.analysis.evaluation import perplexity_of
from lmsuite.errors import DataError
from lmsuite.files.stored_text import Text, whole_units
from lmsuite.files.stored_text import blocks as text_blocks
from lmsuite.models.interface import LanguageModel
from lmsuite.models.sentences import running
from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Float64Array, IntArray

PLACES = 10
_CONTEXT, _AFTER = 12, 6  # tokens shown before and after a place
_TIE = 1e-6  # nats; two scores that differ by no more count as equal


@dataclass(frozen=True)
class Place:
    """A place where two models differ: a token in its context, or a whole line without context."""

    line: int  # from 1
    before: str
    text: str
    after: str
    log_prob_a: float
    log_prob_b: float

    @property
    def difference(self) -> float:
        """The surprisal of A minus that of B, in nats: negative where A predicted it better."""
        return self.log_prob_b - self.log_prob_a


@dataclass(frozen=True)
class Figures:
    """The results of one model on the text."""

    tokens: int
    oov: int  # how many of the tokens are <unk>
    nats_per_token: float
    bits_per_char: float
    perplexity: float


@dataclass(frozen=True)
class Tally:
    """How many tokens (or lines, if the tokens differ) A predicts with the higher probability."""

    won: int
    lost: int
    tied: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.won + other.won, self.lost + other.lost, self.tied + other.tied)


@dataclass(frozen=True)
class Comparison:
    """Model A against model B on one text. Differences are A - B: negative if A is better."""

    a: str
    b: str
    same_tokens: bool
    figures: tuple[Figures, Figures]  # of A and of B
    nats_per_token: Estimate | None  # None if the tokens differ
    bits_per_char: Estimate
    perplexity: Estimate | None  # None if the tokens differ
    unit: str  # what was resampled: "lines", for example
    units: int
    tally: Tally
    places: tuple[Place, ...]  # the largest differences, the largest first


@dataclass(frozen=True)
class _Scored:
    """One model's scores of a part of the text."""

    ids: IntArray  # (M,) the predicted tokens
    log_probs: Float64Array  # (M,)
    lines: NDArray[np.int64]  # (M,) the line of the part in which each token ends


@dataclass(frozen=True)
class _Lines:
    """The lines of a part of the text; what ends a document ends a line, too."""

    texts: list[str]
    chars: Float64Array  # (L,) characters of each line, with its end
    units: NDArray[np.int64]  # (L,) the number of each line, or of its document

    @classmethod
    def of(cls, part: str, boundaries: Boundaries) -> _Lines:
        """The lines of whole units of these boundaries."""
        lines = part.replace(boundaries.end, "\n")
        texts = lines.removesuffix("\n").split("\n")
        chars = np.array([len(line) + 1 for line in texts], np.float64)
        if not lines.endswith("\n"):
            chars[-1] -= 1
        last = np.cumsum(chars[:-1]).astype(np.int64) - 1  # where all but the last line end
        ends = [part[place] == boundaries.end for place in last.tolist()]
        units = np.concatenate(([0], np.cumsum(ends, dtype=np.int64)))
        return cls(texts, chars, units)


@dataclass
class _Totals:
    """One model's results on the parts read so far."""

    tokens: int = 0
    oov: int = 0
    impossible: int = 0  # how many of the tokens have probability zero
    log_prob: float = 0.0  # the sum of the parts' sums, whose last bits depend on the parts

    def add(self, scored: _Scored) -> None:
        self.tokens += len(scored.ids)
        self.oov += int((scored.ids == UNK).sum())
        self.impossible += int(np.isneginf(scored.log_probs).sum())
        self.log_prob += float(scored.log_probs.sum())

    def figures(self, name: str, chars: int) -> Figures:
        """The results on the whole text.

        Raises:
            DataError: there is no mean.
        """
        if not self.tokens:
            raise DataError("nothing to compare: the text has no tokens")
        if self.impossible:
            raise DataError(
                f"{name} gives {self.impossible} of {self.tokens} tokens probability zero, so no "
                "mean difference exists: compare models with smoothing"
            )
        nats = -self.log_prob
        return Figures(
            tokens=self.tokens,
            oov=self.oov,
            nats_per_token=nats / self.tokens,
            bits_per_char=nats / math.log(2) / chars,
            perplexity=perplexity_of(nats / self.tokens),
        )


def compare(
    a: LanguageModel,
    b: LanguageModel,
    text: Text,
    rng: np.random.Generator,
    *,
    names: tuple[str, str],
) -> Comparison:
    """Compare two models on a text; `rng` draws the resampled texts.

    If one model is of documents, the text is one of documents, of which the other reads the lines.
    The text is read and scored some lines at a time.

    Raises:
        DataError: the text has no tokens, or a model gives one of them probability zero.
    """
    boundaries = [model.encoder.boundaries for model in (a, b)]
    of_text = Boundaries.DOCUMENTS if Boundaries.DOCUMENTS in boundaries else boundaries[0]
    is_same = a.encoder.fingerprint() == b.encoder.fingerprint() and not (
        a.predicts_lines or b.predicts_lines
    )
    units = _Units.of(text, of_text, a.encoder if is_same else None)
    differences = _OfTokens(a.encoder, units) if is_same else _OfLines(units)
    totals, scorers = (_Totals(), _Totals()), [_scorer(model, of_text) for model in (a, b)]
    parts = whole_units(text_blocks(text), of_text.end)
    if any(model.encoder.backward for model in (a, b)):  # the end comes first
        parts = iter(["".join(parts)])
    for part in parts:
        scored = [score(part) for score in scorers]
        for total, one in zip(totals, scored, strict=True):
            total.add(one)
        with np.errstate(invalid="ignore"):  # where both give probability zero
            differences.add(_Lines.of(part, of_text), *scored)
    figures = [total.figures(name, len(text)) for total, name in zip(totals, names, strict=True)]
    return differences.comparison(names, (figures[0], figures[1]), rng)


def perplexity_difference(a_minus_b: int, a: int, tokens: int) -> Statistic:
    """exp(A/N) - exp(B/N), from the sums A - B, A and N; the arguments are their column numbers."""

    def statistic(sums: Float64Array) -> tuple[Float64Array, Float64Array]:
        count = sums[..., tokens]
        mean_a = sums[..., a] / count
        mean_b = mean_a - sums[..., a_minus_b] / count
        of_a, of_b = np.exp(mean_a), np.exp(mean_b)
        gradient = np.zeros_like(sums)
        gradient[..., a] = (of_a - of_b) / count
        gradient[..., a_minus_b] = of_b / count
        gradient[..., tokens] = (of_b * mean_b - of_a * mean_a) / count
        return of_a - of_b, gradient

    return statistic


def _scorer(model: LanguageModel, of_text: Boundaries) -> Callable[[str], _Scored]:
    """What scores the parts of a text of these boundaries, one after the other."""
    encoder, score = model.encoder, model.line_scorer(in_context=True)

    def scored(part: str) -> _Scored:
        part = part.replace(of_text.end, encoder.boundaries.end)
        if encoder.backward:  # the part is the whole text
            ids = encoder.encode(part)
            order = encoder.reading_order(ids)
            lines = lines_of_tokens(encoder, part, encoder.forward.encode(part))
            return _Scored(ids[ids != BOS][order], model.score(ids)[order], lines)
        ids, lengths = encoder.encode_lines(part)
        log_probs, ids = score(part, ids, lengths), running(encoder, ids)
        return _Scored(ids[ids != BOS], log_probs, lines_of_tokens(encoder, part, ids))

    return scored


@dataclass(frozen=True)
class _Units:
    """What is resampled: the lines or documents of the text, or blocks of its tokens."""

    name: str  # "line" or "document"
    count: int  # lines or documents
    tokens: int | None  # of a stream that both models read alike, which has blocks; else None

    @classmethod
    def of(cls, text: Text, boundaries: Boundaries, encoder: TextEncoder | None) -> _Units:
        """The units of a text with these boundaries; the encoder is that of both models, if any."""
        end = boundaries.end
        count = sum(block.count(end) for block in text_blocks(text)) + (not text.endswith(end))
        tokens = None
        if encoder is not None and not encoder.boundaries.has_sequences:
            tokens = len(encoder.encode(text))
        return cls(boundaries.unit, count, tokens)

    def title(self, groups: int) -> str:
        """What the units are called when they are joined to so many groups."""
        if self.tokens is not None:
            return f"blocks of {self.tokens // groups} tokens"
        name = f"{self.name}s"
        return name if self.count == groups else f"groups of {self.count / groups:.3g} {name}"


@dataclass(frozen=True)
class _Found:
    """A token that one model predicts better, and the tokens around it."""

    ids: IntArray
    at: int  # where the token is among the ids
    line: int
    log_prob_a: float
    log_prob_b: float

    @classmethod
    def of(cls, ids: IntArray, at: int, line: int, log_prob_a: float, log_prob_b: float) -> _Found:
        """The token at a place among the ids of a text."""
        first = max(at - _CONTEXT, 0)
        return cls(ids[first : at + 1 + _AFTER], at - first, line, log_prob_a, log_prob_b)

    def going_on(self, ids: IntArray) -> _Found:
        """The same token, with more of the ids that come after it, where it has too few."""
        missing = max(0, self.at + 1 + _AFTER - len(self.ids))
        return replace(self, ids=np.concatenate((self.ids, ids[:missing])))

    def place(self, encoder: TextEncoder) -> Place:
        """The text before and after the token has the spaces between them and the token."""
        before, through, whole = (
            encoder.decode(self.ids[:end]) for end in (self.at, self.at + 1, None)
        )
        piece = through[len(before) :]
        return Place(
            line=self.line,
            before=before + piece[: len(piece) - len(piece.lstrip(" "))],
            text=encoder.token_text(int(self.ids[self.at])),
            after=whole[len(through) :],
            log_prob_a=self.log_prob_a,
            log_prob_b=self.log_prob_b,
        )


class _OfTokens:
    """The differences of models with the same tokens."""

    def __init__(self, encoder: TextEncoder, units: _Units) -> None:
        self._encoder, self._units = encoder.forward, units
        self._sums, self._tally = UnitSums(4), Tally(0, 0, 0)
        self._tokens, self._lines, self._begun = 0, 0, 0  # before the part; units
        self._found: list[_Found] = []
        self._before: IntArray = np.zeros(0, np.int32)  # the last tokens before the part

    def add(self, lines: _Lines, a: _Scored, b: _Scored) -> None:
        """Add those in a part of the text."""
        difference = b.log_probs - a.log_probs  # (M,) surprisal of A minus that of B
        end = self._tokens + len(difference)
        if self._units.tokens is None:
            units = joined(self._begun + lines.units[a.lines], self._units.count)
        else:
            units = blocks(self._tokens, end, self._units.tokens)
        self._sums.add(units, difference, -a.log_probs, 1.0, _chars_of_tokens(a.lines, lines))
        self._tally += _tally(difference)
        self._find(difference, a, b)
        self._tokens = end
        self._lines += len(lines.texts)
        self._begun += int(lines.units[-1]) + 1

    def _find(self, difference: Float64Array, a: _Scored, b: _Scored) -> None:
        """Keep the largest differences, of equal ones the first."""
        ids = np.concatenate((self._before, a.ids))
        found = [one.going_on(a.ids) for one in self._found]
        for i in _largest(difference):
            if not abs(difference[i]) <= _TIE:
                at, line = len(self._before) + i, self._lines + int(a.lines[i]) + 1
                log_probs = float(a.log_probs[i]), float(b.log_probs[i])
                found.append(_Found.of(ids, at, line, *log_probs))
        sizes = np.array([one.log_prob_b - one.log_prob_a for one in found])
        self._found = [found[i] for i in _largest(sizes)]
        self._before = ids[-_CONTEXT:]

    def comparison(
        self, names: tuple[str, str], figures: tuple[Figures, Figures], rng: np.random.Generator
    ) -> Comparison:
        """The comparison, after all parts."""
        bootstrap = Bootstrap(self._sums.columns(), rng)
        return Comparison(
            *names,
            same_tokens=True,
            figures=figures,
            nats_per_token=bootstrap.estimate(ratio(0, 2)),
            bits_per_char=bootstrap.estimate(ratio(0, 3, scale=1 / math.log(2))),
            perplexity=bootstrap.estimate(perplexity_difference(0, 1, 2)),
            unit=self._units.title(bootstrap.units),
            units=bootstrap.units,
            tally=self._tally,
            places=tuple(one.place(self._encoder) for one in self._found),
        )


class _OfLines:
    """The differences of models with other tokens, line by line."""

    def __init__(self, units: _Units) -> None:
        self._units = units
        self._sums, self._tally = UnitSums(2), Tally(0, 0, 0)
        self._lines, self._begun = 0, 0  # before the part; units
        self._places: list[Place] = []

    def add(self, lines: _Lines, a: _Scored, b: _Scored) -> None:
        """Add those in a part of the text."""
        of_a, of_b = (_line_sums(each, len(lines.texts)) for each in (a, b))  # (L,)
        difference = of_b - of_a
        units = joined(self._begun + lines.units, self._units.count)
        self._sums.add(units, difference, lines.chars)
        self._tally += _tally(difference)
        places = self._places + [
            Place(self._lines + i + 1, "", lines.texts[i], "", float(of_a[i]), float(of_b[i]))
            for i in _largest(difference)
        ]
        self._places = [
            places[i] for i in _largest(np.array([place.difference for place in places]))
        ]
        self._lines += len(lines.texts)
        self._begun += int(lines.units[-1]) + 1

    def comparison(
        self, names: tuple[str, str], figures: tuple[Figures, Figures], rng: np.random.Generator
    ) -> Comparison:
        """The comparison, after all parts."""
        bootstrap = Bootstrap(self._sums.columns(), rng)
        return Comparison(
            *names,
            same_tokens=False,
            figures=figures,
            nats_per_token=None,
            bits_per_char=bootstrap.estimate(ratio(0, 1, scale=1 / math.log(2))),
            perplexity=None,
            unit=self._units.title(bootstrap.units),
            units=bootstrap.units,
            tally=self._tally,
            places=tuple(self._places),
        )


def _largest(differences: Float64Array) -> list[int]:
    """Where the `PLACES` largest are, the largest first; of equal ones the first."""
    return [int(i) for i in np.argsort(-np.abs(differences), kind="stable")[:PLACES]]


def _line_sums(scored: _Scored, lines: int) -> Float64Array:
    sums = np.bincount(scored.lines, weights=scored.log_probs, minlength=lines)
    return sums.astype(np.float64)


def _chars_of_tokens(line_of: NDArray[np.int64], lines: _Lines) -> Float64Array:
    """The characters of each line, divided evenly among its tokens, (M,)."""
    tokens = np.bincount(line_of, minlength=len(lines.texts))
    return (lines.chars / np.maximum(tokens, 1))[line_of]


def _tally(difference: Float64Array) -> Tally:
    won, lost = int((difference < -_TIE).sum()), int((difference > _TIE).sum())
    return Tally(won, lost, len(difference) - won - lost)


def lines_of_tokens(encoder: TextEncoder, text: str, ids: IntArray) -> NDArray[np.int64]:
    """The line (M,), from 0, in which each predicted token of the text ends.

    A line's end, a newline or ``</s>``, belongs to that line. The end of a document ends a line.

    Args:
        encoder: the encoder of the ids.
        text: the text.
        ids: (N,), ``encoder.encode(text)``; all but ``<s>`` are predicted.
    """
    if encoder.boundaries is Boundaries.LINES:
        begun: NDArray[np.int64] = (np.cumsum(ids == BOS) - 1)[ids != BOS]
        return begun
    types, index = encoder.tokenizer.distinct(text.replace(encoder.boundaries.end, "\n"))
    newline = encoder.tokenizer.newline
    ends_in = np.array([token.count(newline) for token in types], np.int64)
    closes = np.array([token.endswith(newline) for token in types], np.int64)
    read: NDArray[np.int64] = np.cumsum(ends_in[index]) - closes[index]
    is_documents = encoder.boundaries is Boundaries.DOCUMENTS
    if is_documents and text and not text.endswith(encoder.boundaries.end):
        read = np.append(read, read[-1:] if read.size else 0)  # the end that is not in the text
    return read
