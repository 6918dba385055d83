r"""The decaying unigram cache: a token read a moment ago is likely to come again.

Kuhn and De Mori (1990), "A cache-based natural language model for speech recognition", with the
exponential decay of Clarkson and Robinson (1997), "Language model adaptation using mixtures and an
exponentially decaying cache". A token read i tokens ago weighs d^i, with d = 2^(-1/half-life):

    p(w | h) = (sum of d^i over w in h + u(w)) / (sum of d^i over all of h + 1),

where u is uniform over the possible tokens. An empty memory gives u, and a token that was never
read still has a probability.

The memory is of the whole text; in LINES mode, too, it is kept from line to line. It holds every
token that is predicted, also ``</s>``, but not ``<unk>``: after one unknown word, the next one is
not likely to be the same. Alone this is a poor model; it is meant as a member of a mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.settings import CacheSettings as CacheSettings
from lmsuite.settings import read
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Array, FloatArray, IntArray


class CacheModel(LanguageModel):
    """A unigram distribution over the recent past. Its state: the weight of each token, (B, V)."""

    kind: ClassVar[str] = "cache"
    remembers_text = True

    def __init__(self, encoder: TextEncoder, settings: CacheSettings) -> None:
        self.encoder = encoder
        self._settings = settings
        self._decay = settings.decay
        possible = np.ones(len(encoder.vocabulary), bool)
        possible[encoder.impossible] = False
        self._uniform = possible / possible.sum()  # (V,), u
        possible[UNK] = False
        self._remembered = possible  # (V,)

    @property
    def settings(self) -> CacheSettings:
        return self._settings

    def start(self, batch_size: int) -> NDArray[np.float64]:
        return np.zeros((batch_size, len(self._uniform)))

    def null_context(self, batch_size: int) -> NDArray[np.float64]:
        return self.start(batch_size)  # an empty memory, with <s> or without

    def step(self, state: NDArray[np.float64], ids: IntArray) -> NDArray[np.float64]:
        ids = self.checked(ids)
        # A token that is not remembered does not decay the memory either.
        remembering = np.flatnonzero(self._remembered[ids])
        state = state.copy()
        state[remembering] *= self._decay
        state[remembering, ids[remembering]] += 1.0
        return state

    def read(self, state: NDArray[np.float64], ids: IntArray) -> NDArray[np.float64]:
        ids = self.checked(ids)
        remembered = ids[self._remembered[ids]]
        age = np.arange(len(remembered) - 1, -1, -1)
        weights = np.bincount(remembered, self._decay**age, minlength=len(self._uniform))
        return state * self._decay ** len(remembered) + weights

    def log_probs(self, state: NDArray[np.float64]) -> FloatArray:
        with np.errstate(divide="ignore"):
            own: FloatArray = np.log(state + self._uniform)  # (B, V)
        own -= np.log(state.sum(axis=1, keepdims=True) + 1.0)
        return own

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        return self.piece_scorer()(ids)

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        (memory,) = self.start(1)  # (V,), before the piece
        read = 0  # tokens remembered before the piece

        def score(ids: IntArray) -> NDArray[np.float64]:
            nonlocal memory, read
            ids = self.checked(ids)
            predicted = ids[ids != BOS]
            remembered = self._remembered[predicted]
            since = np.cumsum(remembered) - remembered
            own = self._uniform[predicted] + memory[predicted] * self._decay**since
            own[remembered] += self._weights_before(predicted[remembered])
            # i tokens together weigh 1 + d + … + d^(i-1).
            everything = -np.expm1((read + since) * np.log(self._decay)) / (1 - self._decay)
            with np.errstate(divide="ignore"):
                scores: NDArray[np.float64] = np.log(own)
            scores -= np.log(everything + 1.0)
            memory = self.read(memory, ids)
            read += int(np.count_nonzero(remembered))
            return scores

        return score

    def _weights_before(self, ids: IntArray) -> NDArray[np.float64]:
        """The weight (M,) that each of the ids (M,) has in the memory of the ids before it.

        Just after its k-th occurrence, a token has the weight a_k = D_k a_(k-1) + 1, where D_k is
        the decay since the occurrence before. The recurrences of all tokens run at once; each pass
        doubles the reach of every sum (Hillis and Steele 1986, "Data parallel algorithms").
        """
        order = np.argsort(ids, kind="stable")
        decays = np.zeros(len(ids))
        same = ids[order[1:]] == ids[order[:-1]]
        decays[1:][same] = self._decay ** np.diff(order)[same]
        after = np.ones(len(ids))  # a: just after each occurrence
        reach, carried = 1, decays.copy()
        while carried[reach:].any():
            after[reach:] += carried[reach:] * after[:-reach]
            carried[reach:] *= carried[:-reach]
            reach *= 2
        before = np.zeros(len(ids))
        before[order[1:]] = decays[1:] * after[:-1] / self._decay
        return before

    def arrays(self) -> Mapping[str, Array]:
        return {}

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        if arrays:
            raise ModelFileError(f"a cache has no arrays, but there is {min(arrays)!r}")
        return cls(encoder, read(CacheSettings, settings, "the cache"))

    def summary(self) -> Mapping[str, Any]:
        return {"cache": f"unigrams, half-life {self._settings.half_life:g} tokens"}
