"""The gated recurrent unit: Cho et al. (2014), in the variant of cuDNN and PyTorch.

That variant applies the reset gate after the product with U (the paper: before it), so that one
product a step suffices; the candidate's recurrent part then has a bias of its own.

| symbol   | here          | shape                    |                                           |
|----------|---------------|--------------------------|-------------------------------------------|
| x_t      | inputs        | (T, B, D)                | input                                     |
| h_t      | h             | (T+1, B, H)              | hidden vector; h[0] initial               |
| r, z     | gates         |                          | reset and update gate, in (0, 1)          |
| n        | gates         |                          | candidate, in (-1, 1)                     |
| q        | gates         |                          | what the past offers the candidate        |
| W, b     | Wx, b         | (D, 3H), (3H,)           | columns in blocks of H: n r z             |
| U        | Wh            | (H, 3H)                  | columns in blocks of H: r z q             |
| b_q      | b_q           | (H,)                     |                                           |

One array `gates` (T, B, 4, H) holds n r z q: its first three blocks are what the input drives, its
last three what the recurrence drives, so each product's result lies in one piece.

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

from dataclasses import dataclass

import numpy as np

from lmsuite.nn.arrays import BoolArray, FloatArray
from lmsuite.nn.cell import Cell, reset_steps, states_before
from lmsuite.nn.layers import Shapes
from lmsuite.nn.parameter import Parameters


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    gates: FloatArray  # (T, B, 4, H)
    resets: BoolArray | None


class GRU(Cell):
    gates = 3
    states = 1

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

    def step_drive(self, drive: FloatArray, state: FloatArray) -> FloatArray:
        h = state[0]
        B, H = h.shape
        gates = np.empty((B, 4, H), h.dtype)
        gates[:, :3] = drive.reshape(B, 3, H)
        after = np.empty_like(state)
        self._advance(gates, h, after[0])
        return after

    def _run(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, B, _ = drive.shape
        H = self.hidden_size
        h = np.empty((T + 1, B, H), drive.dtype)
        h[0] = state[0]
        gates = np.empty((T, B, 4, H), drive.dtype)
        gates[:, :, :3] = drive.reshape(T, B, 3, H)
        for t, reset in enumerate(reset_steps(resets, T)):
            before = h[t]
            if reset:
                before = states_before(h[t : t + 2], resets[t : t + 1])[0]  # type: ignore[index]
            self._advance(gates[t], before, h[t + 1])
        return h[1:], h[-1:].copy(), _Run(h, gates, resets)

    def _advance(self, gates: FloatArray, h_before: FloatArray, h: FloatArray) -> None:
        """One step: gates (B, 4, H) hold the drive in n r z; the new hidden vector goes to h."""
        B, H = h.shape
        recurrent = (h_before @ self.Wh).reshape(B, 3, H)
        n, _, _, q = gates.swapaxes(0, 1)
        np.add(recurrent[:, 2], self.b_q, out=q)
        rz = gates[:, 1:3]
        rz += recurrent[:, :2]
        rz *= 0.5
        np.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        r, z = rz.swapaxes(0, 1)
        n += r * q
        np.tanh(n, out=n)
        np.subtract(h_before, n, out=h)
        h *= z
        h += n

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_h = np.zeros((B, H), d_hidden.dtype) if d_final_state is None else d_final_state[0].copy()
        WhT = np.ascontiguousarray(self.Wh.T)
        must_reset = reset_steps(run.resets, T)
        h_before = states_before(run.h, run.resets)
        d_gates = np.empty_like(run.gates)
        for t in reversed(range(T)):
            n, r, z, q = run.gates[t].swapaxes(0, 1)
            d_h += d_hidden[t]
            d_n = d_h * (1 - z) * (1 - n**2)
            d_gates[t, :, 0] = d_n
            d_gates[t, :, 1] = d_n * q * r * (1 - r)
            d_gates[t, :, 2] = d_h * (h_before[t] - n) * z * (1 - z)
            d_gates[t, :, 3] = d_n * r
            d_h *= z
            d_h += d_gates[t, :, 1:].reshape(B, 3 * H) @ WhT
            if must_reset[t]:
                d_h[run.resets[t]] = 0  # type: ignore[index]
        d_rows = d_gates.reshape(T * B, 4 * H)
        d_recurrent = d_rows[:, H:]
        self.d_Wh += h_before.reshape(T * B, H).T @ d_recurrent
        self.d_b_q += d_rows[:, 3 * H :].sum(axis=0)
        return d_rows[:, : 3 * H], d_h[None]
