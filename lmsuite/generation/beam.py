"""The most probable texts, by beam search.

Of all texts of the same length, the `width` most probable ones go on (Lowerre 1976, "The HARPY
speech recognition system"). The probability of a text is the product over its tokens of what
sampling draws from: after conditions and filters, without ``<unk>``. With a width of at least all
texts of the length, these are the most probable ones of all; with a width of 1 the search is
greedy. A text that has ended keeps its place; the search ends when `width` texts that have ended
are more probable than all that go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmsuite.errors import LmError, UsageError
from lmsuite.generation.batch import Continuation, Piece
from lmsuite.generation.conditions import Condition, under
from lmsuite.generation.filters import filtered_probs
from lmsuite.generation.texts import Sample, prompt_ids
from lmsuite.models.interface import LanguageModel
from lmsuite.sampling import SamplingSettings
from lmsuite.text.vocabulary import BOS, EOS, UNK
from lmsuite.types import Float64Array, IntArray


@dataclass(frozen=True)
class _Text:
    """A text of the beam."""

    score: float
    """Its log-probability in nats, as sampling draws."""
    pieces: tuple[Piece, ...]
    going: Continuation


def beam(
    model: LanguageModel,
    prompt: str | IntArray = "",
    settings: SamplingSettings = SamplingSettings(),
    *,
    width: int = 5,
    samples: int = 1,
    conditions: Sequence[Condition] = (),
    **changes: Any,
) -> list[Sample]:
    """The most probable texts that continue a prompt, the most probable first.

    Args:
        model: of any family.
        prompt: the beginning, as text or as ids (N,).
        settings: filters and conditions, and when to stop.
        width: how many texts go on at a time.
        samples: how many texts are given, at most the width.
        conditions: as of `sample`.
        changes: settings by name.

    Raises:
        UsageError: a setting is out of bounds; `samples` is not from 1 to `width`; or phrases are
            wanted, which a beam does not look for.
        DataError: the prompt holds a reserved token, or an id out of range.
        LmError: the model gives no token any probability.
    """
    settings = replace(settings, **changes)
    if not 1 <= samples <= width:
        raise UsageError(
            f"{samples} samples of a {{beam}} of {width}: give from 1 to {width}", "beam"
        )
    if settings.is_choosy:
        raise UsageError(
            "a {beam} does not look for phrases; leave out {contains} and {ends_with}",
            *("beam", "contains", "ends_with"),
        )
    ids = prompt_ids(model, prompt)
    own = [copy(condition) for condition in conditions]
    for condition in own:
        for token in ids[ids != BOS].tolist():
            condition.push(token)
    if not settings.max_tokens:
        return [Sample() for _ in range(samples)]
    rng = np.random.default_rng(0)  # no number is drawn
    open_texts = [_Text(0.0, (), Continuation(model.encoder, ids, settings, rng, own))]
    state, ended = model.read(model.start(1), ids), list[_Text]()
    decoder = model.decoder(width)
    excluded = np.array([UNK, *model.encoder.impossible], np.int32)
    while open_texts:
        log_probs = decoder.log_probs(state)[: len(open_texts)]  # (B, V)
        scores = np.stack(
            [
                text.score + _drawn_from(text.going, row, settings, excluded)
                for text, row in zip(open_texts, log_probs, strict=True)
            ]
        )
        rows, tokens = _best(scores, width)
        if not len(rows) and not ended:
            raise LmError(
                "the conditions leave no token any probability here, so no text can go on"
            )
        going: list[tuple[int, int, _Text]] = []
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            text = open_texts[row]
            fork = text.going.fork()
            piece = fork.push(token, float(log_probs[row, token]))
            longer = _Text(float(scores[row, token]), (*text.pieces, piece), fork)
            if piece.finish_reason is None:
                going.append((row, token, longer))
            else:
                ended.append(longer)
        ended = sorted(ended, key=lambda text: -text.score)[:width]
        if len(ended) == width:  # what goes on only becomes less probable
            going = [each for each in going if each[2].score > ended[-1].score]
        open_texts = [text for _, _, text in going]
        if going:
            state = _read(model, state, [row for row, _, _ in going], [t for _, t, _ in going])
    return [Sample.of(text.pieces) for text in ended[:samples]]


def _drawn_from(
    text: Continuation, log_probs: Any, settings: SamplingSettings, excluded: IntArray
) -> Float64Array:
    """The log-probabilities (V,) of what sampling draws from; all minus infinity if of nothing."""
    left = under(text.conditions, log_probs)
    possible = np.delete(left, excluded)
    if text.conditions and not (possible > -np.inf).any():
        return np.full(len(left), -np.inf)
    with np.errstate(divide="ignore"):
        logs: Float64Array = np.log(filtered_probs(left[None], settings, excluded)[0])
    return logs


def _best(scores: Float64Array, width: int) -> tuple[IntArray, IntArray]:
    """The rows and tokens of the `width` greatest scores (B, V), of equal ones the first."""
    flat = scores.ravel()
    size = min(width, len(flat))
    least = np.partition(flat, len(flat) - size)[len(flat) - size]
    places = np.flatnonzero((flat >= least) & (flat > -np.inf))
    places = places[np.argsort(-flat[places], kind="stable")][:size]
    return places // scores.shape[1], places % scores.shape[1]


def _read(model: LanguageModel, state: Any, rows: list[int], tokens: list[int]) -> Any:
    """The state after a token of each of these rows; after ``</s>`` a text begins anew."""
    ids = np.array(tokens, np.int32)
    after = model.step(model.select(state, rows), ids)
    ended = np.flatnonzero(ids == EOS)
    if len(ended):
        begun = model.step(model.select(after, ended), np.full(len(ended), BOS, np.int32))
        now = np.arange(len(ids))
        now[ended] = len(ids) + np.arange(len(ended))
        after = model.select(model.join([after, begun]), now)
    return after
