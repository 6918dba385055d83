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
from dataclasses import dataclass

import numpy as np

from lmsuite.analysis.bootstrap import Bootstrap, blocks, joined, ratio, sums_over
from lmsuite.errors import DataError, UsageError
from lmsuite.files.stored_text import Text
from lmsuite.models.interface import LanguageModel
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Float64Array, IntArray


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
    rng: np.random.Generator | None = None,
) -> Evaluation:
    """Score `text` with `model`.

    Args:
        model: the model.
        text: the text.
        name: the name of the model in tables.
        block: score in blocks of so many predicted tokens, each without context before it.
        rng: for the interval of the perplexity; without it there is none.

    Raises:
        DataError: the text has no token.
        UsageError: `block` is not positive.
    """
    ids = model.encoder.encode(text)
    if block is not None:
        ids = in_blocks(ids, block)
    began = time.perf_counter()
    log_probs = model.score(ids) if block is None else _score_blocks(model, ids, block)
    seconds = time.perf_counter() - began
    predicted = ids[ids != BOS]
    tokens = len(predicted)
    if not tokens:
        raise DataError("nothing to score: the text has no tokens")
    known = predicted != UNK
    known_count = int(known.sum())
    total = -float(log_probs.sum())
    known_total = -float(log_probs[known].sum())
    return Evaluation(
        model=name,
        kind=model.kind,
        tokens=tokens,
        oov=tokens - known_count,
        zero_tokens=int(np.isneginf(log_probs).sum()),
        cross_entropy=total / tokens,
        perplexity=perplexity_of(total / tokens),
        perplexity_interval=None if rng is None else _interval(model, ids, log_probs, rng),
        perplexity_without_oov=perplexity_of(known_total / known_count)
        if known_count
        else math.nan,
        chars=len(text),
        bits_per_char=total / math.log(2) / len(text),
        seconds=seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
    )


def in_blocks(ids: IntArray, block: int) -> IntArray:
    """`ids` with an ``<s>`` before each run of `block` predicted tokens, unless there is one.

    Raises:
        UsageError: `block` is not positive.
    """
    if block < 1:
        raise UsageError(f"{{block}} must be at least 1, not {block}", "block", value=block)
    firsts = np.flatnonzero(ids != BOS)[::block]
    preceded = (firsts > 0) & (ids[firsts - 1] == BOS)
    return np.insert(ids, firsts[~preceded], BOS)


def _score_blocks(model: LanguageModel, ids: IntArray, block: int) -> Float64Array:
    """The scores (M,) of ids from `in_blocks`; each block begins without a memory of the text."""
    if not model.remembers_text:
        return model.score(ids)
    cuts = np.flatnonzero(ids != BOS)[block::block] - 1
    return np.concatenate([model.score(part) for part in np.split(ids, cuts)])


def _interval(
    model: LanguageModel, ids: IntArray, log_probs: Float64Array, rng: np.random.Generator
) -> tuple[float, float] | None:
    """The 95 % interval of the perplexity, if there is one."""
    if np.isneginf(log_probs).any():
        return None
    if model.encoder.boundaries.has_sequences:
        units = joined((np.cumsum(ids == BOS) - 1)[ids != BOS])
    else:
        units = blocks(len(log_probs))
    mean = Bootstrap(sums_over(units, -log_probs, 1.0), rng).estimate(ratio(0, 1))
    return (
        None
        if mean.low is None or mean.high is None
        else (perplexity_of(mean.low), perplexity_of(mean.high))
    )


def perplexity_of(nats: float) -> float:
    """e to the power of nats per token; infinite if a float cannot hold it."""
    return math.exp(nats) if nats < 700 else math.inf
