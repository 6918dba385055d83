"""Buckets of contexts: a table by hand, and one text read in two ways."""

from __future__ import annotations

import numpy as np
import pytest

from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.ngram.context_buckets import BORDERS, ContextBuckets
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS
from tests.contract_cases import OTHER, TRAINING


def model_of(text: str, order: int, boundaries: Boundaries = Boundaries.LINES) -> NgramModel:
    encoder, ids = TextEncoder.train(text, TextSettings("whitespace", boundaries))
    return NgramModel.fit(encoder, ids, NgramSettings(order=order, smoothing="witten-bell"))


def test_by_hand() -> None:
    # After <s>: a, b. After a: b, c, </s>. After "<s> a": b, c. After b and c: </s> alone.
    model = model_of("a b\na c\nb\na\n", 3)
    buckets = ContextBuckets(model.table)
    assert buckets.count == 1 + 2 * len(BORDERS)
    [a, b] = model.encoder.encode("a b\n")[1:3]
    one = BORDERS.index(2) + 1  # two or three continuations
    two = len(BORDERS)  # of contexts of two words
    # <s> | a: after <s>. a | b: after "<s> a", three continuations. b | </s>: after "a b", one.
    assert buckets.of_text(np.array([BOS, a, b, 2])).tolist() == [one, two + one, two + 1]


@pytest.mark.parametrize("boundaries", list(Boundaries))
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_a_text_has_the_buckets_of_its_states(order: int, boundaries: Boundaries) -> None:
    model = model_of(TRAINING, order, boundaries)
    buckets = ContextBuckets(model.table)
    ids = model.encoder.encode(TRAINING + OTHER)
    state, chain = model.start(1), []
    for token in ids.tolist():
        if token != BOS:
            chain.append(int(buckets.of_contexts(state)[0]))
        state = model.step(state, np.array([token]))
    assert buckets.of_text(ids).tolist() == chain
    assert max(chain) < buckets.count
