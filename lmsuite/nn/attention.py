"""Attention: Bahdanau et al. (2015), with the score of Luong et al. (2015), equation 8, "general".

| symbol  | here     | shape        |                                                             |
|---------|----------|--------------|-------------------------------------------------------------|
| q_t     | queries  | (T, B, Q)    | what asks: a decoder's hidden vectors                       |
| m_s     | memory   | (S, B, M)    | what is asked: an encoder's hidden vectors                  |
| W       | W        | (Q, M)       |                                                             |
| a_ts    | scores   | (B, T, S)    | how well m_s answers q_t                                    |
| alpha   | alpha    | (B, T, S)    | attention: shares of m_1 … m_S, for each t; their sum is 1  |
| c_t     | context  | (T, B, M)    | the answer                                                  |

    u_t      = q_t W                                                  (1)
    a_ts     = u_t · m_s                                              (2)
    alpha_ts = exp a_ts / sum_r exp a_tr                              (3)
    c_t      = sum_s alpha_ts m_s                                     (4)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmsuite.nn.initialisation import glorot_uniform
from lmsuite.nn.layers import Layer, Shapes
from lmsuite.types import BoolArray, FloatArray


class AttentionCache(NamedTuple):
    """What `backward` needs. `alpha` (B, T, S) is what a picture of attention shows."""

    alpha: FloatArray
    q: FloatArray
    u: FloatArray
    m: FloatArray


class Attention(Layer):
    """Equations (1) to (4); `backward` reverses each of them."""

    names = ("W",)
    W: FloatArray
    d_W: FloatArray

    @staticmethod
    def shapes(prefix: str, query: int, memory: int) -> Shapes:
        return {f"{prefix}.W": (query, memory)}

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self.W, rng)

    def forward(
        self, queries: FloatArray, memory: FloatArray, mask: BoolArray | None = None
    ) -> tuple[FloatArray, AttentionCache]:
        """Contexts (T, B, M), and the cache. The mask (S, B) is false where no one may look."""
        q, m = queries.swapaxes(0, 1), memory.swapaxes(0, 1)  # a matrix for each sequence
        u = q @ self.W  # (1)
        scores = u @ m.swapaxes(1, 2)  # (2)
        if mask is not None:
            scores = np.where(mask.T[:, None], scores, -np.inf)
        scores = scores - scores.max(axis=2, keepdims=True)  # no exp overflows, alpha is the same
        alpha = np.exp(scores)
        alpha /= alpha.sum(axis=2, keepdims=True)  # (3)
        context = alpha @ m  # (4)
        return context.swapaxes(0, 1), AttentionCache(alpha, q, u, m)

    def backward(
        self, d_context: FloatArray, cache: AttentionCache
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients by the queries (T, B, Q) and by the memory (S, B, M); writes that of W."""
        alpha, q, u, m = cache
        d_c = d_context.swapaxes(0, 1)
        d_alpha = d_c @ m.swapaxes(1, 2)  # (4), by alpha_ts: dc_t · m_s
        d_m = alpha.swapaxes(1, 2) @ d_c  # (4), by m_s: sum_t alpha_ts dc_t
        mean = (alpha * d_alpha).sum(axis=2, keepdims=True)
        d_scores = alpha * (d_alpha - mean)  # (3): dalpha_r/da_s = alpha_r ([r = s] - alpha_s)
        d_u = d_scores @ m  # (2), by u_t
        d_m += d_scores.swapaxes(1, 2) @ u  # (2), by m_s
        self.d_W[...] = np.einsum("btq,btm->qm", q, d_u)  # (1), by W
        return (d_u @ self.W.T).swapaxes(0, 1), d_m.swapaxes(0, 1)  # (1), by q_t
