"""A cell that reads without being trained: its weights laid out once, for many steps.

Training changes the weights at every step, and lays them out anew for it. Scoring and sampling read
on and on with the same weights: a `Reader` keeps what they need in the order that suits the number
of sequences. It serves as long as the weights stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmsuite.nn.drive import Drive
from lmsuite.nn.products import gate_products
from lmsuite.types import FloatArray


class Reader:
    """One cell and its drive, for reading up to `rows` sequences side by side, by one thread."""

    def __init__(self, drive: Drive, rows: int) -> None:
        self._cell = drive.cell
        self._drive = drive.lay_out(rows)
        self._times_Wh = gate_products(drive.cell.Wh, drive.cell.gates, rows)

    def read(self, inputs: Any, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hidden vectors (T, B, H) of T inputs from a state (S, B, H), and the state after.

        Inputs are what the drive is of, vectors (T, B, D) or ids (T, B). As `Cell.forward`, but
        nothing is kept for a backward pass.
        """
        drive = self._drive(inputs)
        hidden = np.empty((len(drive), *state.shape[1:]), state.dtype)
        others = np.empty((2, *state[1:].shape), state.dtype)  # of a state, two turn about
        before = tuple(state)
        for t, drive_t in enumerate(drive):
            after = (hidden[t], *others[t % 2])
            self._cell.advance(drive_t, self._times_Wh(before[0]), before, after)
            before = after
        return hidden, np.stack(before)

    def step(self, inputs: Any, before: FloatArray, after: FloatArray) -> None:
        """Fills the state `after` (S, B, H) one more input of each; `before` is not changed."""
        drive = self._drive(inputs[None])[0]
        self._cell.advance(drive, self._times_Wh(before[0]), before, after)
