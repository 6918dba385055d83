"""`lmsuite.nn.cells.lstm` tuned: one tanh for all gates, slopes before the backward loop.

The slopes do not depend on the recurrence. They are computed for as many steps at a time as fit in
the cache, and they overwrite the arrays of the forward pass. One product after the loop gives dU.
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
from lmsuite.nn.products import gate_products
from lmsuite.types import BoolArray, FloatArray


@dataclass(frozen=True)
class _Run:
    h: FloatArray  # (T+1, B, H)
    c: FloatArray  # (T+1, B, H)
    tanh_c: FloatArray  # (T, B, H)
    gates: FloatArray  # (4, T, B, H): o i f g
    resets: BoolArray | None


class LSTM(cells.LSTM):
    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        h, c = after
        recurrent += drive
        _advance(recurrent, before[1], c, recurrent[3], h)  # tanh(c) may overwrite g

    def forward(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, _Run]:
        T, _, B, H = drive.shape
        times_Wh = gate_products(self.Wh, self.gates, B)
        h, c = np.empty((2, T + 1, B, H), state.dtype)
        tanh_c = np.empty((T, B, H), state.dtype)
        gates = np.empty((4, T, B, H), state.dtype)
        h[0], c[0] = state
        parts = gates.swapaxes(0, 1), tanh_c, resets_by_step(resets, T)
        steps = zip(drive, h[:-1], h[1:], c[:-1], c[1:], *parts, strict=True)
        for drive_t, h_before, h_after, c_before, c_after, gates_t, tanh_c_after, is_reset in steps:
            if is_reset is not None:
                h_before, c_before = (
                    after_reset(h_before, is_reset),
                    after_reset(c_before, is_reset),
                )
            a = times_Wh(h_before)
            a += drive_t
            _advance(a, c_before, c_after, tanh_c_after, h_after)
            gates_t[...] = a
        return h[1:], np.stack((h[-1], c[-1])), _Run(h, c, tanh_c, gates, resets)

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: _Run
    ) -> tuple[FloatArray, FloatArray]:
        run = cache
        T, B, H = d_hidden.shape
        d_h, d_c = self.start(B) if d_final_state is None else d_final_state.copy()
        times_WhT = transposed_products(self.Wh, self.gates, B)
        through = np.empty((B, H), d_h.dtype)
        d_a, h_to_c, c_to_c = run.gates, run.tanh_c, run.c[:-1]  # after `_turn_into_slopes`
        by_step = d_a.swapaxes(0, 1)
        parts = by_step, by_step[:, 0], by_step[:, 1:], resets_by_step(run.resets, T)
        steps = list(zip(d_hidden, h_to_c, c_to_c, *parts, strict=True))
        for begin, end in pieces_from_the_end(T, B * 4 * H):
            _turn_into_slopes(run, slice(begin, end))
            for d_above, to_c, to_c_before, d_a_t, d_a_o, d_a_ifg, is_reset in steps[begin:end][
                ::-1
            ]:
                d_h += d_above
                d_c += np.multiply(d_h, to_c, out=through)
                d_a_o *= d_h
                d_a_ifg *= d_c
                d_c *= to_c_before
                times_WhT.total(d_a_t, d_h)
                if is_reset is not None:
                    d_h[is_reset] = 0
                    d_c[is_reset] = 0
        h_before = after_reset(run.h[:-1], run.resets).reshape(T * B, H)
        write_products(self.d_Wh, h_before, d_a.reshape(4, T * B, H))
        return by_step, np.stack((d_h, d_c))


def _advance(
    a: FloatArray, c_before: FloatArray, c: FloatArray, tanh_c: FloatArray, h: FloatArray
) -> None:
    """One step: turn a (4, B, H) into the gates, and fill c, tanh_c and h (B, H).

    One tanh computes all gates: sigmoid(x) = (1 + tanh(x/2)) / 2.
    """
    o, i, f, g, sigmoids = a[0], a[1], a[2], a[3], a[:3]  # quicker than `o, i, f, g = a`
    sigmoids *= HALF
    np.tanh(a, out=a)
    sigmoids *= HALF
    sigmoids += HALF
    np.multiply(i, g, out=h)
    np.multiply(f, c_before, out=c)
    c += h
    np.tanh(c, out=tanh_c)
    np.multiply(o, tanh_c, out=h)


def _turn_into_slopes(run: _Run, part: slice) -> None:
    """Compute the parts of the backward equations that do not depend on dh_t, for some steps.

    They overwrite the arrays of the run, so less memory passes through the cache:

    * the gates become factors: of dh_t for da_o, of dc_t for da_i, da_f and da_g;
    * tanh_c becomes the factor o (1 - tanh² c_t) from dh_t to dc_t;
    * c_{t-1} becomes the factor f from dc_t to dc_{t-1}.

    With h_t = o tanh(c_t), u = i g and v = f c_{t-1}, each slope of a gate takes two operations:

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
