"""Small texts as ids, and models of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

Fit = Callable[..., NgramModel]


@pytest.fixture(scope="session")
def fit() -> Fit:
    """fit(text, lines=..., **settings): a model of whitespace tokens."""

    def fit_text(text: str, *, lines: bool = False, **settings: object) -> NgramModel:
        boundaries = Boundaries.LINES if lines else Boundaries.STREAM
        encoder, ids = TextEncoder.train(
            text, TextSettings(tokenizer="whitespace", boundaries=boundaries)
        )
        return NgramModel.fit(encoder, ids, NgramSettings(**settings))  # type: ignore[arg-type]

    return fit_text


@pytest.fixture(scope="session")
def distribution() -> Callable[[NgramModel, Sequence[str]], NDArray[np.float64]]:
    """distribution(model, words): probabilities (V,) of the word after these, read from nothing."""

    def after(model: NgramModel, words: Sequence[str]) -> NDArray[np.float64]:
        state = model.start(1)
        for word in words:
            state = model.step(state, np.array([model.encoder.vocabulary.id(word)]))
        return np.exp(np.asarray(model.log_probs(state)[0], dtype=np.float64))

    return after
