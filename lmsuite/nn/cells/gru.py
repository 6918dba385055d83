"""The gated recurrent unit: Cho et al. (2014), in the variant of cuDNN and PyTorch.

This variant applies the reset gate after the product with U; the paper applies it before. So one
product a step is enough, and the candidate's recurrent part has a bias of its own.

| symbol  | here          | shape     |                                                      |
|---------|---------------|-----------|------------------------------------------------------|
| x_t W+b | x_n, x_r, x_z | (3, B, H) | the input's part; blocks in the order n r z          |
| h_t-1 U | u_r, u_z, u_q | (3, B, H) | the past's part; blocks in the order r z q           |
| b_q     | b_q           | (H,)      | bias of q                                            |
| h_t     | h             | (B, H)    | hidden vector                                        |
| r, z    | r, z          | (B, H)    | reset and update gate, in (0, 1)                     |
| q       | q             | (B, H)    | the past's part in the candidate, before the reset   |
| n       | n             | (B, H)    | candidate, in (-1, 1)                                |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmsuite.nn.activations import sigmoid
from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.layers import Shapes
from lmsuite.types import FloatArray


class GRU(Cell):
    """Equations (1) to (5) of `step`; `step_back` reverses each of them."""

    gates = 3
    states = 1
    names = (*Cell.names, "b_q")
    b_q: FloatArray
    d_b_q: FloatArray

    @classmethod
    def shapes(cls, prefix: str, inputs: int, hidden: int) -> Shapes:
        return super().shapes(prefix, inputs, hidden) | {f"{prefix}.b_q": (hidden,)}

    def initialise(self, rng: np.random.Generator) -> None:
        super().initialise(rng)
        self.b_q[...] = 0

    def step(
        self, drive: FloatArray, recurrent: FloatArray, state: FloatArray
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        (h_before,) = state
        x_n, x_r, x_z = drive
        u_r, u_z, u_q = recurrent
        r = sigmoid(x_r + u_r)  # (1)
        z = sigmoid(x_z + u_z)  # (2)
        q = u_q + self.b_q  # (3)
        n = np.tanh(x_n + r * q)  # (4)
        h = (1 - z) * n + z * h_before  # (5)
        return h[None], (r, z, q, n, h_before)

    def step_back(
        self, d_state: FloatArray, cache: tuple[FloatArray, ...]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        r, z, q, n, h_before = cache
        (d_h,) = d_state
        d_h_before = d_h * z  # (5) dh/dh_{t-1} = z
        d_z = d_h * (h_before - n)  # (5) dh/dz = h_{t-1} - n
        d_n = d_h * (1 - z)  # (5) dh/dn = 1 - z
        d_a_n = d_n * (1 - n**2)  # (4) n = tanh a_n: dn/da_n = 1 - n²
        d_q = d_a_n * r  # (4) da_n/dq = r
        d_r = d_a_n * q  # (4) da_n/dr = q
        self.d_b_q += d_q.sum(axis=0)  # (3) dq/db_q = 1
        d_a_z = d_z * z * (1 - z)  # (2) dz/da_z = z (1 - z)
        d_a_r = d_r * r * (1 - r)  # (1) dr/da_r = r (1 - r)
        return np.stack((d_a_n, d_a_r, d_a_z)), np.stack((d_a_r, d_a_z, d_q)), d_h_before[None]

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: Any
    ) -> tuple[FloatArray, FloatArray]:
        self.d_b_q[...] = 0
        return super().backward(d_hidden, d_final_state, cache)
