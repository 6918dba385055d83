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
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import UsageError
from lmsuite.models.interface import LanguageModel, State
from lmsuite.models.interpolation import em_weights_near
from lmsuite.models.mixture import Mixture, checked_weights
from lmsuite.ngram.context_buckets import ContextBuckets
from lmsuite.text.vocabulary import BOS
from lmsuite.types import Array, IntArray

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
        self._guide, self._buckets = _guide(list(members.values()))
        if bucket_weights.ndim != 2:
            raise UsageError("a mixture by context has weights for every bucket of contexts")
        if len(bucket_weights) != self._buckets.count:
            raise UsageError(
                f"there are weights for {len(bucket_weights)} buckets of contexts, but the n-gram "
                f"model has {self._buckets.count}"
            )
        each = [checked_weights(weights, len(members)) for weights in bucket_weights]
        self.bucket_weights = np.array(each)
        super().__init__(members, self.bucket_weights.mean(axis=0))

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
        _, buckets = _guide(mixture.members)
        of_token = buckets.of_text(mixture.checked(ids))
        weights = np.tile(mixture.weights, (buckets.count, 1))
        for bucket in np.unique(of_token):
            here = of_token == bucket
            own = [score[here] for score in scores]
            if not all(np.isneginf(score).all() for score in own):
                weights[bucket] = em_weights_near(own, mixture.weights, PRIOR)
        return cls(dict(zip(mixture.names, mixture.members, strict=True)), weights)

    def weights_in(self, state: tuple[State, ...]) -> NDArray[np.float64]:
        return self.bucket_weights[self._buckets.of_contexts(state[self._guide])].T

    def weights_along(self) -> Callable[[IntArray], NDArray[np.float64]]:
        before: IntArray = np.zeros(0, np.int32)

        def weights(ids: IntArray) -> NDArray[np.float64]:
            nonlocal before
            whole = np.concatenate((before, self.checked(ids)))
            buckets = self._buckets.of_text(whole)[np.count_nonzero(before != BOS) :]
            before = whole[max(0, len(whole) - max(self._buckets.reach, 1)) :]
            return self.bucket_weights[buckets].T

        return weights

    def arrays(self) -> Mapping[str, Array]:
        return {**super().arrays(), "weights": self.bucket_weights}

    def summary(self) -> Mapping[str, Any]:
        guide = self.names[self._guide]
        facts = {"weights": f"in {self._buckets.count} buckets of the contexts of {guide}"}
        return facts | dict(super().summary())


def _guide(members: Sequence[LanguageModel]) -> tuple[int, ContextBuckets]:
    """The place of the n-gram member whose contexts are longest, and their buckets.

    Raises:
        UsageError: there is none.
    """
    found = [(k, buckets) for k, one in enumerate(members) if (buckets := one.context_buckets())]
    if not found:
        raise UsageError(
            "weights by context need an n-gram model among the members: its contexts are told apart"
        )
    return max(found, key=lambda each: each[1].reach)
