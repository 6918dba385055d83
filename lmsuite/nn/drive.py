"""The drive of a cell, x_t W + b, of vectors or of embedded ids, for all steps at once.

A drive is a layer: `forward` returns (drive, cache); `backward` takes the gradient by the drive and
writes the gradients of W and b. A caller that reads many times with the same weights calls
`lay_out` once, and then only the function that it returns. Tests compare all of this with the
definition, `Cell.drive`.

A vocabulary of V ids has only V different drives x_t W + b. They are the rows of the *input table*
A W + b (V, G·H), where A is the embedding's table. For a small vocabulary, a row is computed when
its id is first read, and looked up afterwards. Its gradient is the sum over the steps that read the
id.

The gradients of all steps may lie gate by gate in memory: (G, T, B, H), seen as (T, G, B, H). Then
the products that sum over the steps find each gate in one piece. The kernels give them so.
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
"""Takes the inputs of T steps and gives their drive (T, G, B, H). The caller must not change it."""


class Drive(ABC):
    """The drive of one cell. A subclass says what the cell reads."""

    cell: Cell

    @abstractmethod
    def lay_out(self, batch_size: int) -> LaidOut:
        """The drive of up to `batch_size` sequences, for one thread, while the weights stay."""

    @abstractmethod
    def forward(self, inputs: Any, mask: FloatArray | None = None) -> tuple[FloatArray, Any]:
        """Drive (T, G, B, H) of the inputs, and the cache for `backward`.

        The mask (T, B, D) of a dropout, if any, multiplies the vectors.
        """

    @abstractmethod
    def backward(self, d_drive: FloatArray, cache: Any) -> Any:
        """Gradient by the inputs; writes the gradients of W and b."""


class DenseDrive(Drive):
    """The drive of vectors (T, B, D)."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def lay_out(self, batch_size: int) -> LaidOut:
        cell = self.cell
        G, H = cell.gates, cell.hidden_size
        if batch_size == 1:  # the steps are the rows of one product
            return lambda inputs: (inputs[:, 0] @ cell.Wx + cell.b).reshape(-1, G, 1, H)
        times_Wx = gate_products(cell.Wx, G, batch_size)
        b = np.repeat(cell.b.reshape(G, 1, H), batch_size, axis=1)

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
    """The drive of embedded ids (T, B). For a small vocabulary it uses the input table.

    `backward` returns None, because ids have no gradient. It adds to the gradient of the
    embedding's table.
    """

    def __init__(self, cell: Cell, embedding: Embedding) -> None:
        self.cell, self.embedding = cell, embedding
        self._dense = DenseDrive(cell)

    def lay_out(self, batch_size: int) -> LaidOut:
        if self.embedding.is_small:
            return _InputTable(self.cell, self.embedding.table)
        dense = self._dense.lay_out(batch_size)
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
    """The rows of A W + b, where A is (V, E), for the ids that have been read."""

    def __init__(self, cell: Cell, A: FloatArray) -> None:
        V, G, H = len(A), cell.gates, cell.hidden_size
        self._cell, self._A = cell, A
        self._known = np.zeros(V, bool)
        self._table = np.empty((V, G * H), A.dtype)
        self._of_gates = self._table.reshape(V * G, H)  # row v·G + g: the drive of gate g by id v
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
    """(T, G, B, H) as (G, T·B, H): a view if the gradients lie gate by gate in memory."""
    T, G, B, H = d_drive.shape
    return d_drive.swapaxes(0, 1).reshape(G, T * B, H)
