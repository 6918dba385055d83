"""Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers (2000).

| symbol        | here         | shape          |                                            |
|---------------|--------------|----------------|--------------------------------------------|
| x_t           | inputs       | (T, B, D)      | input                                      |
| h_t           | h            | (T+1, B, H)    | hidden vector; h[0] initial                |
| c_t           | c            | (T+1, B, H)    | memory cell; c[0] initial                  |
| o, i, f       | gates[:, :3] | (T, 4, B, H)   | output, input and forget gate, in (0, 1)   |
| g             | gates[:, 3]  |                | candidate for the memory, in (-1, 1)       |
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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmsuite.nn.arrays import BoolArray, FloatArray
from lmsuite.nn.cell import Cell, after_reset, chunks_from_the_end, reset_lanes


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    c: FloatArray  # (T+1, B, H)
    tanh_c: FloatArray  # (T, B, H)
    gates: FloatArray  # (T, 4, B, H): o i f g
    resets: BoolArray | None


class LSTM(Cell):
    gates = 4
    states = 2
    drive_scales = recurrent_scales = (0.5, 0.5, 0.5, 1.0)

    def initialise(self, rng: np.random.Generator) -> None:
        """As every cell, but the forget gate's bias is 1, so that it begins by remembering.

        Gers et al. (2000); Jozefowicz et al. (2015) find that it matters more than most variants.
        """
        super().initialise(rng)
        H = self.hidden_size
        self.b[2 * H : 3 * H] = 1

    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: FloatArray, after: FloatArray
    ) -> None:
        h, c = after
        recurrent += drive
        _advance(recurrent, before[1], c, recurrent[3], h)  # g is used up before tanh(c)

    def _run(
        self,
        drive: FloatArray,
        times_Wh: Callable[[FloatArray], FloatArray],
        state: FloatArray,
        resets: BoolArray | None,
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, _, B, H = drive.shape
        h, c = np.empty((2, T + 1, B, H), drive.dtype)
        tanh_c = np.empty((T, B, H), drive.dtype)
        h[0], c[0] = state
        steps = zip(drive, h, h[1:], c, c[1:], tanh_c, reset_lanes(resets, T), strict=False)
        for a, h_before, h_after, c_before, c_after, tanh_c_after, lanes in steps:
            if lanes is not None:
                h_before, c_before = after_reset(h_before, lanes), after_reset(c_before, lanes)
            a += times_Wh(h_before)
            _advance(a, c_before, c_after, tanh_c_after, h_after)
        return h[1:], np.stack((h[-1], c[-1])), _Run(h, c, tanh_c, drive, resets)

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_h, d_c = self.start(B) if d_final_state is None else d_final_state.copy()
        times_WhT = self._transposed_products(self.Wh, B)
        through = np.empty((B, H), d_h.dtype)
        d_a = np.empty((4, T, B, H), d_h.dtype)
        lanes = reset_lanes(run.resets, T)
        for begin, end in chunks_from_the_end(T, B * 4 * H):
            _fill_slopes(d_a, run, slice(begin, end))
            for t in reversed(range(begin, end)):
                h_to_c, _, c_to_c, _ = run.gates[t]
                d_h += d_hidden[t]
                d_c += np.multiply(d_h, h_to_c, out=through)
                d_a_t = d_a[:, t]
                d_a_t[0] *= d_h
                d_a_t[1:] *= d_c
                d_c *= c_to_c
                np.add.reduce(times_WhT(d_a_t), axis=0, out=d_h)
                if lanes[t] is not None:
                    d_h[lanes[t]] = 0
                    d_c[lanes[t]] = 0
        h_before = after_reset(run.h[:-1], run.resets).reshape(T * B, H)
        self._write_products(self.d_Wh, h_before, d_a.reshape(4, T * B, H))
        return d_a, np.stack((d_h, d_c))


def _advance(
    a: FloatArray, c_before: FloatArray, c: FloatArray, tanh_c: FloatArray, h: FloatArray
) -> None:
    """One step: a (4, B, H) becomes the gates, and c, tanh_c and h (B, H) are filled.

    One tanh serves all gates: sigmoid(x) = (1 + tanh(x/2)) / 2, and a_o, a_i and a_f come halved.
    """
    np.tanh(a, out=a)
    sigmoids = a[:3]
    sigmoids *= 0.5
    sigmoids += 0.5
    o, i, f, g = a
    np.multiply(i, g, out=h)
    np.multiply(f, c_before, out=c)
    c += h
    np.tanh(c, out=tanh_c)
    np.multiply(o, tanh_c, out=h)


def _fill_slopes(d_a: FloatArray, run: _Run, part: slice) -> None:
    """All in the backward equations that does not depend on the recurrence, for some steps.

    d_a[:, part] becomes what dh_t (for a_o) and dc_t (for a_i, a_f, a_g) are multiplied by. Of the
    run, o turns into the factor o (1 - tanh² c_t) from dh_t to dc_t, and tanh_c is used up; f, the
    factor from dc_t to dc_{t-1}, stays. With h_t = o tanh(c_t), u = i g and v = f c_{t-1} the
    slopes are two or three operations each:

        h_t - h_t o,  u - u i,  v - v f,  i - u g
    """
    o, i, f, g = (run.gates[part, gate] for gate in range(4))
    slope_o, slope_i, slope_f, slope_g = (d_a[gate, part] for gate in range(4))
    h, spare = run.h[1:][part], run.tanh_c[part]
    c_before = after_reset(run.c[:-1][part], None if run.resets is None else run.resets[part])
    np.multiply(h, o, out=slope_o)
    np.subtract(h, slope_o, out=slope_o)
    o -= np.multiply(h, spare, out=spare)
    u = np.multiply(i, g, out=spare)
    np.multiply(u, g, out=slope_g)
    np.subtract(i, slope_g, out=slope_g)
    np.multiply(u, i, out=slope_i)
    np.subtract(u, slope_i, out=slope_i)
    v = np.multiply(f, c_before, out=spare)
    np.multiply(v, f, out=slope_f)
    np.subtract(v, slope_f, out=slope_f)
