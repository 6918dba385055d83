"""Names for the arrays that the workshop passes around.

Letters, bound once for the whole room: B batch, T time, N rows (T·B flattened, or examples),
D features of an input, E embedding, H hidden, G gates of a cell, V vocabulary, P parameters.
Sequences are time-major: (T, B, D).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""float32 in training, float64 in a gradient check: every function keeps the dtype it is given."""

IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
