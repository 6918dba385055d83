"""The simple recurrent network: Elman (1990).

| symbol | here        | shape        |                               |
|--------|-------------|--------------|-------------------------------|
| x_t    | inputs      | (T, B, D)    | input                         |
| h_t    | h           | (T+1, B, H)  | hidden vector; h[0] initial   |
| W      | Wx          | (D, H)       | input to hidden               |
| U      | Wh          | (H, H)       | hidden to hidden              |
| b      | b           | (H,)         |                               |

Forward:

    h_t = tanh(x_t W + h_{t-1} U + b)

Backward, from the last step to the first, with dh_t the sum of what reaches h_t from above and
from step t+1:

    da_t     = dh_t (1 - h_t²)          a_t is what the tanh is taken of
    dh_{t-1} = da_t Uᵀ  (+ from above)
    dU       = sum_t h_{t-1}ᵀ da_t      one product over all steps, after the loop
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.nn.arrays import BoolArray, FloatArray
from lmsuite.nn.cell import Cell, reset_steps, states_before


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    resets: BoolArray | None


class Elman(Cell):
    gates = 1
    states = 1

    def step_drive(self, drive: FloatArray, state: FloatArray) -> FloatArray:
        a = state[0] @ self.Wh
        a += drive
        return np.tanh(a, out=a)[None]

    def _run(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, B, H = drive.shape
        h = np.empty((T + 1, B, H), drive.dtype)
        h[0] = state[0]
        for t, reset in enumerate(reset_steps(resets, T)):
            before = h[t]
            if reset:
                before = states_before(h[t : t + 2], resets[t : t + 1])[0]  # type: ignore[index]
            a = np.matmul(before, self.Wh, out=h[t + 1])
            a += drive[t]
            np.tanh(a, out=a)
        return h[1:], h[-1:].copy(), _Run(h, resets)

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_a = 1 - run.h[1:] ** 2  # (T, B, H)
        d_h = np.zeros((B, H), d_a.dtype) if d_final_state is None else d_final_state[0].copy()
        WhT = np.ascontiguousarray(self.Wh.T)
        must_reset = reset_steps(run.resets, T)
        for t in reversed(range(T)):
            d_h += d_hidden[t]
            d_a[t] *= d_h
            np.matmul(d_a[t], WhT, out=d_h)
            if must_reset[t]:
                d_h[run.resets[t]] = 0  # type: ignore[index]
        d_rows = d_a.reshape(T * B, H)
        self.d_Wh += states_before(run.h, run.resets).reshape(T * B, H).T @ d_rows
        return d_rows, d_h[None]
