"""Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers (2000).

| symbol        | here         | shape          |                                            |
|---------------|--------------|----------------|--------------------------------------------|
| x_t           | inputs       | (T, B, D)      | input                                      |
| h_t           | h            | (T+1, B, H)    | hidden vector; h[0] initial                |
| c_t           | c            | (T+1, B, H)    | memory cell; c[0] initial                  |
| o, i, f       | gates[:3]    | (4, T, B, H)   | output, input and forget gate, in (0, 1)   |
| g             | gates[3]     |                | candidate for the memory, in (-1, 1)       |
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

from lmsuite.types import BoolArray, FloatArray
from lmsuite.nn.cell import HALF, Cell, State, after_reset, chunks_from_the_end, reset_lanes


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    c: FloatArray  # (T+1, B, H)
    tanh_c: FloatArray  # (T, B, H)
    gates: FloatArray  # (4, T, B, H): o i f g
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
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
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
        h, c = np.empty((2, T + 1, B, H), state.dtype)
        tanh_c = np.empty((T, B, H), state.dtype)
        gates = np.empty((4, T, B, H), state.dtype)
        h[0], c[0] = state
        parts = gates.swapaxes(0, 1), tanh_c, reset_lanes(resets, T)
        steps = zip(drive, h[:-1], h[1:], c[:-1], c[1:], *parts, strict=True)
        for drive_t, h_before, h_after, c_before, c_after, gates_t, tanh_c_after, lanes in steps:
            if lanes is not None:
                h_before, c_before = after_reset(h_before, lanes), after_reset(c_before, lanes)
            a = times_Wh(h_before)
            a += drive_t
            _advance(a, c_before, c_after, tanh_c_after, h_after)
            gates_t[...] = a
        return h[1:], np.stack((h[-1], c[-1])), _Run(h, c, tanh_c, gates, resets)

    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: _Run
    ) -> tuple[FloatArray, FloatArray]:
        T, B, H = d_hidden.shape
        d_h, d_c = self.start(B) if d_final_state is None else d_final_state.copy()
        times_WhT = self._transposed_products(self.Wh, B)
        through = np.empty((B, H), d_h.dtype)
        d_a, h_to_c, c_to_c = run.gates, run.tanh_c, run.c[:-1]  # `_turn_into_slopes` makes them so
        by_step = d_a.swapaxes(0, 1)
        parts = by_step, by_step[:, 0], by_step[:, 1:], reset_lanes(run.resets, T)
        steps = list(zip(d_hidden, h_to_c, c_to_c, *parts, strict=True))
        for begin, end in chunks_from_the_end(T, B * 4 * H):
            _turn_into_slopes(run, slice(begin, end))
            for d_above, to_c, to_c_before, d_a_t, d_a_o, d_a_ifg, lanes in steps[begin:end][::-1]:
                d_h += d_above
                d_c += np.multiply(d_h, to_c, out=through)
                d_a_o *= d_h
                d_a_ifg *= d_c
                d_c *= to_c_before
                times_WhT.total(d_a_t, d_h)
                if lanes is not None:
                    d_h[lanes] = 0
                    d_c[lanes] = 0
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
    sigmoids *= HALF
    sigmoids += HALF
    o, i, f, g = a
    np.multiply(i, g, out=h)
    np.multiply(f, c_before, out=c)
    c += h
    np.tanh(c, out=tanh_c)
    np.multiply(o, tanh_c, out=h)


def _turn_into_slopes(run: _Run, part: slice) -> None:
    """All in the backward equations that does not depend on the recurrence, for some steps.

    It takes the place of the run, so that less memory passes through the cache: the gates become
    what dh_t (for a_o) and dc_t (for a_i, a_f, a_g) are multiplied by, tanh_c the factor
    o (1 - tanh² c_t) from dh_t to dc_t, and c_{t-1} the factor f from dc_t to dc_{t-1}. With
    h_t = o tanh(c_t), u = i g and v = f c_{t-1} the slopes are two operations each:

        h_t - h_t o,  u - u i,  v - v f,  i - u g
    """
    o, i, f, g = run.gates[:, part]
    h, tanh_c, c = run.h[1:][part], run.tanh_c[part], run.c[:-1][part]
    c_before = after_reset(c, None if run.resets is None else run.resets[part])
    tanh_c *= h
    np.subtract(o, tanh_c, out=tanh_c)
    o *= h
    np.subtract(h, o, out=o)
    u = i * g
    g *= u
    np.subtract(i, g, out=g)
    i *= u
    np.subtract(u, i, out=i)
    v = np.multiply(f, c_before, out=u)
    c[...] = f
    f *= v
    np.subtract(v, f, out=f)
