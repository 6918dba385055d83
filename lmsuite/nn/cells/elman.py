"""The simple recurrent network: Elman (1990).

| symbol  | here             | shape     |                             |
|---------|------------------|-----------|-----------------------------|
| h_t     | h                | (B, H)    | hidden vector               |
| x_t W+b | drive            | (1, B, H) | the input's part            |
| h_t-1 U | recurrent        | (1, B, H) | the past's part             |
"""

from __future__ import annotations

import numpy as np

from lmsuite.nn.cells.cell import Cell
from lmsuite.types import FloatArray


class Elman(Cell):
    """h_t = tanh(x_t W + b + h_{t-1} U)."""

    gates = 1
    states = 1

    def step(
        self, drive: FloatArray, recurrent: FloatArray, state: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        a = drive + recurrent  # (1)
        h = np.tanh(a)  # (2)
        return h, h

    def step_back(
        self, d_state: FloatArray, cache: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        h, d_h = cache, d_state
        d_a = d_h * (1 - h**2)  # (2) dh/da = 1 - tanh² a
        return d_a, d_a, np.zeros_like(d_state)  # (1) da/ddrive = da/drecurrent = 1
