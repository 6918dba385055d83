"""The drive of a cell, x_t W + b, of vectors or of embedded ids, for all steps at once.

Of a small vocabulary there are only V different rows of it. So the *input table* A W + b (V, G·H),
with A the embedding's table, is formed once and its rows are gathered. The gradient of a row of it
is the sum over the steps that read that id.

The gradients of all steps may lie gate by gate in memory, (G, T, B, H) seen as (T, G, B, H), so
that the products which sum over the steps find each gate in one piece: those of kernels do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.kernels.tuning import transposed_products, write_products
from lmsuite.nn.layers import Embedding, add_rows_by_id, column_sums
from lmsuite.nn.products import GateProducts, RowProducts, by_gate
from lmsuite.types import FloatArray, IntArray


class DenseDrive:
    """The drive of vectors."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def forward(self, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Drive (T, G, B, H) of inputs (T, B, D), and the cache for `backward`."""
        cell, (T, B, _) = self.cell, inputs.shape
        G, H = cell.gates, cell.hidden_size
        Wx = by_gate(cell.Wx, G)
        times_Wx = RowProducts(Wx, (1.0,) * G) if B == 1 else GateProducts(Wx, B)
        b = np.repeat(cell.b.reshape(G, 1, H), B, axis=1)
        drive = np.empty((T, G, B, H), inputs.dtype)
        for x_t, drive_t in zip(inputs, drive, strict=True):
            np.add(times_Wx(x_t), b, out=drive_t)
        return drive, inputs

    def backward(self, d_drive: FloatArray, cache: FloatArray) -> FloatArray:
        """Gradient by the inputs (T, B, D); writes those of W and b."""
        cell, inputs = self.cell, cache
        T, B, D = inputs.shape
        d_gates = _gate_by_gate(d_drive)
        write_products(cell.d_Wx, inputs.reshape(T * B, D), d_gates)
        cell.d_b[...] = (np.ones(T * B, d_gates.dtype) @ d_gates).reshape(-1)  # sums over N
        d_inputs = np.empty_like(inputs)
        times_WxT = transposed_products(cell.Wx, cell.gates, B)
        for d_drive_t, d_x_t in zip(d_drive, d_inputs, strict=True):
            times_WxT.total(d_drive_t, d_x_t)
        return d_inputs


class EmbeddedDrive:
    """The drive of embedded ids: by way of the input table where the vocabulary is small."""

    def __init__(self, cell: Cell, embedding: Embedding) -> None:
        self.cell, self.embedding = cell, embedding
        self._dense = DenseDrive(cell)

    def forward(self, ids: IntArray) -> tuple[FloatArray, Any]:
        """Drive (T, G, B, H) of ids (T, B), and the cache for `backward`."""
        if not self.embedding.is_small:
            vectors, _ = self.embedding.forward(ids)
            drive, cache = self._dense.forward(vectors)
            return drive, (ids, cache)
        cell, G = self.cell, self.cell.gates
        table = self.embedding.table @ cell.Wx
        table += cell.b
        table = table.reshape(-1, cell.hidden_size)  # row v·G + g is what id v adds to gate g
        return table.take(ids[:, None] * G + np.arange(G)[:, None], axis=0), (ids, None)

    def backward(self, d_drive: FloatArray, cache: Any) -> None:
        """Writes the gradients of W and b, and adds to that of the embedding's table."""
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


def _gate_by_gate(d_drive: FloatArray) -> FloatArray:
    """(T, G, B, H) as (G, T·B, H): a view where the gradients lie gate by gate in memory."""
    T, G, B, H = d_drive.shape
    return d_drive.swapaxes(0, 1).reshape(G, T * B, H)
