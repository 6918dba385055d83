"""Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers (2000).

| symbol  | here      | shape     |                                                    |
|---------|-----------|-----------|----------------------------------------------------|
| x_t W+b | drive     | (4, B, H) | the input's part in each gate                      |
| h_t-1 U | recurrent | (4, B, H) | the past's part; blocks in the order o i f g       |
| h_t     | h         | (B, H)    | hidden vector                                      |
| c_t     | c         | (B, H)    | memory cell                                        |
| o, i, f | o, i, f   | (B, H)    | output, input and forget gate, in (0, 1)           |
| g       | g         | (B, H)    | candidate for the memory, in (-1, 1)               |
"""

from __future__ import annotations

import numpy as np

from lmsuite.nn.activations import sigmoid
from lmsuite.nn.cells.cell import Cell
from lmsuite.types import FloatArray


class LSTM(Cell):
    """Equations (1) to (7) of `step`; `step_back` reverses each of them."""

    gates = 4
    states = 2

    def initialise(self, rng: np.random.Generator) -> None:
        """As every cell, but the forget gate's bias is 1, so a new LSTM remembers.

        Gers et al. (2000). Jozefowicz et al. (2015) find that this matters more than most variants.
        """
        super().initialise(rng)
        H = self.hidden_size
        self.b[2 * H : 3 * H] = 1

    def step(
        self, drive: FloatArray, recurrent: FloatArray, state: FloatArray
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        _, c_before = state
        a_o, a_i, a_f, a_g = drive + recurrent  # (1)
        o = sigmoid(a_o)  # (2)
        i = sigmoid(a_i)  # (3)
        f = sigmoid(a_f)  # (4)
        g = np.tanh(a_g)  # (5)
        c = f * c_before + i * g  # (6)
        h = o * np.tanh(c)  # (7)
        return np.stack((h, c)), (o, i, f, g, c, c_before)

    def step_back(
        self, d_state: FloatArray, cache: tuple[FloatArray, ...]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        o, i, f, g, c, c_before = cache
        d_h, d_c = d_state
        d_o = d_h * np.tanh(c)  # (7) dh/do = tanh c
        d_c = d_c + d_h * o * (1 - np.tanh(c) ** 2)  # (7) dh/dc = o (1 - tanh² c)
        d_f = d_c * c_before  # (6) dc/df = c_{t-1}
        d_c_before = d_c * f  # (6) dc/dc_{t-1} = f
        d_i = d_c * g  # (6) dc/di = g
        d_g = d_c * i  # (6) dc/dg = i
        d_a_g = d_g * (1 - g**2)  # (5) dg/da_g = 1 - g²
        d_a_f = d_f * f * (1 - f)  # (4) df/da_f = f (1 - f)
        d_a_i = d_i * i * (1 - i)  # (3) di/da_i = i (1 - i)
        d_a_o = d_o * o * (1 - o)  # (2) do/da_o = o (1 - o)
        d_a = np.stack((d_a_o, d_a_i, d_a_f, d_a_g))  # (1) da/ddrive = da/drecurrent = 1
        return d_a, d_a, np.stack((np.zeros_like(d_h), d_c_before))
