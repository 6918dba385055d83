"""Where parameters start: each scheme fills an array in place."""

from __future__ import annotations

import numpy as np

from lmsuite.types import FloatArray


def glorot_uniform(W: FloatArray, rng: np.random.Generator) -> None:
    """Keep the variance of signals and gradients across a layer: Glorot and Bengio (2010), eq. 16.

    W (inputs, outputs) is drawn from U(-a, a) with a = sqrt(6 / (inputs + outputs)).
    """
    inputs, outputs = W.shape
    limit = (6 / (inputs + outputs)) ** 0.5
    W[...] = rng.uniform(-limit, limit, W.shape)


def orthogonal(W: FloatArray, rng: np.random.Generator) -> None:
    """Keep the norm of what passes through W (H, H) many times: Saxe et al. (2014).

    The Q of a normal matrix's QR, its signs fixed so that it is uniform over rotations.
    """
    Q, R = np.linalg.qr(rng.standard_normal(W.shape))
    W[...] = Q * np.sign(np.diag(R))


def normal(table: FloatArray, rng: np.random.Generator, deviation: float) -> None:
    """Draw every entry from a normal distribution around zero."""
    table[...] = rng.normal(0.0, deviation, table.shape)
