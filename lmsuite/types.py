"""Array types and the letters of their shapes, the same in every room.

| letter | counts                                                            |
|--------|-------------------------------------------------------------------|
| B      | batch: sequences that are read side by side                       |
| T      | time: steps of a sequence                                         |
| V      | vocabulary: the tokens that have an id                            |
| E      | embedding: numbers in the vector of a token                       |
| H      | hidden: numbers in the vector of a hidden layer                   |
| N      | ids of a text, or rows of an array (T·B, examples)                |

Sequences are time-major, (T, B, ...).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""float32 in training, float64 in a gradient check: a function keeps the dtype that it is given."""

Float64Array: TypeAlias = NDArray[np.float64]
"""Sums of log-probabilities and estimates from counts, which are float64 everywhere."""

IntArray: TypeAlias = NDArray[np.integer[Any]]
"""Integers of any size: ids, counts, positions."""

BoolArray: TypeAlias = NDArray[np.bool_]

Array: TypeAlias = NDArray[Any]
"""Any array."""
