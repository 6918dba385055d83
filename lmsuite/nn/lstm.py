"""Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers (2000).

| symbol        | here         | shape          |                                            |
|---------------|--------------|----------------|--------------------------------------------|
| x_t           | inputs       | (T, B, D)      | input                                      |
| h_t           | h            | (T+1, B, H)    | hidden vector; h[0] initial                |
| c_t           | c            | (T+1, B, H)    | memory cell; c[0] initial                  |
| o, i, f       | gates[..., :3, :] | (T, B, 4, H) | output, input and forget gate, in (0, 1) |
| g             | gates[..., 3, :]  |                | candidate for the memory, in (-1, 1)       |
| W, U, b       | Wx, Wh, b    | (D, 4H), (H, 4H), (4H,) | columns in blocks of H: o i f g   |

Forward, with a = x_t W + h_{t-1} U + b in blocks a_o, a_i, a_f, a_g:

    o, i, f = sigmoid(a_o), sigmoid(a_i), sigmoid(a_f)
    g   = tanh(a_g)
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Backward, from the last step to the first, with dh_t and dc_t the sums of all that reaches them:

    dc_t += dh_t o (1 - tanh² c_t)
    da_o = dh_t tanh(c_t) o (1 - o)
    da_i = dc_t g i (1 - i)
    da_f = dc_t c_{t-1} f (1 - f)
    da_g = dc_t i (1 - g²)
    dc_{t-1} = dc_t f
    dh_{t-1} = da Uᵀ  (+ from above)
    dU = sum_t h_{t-1}ᵀ da_t            one product over all steps, after the loop
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmsuite.nn.arrays import BoolArray, FloatArray
from lmsuite.nn.cell import Cell, reset_steps, states_before


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    c: FloatArray  # (T+1, B, H)
    gates: FloatArray  # (T, B, 4, H)
    resets: BoolArray | None


class LSTM(Cell):
    gates = 4
    states = 2

    def initialise(self, rng: np.random.Generator) -> None:
        """As every cell, but the forget gate's bias is 1, so that it begins by remembering.

        Gers et al. (2000); Jozefowicz et al. (2015) find that it matters more than most variants.
        """
        super().initialise(rng)
        H = self.hidden_size
        self.b[2 * H : 3 * H] = 1

    def step_drive(self, drive: FloatArray, state: FloatArray) -> FloatArray:
        h, c = state
        a = h @ self.Wh
        a += drive
        after = np.empty_like(state)
        _advance(a.reshape(len(h), 4, -1), c, after[1], after[0])
        return after

    def _run(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, B, _ = drive.shape
        H = self.hidden_size
        h = np.empty((T + 1, B, H), drive.dtype)
        c = np.empty((T + 1, B, H), drive.dtype)
        h[0], c[0] = state
        for t, reset in enumerate(reset_steps(resets, T)):
            h_before, c_before = h[t], c[t]
            if reset:
                here = resets[t : t + 1]  # type: ignore[index]
                h_before = states_before(h[t : t + 2], here)[0]
                c_before = states_before(c[t : t + 2], here)[0]
            a = drive[t]
            a += h_before @ self.Wh
            _advance(a.reshape(B, 4, H), c_before, c[t + 1], h[t + 1])
        run = _Run(h, c, drive.reshape(T, B, 4, H), resets)
        return h[1:], np.stack((h[-1], c[-1])), run

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_h, d_c = np.zeros((2, B, H), d_hidden.dtype) if d_final_state is None else d_final_state
        d_h, d_c = d_h.copy(), d_c.copy()
        WhT = np.ascontiguousarray(self.Wh.T)
        must_reset = reset_steps(run.resets, T)
        c_before = states_before(run.c, run.resets)
        d_a = np.empty_like(run.gates)
        for t in reversed(range(T)):
            o, i, f, g = run.gates[t].swapaxes(0, 1)
            tanh_c = np.tanh(run.c[t + 1])
            d_h += d_hidden[t]
            d_c += d_h * o * (1 - tanh_c**2)
            d_a[t, :, 0] = d_h * tanh_c * o * (1 - o)
            d_a[t, :, 1] = d_c * g * i * (1 - i)
            d_a[t, :, 2] = d_c * c_before[t] * f * (1 - f)
            d_a[t, :, 3] = d_c * i * (1 - g**2)
            d_c *= f
            np.matmul(d_a[t].reshape(B, 4 * H), WhT, out=d_h)
            if must_reset[t]:
                d_h[run.resets[t]] = 0  # type: ignore[index]
                d_c[run.resets[t]] = 0  # type: ignore[index]
        d_rows = d_a.reshape(T * B, 4 * H)
        self.d_Wh += states_before(run.h, run.resets).reshape(T * B, H).T @ d_rows
        return d_rows, np.stack((d_h, d_c))


def _advance(a: FloatArray, c_before: FloatArray, c: FloatArray, h: FloatArray) -> None:
    """One step's gates from a (B, 4, H), in place, and into c and h (B, H) the new state."""
    sigmoids = a[:, :3]
    sigmoids *= 0.5
    np.tanh(a, out=a)
    sigmoids *= 0.5
    sigmoids += 0.5
    o, i, f, g = a.swapaxes(0, 1)
    np.multiply(f, c_before, out=c)
    c += i * g
    np.tanh(c, out=h)
    h *= o
