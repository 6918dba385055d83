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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmsuite.types import BoolArray, FloatArray
from lmsuite.nn.cell import Cell, State, after_reset, reset_lanes


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    resets: BoolArray | None


class Elman(Cell):
    gates = 1
    states = 1
    drive_scales = recurrent_scales = (1.0,)

    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        recurrent += drive
        np.tanh(recurrent[0], out=after[0])

    def _run(
        self,
        drive: FloatArray,
        times_Wh: Callable[[FloatArray], FloatArray],
        state: FloatArray,
        resets: BoolArray | None,
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, _, B, H = drive.shape
        h = np.empty((T + 1, B, H), drive.dtype)
        h[0] = state[0]
        for t, lanes in enumerate(reset_lanes(resets, T)):
            a = drive[t, 0]
            a += times_Wh(after_reset(h[t], lanes))[0]
            np.tanh(a, out=h[t + 1])
        return h[1:], h[-1:].copy(), _Run(h, resets)

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_h = self.start(B)[0] if d_final_state is None else d_final_state[0].copy()
        d_a = np.empty((T, B, H), d_h.dtype)
        times_WhT = self._transposed_products(self.Wh, B)
        lanes = reset_lanes(run.resets, T)
        for t in reversed(range(T)):
            d_h += d_hidden[t]
            np.square(run.h[t + 1], out=d_a[t])
            np.subtract(1, d_a[t], out=d_a[t])
            d_a[t] *= d_h
            d_h = times_WhT(d_a[t])[0]
            if lanes[t] is not None:
                d_h[lanes[t]] = 0
        h_before = after_reset(run.h[:-1], run.resets)
        np.matmul(h_before.reshape(T * B, H).T, d_a.reshape(T * B, H), out=self.d_Wh)
        return d_a[None], d_h[None]
