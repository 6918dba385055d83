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
from collections.abc import Iterator
from dataclasses import dataclass

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
from lmsuite.models.interface import LanguageModel
from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Float64Array, IntArray

PLACES = 10
_CONTEXT = 12  # tokens shown before a place; half as many are shown after it
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
    """One model's scores of the text."""

    ids: IntArray  # (M,) the predicted tokens
    log_probs: Float64Array  # (M,)
    lines: NDArray[np.int64]  # (M,) the line in which each token ends


@dataclass(frozen=True)
class _Lines:
    """The lines of the text; what ends a document ends a line, too."""

    texts: list[str]
    chars: Float64Array  # (L,) characters of each line, with its end
    units: NDArray[np.int64]  # (L,) the number of each line, or of its document
    unit: str  # "line" or "document"

    @classmethod
    def of(cls, text: str, boundaries: Boundaries) -> _Lines:
        """The lines of a text that consists of the units of these boundaries."""
        lines = str(Boundaries.LINES.reads(text) if boundaries is Boundaries.DOCUMENTS else text)
        texts = lines.removesuffix("\n").split("\n")
        chars = np.array([len(line) + 1 for line in texts], np.float64)
        if not lines.endswith("\n"):
            chars[-1] -= 1
        last = np.cumsum(chars[:-1]).astype(np.int64) - 1  # where all but the last line end
        ends = [text[place] == boundaries.end for place in last.tolist()]
        units = np.concatenate(([0], np.cumsum(ends, dtype=np.int64)))
        return cls(texts, chars, units, boundaries.unit)


def compare(
    a: LanguageModel,
    b: LanguageModel,
    text: str,
    rng: np.random.Generator,
    *,
    names: tuple[str, str],
) -> Comparison:
    """Compare two models on a text; `rng` draws the resampled texts.

    If one model is of documents, the text is one of documents, of which the other reads the lines.

    Raises:
        DataError: the text has no tokens, or a model gives one of them probability zero.
    """
    boundaries = [model.encoder.boundaries for model in (a, b)]
    texts = [text, text]
    if Boundaries.DOCUMENTS in boundaries:
        texts = [str(each.reads(text)) for each in boundaries]
        boundaries = [Boundaries.DOCUMENTS]
    scored = _score(a, texts[0], names[0]), _score(b, texts[1], names[1])
    lines = _Lines.of(text, boundaries[0])
    if a.encoder.fingerprint() == b.encoder.fingerprint():
        return _compare_tokens(a, scored, lines, rng, names)
    return _compare_lines(scored, lines, rng, names)


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


def _score(model: LanguageModel, text: str, name: str) -> _Scored:
    ids = model.encoder.encode(text)
    predicted = ids[ids != BOS]
    if not predicted.size:
        raise DataError("nothing to compare: the text has no tokens")
    log_probs = model.score(ids)
    impossible = int(np.isneginf(log_probs).sum())
    if impossible:
        raise DataError(
            f"{name} gives {impossible} of {len(predicted)} tokens probability zero, so no mean "
            "difference exists: compare models with smoothing"
        )
    return _Scored(predicted, log_probs, lines_of_tokens(model.encoder, text, ids))


def _compare_tokens(
    model: LanguageModel,
    scored: tuple[_Scored, _Scored],
    lines: _Lines,
    rng: np.random.Generator,
    names: tuple[str, str],
) -> Comparison:
    a, b = scored
    difference = b.log_probs - a.log_probs  # (M,) surprisal of A minus that of B
    has_sequences = model.encoder.boundaries.has_sequences
    units = (
        joined(lines.units[a.lines], int(lines.units[-1]) + 1)
        if has_sequences
        else blocks(0, len(a.ids), len(a.ids))
    )
    chars = _chars_of_tokens(a.lines, lines)
    sums = UnitSums(4)
    sums.add(units, difference, -a.log_probs, 1.0, chars)
    bootstrap = Bootstrap(sums.columns(), rng)
    return Comparison(
        *names,
        same_tokens=True,
        figures=(_figures(a, lines), _figures(b, lines)),
        nats_per_token=bootstrap.estimate(ratio(0, 2)),
        bits_per_char=bootstrap.estimate(ratio(0, 3, scale=1 / math.log(2))),
        perplexity=bootstrap.estimate(perplexity_difference(0, 1, 2)),
        unit=_name_of_units(lines, bootstrap.units)
        if has_sequences
        else f"blocks of {len(a.ids) // bootstrap.units} tokens",
        units=bootstrap.units,
        tally=_tally(difference),
        places=tuple(_places_of_tokens(model, a, b, difference)),
    )


def _compare_lines(
    scored: tuple[_Scored, _Scored],
    lines: _Lines,
    rng: np.random.Generator,
    names: tuple[str, str],
) -> Comparison:
    a, b = scored
    of_a, of_b = (_line_sums(each, len(lines.texts)) for each in scored)  # (L,)
    difference = of_b - of_a
    sums = UnitSums(2)
    sums.add(joined(lines.units, int(lines.units[-1]) + 1), difference, lines.chars)
    bootstrap = Bootstrap(sums.columns(), rng)
    largest = np.argsort(-np.abs(difference), kind="stable")[:PLACES]
    return Comparison(
        *names,
        same_tokens=False,
        figures=(_figures(a, lines), _figures(b, lines)),
        nats_per_token=None,
        bits_per_char=bootstrap.estimate(ratio(0, 1, scale=1 / math.log(2))),
        perplexity=None,
        unit=_name_of_units(lines, bootstrap.units),
        units=bootstrap.units,
        tally=_tally(difference),
        places=tuple(
            Place(i + 1, "", lines.texts[i], "", float(of_a[i]), float(of_b[i]))
            for i in largest.tolist()
        ),
    )


def _line_sums(scored: _Scored, lines: int) -> Float64Array:
    sums = np.bincount(scored.lines, weights=scored.log_probs, minlength=lines)
    return sums.astype(np.float64)


def _chars_of_tokens(line_of: NDArray[np.int64], lines: _Lines) -> Float64Array:
    """The characters of each line, divided evenly among its tokens, (M,)."""
    tokens = np.bincount(line_of, minlength=len(lines.texts))
    return (lines.chars / np.maximum(tokens, 1))[line_of]


def _name_of_units(lines: _Lines, groups: int) -> str:
    count = int(lines.units[-1]) + 1
    name = f"{lines.unit}s"
    return name if count == groups else f"groups of {count / groups:.3g} {name}"


def _figures(scored: _Scored, lines: _Lines) -> Figures:
    nats = -float(scored.log_probs.sum())
    tokens = len(scored.ids)
    return Figures(
        tokens=tokens,
        oov=int((scored.ids == UNK).sum()),
        nats_per_token=nats / tokens,
        bits_per_char=nats / math.log(2) / float(lines.chars.sum()),
        perplexity=perplexity_of(nats / tokens),
    )


def _tally(difference: Float64Array) -> Tally:
    won, lost = int((difference < -_TIE).sum()), int((difference > _TIE).sum())
    return Tally(won, lost, len(difference) - won - lost)


def _places_of_tokens(
    model: LanguageModel, a: _Scored, b: _Scored, difference: Float64Array
) -> Iterator[Place]:
    for i in np.argsort(-np.abs(difference), kind="stable")[:PLACES].tolist():
        if abs(difference[i]) <= _TIE:
            return
        before, after = _around(model.encoder, a.ids, i)
        yield Place(
            line=int(a.lines[i]) + 1,
            before=before,
            text=model.encoder.token_text(int(a.ids[i])),
            after=after,
            log_prob_a=float(a.log_probs[i]),
            log_prob_b=float(b.log_probs[i]),
        )


def _around(encoder: TextEncoder, ids: IntArray, i: int) -> tuple[str, str]:
    """The text before and after token i, each with the spaces between it and the token."""
    first = max(i - _CONTEXT, 0)
    before, through, whole = (
        encoder.decode(ids[first:end]) for end in (i, i + 1, i + 1 + _CONTEXT // 2)
    )
    piece = through[len(before) :]
    return before + piece[: len(piece) - len(piece.lstrip(" "))], whole[len(through) :]


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
    is_documents = encoder.boundaries is Boundaries.DOCUMENTS
    lines = str(Boundaries.LINES.reads(text) if is_documents else text)
    types, index = encoder.tokenizer.distinct(lines)
    newline = encoder.tokenizer.newline
    ends_in = np.array([token.count(newline) for token in types], np.int64)
    closes = np.array([token.endswith(newline) for token in types], np.int64)
    read: NDArray[np.int64] = np.cumsum(ends_in[index]) - closes[index]
    if is_documents and text and not text.endswith(encoder.boundaries.end):
        read = np.append(read, read[-1:] if read.size else 0)  # the end that is not in the text
    return read
