"""The drive of a cell, x_t W + b, of vectors or of embedded ids, for all steps at once.

A drive is a layer: `forward` gives (drive, cache), `backward` takes the gradient by the drive and
writes those of W and b. Whoever reads on and on with the same weights has them laid out once, for
many calls, by `lay_out`. Tests hold all of it to the definition, `Cell.drive`.

Of a small vocabulary there are only V different rows of it, those of the *input table*
A W + b (V, G·H), with A the embedding's table. Each is formed when its id is first read, and then
gathered. The gradient of a row of it is the sum over the steps that read that id.

The gradients of all steps may lie gate by gate in memory, (G, T, B, H) seen as (T, G, B, H), so
that the products which sum over the steps find each gate in one piece: those of kernels do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.kernels.tuning import transposed_products, write_products
from lmsuite.nn.layers import Embedding, add_rows_by_id, column_sums
from lmsuite.nn.products import gate_products
from lmsuite.types import FloatArray, IntArray

LaidOut: TypeAlias = Callable[[Any], FloatArray]
"""From the inputs of T steps to their drive (T, G, B, H), which the caller must not change."""


class Drive(ABC):
    """The drive of one cell, of whatever the cell reads."""

    cell: Cell

    @abstractmethod
    def lay_out(self, rows: int) -> LaidOut:
        """The drive of up to `rows` sequences, for one thread and as long as the weights stay."""

    @abstractmethod
    def forward(self, inputs: Any, mask: FloatArray | None = None) -> tuple[FloatArray, Any]:
        """Drive (T, G, B, H) of the inputs, and the cache for `backward`.

        The mask (T, B, D) of a dropout, if any, multiplies the vectors.
        """

    @abstractmethod
    def backward(self, d_drive: FloatArray, cache: Any) -> Any:
        """Gradient by the inputs; writes those of W and b."""


class DenseDrive(Drive):
    """The drive of vectors (T, B, D)."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def lay_out(self, rows: int) -> LaidOut:
        cell = self.cell
        G, H = cell.gates, cell.hidden_size
        if rows == 1:  # the steps are the rows of one product
            return lambda inputs: (inputs[:, 0] @ cell.Wx + cell.b).reshape(-1, G, 1, H)
        times_Wx = gate_products(cell.Wx, G, rows)
        b = np.repeat(cell.b.reshape(G, 1, H), rows, axis=1)

        def laid_out(inputs: FloatArray) -> FloatArray:
            T, B, _ = inputs.shape
            drive = np.empty((T, G, B, H), inputs.dtype)
            for x_t, drive_t in zip(inputs, drive, strict=True):
                np.add(times_Wx(x_t), b[:, :B], out=drive_t)
            return drive

        return laid_out

    def forward(self, inputs: FloatArray, mask: FloatArray | None = None) -> tuple[FloatArray, Any]:
        if mask is not None:
            inputs = inputs * mask
        return self.lay_out(inputs.shape[1])(inputs), (inputs, mask)

    def backward(self, d_drive: FloatArray, cache: Any) -> FloatArray:
        cell, (inputs, mask) = self.cell, cache
        T, B, D = inputs.shape
        d_gates = _gate_by_gate(d_drive)
        write_products(cell.d_Wx, inputs.reshape(T * B, D), d_gates)
        cell.d_b[...] = (np.ones(T * B, d_gates.dtype) @ d_gates).reshape(-1)  # sums over N
        d_inputs: FloatArray = np.empty_like(inputs)
        times_WxT = transposed_products(cell.Wx, cell.gates, B)
        for d_drive_t, d_x_t in zip(d_drive, d_inputs, strict=True):
            times_WxT.total(d_drive_t, d_x_t)
        if mask is not None:
            d_inputs *= mask
        return d_inputs


class EmbeddedDrive(Drive):
    """The drive of embedded ids (T, B): by way of the input table where the vocabulary is small.

    `backward` returns None, for ids have no gradient; it adds to that of the embedding's table.
    """

    def __init__(self, cell: Cell, embedding: Embedding) -> None:
        self.cell, self.embedding = cell, embedding
        self._dense = DenseDrive(cell)

    def lay_out(self, rows: int) -> LaidOut:
        if self.embedding.is_small:
            return _InputTable(self.cell, self.embedding.table)
        dense = self._dense.lay_out(rows)
        return lambda ids: dense(self.embedding.table[ids])

    def forward(self, ids: IntArray, mask: FloatArray | None = None) -> tuple[FloatArray, Any]:
        if mask is None and self.embedding.is_small:
            return self.lay_out(ids.shape[1])(ids), (ids, None)
        vectors, _ = self.embedding.forward(ids)
        drive, cache = self._dense.forward(vectors, mask)
        return drive, (ids, cache)

    def backward(self, d_drive: FloatArray, cache: Any) -> None:
        ids, dense = cache
        if dense is not None:
            self.embedding.backward(self._dense.backward(d_drive, dense), ids)
            return
        cell, A = self.cell, self.embedding.table
        d_table = np.zeros((len(A), cell.gates, cell.hidden_size), A.dtype)
        add_rows_by_id(d_table.swapaxes(0, 1), ids.reshape(-1), _gate_by_gate(d_drive))
        d_rows = d_table.reshape(len(A), -1)  # (V, G·H)
        np.matmul(A.T, d_rows, out=cell.d_Wx)
        cell.d_b[...] = column_sums(d_rows)
        self.embedding.d_table += d_rows @ cell.Wx.T


class _InputTable:
    """The rows of A W + b, with A (V, E), for the ids that have been read."""

    def __init__(self, cell: Cell, A: FloatArray) -> None:
        V, G, H = len(A), cell.gates, cell.hidden_size
        self._cell, self._A = cell, A
        self._known = np.zeros(V, bool)
        self._table = np.empty((V, G * H), A.dtype)
        self._of_gates = self._table.reshape(V * G, H)  # row v·G + g is what id v adds to gate g
        self._of_id = self._table.reshape(V, 1, G, 1, H)
        self._gates = np.arange(G)[:, None]

    def __call__(self, ids: IntArray) -> FloatArray:
        if ids.size == 1:  # a step of one text: nothing is copied
            only = ids.item()
            if not self._known.item(only):
                self._form(ids[0])
            row: FloatArray = self._of_id[only]
            return row
        known = self._known[ids]
        if not known.all():
            self._form(slice(None) if ids.size >= len(self._A) else np.unique(ids[~known]))
        drive: FloatArray = self._of_gates.take(ids[:, None] * len(self._gates) + self._gates, 0)
        return drive

    def _form(self, which: slice | IntArray) -> None:
        self._table[which] = self._A[which] @ self._cell.Wx
        self._table[which] += self._cell.b
        self._known[which] = True


def _gate_by_gate(d_drive: FloatArray) -> FloatArray:
    """(T, G, B, H) as (G, T·B, H): a view where the gradients lie gate by gate in memory."""
    T, G, B, H = d_drive.shape
    return d_drive.swapaxes(0, 1).reshape(G, T * B, H)
