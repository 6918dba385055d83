"""One forward and one backward pass of a network over a short text, node by node.

The text is read as in training, from its beginning and without dropout, and

    J = L_1 + L_2 + ... + L_T,        L_t = −ln p_t[w_t]

is the sum over its T tokens. (Training divides J by the number of tokens in the batch.) The numbers
are float64, made from the model's weights. The symbols are those of `lmsuite.models.feedforward`
and of the cells in `lmsuite.nn.cells`; the output layer of a recurrent network has W_y and b_y. A
hidden vector, gate or logit has the number of its step, and if there are several layers, that of
its layer: h²_3. In an adaptive softmax the clusters have the logits y_c, and the words of cluster k
the logits y_k.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from lmsuite.errors import DataError, LmError
from lmsuite.models.feedforward import FeedForward
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.recurrent import Recurrent
from lmsuite.nn.cell_graphs import STEPS, Weights, weights_of
from lmsuite.nn.graph import Node, concatenated, cross_entropy
from lmsuite.nn.kernels import CELLS
from lmsuite.nn.losses import NOTHING
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

LONGEST = 256
"""The most tokens of a text: more than anyone would follow."""

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Shown(NamedTuple):
    """An entry of a vector, and what it stands for."""

    at: int
    """Its index."""
    label: str
    """The token; or, of the head of an adaptive softmax, the cluster that it is in."""


@dataclass(frozen=True)
class TracedStep:
    """The part of the graph that belongs to the prediction of one token."""

    number: int
    """t, from 1."""
    reads: tuple[str, ...]
    """The tokens of the input: one, or a window."""
    predicts: str
    """The token w_t."""
    loss: Node
    """L_t."""
    hidden: Node
    """The top hidden vector, from which the logits come."""
    shown: Mapping[Node, Shown]
    """Of logits, probabilities and the like: the entry that belongs to w_t."""
    nodes: tuple[Node, ...]
    """What this step adds to the graph, each node after its inputs; the loss is the last."""

    @property
    def probability(self) -> float:
        """p_t[w_t]."""
        return float(np.exp(-self.loss.value))


@dataclass(frozen=True)
class NetworkTrace:
    """The graph of one pass, whose nodes have their gradients."""

    loss: Node
    """J."""
    parameters: tuple[Node, ...]
    steps: tuple[TracedStep, ...]

    @property
    def hidden_size(self) -> int:
        """The units of the smallest hidden layer that gives a hidden vector."""
        return int(self.steps[0].hidden.value.size)

    def parts(self, node: Node) -> list[tuple[Node, FloatArray]]:
        """The terms of a node's upstream gradient: the nodes made from it, with what each adds."""
        return [
            (user, edge.pull(user.gradient))
            for user in self.loss.nodes()
            for edge in user.edges
            if edge.source is node
        ]


def trace_network(model: LanguageModel, text: str) -> NetworkTrace:
    """The pass of a feed-forward or recurrent network over `text`.

    Raises:
        DataError: the text has no tokens, or more than `LONGEST`.
        LmError: the model is of another kind, or has a cell whose equations are not known.
    """
    if not isinstance(model, NeuralModel):
        raise LmError(f"a model of kind {model.kind} has no layers; only a network has a pass")
    ids = model.encoder.encode(text)
    targets = np.flatnonzero(ids != BOS)
    if not targets.size:
        raise DataError("nothing to trace: the text has no tokens")
    if targets.size > LONGEST:
        raise DataError(f"{targets.size:,} tokens: a trace is for at most {LONGEST}; give fewer")
    builder = _builder(model)
    before = np.concatenate(([BOS], ids))
    steps = []
    known: set[int] = set()
    for number, at in enumerate(targets.tolist(), start=1):
        reads, hidden, loss, shown = builder.step(number, before[: at + 1], int(ids[at]))
        nodes = [node for node in loss.nodes() if node.edges and id(node) not in known]
        known |= {id(node) for node in nodes}
        tokens = tuple(model.encoder.token_text(token) for token in reads)
        predicts = model.encoder.token_text(int(ids[at]))
        steps.append(TracedStep(number, tokens, predicts, loss, hidden, shown, tuple(nodes)))
    total = steps[0].loss
    if len(steps) > 1:
        for step in steps[1:]:
            total = total + step.loss
        total.named("J")
    total.backward()
    return NetworkTrace(total, builder.parameters, tuple(steps))


def _builder(model: NeuralModel) -> _FeedForwardGraph | _RecurrentGraph:
    if isinstance(model, FeedForward):
        return _FeedForwardGraph(model)
    if isinstance(model, Recurrent):
        return _RecurrentGraph(model)
    raise LmError(f"a model of kind {model.kind} cannot be traced; ffnn and rnn can")


_Entries: TypeAlias = dict[Node, Shown]
_Step: TypeAlias = tuple[list[int], Node, Node, _Entries]


class _Graph:
    """What both kinds of network share: the embeddings and the loss."""

    def __init__(self, model: NeuralModel) -> None:
        self._encoder = model.encoder
        self._arrays = {
            name: model.parameters[name].astype(np.float64) for name in model.parameters
        }
        self._C = self._parameter("C", "embedding.table")

    def _parameter(self, symbol: str, name: str) -> Node:
        return Node(symbol, self._arrays[name])

    def _vector(self, token: int) -> Node:
        return self._C.row(token, self._encoder.token_text(token))

    def _output_weights(
        self, cutoffs: Sequence[int], is_tied: bool, symbol: str, rows: slice = slice(None)
    ) -> Node:
        """From the top hidden vector to the logits of the (frequent) words."""
        if not is_tied:
            return Node(symbol, self._arrays["output.W"][rows])
        words = self._C.row(slice(0, cutoffs[0]), "frequent words") if cutoffs else self._C
        return words.T

    def _make_clusters(self, cutoffs: Sequence[int], is_tied: bool) -> None:
        """The arrays of an adaptive softmax besides those of its frequent words."""
        self._edges = (*cutoffs, len(self._encoder.vocabulary)) if cutoffs else ()
        self._clusters: tuple[Node, ...] = ()
        self._tails: list[tuple[Node, ...]] = []  # P_k, W_k and b_k; or, if tied, b_k alone
        if not cutoffs:
            return
        names = (("W_c", "output.clusters.W"), ("b_c", "output.clusters.b"))
        self._clusters = tuple(self._parameter(*name) for name in names)
        for k in range(1, len(cutoffs) + 1):
            letters = "b" if is_tied else "PWb"
            self._tails.append(
                tuple(self._parameter(f"{x}_{k}", f"output.tail.{k}.{x}") for x in letters)
            )

    @property
    def _of_clusters(self) -> tuple[Node, ...]:
        return (*self._clusters, *(node for tail in self._tails for node in tail))

    def _loss(self, words: Node, top: Node, target: int, number: int) -> tuple[Node, _Entries]:
        """L_t, from the logits of the (frequent) words and the input of the output layer.

        An adaptive softmax (Grave et al. 2017) has one more logit for each cluster of rarer words,
        and in cluster k the logits y_k. A word there has L = −ln p[cluster k] − ln p_k[w].
        """
        token = self._encoder.token_text(target)
        shown: dict[Node, Shown] = {}
        if not self._edges:
            loss = self._entropy(words, f"{number}", Shown(target, token), shown)
            return loss.named(f"L_{number}"), shown
        W_c, b_c = self._clusters
        k = sum(target >= edge for edge in self._edges)  # 0: a frequent word
        n = self._edges[0]
        parts = [words.named(f"y_w,{number}"), (top @ W_c + b_c).named(f"y_c,{number}")]
        entry = Shown(n + k - 1, f"cluster {k}") if k else Shown(target, token)
        loss = self._entropy(concatenated(parts), f"{number}", entry, shown)
        shown |= _alike(parts[k > 0], Shown(k - 1, entry.label) if k else entry)
        if k:
            first, last = self._edges[k - 1 : k + 1]
            *projected, b = self._tails[k - 1]
            if projected:
                P, W = projected
                y = (top @ P).named(f"s_{k},{number}") @ W + b
            else:
                y = top @ self._C.row(slice(first, last), f"cluster {k}").T + b
            loss = loss + self._entropy(y, f"{k},{number}", Shown(target - first, token), shown)
        return loss.named(f"L_{number}"), shown

    def _entropy(self, logits: Node, mark: str, entry: Shown, shown: dict[Node, Shown]) -> Node:
        """−ln of the probability of an entry; it is noted for the nodes that have it."""
        is_head = "," not in mark
        loss = cross_entropy(
            logits.named(f"y_{mark}"),
            entry.at,
            self._encoder.impossible if is_head else NOTHING,
            symbol=f"p_{mark}",
            label=entry.label,
        )
        shown |= _alike(logits, entry) | dict.fromkeys(loss.beside, entry)
        return loss


def _alike(logits: Node, entry: Shown) -> _Entries:
    """The entry, for the logits and for each of the terms that are added up to them."""
    nodes = [logits, *(edge.source for edge in logits.edges)]
    return {node: entry for node in nodes if node.value.shape == logits.value.shape}


class _FeedForwardGraph(_Graph):
    """x, z = x H + d, a = f(z), y = a U + b (+ x W); with tied embeddings U = Cᵀ."""

    def __init__(self, model: FeedForward) -> None:
        super().__init__(model)
        self._settings = settings = model.settings
        marks = _marks(len(settings.hidden))
        self._layers = [
            (mark, self._parameter(f"H{mark}", f"hidden.{i}.W"), self._parameter(f"d{mark}", b))
            for i, (mark, b) in enumerate((mark, f"hidden.{i}.b") for i, mark in enumerate(marks))
        ]
        cutoffs = getattr(settings, "cutoffs", ())
        self._make_clusters(cutoffs, settings.tied)
        size = settings.hidden[-1]
        is_split = settings.direct and not cutoffs
        self._U = self._output_weights(
            cutoffs, settings.tied, "U", slice(size if is_split else None)
        )
        self._b = self._parameter("b", "output.b")
        self._W = Node("W", self._arrays["output.W"][size:]) if is_split else None

    @property
    def parameters(self) -> tuple[Node, ...]:
        layers = [node for _, *nodes in self._layers for node in nodes]
        direct = [self._W] if self._W else []
        output = [] if self._U.edges else [self._U]
        return (self._C, *layers, *output, *direct, self._b, *self._of_clusters)

    def step(self, number: int, before: IntArray, target: int) -> _Step:
        """The ids read, the top hidden vector, the loss and its entries, after ids `before`."""
        sentence = before[np.flatnonzero(before == BOS)[-1] :]
        context = self._settings.context
        window = np.concatenate((np.full(context, BOS), sentence))[-context:].tolist()
        x = a = concatenated([self._vector(token) for token in window]).named(f"x_{number}")
        for mark, H, d in self._layers:
            z = (a @ H + d).named(f"z{mark}_{number}")
            a = z.apply(self._settings.activation).named(f"a{mark}_{number}")
        top = a
        if self._settings.direct and not self._W:
            top = concatenated([a, x])
        y = top @ self._U + (x @ self._W + self._b if self._W else self._b)
        return window, a, *self._loss(y, top, target, number)


class _RecurrentGraph(_Graph):
    """The cell's equations, and y = h W_y + b_y (+ the rows of n-gram features)."""

    def __init__(self, model: Recurrent) -> None:
        super().__init__(model)
        settings = model.settings
        if settings.cell not in STEPS:
            raise LmError(
                f"the equations of the cell '{settings.cell}' are not known here; "
                f"networks of the cells {', '.join(STEPS)} can be traced"
            )
        self._step, self._cell = STEPS[settings.cell], CELLS[settings.cell]
        self._layers: list[tuple[str, Weights]] = []
        for i, mark in enumerate(_marks(settings.layers)):
            arrays = {name: self._arrays[f"layer.{i}.{name}"] for name in self._cell.names}
            self._layers.append((mark, weights_of(settings.cell, arrays, mark)))
        cutoffs = getattr(settings, "cutoffs", ())
        self._make_clusters(cutoffs, settings.tied)
        self._W = self._output_weights(cutoffs, settings.tied, "W_y")
        self._b = self._parameter("b_y", "output.b")
        self._size = settings.hidden
        self._recent = model.recent
        self._features: dict[int, Node] = {}  # the rows that were used
        self._states: list[tuple[Node, ...]] = []

    @property
    def parameters(self) -> tuple[Node, ...]:
        layers = [node for _, weights in self._layers for node in weights.values()]
        output = [] if self._W.edges else [self._W]
        features = [self._features[row] for row in sorted(self._features)]
        return (self._C, *layers, *output, self._b, *features, *self._of_clusters)

    def step(self, number: int, before: IntArray, target: int) -> _Step:
        """The id read, the top hidden vector, the loss and its entries, after ids `before`."""
        token = int(before[-1])
        if token == BOS:
            self._states = list(self._zeros(number - 1))
        h = self._vector(token).named(f"x_{number}")
        for i, (mark, weights) in enumerate(self._layers):

            def at(symbol: str, mark: str = mark) -> str:
                letter, _, gate = symbol.partition("_")
                return f"{letter}{mark}_{f'{gate},' if gate else ''}{number}"

            self._states[i] = self._step(h, self._states[i], weights, at)
            h = self._states[i][0]
        y = h @ self._W + self._b
        for row in self._feature_rows(before):
            self._features.setdefault(row, Node(f"F[{row}]", self._arrays["features.table"][row]))
            y = y + self._features[row]
        return [token], h, *self._loss(y, h, target, number)

    def _feature_rows(self, before: IntArray) -> list[int]:
        """The rows of the contexts that end with the last of these ids."""
        if self._recent is None:
            return []
        ids = before[-self._recent.count :, None]
        recent = self._recent.read(np.zeros((1, self._size)), ids)
        rows: list[int] = self._recent.rows(recent)[-1, 0].tolist()
        return rows

    def _zeros(self, number: int) -> Iterator[tuple[Node, ...]]:
        """The state of each layer at the beginning of a text."""
        for mark, _ in self._layers:
            zeros = np.zeros(self._size)
            yield tuple(Node(f"{s}{mark}_{number}", zeros) for s in "hc"[: self._cell.states])


def _marks(layers: int) -> list[str]:
    """The marks of the layers in symbols: none if there is only one."""
    return [""] if layers == 1 else [f"{i}".translate(_RAISED) for i in range(1, layers + 1)]
