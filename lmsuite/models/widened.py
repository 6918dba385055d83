"""A model with a larger vocabulary: it gives the words that it does not know probability 0.

In its histories these words are ``<unk>``, as in every text that it reads. So the distribution over
the larger vocabulary sums to one, and models that know different words can be mixed: a word has its
probability from those that know it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError
from lmsuite.files import records
from lmsuite.models.interface import Decoder, LanguageModel, State
from lmsuite.models.registry import model_class
from lmsuite.models.settings import AdaptationSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, Vocabulary, Widening
from lmsuite.types import Array, FloatArray, IntArray

if TYPE_CHECKING:
    from lmsuite.ngram.context_buckets import ContextBuckets

_INNER = "inner."  # the names of the inner model's arrays begin so


@dataclass(frozen=True)
class WidenedSettings:
    """The inner model."""

    kind: str
    settings: dict[str, Any]


class Widened(LanguageModel):
    """A model over the union of its vocabulary and others. Its states are the inner model's."""

    kind: ClassVar[str] = "widened"

    def __init__(self, inner: LanguageModel, vocabulary: Vocabulary) -> None:
        """The model with this larger `vocabulary`, which has all words of its own."""
        self.inner = inner
        self.encoder = replace(inner.encoder, vocabulary=vocabulary)
        self._words = Widening(inner.encoder.vocabulary, vocabulary)
        self.is_normalised, self.reach = inner.is_normalised, inner.reach
        self.remembers_text = inner.remembers_text

    @property
    def settings(self) -> WidenedSettings:
        return WidenedSettings(self.inner.kind, self.inner.settings_dict())

    def own_ids(self, ids: IntArray) -> IntArray:
        """The inner model's ids."""
        own: IntArray = self._words.ids[self.checked(ids)]
        return own

    def start(self, batch_size: int) -> State:
        return self.inner.start(batch_size)

    def null_context(self, batch_size: int) -> State:
        return self.inner.null_context(batch_size)

    def step(self, state: State, ids: IntArray) -> State:
        return self.inner.step(state, self.own_ids(ids))

    def log_probs(self, state: State) -> FloatArray:
        return self._wide(self.inner.log_probs(state))

    def _wide(self, log_probs: FloatArray) -> FloatArray:
        """Those (B, V) of the inner model, as (B, U)."""
        wide = np.full((len(log_probs), len(self._words.ids)), -np.inf, log_probs.dtype)
        wide[:, self._words.own] = log_probs
        return wide

    def decoder(self, batch_size: int) -> Decoder:
        return _WidenedDecoder(self, self.inner.decoder(batch_size))

    def read(self, state: State, ids: IntArray) -> State:
        return self.inner.read(state, self.own_ids(ids))

    def score_next(self, state: State, ids: IntArray) -> tuple[NDArray[np.float64], State]:
        return _WidenedDecoder(self, self.inner).score_next(state, ids)

    def select(self, state: State, rows: Sequence[int] | IntArray) -> State:
        return self.inner.select(state, rows)

    def join(self, states: Sequence[State]) -> State:
        return self.inner.join(states)

    def state_key(self, state: State, row: int) -> Hashable:
        return self.inner.state_key(state, row)

    def _masked(
        self, ids: IntArray, score: Callable[[IntArray], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """The inner model's scores of ids, -inf for words that it does not know."""
        ids = self.checked(ids)
        return np.where(self._words.knows[ids[ids != BOS]], score(self._words.ids[ids]), -np.inf)

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        return self._masked(ids, self.inner.score)

    def score_without_bos(self, ids: IntArray) -> NDArray[np.float64]:
        return self._masked(ids, self.inner.score_without_bos)

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        score = self.inner.piece_scorer()
        return lambda ids: self._masked(ids, score)

    def adapting_scorer(
        self, settings: AdaptationSettings
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        score = self.inner.adapting_scorer(settings)
        return lambda ids: self._masked(ids, score)

    def matched_orders(self, ids: IntArray, *, bos: bool = True) -> NDArray[np.int64] | None:
        return self.inner.matched_orders(self.own_ids(ids), bos=bos)

    def context_buckets(self) -> ContextBuckets | None:
        buckets = self.inner.context_buckets()
        return None if buckets is None else buckets.for_ids(self._words.ids)

    def arrays(self) -> Mapping[str, Array]:
        inner = {_INNER + name: array for name, array in self.inner.arrays().items()}
        return self.inner.encoder.arrays() | inner

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        try:
            inner = records.read(WidenedSettings, settings)
        except ValueError as error:
            raise ModelFileError(f"the widened model is damaged: {error}") from error
        if inner.kind == cls.kind:
            raise ModelFileError("a widened model cannot be widened again")
        own = TextEncoder.restore(encoder.describe(), arrays)
        if any(token not in encoder.vocabulary for token in own.vocabulary.tokens):
            raise ModelFileError("the widened model has a word that its mixture does not know")
        of_inner = {
            name.removeprefix(_INNER): array
            for name, array in arrays.items()
            if name.startswith(_INNER)
        }
        if len(of_inner) + len(own.arrays()) != len(arrays):
            raise ModelFileError("the widened model has arrays that are not its own")
        model = model_class(inner.kind).restore(own, inner.settings, of_inner)
        return cls(model, encoder.vocabulary)

    def summary(self) -> Mapping[str, Any]:
        known = f"{len(self._words.own):,} of {len(self._words.ids):,}"
        return {"words known": known, **self.inner.summary()}


@dataclass(frozen=True)
class _WidenedDecoder:
    """The inner model's decoder, for the ids of the larger vocabulary."""

    model: Widened
    inner: Decoder

    def step(self, state: State, ids: IntArray) -> State:
        return self.inner.step(state, self.model.own_ids(ids))

    def log_probs(self, state: State) -> FloatArray:
        return self.model._wide(self.inner.log_probs(state))

    def score_next(self, state: State, ids: IntArray) -> tuple[NDArray[np.float64], State]:
        scores, after = self.inner.score_next(state, self.model.own_ids(ids))
        return np.where(self.model._words.knows[ids], scores, -np.inf), after
