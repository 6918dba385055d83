"""The smallest model that keeps the contract: a table of next-token probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError
from lmsuite.models.interface import LanguageModel, State
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.text.vocabulary import BOS
from lmsuite.types import Array, FloatArray, IntArray


@dataclass(frozen=True)
class BigramSettings:
    """No settings but a note."""

    note: str = ""


class BigramModel(LanguageModel):
    """p(token | previous token), from a table (V, V) whose row ``<s>`` is the start."""

    kind = "bigram"

    def __init__(
        self, encoder: TextEncoder, table: FloatArray, settings: BigramSettings | None = None
    ) -> None:
        self.encoder = encoder
        self.table = table
        self._settings = settings or BigramSettings()

    @property
    def settings(self) -> BigramSettings:
        return self._settings

    def start(self, batch_size: int) -> State:
        return np.full(batch_size, BOS)

    def step(self, state: State, ids: IntArray) -> State:
        return ids

    def log_probs(self, state: State) -> FloatArray:
        with np.errstate(divide="ignore"):
            logs: FloatArray = np.log(self.table[state])
        return logs

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        previous = np.concatenate(([BOS], ids[:-1]))
        with np.errstate(divide="ignore"):
            logs: NDArray[np.float64] = np.log(self.table[previous, ids])[ids != BOS]
        return logs

    def arrays(self) -> Mapping[str, Array]:
        return {"table": self.table}

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        if set(arrays) != {"table"}:
            raise ModelFileError("the array 'table' is missing or not alone")
        return cls(encoder, arrays["table"], BigramSettings(**settings))

    def summary(self) -> Mapping[str, Any]:
        return {"entries": int(self.table.size)}


def encoder(text: str, tokenizer: str, boundaries: Boundaries = Boundaries.STREAM) -> TextEncoder:
    """The encoder that is trained on `text`."""
    return TextEncoder.train(text, TextSettings(tokenizer=tokenizer, boundaries=boundaries))[0]


def uniform(encoder: TextEncoder) -> BigramModel:
    """Every possible token is as probable as every other, whatever came before."""
    size = len(encoder.vocabulary)
    row = np.ones(size)
    row[encoder.impossible] = 0.0
    return BigramModel(encoder, np.tile(row / row.sum(), (size, 1)))


def random_model(encoder: TextEncoder, seed: int = 1) -> BigramModel:
    """Each row is drawn at random."""
    size = len(encoder.vocabulary)
    table = np.random.default_rng(seed).dirichlet(np.ones(size), size)
    table[:, encoder.impossible] = 0.0
    return BigramModel(encoder, table / table.sum(axis=1, keepdims=True))
