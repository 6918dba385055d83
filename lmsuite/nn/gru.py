"""The gated recurrent unit: Cho et al. (2014), in the variant of cuDNN and PyTorch.

That variant applies the reset gate after the product with U (the paper: before it), so that one
product a step suffices; the candidate's recurrent part then has a bias of its own.

| symbol   | here          | shape                    |                                           |
|----------|---------------|--------------------------|-------------------------------------------|
| x_t      | inputs        | (T, B, D)                | input                                     |
| h_t      | h             | (T+1, B, H)              | hidden vector; h[0] initial               |
| n        | gates[:, 0]   | (T, 3, B, H)             | candidate, in (-1, 1)                     |
| r, z     | gates[:, 1:]  |                          | reset and update gate, in (0, 1)          |
| q        | q             | (T, B, H)                | what the past offers the candidate        |
| W, b     | Wx, b         | (D, 3H), (3H,)           | columns in blocks of H: n r z             |
| U        | Wh            | (H, 3H)                  | columns in blocks of H: r z q             |
| b_q      | b_q           | (H,)                     |                                           |

The gradients lie in the order n r z q: the first three are of what the input drives, the last
three of what the recurrence drives, so each product finds its own in one piece.

Forward:

    r, z = sigmoid(x_t W_r + h_{t-1} U_r + b_r), sigmoid(x_t W_z + h_{t-1} U_z + b_z)
    q    = h_{t-1} U_q + b_q
    n    = tanh(x_t W_n + b_n + r q)
    h_t  = (1 - z) n + z h_{t-1}

Backward, from the last step to the first, with dh_t the sum of all that reaches h_t, and da the
gradients by what the gates' functions are taken of:

    da_n = dh_t (1 - z) (1 - n²)
    da_r = da_n q r (1 - r)
    da_z = dh_t (h_{t-1} - n) z (1 - z)
    dq   = da_n r
    dh_{t-1} = dh_t z + [da_r da_z dq] Uᵀ  (+ from above)
    dU   = sum_t h_{t-1}ᵀ [da_r da_z dq]_t      one product over all steps, after the loop
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmsuite.types import BoolArray, FloatArray
from lmsuite.nn.cell import HALF, Cell, State, after_reset, chunks_from_the_end, reset_lanes
from lmsuite.nn.layers import Shapes, column_sums
from lmsuite.nn.parameter import Parameters


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    gates: FloatArray  # (T, 3, B, H): n r z
    q: FloatArray  # (T, B, H)
    resets: BoolArray | None


class GRU(Cell):
    gates = 3
    states = 1
    drive_scales = (1.0, 0.5, 0.5)
    recurrent_scales = (0.5, 0.5, 1.0)

    def __init__(self, parameters: Parameters, prefix: str) -> None:
        super().__init__(parameters, prefix)
        self.b_q = parameters[f"{prefix}.b_q"]
        self.d_b_q = parameters.gradient(f"{prefix}.b_q")

    @classmethod
    def shapes(cls, prefix: str, inputs: int, hidden: int) -> Shapes:
        return super().shapes(prefix, inputs, hidden) | {f"{prefix}.b_q": (hidden,)}

    def initialise(self, rng: np.random.Generator) -> None:
        super().initialise(rng)
        self.b_q[...] = 0

    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        self._advance(drive.copy(), recurrent, before[0], recurrent[2], after[0])

    def _run(
        self,
        drive: FloatArray,
        times_Wh: Callable[[FloatArray], FloatArray],
        state: FloatArray,
        resets: BoolArray | None,
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, _, B, H = drive.shape
        h = np.empty((T + 1, B, H), drive.dtype)
        q = np.empty((T, B, H), drive.dtype)
        h[0] = state[0]
        for t, lanes in enumerate(reset_lanes(resets, T)):
            before = after_reset(h[t], lanes)
            self._advance(drive[t], times_Wh(before), before, q[t], h[t + 1])
        return h[1:], h[-1:].copy(), _Run(h, drive, q, resets)

    def _advance(
        self,
        gates: FloatArray,
        recurrent: FloatArray,
        h_before: FloatArray,
        q: FloatArray,
        h: FloatArray,
    ) -> None:
        """One step: the drive (3, B, H) becomes the gates, q and h (B, H) are filled.

        `recurrent` (3, B, H) is h_{t-1} U. One tanh serves both sigmoids:
        sigmoid(x) = (1 + tanh(x/2)) / 2.
        """
        n, r, z = gates
        rz = gates[1:]
        rz += recurrent[:2]
        np.tanh(rz, out=rz)
        rz *= HALF
        rz += HALF
        np.add(recurrent[2], self.b_q, out=q)
        n += np.multiply(r, q, out=h)
        np.tanh(n, out=n)
        np.subtract(h_before, n, out=h)
        h *= z
        h += n

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_h = self.start(B)[0] if d_final_state is None else d_final_state[0].copy()
        times_WhT = self._transposed_products(self.Wh, B)
        d_gates = np.empty((4, T, B, H), d_h.dtype)
        through = np.empty((B, H), d_h.dtype)
        lanes = reset_lanes(run.resets, T)
        for begin, end in chunks_from_the_end(T, B * 4 * H):
            update = _gates_to_slopes(run, slice(begin, end))
            for t in reversed(range(begin, end)):
                d_h += d_hidden[t]
                for gate in (0, 1, 2):
                    np.multiply(run.gates[t, gate], d_h, out=d_gates[gate, t])
                np.multiply(run.q[t], d_h, out=d_gates[3, t])
                d_h *= update[t - begin]
                times_WhT.total(d_gates[1:, t], through)
                d_h += through
                if lanes[t] is not None:
                    d_h[lanes[t]] = 0
        h_before = after_reset(run.h[:-1], run.resets).reshape(T * B, H)
        self._write_products(self.d_Wh, h_before, d_gates[1:].reshape(3, T * B, H))
        self.d_b_q[...] = column_sums(d_gates[3].reshape(T * B, H))
        return d_gates[:3], d_h[None]


def _gates_to_slopes(run: _Run, part: slice) -> FloatArray:
    """All in the backward equations that does not depend on the recurrence, for some steps.

    n, r, z and q turn, in place, into what dh_t is multiplied by to give da_n, da_r, da_z and dq;
    returned is z, the factor of dh_t in dh_{t-1}.
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
    slope_q = n * r  # that times r
    r *= 1 - r
    r *= q
    r *= n  # that times q r (1 - r)
    q[...] = slope_q
    return update
