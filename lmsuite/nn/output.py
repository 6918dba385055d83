"""The end of a language model: from vectors to the loss of their targets, and back.

With a vocabulary of millions, the logits of a batch take far more memory than the model. So they
are computed for some of the vectors at a time, and freed before the next.
"""

from __future__ import annotations

import numpy as np

from lmsuite.nn.kernels.softmax import softmax_cross_entropy
from lmsuite.nn.layers import Linear, TiedLinear
from lmsuite.nn.losses import NOTHING
from lmsuite.types import FloatArray, IntArray

LOGITS_AT_ONCE = 1 << 26
"""The number of logits in memory at a time: 256 MB in float32."""


def output_loss(
    layer: Linear | TiedLinear,
    vectors: FloatArray,
    targets: IntArray,
    weight: float,
    impossible: IntArray = NOTHING,
) -> tuple[float, FloatArray]:
    """Cross-entropy of softmax(layer(vectors)) with the targets; writes the layer's gradients.

    Args:
        layer: from vectors to logits.
        vectors: (N, D).
        targets: ids (N,).
        weight: of each vector in the loss.
        impossible: ids of probability zero.

    Returns:
        The loss, and its gradient (N, D) by the vectors.
    """
    at_once = max(1, LOGITS_AT_ONCE // layer.weights.shape[1])
    loss, d_vectors = 0.0, []
    for begin in range(0, max(1, len(vectors)), at_once):
        part = slice(begin, begin + at_once)
        logits, cache = layer.forward(vectors[part])
        more, d_logits = softmax_cross_entropy(logits, targets[part], weight, impossible)
        loss += more
        d_vectors.append(layer.backward(d_logits, cache, add=begin > 0))
    return loss, d_vectors[0] if len(d_vectors) == 1 else np.concatenate(d_vectors)
