"""The end of a language model: from vectors to probabilities, to the loss of targets, and back.

`Softmax` is full, or adaptive (`lmsuite.nn.adaptive` explains and defines it): a full softmax is an
adaptive one without clusters. What a token's loss or score needs is formed, and no more: its row of
the head's logits, and one row of a tail's if the target is in that cluster.

With a vocabulary of millions, the logits of a batch take far more memory than the model. So they
are computed for some of the vectors at a time, and freed before the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import UsageError
from lmsuite.nn.kernels.softmax import softmax_cross_entropy
from lmsuite.nn.layers import Embedding, Joined, Linear, ProjectedLinear, Shapes, TiedLinear
from lmsuite.nn.losses import NOTHING, check_targets, log_softmax, target_log_probs
from lmsuite.nn.ngram_features import NgramFeatures, WithFeatures
from lmsuite.nn.parameter import Parameters
from lmsuite.nn.products import SMALL
from lmsuite.types import FloatArray, IntArray

LOGITS_AT_ONCE = 1 << 26
"""The number of logits in memory at a time in training: 256 MB in float32."""

SCORED_AT_ONCE = 1 << 21
"""The same in scoring, where several threads may do it: 8 MB."""

SHRINKING, NARROWEST = 4, 16
"""Each tail's projection has so many times fewer numbers than the one before it, but not fewer than
`NARROWEST`: below, the exponentials of its logits take longer than their products anyway."""

ToLogits: TypeAlias = Linear | TiedLinear | Joined | ProjectedLinear | WithFeatures


class _Prepared(NamedTuple):
    """What forms logits (N, outputs) of vectors (N, D)."""

    projection: FloatArray | None
    weights: FloatArray
    bias: FloatArray
    features: WithFeatures | None


def output_loss(
    layer: ToLogits,
    vectors: FloatArray,
    targets: IntArray,
    weight: float,
    impossible: IntArray = NOTHING,
) -> tuple[float, FloatArray]:
    """Cross-entropy of softmax(layer(vectors)) with the targets; writes the layer's gradients.

    Args:
        layer: from vectors to logits.
        vectors: (N, D).
        targets: ids (N,).
        weight: of each vector in the loss.
        impossible: ids of probability zero.

    Returns:
        The loss, and its gradient (N, D) by the vectors.
    """
    at_once = max(1, LOGITS_AT_ONCE // layer.b.size)
    loss, d_vectors = 0.0, []
    for begin in range(0, max(1, len(vectors)), at_once):
        part = slice(begin, begin + at_once)
        logits, cache = layer.forward(vectors[part])
        more, d_logits = softmax_cross_entropy(logits, targets[part], weight, impossible)
        loss += more
        d_vectors.append(layer.backward(d_logits, cache, add=begin > 0))  # type: ignore[arg-type]
    return loss, d_vectors[0] if len(d_vectors) == 1 else np.concatenate(d_vectors)


class Softmax:
    """A distribution over V ids after each vector (D,); adaptive if there are `cutoffs`.

    The cut-offs are the first ids of the clusters.
    """

    def __init__(
        self,
        parameters: Parameters,
        prefix: str,
        cutoffs: Sequence[int] = (),
        embedding: Embedding | None = None,
        features: NgramFeatures | None = None,
    ) -> None:
        """Views of the arrays that `shapes` names.

        With `embedding`, its table is the weights. With `features`, the vectors are those of
        `WithFeatures`.
        """
        self.cutoffs = tuple(cutoffs)
        self.words: Linear | TiedLinear  # of the shortlist; of a full softmax all
        self.tails: list[ProjectedLinear | TiedLinear]
        names = [_tail(prefix, k) for k in range(len(cutoffs))]
        if embedding is None:
            self.words = Linear(parameters, prefix)
            self.tails = [ProjectedLinear(parameters, name) for name in names]
        else:
            edges = (0, *cutoffs, len(embedding.table))
            self.words = TiedLinear(parameters, prefix, embedding, (0, edges[1]))
            self.tails = [
                TiedLinear(parameters, name, embedding, ids)
                for name, ids in zip(names, pairwise(edges[1:]), strict=True)
            ]
        self.head: Linear | TiedLinear | Joined | WithFeatures = self.words
        if features is not None:
            self.head = WithFeatures(self.words, features)
        elif cutoffs:
            self.head = Joined(self.words, Linear(parameters, f"{prefix}.clusters"))

    @staticmethod
    def shapes(
        prefix: str, inputs: int, vocabulary: int, cutoffs: Sequence[int] = (), *, tied: bool
    ) -> Shapes:
        """The shape of every array.

        Raises:
            UsageError: a cut-off leaves a cluster without words.
        """
        if cutoffs and cutoffs[-1] >= vocabulary:
            raise UsageError(
                f"{{cutoffs}} must be below {vocabulary}, the size of the vocabulary, "
                f"not {cutoffs[-1]}",
                "cutoffs",
                value=tuple(cutoffs),
            )
        edges = (0, *cutoffs, vocabulary)
        words, *others = [last - first for first, last in pairwise(edges)]
        layer = TiedLinear.shapes(prefix, words) if tied else Linear.shapes(prefix, inputs, words)
        shapes = dict(layer)
        if cutoffs:
            shapes |= Linear.shapes(f"{prefix}.clusters", inputs, len(cutoffs))
        for k, (size, count) in enumerate(
            zip(tail_sizes(inputs, len(cutoffs)), others, strict=True)
        ):
            name = _tail(prefix, k)
            shapes |= (
                TiedLinear.shapes(name, count)
                if tied
                else ProjectedLinear.shapes(name, inputs, size, count)
            )
        return shapes

    @property
    def is_tied(self) -> bool:
        """Whether the embeddings are the weights."""
        return isinstance(self.words, TiedLinear)

    @property
    def sizes(self) -> list[int]:
        """How many numbers each tail's logits are formed from."""
        return [
            len(tail.W) if isinstance(tail, ProjectedLinear) else len(tail.weights)
            for tail in self.tails
        ]

    @property
    def last_bias(self) -> FloatArray:
        """The bias of the rarest tokens: of the last cluster, or of all."""
        return self.tails[-1].b if self.tails else self.words.b

    @property
    def layers(self) -> list[ToLogits]:
        """The head, then the tails."""
        return [self.head, *self.tails]

    def initialise(self, rng: np.random.Generator) -> None:
        """All but a table that is the weights."""
        for layer in self.layers:
            layer.initialise(rng)

    def set_bias(self, probabilities: NDArray[np.float64]) -> None:
        """Predict these probabilities (V,) after the vector zero."""
        words, *others = np.split(probabilities, self.cutoffs)
        self.words.b[:] = np.log(words)
        if isinstance(self.head, Joined):
            self.head.second.b[:] = [np.log(other.sum()) for other in others]
        for tail, other in zip(self.tails, others, strict=True):
            tail.b[:] = np.log(other / other.sum())

    def loss(
        self, vectors: FloatArray, targets: IntArray, weight: float, impossible: IntArray = NOTHING
    ) -> tuple[float, FloatArray]:
        """Cross-entropy with the targets; writes the gradients of the parameters.

        The arguments and what is returned are those of `output_loss`. The ids `impossible` are in
        the shortlist.
        """
        entries, inside = self._placed(targets)
        loss, d_vectors = output_loss(self.head, vectors, entries, weight, impossible)
        for tail, (rows, words) in zip(self.tails, inside, strict=True):
            more, d_inside = output_loss(tail, vectors[rows], words, weight)
            loss += more
            d_vectors[rows] += d_inside
        return loss, d_vectors

    def log_probs(self, vectors: FloatArray, impossible: IntArray = NOTHING) -> NDArray[np.float64]:
        """The log-probabilities (N, V) after vectors (N, D)."""
        return self.from_logits([layer.forward(vectors)[0] for layer in self.layers], impossible)

    def target_log_probs(
        self, vectors: FloatArray, targets: IntArray, impossible: IntArray = NOTHING
    ) -> NDArray[np.float64]:
        """The log-probability (N,) of a target after each vector (N, D)."""
        entries, inside = self._placed(targets)
        log_probs = _target_log_probs(self.head, vectors, entries, impossible)
        for tail, (rows, words) in zip(self.tails, inside, strict=True):
            log_probs[rows] += _target_log_probs(tail, vectors[rows], words)
        return log_probs

    def _placed(self, targets: IntArray) -> tuple[IntArray, list[tuple[IntArray, IntArray]]]:
        """Which of the head's outputs each target (N,) is; and the rows, and words, of each tail.

        A word is an index into its cluster.
        """
        if not self.cutoffs:
            return targets, []
        n = self.cutoffs[0]
        ends = (*self.cutoffs[1:], self.cutoffs[-1] + self.tails[-1].b.size)
        check_targets(targets, len(targets), ends[-1])
        entries = np.array(targets)
        inside: list[tuple[IntArray, IntArray]] = []
        for k, (first, last) in enumerate(zip(self.cutoffs, ends, strict=True)):
            rows = np.flatnonzero((first <= targets) & (targets < last))
            entries[rows] = n + k
            inside.append((rows, targets[rows] - first))
        return entries, inside

    def from_logits(
        self, logits: Sequence[FloatArray], impossible: IntArray = NOTHING
    ) -> NDArray[np.float64]:
        """Log-probabilities (N, V) from the logits of head and tails, which are overwritten."""
        head = log_softmax(logits[0], impossible)
        if not self.cutoffs:
            return head
        n = first = self.cutoffs[0]
        widths = [part.shape[1] for part in logits[1:]]
        log_probs = np.empty((len(head), n + sum(widths)))
        log_probs[:, :n] = head[:, :n]
        for k, part in enumerate(logits[1:]):
            last = first + widths[k]
            np.add(log_softmax(part), head[:, n + k, None], out=log_probs[:, first:last])
            first = last
        return log_probs

    def largest_sum(self, largest_input: float) -> float:
        """An upper bound of every sum of products, for inputs of at most this absolute value."""
        sums = []
        for layer in self.layers:
            largest = largest_input
            if isinstance(layer, ProjectedLinear):
                largest = len(layer.P) * largest * float(np.abs(layer.P).max())
                sums.append(largest)
            W = layer.W if isinstance(layer, ProjectedLinear) else layer.weights
            sums.append(len(W) * largest * float(np.abs(W).max()) + float(np.abs(layer.b).max()))
            if isinstance(layer, WithFeatures):
                sums[-1] += layer.features.count * float(np.abs(layer.features.table).max())
        return max(sums)


class SoftmaxReader:
    """A softmax that only predicts, prepared for many calls while its weights stay.

    BLAS's threads would fight with those of a decoder. OpenBLAS computes products up to `SMALL` in
    one thread, so a product is cut into such ones if it can be.
    """

    def __init__(self, softmax: Softmax, impossible: IntArray) -> None:
        self._softmax, self._impossible = softmax, impossible
        self._prepared = list(self._prepare())

    def _prepare(self) -> Iterator[_Prepared]:
        for layer in self._softmax.layers:
            P, W = (
                (layer.P, layer.W) if isinstance(layer, ProjectedLinear) else (None, layer.weights)
            )
            bias = layer.b.copy()
            if layer is self._softmax.head:
                bias[self._impossible] = -np.inf
            yield _Prepared(P, W, bias, layer if isinstance(layer, WithFeatures) else None)

    def log_probs(self, vectors: FloatArray) -> NDArray[np.float64]:
        """The log-probabilities (N, V) after vectors (N, D)."""
        return self._softmax.from_logits([_logits(vectors, *each) for each in self._prepared])

    def target_log_probs(self, vectors: FloatArray, targets: IntArray) -> NDArray[np.float64]:
        """The log-probability (N,) of a target after each vector (N, D)."""
        if not self._softmax.cutoffs:
            return self.log_probs(vectors)[np.arange(len(targets)), targets]
        return self._softmax.target_log_probs(vectors, targets, self._impossible)


def _logits(
    x: FloatArray,
    P: FloatArray | None,
    W: FloatArray,
    b: FloatArray,
    with_features: WithFeatures | None,
) -> FloatArray:
    rows = values = None
    if with_features is not None:
        x, rows, values = with_features.divided(x)
    elif P is not None:
        x = x @ P
    logits = np.empty((len(x), b.size), x.dtype)
    at_once = SMALL // W.size or len(x)
    if len(x) <= at_once:
        np.matmul(x, W, out=logits)
    else:
        for begin in range(0, len(x), at_once):
            part = slice(begin, begin + at_once)
            np.matmul(x[part], W, out=logits[part])
    logits += b
    if with_features is not None and rows is not None and values is not None:
        with_features.features.add_to(logits, rows, values)
    return logits


def _target_log_probs(
    layer: ToLogits, vectors: FloatArray, targets: IntArray, impossible: IntArray = NOTHING
) -> NDArray[np.float64]:
    at_once = max(16, SCORED_AT_ONCE // layer.b.size)
    log_probs = np.empty(targets.size)
    for begin in range(0, targets.size, at_once):
        part = slice(begin, begin + at_once)
        logits, _ = layer.forward(vectors[part])
        log_probs[part] = target_log_probs(logits, targets[part], impossible)
    return log_probs


def tail_sizes(inputs: int, clusters: int) -> list[int]:
    """The size of each tail's projection of vectors (D,): D / 4, D / 16, ..."""
    return [min(inputs, max(NARROWEST, inputs // SHRINKING ** (k + 1))) for k in range(clusters)]


def _tail(prefix: str, k: int) -> str:
    """The name of a tail's arrays; they are counted from 1, as the clusters."""
    return f"{prefix}.tail.{k + 1}"
