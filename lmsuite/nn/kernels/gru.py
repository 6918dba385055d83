"""`lmsuite.nn.cells.gru` tuned: one tanh for both sigmoids, slopes before the backward loop.

The gradients lie in the order n r z q. The first three are the gradient by the drive, and the last
three the gradient by the recurrent part. So each product finds its gradients in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.nn import cells
from lmsuite.nn.cells.cell import State
from lmsuite.nn.kernels.tuning import (
    HALF,
    after_reset,
    pieces_from_the_end,
    resets_by_step,
    transposed_products,
    write_products,
)
from lmsuite.nn.layers import column_sums
from lmsuite.nn.products import gate_products
from lmsuite.types import BoolArray, FloatArray


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    gates: FloatArray  # (T, 3, B, H): n r z
    q: FloatArray  # (T, B, H)
    resets: BoolArray | None


class GRU(cells.GRU):
    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        gates = drive.copy()
        gates[1:] += recurrent[:2]
        self._advance(gates, recurrent[2], before[0], recurrent[2], after[0])

    def forward(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, _, B, H = drive.shape
        times_Wh = gate_products(self.Wh, self.gates, B)
        h = np.empty((T + 1, B, H), drive.dtype)
        q = np.empty((T, B, H), drive.dtype)
        h[0] = state[0]
        for t, is_reset in enumerate(resets_by_step(resets, T)):
            before = after_reset(h[t], is_reset)
            gates = drive[t]
            recurrent = times_Wh(before)
            gates[1:] += recurrent[:2]
            self._advance(gates, recurrent[2], before, q[t], h[t + 1])
        return h[1:], h[-1:].copy(), _Run(h, drive, q, resets)

    def _advance(
        self,
        gates: FloatArray,
        u_q: FloatArray,
        h_before: FloatArray,
        q: FloatArray,
        h: FloatArray,
    ) -> None:
        """One step: turn x_n, a_r and a_z (3, B, H) into the gates, and fill q and h (B, H).

        One tanh computes both sigmoids: sigmoid(x) = (1 + tanh(x/2)) / 2.
        """
        n, r, z = gates
        rz = gates[1:]
        rz *= HALF
        np.tanh(rz, out=rz)
        rz *= HALF
        rz += HALF
        np.add(u_q, self.b_q, out=q)
        n += np.multiply(r, q, out=h)
        np.tanh(n, out=n)
        np.subtract(h_before, n, out=h)
        h *= z
        h += n

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: _Run
    ) -> tuple[FloatArray, FloatArray]:
        run = cache
        T, B, H = d_hidden.shape
        d_h = self.start(B)[0] if d_final_state is None else d_final_state[0].copy()
        times_WhT = transposed_products(self.Wh, self.gates, B)
        d_gates = np.empty((4, T, B, H), d_h.dtype)
        through = np.empty((B, H), d_h.dtype)
        is_reset = resets_by_step(run.resets, T)
        for begin, end in pieces_from_the_end(T, B * 4 * H):
            update = _gates_to_slopes(run, slice(begin, end))
            for t in reversed(range(begin, end)):
                d_h += d_hidden[t]
                for gate in (0, 1, 2):
                    np.multiply(run.gates[t, gate], d_h, out=d_gates[gate, t])
                np.multiply(run.q[t], d_h, out=d_gates[3, t])
                d_h *= update[t - begin]
                times_WhT.total(d_gates[1:, t], through)
                d_h += through
                if is_reset[t] is not None:
                    d_h[is_reset[t]] = 0
        h_before = after_reset(run.h[:-1], run.resets).reshape(T * B, H)
        write_products(self.d_Wh, h_before, d_gates[1:].reshape(3, T * B, H))
        self.d_b_q[...] = column_sums(d_gates[3].reshape(T * B, H))
        return d_gates[:3].swapaxes(0, 1), d_h[None]


def _gates_to_slopes(run: _Run, part: slice) -> FloatArray:
    """Compute the parts of the backward equations that do not depend on dh_t, for some steps.

    In place, n, r, z and q become factors: dh_t times these is da_n, da_r, da_z and dq. Returns z,
    the factor from dh_t to dh_{t-1}.
    """
    n, r, z = (run.gates[part, gate] for gate in range(3))
    q = run.q[part]
    h_before = after_reset(run.h[:-1][part], None if run.resets is None else run.resets[part])
    update: FloatArray = z.copy()
    not_update = 1 - z
    z *= not_update
    z *= h_before - n  # (h_{t-1} - n) z (1 - z)
    np.square(n, out=n)
    np.subtract(1, n, out=n)
    n *= not_update  # (1 - z) (1 - n²)
    slope_q = n * r  # (1 - z) (1 - n²) r
    r *= 1 - r
    r *= q
    r *= n  # (1 - z) (1 - n²) q r (1 - r)
    q[...] = slope_q
    return update
