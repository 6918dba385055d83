"""The first values of parameters: each scheme fills an array in place."""

from __future__ import annotations

import numpy as np

from lmsuite.types import FloatArray


def glorot_uniform(W: FloatArray, rng: np.random.Generator) -> None:
    """Draw W (inputs, outputs) from U(-a, a) with a = sqrt(6 / (inputs + outputs)).

    Signals and gradients then keep their variance across the layer: Glorot and Bengio (2010),
    eq. 16.
    """
    inputs, outputs = W.shape
    limit = (6 / (inputs + outputs)) ** 0.5
    W[...] = rng.uniform(-limit, limit, W.shape)


def orthogonal(W: FloatArray, rng: np.random.Generator) -> None:
    """Make W (H, H) a random orthogonal matrix: Saxe et al. (2014).

    A vector keeps its norm, even if it is multiplied by W many times. W is the Q of the QR
    decomposition of a normal matrix, with its signs fixed, so it is uniform over rotations.
    """
    Q, R = np.linalg.qr(rng.standard_normal(W.shape))
    W[...] = Q * np.sign(np.diag(R))


def normal(table: FloatArray, rng: np.random.Generator, deviation: float) -> None:
    """Draw every entry from a normal distribution around zero."""
    table[...] = rng.normal(0.0, deviation, table.shape)
