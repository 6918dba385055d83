"""`lmsuite.nn.cells.elman` tuned: it works in place, and one product after the loop gives dU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.nn import cells
from lmsuite.nn.cells.cell import State
from lmsuite.nn.kernels.tuning import (
    after_reset,
    resets_by_step,
    transposed_products,
)
from lmsuite.nn.products import gate_products
from lmsuite.types import BoolArray, FloatArray


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    resets: BoolArray | None


class Elman(cells.Elman):
    """`cells.Elman`, in place, with h of all steps in one array."""

    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        recurrent += drive
        np.tanh(recurrent[0], out=after[0])

    def forward(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, _, B, H = drive.shape
        times_Wh = gate_products(self.Wh, self.gates, B)
        h = np.empty((T + 1, B, H), drive.dtype)
        h[0] = state[0]
        for t, is_reset in enumerate(resets_by_step(resets, T)):
            a = drive[t, 0]
            a += times_Wh(after_reset(h[t], is_reset))[0]
            np.tanh(a, out=h[t + 1])
        return h[1:], h[-1:].copy(), _Run(h, resets)

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: _Run
    ) -> tuple[FloatArray, FloatArray]:
        run = cache
        T, B, H = d_hidden.shape
        d_h = self.start(B)[0] if d_final_state is None else d_final_state[0].copy()
        d_a = np.empty((T, B, H), d_h.dtype)
        times_WhT = transposed_products(self.Wh, self.gates, B)
        is_reset = resets_by_step(run.resets, T)
        for t in reversed(range(T)):
            d_h += d_hidden[t]
            np.square(run.h[t + 1], out=d_a[t])
            np.subtract(1, d_a[t], out=d_a[t])
            d_a[t] *= d_h
            d_h = times_WhT(d_a[t])[0]
            if is_reset[t] is not None:
                d_h[is_reset[t]] = 0
        h_before = after_reset(run.h[:-1], run.resets)
        np.matmul(h_before.reshape(T * B, H).T, d_a.reshape(T * B, H), out=self.d_Wh)
        return d_a[:, None], d_h[None]
