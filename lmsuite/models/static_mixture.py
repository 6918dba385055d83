"""N-gram models combined into one n-gram model: `lmsuite.ngram.static_mixing`, for models.

The members read text with the same tokenizer and boundaries, but may know different words; the
combined model knows all of them. The weights are those that predict a text best: by expectation
maximisation if the mixture is linear; by Newton's method if it is log-linear, whose log-likelihood

    L(lambda) = sum_t  sum_k lambda_k x_tk(w_t) - ln Z_t(lambda),     x_tk(w) = ln p_k(w | h_t),

is concave, with gradient sum_t x_t(w_t) - E_t[x_t] and Hessian - sum_t Cov_t[x_t], the mean and
covariance being under the mixture's own distribution (Heafield et al. 2016). These are sums over
the whole vocabulary for each token, so log-linear weights are found for small vocabularies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.interpolation import em_weights
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.settings import MIXED, NgramSettings
from lmsuite.ngram.static_mixing import Part, linear, log_linear
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, Vocabulary, Widening
from lmsuite.types import Float64Array, IntArray

_MOST_NUMBERS = 200_000_000  # tokens times words times members, for log-linear weights
_AT_ONCE = 1 << 20  # numbers of a distribution that are held for each member
_MOST_STEPS = 50
_CLOSE_ENOUGH = 1e-6  # of a weight


class StaticMixing:
    """The members of a static mixture, and the union of their vocabularies."""

    def __init__(self, members: Mapping[str, LanguageModel]) -> None:
        """The n-gram models by name.

        Raises:
            UsageError: there are fewer than two; or a member is no n-gram model, or gives scores
                that are no probabilities.
            DataError: a member reads text in another way than the first.
        """
        self.members = _checked(members)
        first = next(iter(self.members.values())).encoder
        vocabularies = [member.encoder.vocabulary for member in self.members.values()]
        vocabulary = Vocabulary.union(vocabularies)
        self.encoder = replace(first, vocabulary=vocabulary)
        self.parts = [
            Part(member.table, Widening(member.encoder.vocabulary, vocabulary))
            for member in self.members.values()
        ]

    def scores(self, ids: IntArray) -> dict[str, NDArray[np.float64]]:
        """The log-probabilities (M,) of a text from every member; `ids` (N,) are the union's."""
        predicted = ids[ids != BOS]
        return {
            name: np.where(
                part.words.knows[predicted], part.table.score(part.words.ids[ids]), -np.inf
            )
            for name, part in zip(self.members, self.parts, strict=True)
        }

    def linear_weights(self, ids: IntArray) -> NDArray[np.float64]:
        """The weights (K,) of the linear mixture that predicts a text best.

        Raises:
            DataError: the text has no token that a member can predict.
        """
        return em_weights(list(self.scores(ids).values()))

    def log_linear_weights(self, ids: IntArray) -> NDArray[np.float64]:
        """The weights (K,) of the log-linear mixture that predicts a text best, at least 0 each.

        Raises:
            DataError: the text has no token, or too many for a vocabulary of this size.
        """
        predicted = ids[ids != BOS]
        size = len(self.encoder.vocabulary)
        if not len(predicted):
            raise DataError("no weights can be found: the text has no tokens")
        if len(predicted) * size * len(self.parts) > _MOST_NUMBERS:
            most = max(1, _MOST_NUMBERS // (size * len(self.parts)))
            raise DataError(
                f"the weights of a log-linear mixture are found with sums over all {size:,} words "
                f"for each token, which takes too long for {len(predicted):,} tokens; give a "
                f"{{text}} of up to {most:,} tokens, or {{weights}}",
                *("text", "weights"),
            )
        weights = np.full(len(self.parts), 1 / len(self.parts))
        for _ in range(_MOST_STEPS):
            gradient, hessian = self._slopes(ids, weights)
            # A weight at its bound of 0 stays there if the slope leads below.
            free = (weights > 0) | (gradient > 0)
            step = np.zeros(len(weights))
            step[free] = np.linalg.lstsq(hessian[np.ix_(free, free)], gradient[free])[0]
            changed = np.maximum(weights + step, 0.0)
            if not changed.any():
                changed = weights / 2
            done = float(np.abs(changed - weights).max()) < _CLOSE_ENOUGH
            weights = changed
            if done:
                break
        return weights

    def _slopes(
        self, ids: IntArray, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The gradient (K,) of the log-likelihood, and minus its Hessian (K, K)."""
        gradient = np.zeros(len(weights))
        hessian = np.zeros((len(weights), len(weights)))
        for words, logs in self._distributions(ids):  # (B,), (K, B, W)
            mixed = np.tensordot(weights, logs, 1)  # (B, W)
            mixed = np.exp(mixed - mixed.max(axis=1, keepdims=True))
            mixed /= mixed.sum(axis=1, keepdims=True)
            means = (logs * mixed).sum(axis=2)  # (K, B)
            gradient += (logs[:, np.arange(len(words)), words] - means).sum(axis=1)
            centred = logs - means[:, :, None]
            hessian += np.einsum("kbw,lbw->kl", centred * mixed, centred)
        return gradient, hessian

    def _distributions(self, ids: IntArray) -> Iterator[tuple[IntArray, Float64Array]]:
        """For some tokens at a time: which of W words each is (B,), and the logs (K, B, W).

        The words are those to which every member gives a probability; others are impossible.
        """
        possible = np.ones(len(self.encoder.vocabulary), bool)
        for part in self.parts:
            possible &= part.table.orders[0].log_probs[part.words.ids] > -np.inf
        place = np.cumsum(possible) - 1
        at_once = max(1, _AT_ONCE // len(possible))
        tables = [part.table for part in self.parts]
        states = [table.start(1) for table in tables]
        rows: list[tuple[int, list[NDArray[np.int64]]]] = []
        for token in [*ids.tolist(), None]:
            if rows and (token is None or len(rows) == at_once):
                words = np.array([place[word] for word, _ in rows])
                logs = np.stack(
                    [
                        table.log_probs(np.concatenate([held[k] for _, held in rows]))[
                            :, part.words.ids[possible]
                        ]
                        for k, (table, part) in enumerate(zip(tables, self.parts, strict=True))
                    ]
                )
                yield words, np.maximum(logs, -700.0)
                rows = []
            if token is None:
                return
            if token != BOS and possible[token]:
                rows.append((token, list(states)))
            for k, part in enumerate(self.parts):
                states[k] = tables[k].extend(states[k], part.words.ids[[token]])

    def model(self, weights: Sequence[float], *, is_log_linear: bool = False) -> NgramModel:
        """The combined model; weights of linear mixtures are scaled to sum to one.

        Raises:
            UsageError: there is not one weight of at least 0 for each member, or all are 0.
            DataError: a log-linear mixture has no word that every member knows.
        """
        given = np.asarray(weights, np.float64)
        is_right = given.shape == (len(self.parts),) and bool((given >= 0).all())
        if not is_right or not 0 < given.sum() < np.inf:
            raise UsageError(
                f"{{weights}} must be {len(self.parts)} numbers of at least 0, one for each "
                f"member, and not all 0, not {','.join(f'{weight:g}' for weight in given.ravel())}",
                "weights",
                value=weights,
            )
        used = [k for k, weight in enumerate(given) if weight > 0]
        parts = [self.parts[k] for k in used]
        if is_log_linear:
            table = log_linear(parts, given[used].tolist())
        else:
            given = given / given.sum()
            table = linear(parts, given[used].tolist())
        table.make_flat()
        shown = ", ".join(
            f"{name} {weight:.4g}" for name, weight in zip(self.members, given, strict=True)
        )
        kind = "log-linear" if is_log_linear else "linear"
        settings = NgramSettings(order=table.order, smoothing=MIXED)
        return NgramModel(self.encoder, settings, table, (), (f"{kind} interpolation: {shown}",))


def _checked(members: Mapping[str, LanguageModel]) -> dict[str, NgramModel]:
    if len(members) < 2:
        raise UsageError("a mixture needs two members or more")
    checked: dict[str, NgramModel] = {}
    for name, member in members.items():
        if not isinstance(member, NgramModel):
            raise UsageError(
                f"{name} is a {member.kind} model; one table can hold n-gram models alone: leave "
                "it out, or leave out {static}",
                "static",
            )
        if not member.is_normalised:
            raise UsageError(
                f"{name} gives scores that are not probabilities (stupid backoff): it cannot be "
                "mixed; train it with another {smoothing}",
                "smoothing",
            )
        checked[name] = member
    (first, reference), *others = checked.items()
    for name, member in others:
        if member.encoder.describe() != reference.encoder.describe():
            raise DataError(
                f"{name} reads text in another way than {first} ({_reading(member.encoder)}; "
                f"{_reading(reference.encoder)}): train it again with {{like}} {first}, or, if it "
                f"is an ARPA file, lm convert {name} NEW.safetensors --like {first}",
                "like",
                value=first,
            )
    return checked


def _reading(encoder: TextEncoder) -> str:
    return f"{encoder.tokenizer.title}, {encoder.boundaries}"
