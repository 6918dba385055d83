"""Explain the probability that a model gives to each token of a text.

For an n-gram model the probability is a product. Its factors are the back-off weights of the
contexts that were given up, from the longest to the shortest, and the probability of the n-gram
that was found. For a mixture the probability is a sum over the members; a member's share of the sum
is the posterior probability that the token came from that member.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lmsuite.errors import DataError
from lmsuite.models.interface import LanguageModel, State
from lmsuite.models.mixture import Contribution, Mixture
from lmsuite.models.ngram import NgramModel
from lmsuite.text.encoding import TextEncoder, Token, visible
from lmsuite.text.vocabulary import BOS, SPECIALS, UNK
from lmsuite.types import FloatArray, IntArray

ALTERNATIVES = 5


@dataclass(frozen=True)
class Alternative:
    """Another token that could follow here."""

    text: str
    prob: float


@dataclass(frozen=True)
class Factor:
    """One factor of an n-gram's probability.

    With a `token` it is p(token | context); without, the back-off weight of the context.
    """

    context: tuple[str, ...]
    token: str | None
    value: float


@dataclass(frozen=True)
class TokenExplanation:
    """One token of a text, with the explanation of its probability."""

    text: str  # the token, as a table shows it
    unknown: str  # the token of the text, if the model reads it as <unk>; else empty
    located: Token  # the exact token of the text, and its position
    id: int
    log_prob: float
    rank: int  # 1: no token is more probable here
    alternatives: tuple[Alternative, ...]  # the most probable other tokens
    order: int | None  # of the n-gram found; None in other models
    factors: tuple[Factor, ...]  # in n-gram models; their product is the probability
    members: tuple[Contribution, ...]  # in mixtures; the sum of weight times prob is `prob`

    @property
    def prob(self) -> float:
        """The probability that the model gave the token."""
        return bounded_exp(self.log_prob)

    @property
    def surprisal(self) -> float:
        """Minus the binary logarithm of the probability, in bits."""
        return -self.log_prob / math.log(2)


def explain(model: LanguageModel, text: str) -> Iterator[TokenExplanation]:
    """The explanation of every predicted token of `text`, in the order in which it is read.

    Raises:
        DataError: the text has no tokens.
    """
    ids = model.encoder.encode(text)
    if not ids.size:
        raise DataError("nothing to explain: the text has no tokens")
    return _explanations(model, text, ids)


def _explanations(model: LanguageModel, text: str, ids: IntArray) -> Iterator[TokenExplanation]:
    located: Iterator[Token] = model.encoder.located(text)
    if model.encoder.backward:
        placed = zip(model.encoder.reading_order(ids).tolist(), located, strict=True)
        located = (token for _, token in sorted(placed, key=lambda each: each[0]))
    state = model.start(1)
    decoder = model.decoder(1)
    for i, token in enumerate(ids.tolist()):
        if token != BOS:
            yield _explained(model, decoder.log_probs(state)[0], state, ids[:i], next(located))
        state = decoder.step(state, ids[i : i + 1])


def _explained(
    model: LanguageModel, log_probs: FloatArray, state: State, history: IntArray, located: Token
) -> TokenExplanation:
    token = located.id
    order, factors = _factors(model, history, token)
    return TokenExplanation(
        text=model.encoder.token_text(token),
        unknown=visible(located.token) if token == UNK else "",
        located=located,
        id=token,
        log_prob=float(log_probs[token]),
        rank=1 + int((log_probs > log_probs[token]).sum()),
        alternatives=_alternatives(model.encoder, log_probs, token),
        order=order,
        factors=factors,
        members=model.contributions(state, token) if isinstance(model, Mixture) else (),
    )


def _alternatives(
    encoder: TextEncoder, log_probs: FloatArray, token: int
) -> tuple[Alternative, ...]:
    others = log_probs.copy()
    others[token] = -np.inf
    count = min(ALTERNATIVES, len(others))
    best = np.argpartition(-others, count - 1)[:count]
    ranked = best[np.argsort(-others[best], kind="stable")].tolist()
    return tuple(
        Alternative(encoder.token_text(other), bounded_exp(others[other]))
        for other in ranked
        if others[other] > -np.inf
    )


def bounded_exp(log_value: float) -> float:
    """The probability or weight; finite, though a damaged model may have any number."""
    return math.exp(min(log_value, 700.0))


def _factors(
    model: LanguageModel, history: IntArray, token: int
) -> tuple[int | None, tuple[Factor, ...]]:
    if not isinstance(model, NgramModel):
        return None, ()
    trace = model.trace(history, token)

    def context(length: int) -> tuple[str, ...]:
        recent = trace.context[len(trace.context) - length :]
        return tuple(map(model.encoder.token_text, recent))

    longest_first = sorted(trace.log_backoffs, reverse=True)
    weights = [Factor(context(n), None, bounded_exp(weight)) for n, weight in longest_first]
    if not model.encoder.boundaries.has_sequences:
        # In a stream <s> is no real context: it has no continuations, and its weight is 1.
        weights = [factor for factor in weights if factor.context[0] != SPECIALS[BOS]]
    found = Factor(
        context(trace.order - 1), model.encoder.token_text(token), bounded_exp(trace.log_prob)
    )
    return trace.order, (*weights, found)
