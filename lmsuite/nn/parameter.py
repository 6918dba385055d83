"""All parameters of a model in one flat buffer, all their gradients in a second.

With one buffer, an optimizer's update is a few vector operations, the global norm is one dot
product, and several processes can share a model as one block of shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from lmsuite.types import FloatArray


class Parameters:
    """Named arrays: views of the buffer `values` (P,); their gradients: views of `gradients` (P,).

    Layers write to the views and optimizers to the buffers, so each sees what the other writes.
    """

    values: FloatArray
    gradients: FloatArray
    shapes: dict[str, tuple[int, ...]]
    slices: dict[str, slice]

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        dtype: DTypeLike = np.float32,
        *,
        values: FloatArray | None = None,
        gradients: FloatArray | None = None,
    ) -> None:
        """Lay out `shapes` one after another, in their order.

        Args:
            shapes: shape of each array by name.
            dtype: of the buffers made here.
            values: a buffer (P,) to use in place, with its values; by default a new one of zeros.
            gradients: likewise.

        Raises:
            ValueError: a given buffer is not flat, not contiguous, or not P long.
        """
        self.shapes = dict(shapes)
        self.slices = {}
        size = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(size, size + prod(shape))
            size += prod(shape)
        self.values = _flat(values, size, dtype)
        self.gradients = _flat(gradients, size, dtype)

    def arrays(self) -> dict[str, FloatArray]:
        """The values of every array by name."""
        return {name: self[name] for name in self}

    def gradient_arrays(self) -> dict[str, FloatArray]:
        """The gradient of every array by name."""
        return {name: self.gradient(name) for name in self}

    @property
    def names(self) -> list[str]:
        return list(self.shapes)

    def __len__(self) -> int:
        """P, the number of parameters."""
        return self.values.size

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __getitem__(self, name: str) -> FloatArray:
        """The values called `name`: a view that can be written to."""
        return self.values[self.slices[name]].reshape(self.shapes[name])

    def gradient(self, name: str) -> FloatArray:
        """The gradient of the array called `name`: a view that can be written to."""
        return self.gradients[self.slices[name]].reshape(self.shapes[name])


def _flat(buffer: FloatArray | None, size: int, dtype: DTypeLike) -> FloatArray:
    if buffer is None:
        return np.zeros(size, dtype)
    if buffer.shape != (size,) or not buffer.flags.c_contiguous:
        raise ValueError(f"a buffer of shape {buffer.shape}: a contiguous ({size},) is needed")
    return buffer
