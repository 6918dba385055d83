"""DropConnect on recurrent weights: Merity, Keskar and Socher (2018), after Wan et al. (2013).

Dropout leaves out activations; here single weights of U are left out, the same ones at every step
of a batch. So the recurrence is regularised, and the kernels run as they are:

    U' = U ∘ M, with M 0 or 1 / (1 - rate)
    dU = dU' ∘ M
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.layers import Dropout


@contextmanager
def weights_dropped(
    cells: Sequence[Cell], rate: float, rng: np.random.Generator | None
) -> Iterator[None]:
    """Inside, the cells read and derive by U'; at the end, their gradients are those by U.

    Without `rng`, nothing is dropped.
    """
    dropout = Dropout(rate)
    wholes = [cell.Wh for cell in cells]
    masks = [
        None if rng is None else dropout.mask(rng, whole.shape, whole.dtype) for whole in wholes
    ]
    for cell, whole, mask in zip(cells, wholes, masks, strict=True):
        if mask is not None:
            cell.Wh = whole * mask
    try:
        yield
    finally:
        for cell, whole, mask in zip(cells, wholes, masks, strict=True):
            cell.Wh = whole
            if mask is not None:
                cell.d_Wh *= mask
