"""Layers without a memory: embedding, linear, dropout.

A layer holds views of its parameters and of their gradients. `shapes` names the arrays that it
needs, under a prefix; `initialise` fills them. `forward` returns (outputs, cache). `backward` takes
that cache and the gradient of the loss by the outputs (with respect to them). It *writes* the
parameters' gradients into their buffers and returns the gradient by the inputs.

Several layers may share the table of an embedding. So `backward` *adds* to the gradient of a table:
set it to zero before each batch. Leading dimensions are free: (N, D) and (T, B, D) both work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.nn.initialisation import glorot_uniform, normal
from lmsuite.nn.parameter import Parameters
from lmsuite.types import FloatArray, IntArray

Shapes: TypeAlias = dict[str, tuple[int, ...]]

ROWS_AT_ONCE = 128
"""So many rows, sorted by their ids, are summed by one product."""

SMALL_VOCABULARY = 256
"""Up to so many ids, rows are summed by products, and recurrent cells use an input table."""

DRAWS = 1 << 16
"""Dropout draws integers from 0 to below this, so its rate is exact to one part in so many."""


class Layer:
    """Has the arrays of `parameters` under a prefix as attributes: W and its gradient d_W.

    A copied layer (`copy.deepcopy`, `pickle`) is bound to its own copy of the parameters. Layers
    and parameters that are copied together stay together.
    """

    names: ClassVar[tuple[str, ...]] = ()
    """The names of the layer's arrays."""

    def __init__(self, parameters: Parameters, prefix: str) -> None:
        self.parameters, self.prefix = parameters, prefix
        self._bind()

    def initialise(self, rng: np.random.Generator) -> None:
        """Fill the parameters with their first values."""
        raise NotImplementedError(f"{type(self).__name__} does not define `initialise`")

    def _bind(self) -> None:
        for name in self.names:
            setattr(self, name, self.parameters[f"{self.prefix}.{name}"])
            setattr(self, f"d_{name}", self.parameters.gradient(f"{self.prefix}.{name}"))

    def __getstate__(self) -> dict[str, Any]:
        views = {name for own in self.names for name in (own, f"d_{own}")}
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()


class Embedding(Layer):
    """A vector for each id: its row in `table` (V, E)."""

    names = ("table",)
    table: FloatArray
    d_table: FloatArray

    @staticmethod
    def shapes(prefix: str, vocabulary: int, size: int) -> Shapes:
        return {f"{prefix}.table": (vocabulary, size)}

    @property
    def is_small(self) -> bool:
        """Whether to compute something for every id costs less than for the ids of a batch."""
        return len(self.table) <= SMALL_VOCABULARY

    def initialise(self, rng: np.random.Generator, deviation: float = 1.0) -> None:
        """Normal. Give a smaller deviation if the table is also the weights of the output."""
        normal(self.table, rng, deviation)

    def forward(self, ids: IntArray) -> tuple[FloatArray, IntArray]:
        """Vectors (..., E) of ids (...)."""
        return self.table.take(ids, axis=0), ids

    def backward(self, d_outputs: FloatArray, cache: IntArray) -> None:
        """Add the gradients of each id to its row of `d_table`. Ids themselves have none."""
        add_rows_by_id(self.d_table, cache.reshape(-1), _rows(d_outputs))


class Linear(Layer):
    """y = x W + b with W (D, outputs), b (outputs,)."""

    names = ("W", "b")
    W: FloatArray
    b: FloatArray
    d_W: FloatArray
    d_b: FloatArray

    @staticmethod
    def shapes(prefix: str, inputs: int, outputs: int) -> Shapes:
        return {f"{prefix}.W": (inputs, outputs), f"{prefix}.b": (outputs,)}

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self.W, rng)
        self.b[...] = 0

    @property
    def weights(self) -> FloatArray:
        """The matrix (inputs, outputs) by which inputs are multiplied."""
        return self.W

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        outputs = _rows(inputs) @ self.W
        outputs += self.b
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1]), inputs

    def backward(
        self, d_outputs: FloatArray, cache: FloatArray, *, add: bool = False
    ) -> FloatArray:
        """With `add`, add to the parameters' gradients instead of writing them."""
        d_rows = _rows(d_outputs)
        if add:
            self.d_b += column_sums(d_rows)
            self.d_W += _rows(cache).T @ d_rows
        else:
            self.d_b[...] = column_sums(d_rows)
            np.matmul(_rows(cache).T, d_rows, out=self.d_W)
        return (d_rows @ self.W.T).reshape(cache.shape)


class ProjectedLinear(Layer):
    """y = (x P) W + b: P (D, d) first projects the inputs to d numbers; W (d, outputs)."""

    names = ("P", "W", "b")
    P: FloatArray
    W: FloatArray
    b: FloatArray
    d_P: FloatArray
    d_W: FloatArray
    d_b: FloatArray

    @staticmethod
    def shapes(prefix: str, inputs: int, size: int, outputs: int) -> Shapes:
        return {
            f"{prefix}.P": (inputs, size),
            f"{prefix}.W": (size, outputs),
            f"{prefix}.b": (outputs,),
        }

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self.P, rng)
        glorot_uniform(self.W, rng)
        self.b[...] = 0

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        projected = _rows(inputs) @ self.P  # (N, d)
        outputs = projected @ self.W
        outputs += self.b
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1]), (inputs, projected)

    def backward(
        self, d_outputs: FloatArray, cache: tuple[FloatArray, FloatArray], *, add: bool = False
    ) -> FloatArray:
        """With `add`, add to the parameters' gradients instead of writing them."""
        inputs, projected = cache
        d_rows = _rows(d_outputs)
        d_projected = d_rows @ self.W.T
        if add:
            self.d_b += column_sums(d_rows)
            self.d_W += projected.T @ d_rows
            self.d_P += _rows(inputs).T @ d_projected
        else:
            self.d_b[...] = column_sums(d_rows)
            np.matmul(projected.T, d_rows, out=self.d_W)
            np.matmul(_rows(inputs).T, d_projected, out=self.d_P)
        return (d_projected @ self.P.T).reshape(inputs.shape)


class TiedLinear(Layer):
    """y = x Aᵀ + b where A (V, E) is the table of an embedding: Press and Wolf (2017).

    The table's gradient is the sum of two: from its use as embedding and from its use here. The
    outputs may be a range of the ids: then A is the table's rows in that range.
    """

    names = ("b",)
    b: FloatArray
    d_b: FloatArray

    def __init__(
        self,
        parameters: Parameters,
        prefix: str,
        embedding: Embedding,
        ids: tuple[int, int | None] = (0, None),
    ) -> None:
        super().__init__(parameters, prefix)
        self.embedding = embedding
        self.ids = ids

    @staticmethod
    def shapes(prefix: str, vocabulary: int) -> Shapes:
        return {f"{prefix}.b": (vocabulary,)}

    def initialise(self, rng: np.random.Generator) -> None:
        """Set the bias to zero, without `rng`. The embedding initialises the table."""
        self.b[...] = 0

    @property
    def weights(self) -> FloatArray:
        """The matrix (E, outputs) by which inputs are multiplied."""
        return self.embedding.table[slice(*self.ids)].T

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        outputs = _rows(inputs) @ self.weights
        outputs += self.b
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1]), inputs

    def backward(
        self, d_outputs: FloatArray, cache: FloatArray, *, add: bool = False
    ) -> FloatArray:
        """With `add`, add to the bias's gradient. The table's gradient is always added to."""
        d_rows = _rows(d_outputs)
        if add:
            self.d_b += column_sums(d_rows)
        else:
            self.d_b[...] = column_sums(d_rows)
        d_table = self.embedding.d_table[slice(*self.ids)]
        d_table += d_rows.T @ _rows(cache)
        return (d_rows @ self.weights.T).reshape(cache.shape)


class Joined:
    """y = [x A + a | x B + b]: the outputs of two layers with the same inputs, side by side."""

    def __init__(self, first: Linear | TiedLinear, second: Linear) -> None:
        self.first, self.second = first, second

    def initialise(self, rng: np.random.Generator) -> None:
        self.first.initialise(rng)
        self.second.initialise(rng)

    @property
    def weights(self) -> FloatArray:
        """A copy of [A | B] (inputs, outputs)."""
        return np.concatenate([self.first.weights, self.second.weights], axis=1)

    @property
    def b(self) -> FloatArray:
        """A copy of [a | b] (outputs,)."""
        return np.concatenate([self.first.b, self.second.b])

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        rows, middle = _rows(inputs), self.first.b.size
        outputs = np.empty((len(rows), middle + self.second.b.size), rows.dtype)
        for layer, columns in (
            (self.first, outputs[:, :middle]),
            (self.second, outputs[:, middle:]),
        ):
            np.matmul(rows, layer.weights, out=columns)
            columns += layer.b
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1]), inputs

    def backward(
        self, d_outputs: FloatArray, cache: FloatArray, *, add: bool = False
    ) -> FloatArray:
        """With `add`, add to the parameters' gradients instead of writing them."""
        middle = self.first.b.size
        d_inputs = self.first.backward(d_outputs[..., :middle], cache, add=add)
        d_inputs += self.second.backward(d_outputs[..., middle:], cache, add=add)
        return d_inputs


class Differentiable(Protocol):
    """A part of `Sequential`: a layer or an activation."""

    def forward(self, inputs: FloatArray, /) -> tuple[FloatArray, Any]: ...

    def backward(self, d_outputs: FloatArray, cache: Any, /) -> FloatArray: ...


class Sequential:
    """Layers and activations one after another: the outputs of each are the next one's inputs."""

    def __init__(self, *layers: Differentiable) -> None:
        self.layers = layers

    def initialise(self, rng: np.random.Generator) -> None:
        """Initialise each layer that has parameters, in order."""
        for layer in self.layers:
            if isinstance(layer, Layer):
                layer.initialise(rng)

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, list[Any]]:
        caches = []
        for layer in self.layers:
            inputs, cache = layer.forward(inputs)
            caches.append(cache)
        return inputs, caches

    def backward(self, d_outputs: FloatArray, cache: list[Any]) -> FloatArray:
        for layer, own in zip(self.layers[::-1], cache[::-1], strict=True):
            d_outputs = layer.backward(d_outputs, own)
        return d_outputs

    def backpropagate(
        self,
        inputs: FloatArray,
        targets: FloatArray,
        loss: Callable[[FloatArray, FloatArray], tuple[float, FloatArray]],
    ) -> float:
        """The loss of the outputs; writes the gradients of the parameters."""
        outputs, cache = self.forward(inputs)
        value, d_outputs = loss(outputs, targets)
        self.backward(d_outputs, cache)
        return value


class Dropout:
    """Inverted dropout, y = x · mask, with mask 0 or 1 / (1 - rate): Srivastava et al. (2014).

    `mask` draws the mask and `forward` uses it, so a gradient check can hold the mask fixed. With
    `variational`, all steps of a sequence (T, B, D) share one mask: Gal and Ghahramani (2016).
    """

    def __init__(self, rate: float, *, variational: bool = False) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"a dropout rate of {rate}: it must be at least 0 and below 1")
        self.rate = rate
        self.variational = variational

    def mask(
        self, rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32
    ) -> FloatArray | None:
        """A mask for inputs of this shape. At rate zero it is None, which drops nothing."""
        if self.rate == 0:
            return None
        if self.variational:
            shape = (1, *shape[1:])
        # Integers of 16 bits are drawn twice as fast as floats in [0, 1), and are exact enough.
        keep = max(1, round((1 - self.rate) * DRAWS))
        kept = rng.integers(0, DRAWS, shape, np.uint16) < keep
        return np.multiply(kept, DRAWS / keep, dtype=dtype)

    def forward(
        self, inputs: FloatArray, mask: FloatArray | None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Inputs times mask; without a mask (in evaluation) the inputs themselves."""
        return (inputs if mask is None else inputs * mask), mask

    def backward(self, d_outputs: FloatArray, cache: FloatArray | None) -> FloatArray:
        return d_outputs if cache is None else d_outputs * cache


def add_rows_by_id(sums: FloatArray, ids: IntArray, rows: FloatArray) -> None:
    """Add row n of rows (..., N, D) to row ids[n] of sums (..., V, D).

    `sums[ids] += rows` would keep only one of the rows that share an id. So the rows are first
    sorted by id. If there are few ids, each with many rows, products of BLAS sum them faster.
    """
    sorting = ids.argsort(kind="stable")
    rows = rows.take(sorting, axis=-2)
    ids = ids[sorting]
    if sums.shape[-2] > SMALL_VOCABULARY:
        first = np.flatnonzero(np.diff(ids, prepend=-1))
        if first.size:
            sums[..., ids[first], :] += np.add.reduceat(rows, first, axis=-2)
        return
    # Neighbouring rows in sorted order have only a few ids, so each product is small.
    for begin in range(0, ids.size, ROWS_AT_ONCE):
        here = ids[begin : begin + ROWS_AT_ONCE]
        lowest, highest = here.item(0), here.item(-1)
        is_id = np.arange(lowest, highest + 1, dtype=ids.dtype)[:, None] == here
        part = rows[..., begin : begin + ROWS_AT_ONCE, :]
        sums[..., lowest : highest + 1, :] += is_id.astype(rows.dtype) @ part


def _rows(array: FloatArray) -> FloatArray:
    """(..., D) seen as (N, D)."""
    return array.reshape(-1, array.shape[-1])


def column_sums(rows: FloatArray) -> FloatArray:
    """The sum (D,) of rows (N, D). A product, because BLAS is faster than a sum along axis 0."""
    return np.ones(len(rows), rows.dtype) @ rows
