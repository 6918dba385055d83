"""A mixture whose weights depend on the context: where the n-grams are sure, they count for more.

One member, an n-gram model, is the guide: its contexts fall into buckets
(`lmsuite.ngram.context_buckets`), and each bucket has weights of its own,

    p(w | h) = sum over k of w_{b(h), k} p_k(w | h).

EM finds the weights of each bucket as for `Mixture`. A bucket in which the text has few tokens
would fit them by chance. So every bucket also has some tokens more, on which the members fare as on
the whole text: they draw its weights towards those of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.interface import Decoder, LanguageModel, State
from lmsuite.models.interpolation import em_weights_near, interpolate
from lmsuite.models.mixture import Contribution, Mixture, checked_weights
from lmsuite.models.ngram import NgramModel
from lmsuite.models.settings import AdaptationSettings
from lmsuite.models.widened import Widened
from lmsuite.ngram.context_buckets import ContextBuckets
from lmsuite.types import Array, FloatArray, IntArray

PRIOR = 100.0
"""Tokens that every bucket has more."""


class ContextMixture(Mixture):
    """A mixture with weights for every bucket of contexts."""

    kind: ClassVar[str] = "context-mixture"

    def __init__(
        self, members: Mapping[str, LanguageModel], bucket_weights: NDArray[np.float64]
    ) -> None:
        """The mixture of `members`, by name, with weights (G, K) for the buckets.

        Raises:
            UsageError: as for `Mixture`; or no member is an n-gram model; or the weights are not
                those of its buckets.
        """
        self._guide = _guide(members)
        self._contexts = _Contexts(list(members.values())[self._guide])
        self._buckets = self._contexts.buckets
        if len(bucket_weights) != self._buckets.count:
            raise UsageError(
                f"there are weights for {len(bucket_weights)} buckets of contexts, but the n-gram "
                f"model has {self._buckets.count}"
            )
        each = [checked_weights(weights, len(members)) for weights in bucket_weights]
        self.bucket_weights = np.array(each)
        super().__init__(members, self.bucket_weights.mean(axis=0))
        self._reach = max(self._contexts.reach, 1)

    @classmethod
    def of(cls, mixture: Mixture, ids: IntArray, scores: Sequence[NDArray[np.float64]]) -> Self:
        """A mixture with weights by context.

        Args:
            mixture: its weights are those of the whole text.
            ids: the text (N,) to choose the weights on.
            scores: of each member, the log-probabilities (M,) of the text.

        Raises:
            UsageError: no member is an n-gram model.
        """
        members = dict(zip(mixture.names, mixture.members, strict=True))
        contexts = _Contexts(mixture.members[_guide(members)])
        of_token = contexts.of_text(mixture.checked(ids))
        weights = np.tile(mixture.weights, (contexts.buckets.count, 1))
        for bucket in np.unique(of_token):
            here = of_token == bucket
            own = [score[here] for score in scores]
            if not all(np.isneginf(score).all() for score in own):
                weights[bucket] = em_weights_near(own, mixture.weights, PRIOR)
        return cls(members, weights)

    def _weights(self, state: tuple[State, ...]) -> NDArray[np.float64]:
        """Those (K, B, 1) of the members in a state."""
        buckets = self._buckets.of_contexts(state[self._guide])
        return self.bucket_weights[buckets].T[:, :, None]

    def log_probs(self, state: tuple[State, ...]) -> FloatArray:
        return interpolate(self._weights(state), self._log_probs(state))

    def decoder(self, batch_size: int) -> Decoder:
        return _ContextDecoder(self, [member.decoder(batch_size) for member in self.members])

    def score_next(
        self, state: tuple[State, ...], ids: IntArray
    ) -> tuple[NDArray[np.float64], tuple[State, ...]]:
        return _ContextDecoder(self, self.members).score_next(state, ids)

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        ids = self.checked(ids)
        weights = self.bucket_weights[self._contexts.of_text(ids)].T
        return interpolate(weights, [member.score(ids) for member in self.members])

    def score_without_bos(self, ids: IntArray) -> NDArray[np.float64]:
        return LanguageModel.score_without_bos(self, ids)

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        return self._scorer([member.piece_scorer() for member in self.members])

    def adapting_scorer(
        self, settings: AdaptationSettings
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        return self._scorer(self.adapting_scorers(settings))

    def _scorer(
        self, scorers: Sequence[Callable[[IntArray], NDArray[np.float64]]]
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        before: IntArray = np.zeros(0, np.int32)

        def score(ids: IntArray) -> NDArray[np.float64]:
            nonlocal before
            ids = self.checked(ids)
            whole = np.concatenate((before, ids))
            before = whole[max(0, len(whole) - self._reach) :]
            scores = [score(ids) for score in scorers]
            buckets = self._contexts.of_text(whole)
            weights = self.bucket_weights[buckets[len(buckets) - len(scores[0]) :]].T
            return interpolate(weights, scores)

        return score

    def contributions(self, state: tuple[State, ...], token_id: int) -> tuple[Contribution, ...]:
        return self._contributions(self._weights(state)[:, 0, 0], state, token_id)

    def arrays(self) -> Mapping[str, Array]:
        return {**super().arrays(), "weights": self.bucket_weights}

    @classmethod
    def _made(cls, members: Mapping[str, LanguageModel], weights: NDArray[np.float64]) -> Self:
        if weights.ndim != 2:
            raise ModelFileError("a mixture by context has weights for every bucket of contexts")
        return cls(members, weights)

    def summary(self) -> Mapping[str, Any]:
        guide = self.names[self._guide]
        facts = {"weights": f"in {self._buckets.count} buckets of the contexts of {guide}"}
        return facts | dict(super().summary())


def _guide(members: Mapping[str, LanguageModel]) -> int:
    """The place of the n-gram member whose contexts are longest.

    Raises:
        UsageError: there is none.
    """
    ngrams = [_ngram(member) for member in members.values()]
    orders = [0 if model is None else model.table.order for model in ngrams]
    if not any(orders):
        raise UsageError(
            "weights by context need an n-gram model among the members: its contexts are told apart"
        )
    return orders.index(max(orders))


def _ngram(member: LanguageModel) -> NgramModel | None:
    """The n-gram model that a member is, also with more words than its own; None for others."""
    inner = member.inner if isinstance(member, Widened) else member
    return inner if isinstance(inner, NgramModel) else None


class _Contexts:
    """The contexts of the guide, in buckets."""

    def __init__(self, member: LanguageModel) -> None:
        model = _ngram(member)
        assert model is not None, "the guide is an n-gram model"
        self._member, self.reach = member, model.reach
        self.buckets = ContextBuckets(model.table)

    def of_text(self, ids: IntArray) -> NDArray[np.int64]:
        """The bucket (M,) of the history of each of the mixture's ids (N,) that is not ``<s>``."""
        own = self._member.own_ids(ids) if isinstance(self._member, Widened) else ids
        return self.buckets.of_text(own)


@dataclass(frozen=True)
class _ContextDecoder:
    """A decoder made of the members' decoders."""

    mixture: ContextMixture
    members: Sequence[Decoder]

    def step(self, state: tuple[State, ...], ids: IntArray) -> tuple[State, ...]:
        return tuple(m.step(s, ids) for m, s in zip(self.members, state, strict=True))

    def log_probs(self, state: tuple[State, ...]) -> FloatArray:
        logs = [m.log_probs(s) for m, s in zip(self.members, state, strict=True)]
        return interpolate(self.mixture._weights(state), logs)

    def score_next(
        self, state: tuple[State, ...], ids: IntArray
    ) -> tuple[NDArray[np.float64], tuple[State, ...]]:
        pairs = [m.score_next(s, ids) for m, s in zip(self.members, state, strict=True)]
        weights = self.mixture._weights(state)[:, :, 0]
        return interpolate(weights, [logs for logs, _ in pairs]), tuple(s for _, s in pairs)
