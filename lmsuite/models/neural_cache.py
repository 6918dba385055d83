r"""The neural continuous cache: what followed where the network was in a similar state.

Grave, Joulin and Usunier (2017), "Improving neural language models with a continuous cache". The
memory holds the last N pairs of a hidden vector h_i (the input of the network's output layer) and
the token x_i that came then. With h the hidden vector now, θ the flatness and λ the weight,

    p_cache(w | h) = sum over x_i = w of exp(θ h·h_i) / sum over all i of exp(θ h·h_i),
    p(w | h) = (1 - λ) p_network(w | h) + λ p_cache(w | h).

With an empty memory, p is the network's. The memory is of the whole text: in LINES mode, too, it is
kept from line to line. It does not hold ``<unk>``: after one unknown word, the next one is not
likely to be the same.

The network was trained without the cache and stays as it is. λ, θ and N are chosen on a text that
it was not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.blas_threads import one_blas_thread
from lmsuite.models.interface import LanguageModel, State
from lmsuite.models.interpolation import em_weights, interpolate
from lmsuite.models.neural import NeuralModel
from lmsuite.models.registry import model_class
from lmsuite.models.settings import AdaptationSettings
from lmsuite.settings import check, read, setting
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.types import Array, Float64Array, FloatArray, IntArray

FLATNESS = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
"""The values of θ that are tried."""

SIZES = (500, 2000)
"""The sizes of the memory that are tried."""

_EMPTY = -1  # in place of a token: there is none yet
_AT_ONCE = 256  # tokens whose hidden vectors are compared with the memory at a time
_PREFIX = "network."


@dataclass(frozen=True)
class NeuralCacheSettings:
    """The cache, and a description of the network.

    Raises:
        UsageError: a value is out of bounds.
    """

    kind: str = setting(option=None)
    """Of the network: ``rnn`` or ``ffnn``."""
    weight: float = setting(0.1, option=None, minimum=0, maximum=1)
    """λ"""
    flatness: float = setting(0.3, option=None, minimum=0)
    """θ"""
    size: int = setting(2000, option=None, minimum=1, maximum=1_000_000)
    """N"""

    def __post_init__(self) -> None:
        check(self)


class _State(NamedTuple):
    """The network's state, and the memory of each text: its newest pair is the last."""

    network: State
    vectors: FloatArray  # (B, M, D), M at most N
    tokens: IntArray  # (B, M), _EMPTY where a text has read fewer


class NeuralCache(LanguageModel):
    """A network and its cache."""

    kind: ClassVar[str] = "neural-cache"
    remembers_text = True

    def __init__(self, network: NeuralModel, settings: NeuralCacheSettings) -> None:
        self.encoder = network.encoder
        self.network = network
        self._settings = settings
        remembered = np.ones(len(self.encoder.vocabulary), bool)
        remembered[[UNK, BOS]] = False
        self._remembered = remembered  # (V,)

    @classmethod
    def fit(cls, network: NeuralModel, ids: IntArray) -> Self:
        """The network with the cache that predicts a text best.

        Args:
            network: with its own weights.
            ids: the text (N,), which the network should not have been trained on.

        Raises:
            DataError: the text has no token that can be predicted.
        """
        own = network.score(ids)
        best, best_total = None, -np.inf
        for size in SIZES:
            for flatness in FLATNESS:
                settings = NeuralCacheSettings(network.kind, 0.0, flatness, size)
                cached = cls(network, settings)._cache_scores(ids)
                # Without a memory the cache has no say: there both predict alike.
                cached = np.where(np.isnan(cached), own, cached)
                weights = em_weights([own, cached])
                total = float(interpolate(weights, [own, cached]).sum())
                if best is None or total > best_total:
                    settings = NeuralCacheSettings(network.kind, float(weights[1]), flatness, size)
                    best, best_total = cls(network, settings), total
        assert best is not None
        return best

    @property
    def settings(self) -> NeuralCacheSettings:
        return self._settings

    def settings_dict(self) -> dict[str, Any]:
        return super().settings_dict() | {"network": self.network.settings_dict()}

    def start(self, batch_size: int) -> _State:
        network = self.network.start(batch_size)
        width = self.network.output_inputs(self.network.settings)
        dtype = self.network.parameters.values.dtype
        tokens = np.empty((batch_size, 0), np.int32)
        return _State(network, np.empty((batch_size, 0, width), dtype), tokens)

    def step(self, state: _State, ids: IntArray) -> _State:
        ids = self.checked(ids)
        before = _hidden(self.network, self.network.output_vectors(state.network))  # (B, D)
        network = self.network.step(state.network, ids)
        is_new = self._remembered[ids]
        if not is_new.any():
            return state._replace(network=network)
        vectors = np.concatenate([state.vectors, before[:, None]], axis=1)
        tokens = np.concatenate([state.tokens, ids[:, None]], axis=1)
        for row in np.flatnonzero(~is_new):  # its memory stays, and the newest pair is the last
            vectors[row, 1:], tokens[row, 1:] = state.vectors[row], state.tokens[row]
            tokens[row, 0] = _EMPTY
        used = (tokens != _EMPTY).any(axis=0).argmax()  # pairs that no text has are not kept
        kept = max(int(used), tokens.shape[1] - self._settings.size)
        return _State(network, vectors[:, kept:], tokens[:, kept:])

    def log_probs(self, state: _State) -> FloatArray:
        own: FloatArray = self.network.log_probs(state.network).astype(np.float64)
        hidden = _hidden(self.network, self.network.output_vectors(state.network))  # (B, D)
        for row in range(len(own)):
            tokens = state.tokens[row]
            vectors = state.vectors[row][tokens != _EMPTY]
            tokens = tokens[tokens != _EMPTY]
            if len(tokens):
                shares = _softmax(self._settings.flatness * (vectors @ hidden[row]))
                counted = np.bincount(tokens, shares, minlength=own.shape[1])
                cached: Float64Array = counted.astype(np.float64, copy=False)
                own[row] = self._mixed(own[row], cached)
        return own

    def _mixed(self, own: FloatArray, cached: Float64Array) -> FloatArray:
        """ln of the sum of both, from the network's log-probabilities and probabilities."""
        weight = self._settings.weight
        with np.errstate(divide="ignore"):
            mixed: FloatArray = np.logaddexp(np.log1p(-weight) + own, np.log(weight * cached))
        return mixed

    def select(self, state: _State, rows: Sequence[int] | IntArray) -> _State:
        rows = np.asarray(rows, np.intp)
        return _State(
            self.network.select(state.network, rows), state.vectors[rows], state.tokens[rows]
        )

    def join(self, states: Sequence[_State]) -> _State:
        longest = max(state.tokens.shape[1] for state in states)
        vectors, tokens = [], []
        for state in states:
            missing = longest - state.tokens.shape[1]
            vectors.append(np.pad(state.vectors, ((0, 0), (missing, 0), (0, 0))))
            tokens.append(np.pad(state.tokens, ((0, 0), (missing, 0)), constant_values=_EMPTY))
        network = self.network.join([state.network for state in states])
        return _State(network, np.concatenate(vectors), np.concatenate(tokens))

    def state_key(self, state: _State, row: int) -> Hashable:
        known = state.tokens[row] != _EMPTY
        memory = state.tokens[row][known].tobytes(), state.vectors[row][known].tobytes()
        return self.network.state_key(state.network, row), memory

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        return self.piece_scorer()(ids)

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        own, cached = self.network.piece_scorer(), _Reading(self)

        def score(ids: IntArray) -> NDArray[np.float64]:
            ids = self.checked(ids)
            scores, shares = own(ids), cached.scores(ids)
            known = ~np.isnan(shares)
            scores[known] = self._mixed(scores[known], np.exp(shares[known]))
            return scores

        return score

    def adapting_scorer(
        self, settings: AdaptationSettings
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        raise UsageError(
            "a network with a neural cache cannot adapt: the vectors in its memory are those "
            "of its weights as they are"
        )

    def _cache_scores(self, ids: IntArray) -> NDArray[np.float64]:
        """ln p_cache (M,) of each token; nan where the memory is empty."""
        return _Reading(self).scores(ids)

    def arrays(self) -> Mapping[str, Array]:
        return {_PREFIX + name: array for name, array in self.network.arrays().items()}

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        own = dict(settings)
        of_network = own.pop("network", None)
        restored = read(NeuralCacheSettings, own, "the neural cache")
        kind = model_class(restored.kind)
        if not issubclass(kind, NeuralModel) or not isinstance(of_network, Mapping):
            raise ModelFileError("a neural cache is of a network, and this one names none")
        for name in arrays:
            if not name.startswith(_PREFIX):
                raise ModelFileError(f"the neural cache has an unknown array {name!r}")
        named = {name.removeprefix(_PREFIX): array for name, array in arrays.items()}
        return cls(kind.restore(encoder, of_network, named), restored)

    def summary(self) -> Mapping[str, Any]:
        settings = self._settings
        cache = (
            f"weight {settings.weight:.3g}, flatness {settings.flatness:g}, "
            f"the last {settings.size:,} tokens"
        )
        return {"neural cache": cache, **self.network.summary()}


class _Reading:
    """One text, read in pieces: what the cache gives each token."""

    def __init__(self, model: NeuralCache) -> None:
        self._model = model
        self._network = model.network
        width = self._network.output_inputs(self._network.settings)
        dtype = self._network.parameters.values.dtype
        self._vectors: FloatArray = np.empty((0, width), dtype)  # (M, D)
        self._tokens: IntArray = np.empty(0, np.int32)  # (M,)
        arrays, of_array = self._network.carry_shape
        self._carry: FloatArray = np.zeros((arrays, 1, of_array), dtype)
        self._before: IntArray = np.empty(0, np.int32)  # the ids that the next prediction needs

    def scores(self, ids: IntArray) -> NDArray[np.float64]:
        """ln p_cache (M,) of each of the ids (N,) that is not ``<s>``; nan without a memory."""
        size, flatness = self._model.settings.size, self._model.settings.flatness
        scores = []
        for hidden, targets in self._windows(ids):
            is_new = self._model._remembered[targets]
            vectors = np.concatenate([self._vectors, hidden[is_new]])
            tokens = np.concatenate([self._tokens, targets[is_new]])
            # Token t sees the pairs before it: all old ones, and the new ones before t.
            ends = len(self._tokens) + np.cumsum(is_new) - is_new  # (T,)
            places = np.arange(len(tokens))
            seen = (places < ends[:, None]) & (places >= (ends - size)[:, None])  # (T, M)
            with one_blas_thread:  # so that the last bit is the same in every thread
                alike = hidden @ vectors.T  # (T, M)
            logits = np.where(seen, flatness * alike, -np.inf).astype(np.float64)
            best = np.where(ends > 0, logits.max(axis=1, initial=-np.inf), 0.0)
            weights = np.exp(logits - best[:, None])
            of_target = (weights * (tokens == targets[:, None])).sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                scores.append(np.log(of_target / weights.sum(axis=1)))
            self._vectors, self._tokens = vectors[-size:], tokens[-size:]
        return np.concatenate([np.empty(0), *scores])

    def _windows(self, ids: IntArray) -> Iterator[tuple[FloatArray, IntArray]]:
        """The hidden vectors (T, D) before some tokens (T,), window by window."""
        whole = np.concatenate((self._before, ids))
        positions = len(self._before) + np.flatnonzero(ids != BOS)
        for begin in range(0, len(positions), _AT_ONCE):
            inputs, targets = self._network.examples(whole, positions[begin : begin + _AT_ONCE])
            vectors = self._network.example_vectors(inputs, self._carry)
            yield _hidden(self._network, vectors), targets.ravel()
        self._before = whole[max(0, len(whole) - (self._network.reach or 1)) :]


def _hidden(network: NeuralModel, vectors: FloatArray) -> FloatArray:
    """The hidden vectors (N, D) among what the output layer reads."""
    return vectors[:, : network.output_inputs(network.settings)]


def _softmax(logits: FloatArray) -> Float64Array:
    weights: Float64Array = np.exp((logits - logits.max()).astype(np.float64))
    weights /= weights.sum()
    return weights


def network_for_cache(model: LanguageModel, name: str) -> NeuralModel:
    """The network whose hidden vectors a neural cache remembers.

    Raises:
        UsageError: the model is none.
    """
    if not isinstance(model, NeuralModel):
        raise UsageError(
            f"a neural cache remembers the hidden vectors of a network, but {name} is a model of "
            f"kind {model.kind}; name an rnn or ffnn before it"
        )
    return model
