"""How well a model predicts a text: every result follows from one total in nats.

The total is L = -sum of ln p(token | history) over all M predicted tokens (all ids but ``<s>``),
in float64. Then

* cross-entropy = L / M, in nats per token;
* perplexity = exp(L / M): out-of-vocabulary (OOV) tokens have the probability of ``<unk>``;
* perplexity without OOV: the same, with those tokens left out of the sum *and* of the count (they
  stay in the histories), as KenLM's ``query`` prints it;
* bits per character = L / (C ln 2), C the characters of the text with their newlines: the one
  result that can be compared between models with different tokens.

The interval of the perplexity shows how much it would vary over other texts of the same kind. It
comes from a bootstrap over the lines of the text, or over blocks of tokens in stream mode
(`lmsuite.analysis.bootstrap`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lmsuite.analysis.bootstrap import Bootstrap, UnitSums, blocks, joined, ratio
from lmsuite.analysis.long_sums import LongSum
from lmsuite.errors import DataError, UsageError
from lmsuite.files.disk_arrays import in_memory
from lmsuite.files.stored_text import Text, whole_units
from lmsuite.files.stored_text import blocks as text_blocks
from lmsuite.models.interface import LanguageModel
from lmsuite.models.sentences import running
from lmsuite.models.settings import AdaptationSettings
from lmsuite.progress import working
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Float64Array, IntArray

WINDOW = 1 << 18
"""Ids of a text that are read and scored at a time."""


@dataclass(frozen=True)
class Evaluation:
    """One model on one text. Perplexities are infinite if a token has probability zero."""

    model: str
    kind: str
    tokens: int  # M, the predicted tokens, with every </s>
    oov: int  # how many of them are <unk>
    zero_tokens: int  # how many of them have probability zero
    cross_entropy: float  # nats per token
    perplexity: float
    perplexity_interval: tuple[float, float] | None  # 95 %; None without rng, or if text is short
    perplexity_without_oov: float  # nan if every token is <unk>
    chars: int
    bits_per_char: float
    seconds: float  # of scoring alone
    tokens_per_second: float


def evaluate(
    model: LanguageModel,
    text: Text,
    *,
    name: str,
    block: int | None = None,
    adapt: AdaptationSettings | None = None,
    rng: np.random.Generator | None = None,
) -> Evaluation:
    """Score `text` with `model`.

    Args:
        model: the model.
        text: the text.
        name: the name of the model in tables.
        block: score in blocks of so many predicted tokens, each without context before it.
        adapt: let the networks in the model learn from the text as they read it
            (`lmsuite.models.adaptation`); such figures are no figures of the model as it is.
        rng: for the interval of the perplexity; without it there is none.

    Raises:
        DataError: the text has no token.
        UsageError: `block` is not positive, or given beside `adapt`; or the model cannot adapt.
    """
    _require_positive(block)
    if block is not None and adapt is not None:
        raise UsageError("{block} forgets the text before each block; leave it out to adapt")
    if block is not None and model.predicts_lines:
        raise UsageError(f"{{block}}: {name} predicts whole lines, not blocks of tokens", "block")
    ids = model.encoder.encode(text)
    counts = sum(map(_counts, _pieces(ids, block)), np.zeros(3, np.int64))
    tokens, known, sequences = counts.tolist()
    if not tokens:
        raise DataError("nothing to score: the text has no tokens")
    log_prob, known_log_prob, sums = LongSum(tokens), LongSum(known), UnitSums(2)
    zero_tokens, read, begun = 0, 0, 0  # tokens read, sequences begun
    seconds = 0.0
    with working("scoring", tokens, "tokens") as work:
        for piece, log_probs, needed in _scored(model, text, ids, block, adapt):
            seconds += needed
            predicted = piece != BOS
            log_prob.add(log_probs)
            known_log_prob.add(log_probs[piece[predicted] != UNK])
            zero_tokens += int(np.isneginf(log_probs).sum())
            if model.encoder.boundaries.has_sequences:
                begins = begun + np.cumsum(~predicted)
                units, begun = joined(begins[predicted] - 1, sequences), int(begins[-1])
            else:
                units = blocks(read, read + len(log_probs), tokens)
            sums.add(units, -log_probs, 1.0)
            read += len(log_probs)
            work.advance(len(log_probs))
    total = -log_prob.total()
    return Evaluation(
        model=name,
        kind=model.kind,
        tokens=tokens,
        oov=tokens - known,
        zero_tokens=zero_tokens,
        cross_entropy=total / tokens,
        perplexity=perplexity_of(total / tokens),
        perplexity_interval=None if rng is None or zero_tokens else _interval(sums, rng),
        perplexity_without_oov=perplexity_of(-known_log_prob.total() / known)
        if known
        else math.nan,
        chars=len(text),
        bits_per_char=total / math.log(2) / len(text),
        seconds=seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
    )


def _scored(
    model: LanguageModel,
    text: Text,
    ids: IntArray,
    block: int | None,
    adapt: AdaptationSettings | None,
) -> Iterator[tuple[IntArray, Float64Array, float]]:
    """The ids in pieces, each with its log-probabilities and the seconds that they took."""
    if adapt is not None:
        score = model.adapting_scorer(adapt)
    elif model.predicts_lines:
        encoder, score_lines = model.encoder, model.line_scorer(in_context=True)
        for part in whole_units(text_blocks(text), encoder.boundaries.end):
            of_lines, lengths = encoder.encode_lines(part)
            began = time.perf_counter()
            log_probs = score_lines(part, of_lines, lengths)
            yield running(encoder, of_lines), log_probs, time.perf_counter() - began
        return
    elif block is None:
        score = model.piece_scorer()
    else:
        score = partial(_score_blocks, model, block=block)
    for piece in _pieces(ids, block):
        began = time.perf_counter()
        log_probs = score(piece)
        yield piece, log_probs, time.perf_counter() - began


def _counts(piece: IntArray) -> NDArray[np.int64]:
    """How many predicted tokens, known ones among them, and sequences there are, (3,)."""
    sequences, unknown = np.count_nonzero(piece == BOS), np.count_nonzero(piece == UNK)
    return np.array([len(piece) - sequences, len(piece) - sequences - unknown, sequences])


def _pieces(ids: IntArray, block: int | None) -> Iterator[IntArray]:
    """The ids in windows; with `block` of whole blocks, as from `in_blocks`."""
    begin, size = 0, WINDOW if block is None else max(WINDOW, 2 * block + 2)
    while begin < len(ids):
        piece = in_memory(ids[begin : begin + size])
        if block is not None and begin + size < len(ids):
            last = np.flatnonzero(piece != BOS)[::block][-1]  # where the last block begins
            piece = piece[: last - int(piece[last - 1] == BOS)]
        yield piece if block is None else in_blocks(piece, block)
        begin += len(piece)


def in_blocks(ids: IntArray, block: int) -> IntArray:
    """`ids` with an ``<s>`` before each run of `block` predicted tokens, unless there is one.

    Raises:
        UsageError: `block` is not positive.
    """
    _require_positive(block)
    firsts = np.flatnonzero(ids != BOS)[::block]
    preceded = (firsts > 0) & (ids[firsts - 1] == BOS)
    return np.insert(ids, firsts[~preceded], BOS)


def _score_blocks(model: LanguageModel, ids: IntArray, *, block: int) -> Float64Array:
    """The scores (M,) of ids from `in_blocks`; each block begins without a memory of the text."""
    if not model.remembers_text:
        return model.score(ids)
    cuts = np.flatnonzero(ids != BOS)[block::block] - 1
    return np.concatenate([model.score(part) for part in np.split(ids, cuts)])


def _interval(sums: UnitSums, rng: np.random.Generator) -> tuple[float, float] | None:
    """The 95 % interval of the perplexity, if there is one."""
    mean = Bootstrap(sums.columns(), rng).estimate(ratio(0, 1))
    return (
        None
        if mean.low is None or mean.high is None
        else (perplexity_of(mean.low), perplexity_of(mean.high))
    )


def _require_positive(block: int | None) -> None:
    if block is not None and block < 1:
        raise UsageError(f"{{block}} must be at least 1, not {block}", "block", value=block)


def perplexity_of(nats: float) -> float:
    """e to the power of nats per token; infinite if a float cannot hold it."""
    return math.exp(nats) if nats < 700 else math.inf
