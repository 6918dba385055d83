"""A cell that reads without training: its weights are laid out once, for many steps.

Training changes the weights at every update and then lays them out again. Scoring and sampling use
the same weights for many steps. A `Reader` keeps these weights in the layout that suits the number
of sequences. It is right as long as the weights do not change.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from lmsuite.nn.drive import Drive
from lmsuite.nn.products import gate_products
from lmsuite.types import FloatArray


class Reader:
    """One cell and its drive: reads up to `batch_size` sequences side by side, in one thread."""

    def __init__(self, drive: Drive, batch_size: int) -> None:
        self._cell = drive.cell
        self._drive = drive.lay_out(batch_size)
        self._times_Wh = gate_products(drive.cell.Wh, drive.cell.gates, batch_size)

    def read(self, inputs: Any, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hidden vectors (T, B, H) of T inputs from a state (S, B, H), and the state after them.

        Inputs are of the drive's kind: vectors (T, B, D) or ids (T, B). As `Cell.forward`, but
        without a cache for a backward pass.
        """
        drive = self._drive(inputs)
        hidden = np.empty((len(drive), *state.shape[1:]), state.dtype)
        others = np.empty((2, *state[1:].shape), state.dtype)  # odd steps use one, even the other
        before = tuple(state)
        for drive_t, h_t, others_t in zip(drive, hidden, cycle(map(tuple, others)), strict=False):
            after = (h_t, *others_t)
            self._cell.advance(drive_t, self._times_Wh(before[0]), before, after)
            before = after
        return hidden, np.stack(before)

    def step(self, inputs: Any, before: FloatArray, after: FloatArray) -> None:
        """Read one more input of each sequence: fill the state `after` (S, B, H), keep `before`."""
        drive = self._drive(inputs[None])[0]
        self._cell.advance(drive, self._times_Wh(before[0]), before, after)
