"""A cell that reads without being trained: its weights laid out once, for many steps.

Training changes the weights at every step, and lays them out anew for it. Scoring and sampling read
on and on with the same weights: a `Reader` keeps what they need in the order that suits the number
of sequences. It knows nothing of later changes of the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmsuite.nn.layers import Embedding
from lmsuite.nn.products import GateProducts, RowProducts, by_gate
from lmsuite.types import FloatArray, IntArray

if TYPE_CHECKING:
    from lmsuite.nn.cells.cell import Cell


class Reader:
    """The weights of one cell, for reading up to `rows` sequences side by side.

    A cell that reads embedded ids of a small vocabulary is given the embedding: there are only V
    different rows of its drive, so the *input table* A Wx + b (V, G·H) is formed once.
    """

    def __init__(
        self, cell: Cell, rows: int, embedding: Embedding | None = None, *, prepared: bool = True
    ) -> None:
        """Lay out the weights; the input table only if `prepared`, for it pays after many steps."""
        self._cell, self._rows = cell, rows
        self._embedding = embedding
        G = cell.gates
        self.times_Wh = self._products(cell.Wh, cell.recurrent_scales)
        self._table: FloatArray | None = None
        if prepared and embedding is not None and embedding.is_small:
            # Row v·G + g is what id v adds to gate g.
            table = embedding.table @ cell.Wx
            table += cell.b
            self._scale(table)
            self._table = table.reshape(-1, cell.hidden_size)
            self._gates = np.arange(G)[:, None]
            self._drive_of_id = self._table.reshape(-1, G, 1, cell.hidden_size)
        else:
            self._times_Wx = self._products(cell.Wx, cell.drive_scales)
            b = cell.b.copy()
            self._scale(b)
            self._b = np.repeat(b.reshape(G, 1, -1), rows, axis=1)

    def _products(self, W: FloatArray, scales: tuple[float, ...]) -> GateProducts | RowProducts:
        if self._rows == 1:
            return RowProducts(by_gate(W, self._cell.gates), scales)
        return GateProducts(by_gate(W, self._cell.gates), self._rows, scales)

    def _scale(self, drive: FloatArray) -> None:
        """Multiplies x Wx + b (..., G·H), in place, by the scale of each gate."""
        gates = drive.reshape(-1, self._cell.gates, self._cell.hidden_size)
        gates *= np.array(self._cell.drive_scales, drive.dtype)[:, None]

    def drives(self, inputs: FloatArray) -> FloatArray:
        """The drive (T, G, B, H) of inputs (T, B, D)."""
        T, B, _ = inputs.shape
        drive = np.empty((T, self._cell.gates, B, self._cell.hidden_size), inputs.dtype)
        for t in range(T):
            np.add(self._times_Wx(inputs[t]), self._b[:, :B], out=drive[t])
        return drive

    def drives_of_ids(self, ids: IntArray) -> FloatArray:
        """The drive (T, G, B, H) of embedded ids (T, B)."""
        if self._table is None:
            assert self._embedding is not None
            return self.drives(self._embedding.table[ids])
        return self._table.take(ids[:, None] * self._cell.gates + self._gates, axis=0)

    def read(self, inputs: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hidden vectors (T, B, H) of inputs (T, B, D) from a state (S, B, H), and the state after.

        As `Cell.forward`, but nothing is kept for a backward pass.
        """
        return self._read(self.drives(inputs), state)

    def read_ids(self, ids: IntArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`read` of embedded ids (T, B)."""
        return self._read(self.drives_of_ids(ids), state)

    def _read(self, drive: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`read` by the drive (T, G, B, H)."""
        hidden = np.empty((len(drive), *state.shape[1:]), state.dtype)
        others = np.empty((2, *state[1:].shape), state.dtype)  # of a state, two turn about
        before = tuple(state)
        for t, drive_t in enumerate(drive):
            after = (hidden[t], *others[t % 2])
            self._cell.advance(drive_t, self.times_Wh(before[0]), before, after)
            before = after
        return hidden, np.stack(before)

    def step(self, inputs: FloatArray, before: FloatArray, after: FloatArray) -> None:
        """Fills the state `after` (S, B, H) one more input (B, D); `before` is not changed."""
        self._cell.advance(self.drives(inputs[None])[0], self.times_Wh(before[0]), before, after)

    def step_ids(self, ids: IntArray, before: FloatArray, after: FloatArray) -> None:
        """Fills the state `after` (S, B, H) one more embedded id (B,)."""
        if self._table is not None and self._rows == 1:
            drive = self._drive_of_id[ids.item()]  # a view: nothing is copied
        else:
            drive = self.drives_of_ids(ids[None])[0]
        self._cell.advance(drive, self.times_Wh(before[0]), before, after)
