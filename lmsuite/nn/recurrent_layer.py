"""A recurrent layer that reads sequences of different lengths, from either end.

The steps of a sequence shorter than T are followed by padding. The layer changes the order: it
reads the padding *first*, and then sets the state to zero. So the state after the last step is the
final state of every sequence, and no gradient reaches the padding. One sequence of length 2, T = 4:

| reads     | step 1 | step 2 | step 3      | step 4 |
|-----------|--------|--------|-------------|--------|
| forwards  | pad    | pad    | reset, x_1  | x_2    |
| backwards | pad    | pad    | reset, x_2  | x_1    |

Backwards is the order from the end of the array. Outputs are put back where their inputs stand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmsuite.nn.drive import Drive
from lmsuite.nn.sequences import length_mask
from lmsuite.types import Array, FloatArray, IntArray


class RecurrentLayer:
    """A cell and its drive as a layer. Its parameters are those of the cell."""

    def __init__(self, drive: Drive, *, backwards: bool = False) -> None:
        self.drive, self.cell, self.backwards = drive, drive.cell, backwards

    def initialise(self, rng: np.random.Generator) -> None:
        self.cell.initialise(rng)

    def forward(
        self, inputs: Any, lengths: IntArray | None = None, state: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray, Any]:
        """Read B sequences.

        Args:
            inputs: of the drive's kind: vectors (T, B, D) or ids (T, B).
            lengths: (B,), each from 1 to T; by default all are T long.
            state: the state (S, B, H) to begin with, by default zeros. With lengths, every
                sequence begins with zeros.

        Returns:
            Hidden vectors (T, B, H), zero at the padding; the final state (S, B, H) of each
            sequence; the cache for `backward`.

        Raises:
            ValueError: a length is out of range, or both lengths and a state are given.
        """
        T, B = inputs.shape[:2]
        if lengths is not None:
            _check(lengths, T, B, state)
        drive, drive_cache = self.drive.forward(self._in_reading_order(inputs, lengths))
        resets = None if lengths is None else np.arange(T)[:, None] == T - lengths
        hidden, final, cache = self.cell.forward(
            drive, self.cell.start(B) if state is None else state, resets
        )
        hidden = self._in_place(hidden, lengths)
        return _masked(hidden, lengths), final, (drive_cache, cache, lengths)

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: Any
    ) -> tuple[Any, FloatArray]:
        """Gradients by the inputs (None for ids) and by the first state; writes the cell's.

        Args:
            d_hidden: gradient by the hidden vectors (T, B, H). At the padding it does not count.
            d_final_state: gradient by the final states (S, B, H); None for zeros.
            cache: from `forward`; it is overwritten.
        """
        drive_cache, cell_cache, lengths = cache
        d_hidden = self._in_reading_order(_masked(d_hidden, lengths), lengths)
        d_drive, d_state = self.cell.backward(d_hidden, d_final_state, cell_cache)
        d_inputs = self.drive.backward(d_drive, drive_cache)
        return None if d_inputs is None else self._in_place(d_inputs, lengths), d_state

    def _in_reading_order(self, array: Array, lengths: IntArray | None) -> Array:
        if self.backwards:
            return array[::-1]
        return array if lengths is None else _rolled(array, lengths)

    def _in_place(self, array: Array, lengths: IntArray | None) -> Array:
        if self.backwards:
            return array[::-1]
        return array if lengths is None else _rolled(array, len(array) - lengths)


class Bidirectional:
    """Two recurrent layers side by side, one forwards and one backwards: Schuster, Paliwal (1997).

    The output of a step is the hidden vector of the words up to it, and then that of the words from
    it on: (T, B, H + H').
    """

    def __init__(self, forwards: Drive, backwards: Drive) -> None:
        self.layers = RecurrentLayer(forwards), RecurrentLayer(backwards, backwards=True)

    def initialise(self, rng: np.random.Generator) -> None:
        for layer in self.layers:
            layer.initialise(rng)

    def forward(
        self, inputs: Any, lengths: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray, Any]:
        """As `RecurrentLayer.forward`; the final states (S, B, H + H') are side by side too."""
        (h, s, cache), (h2, s2, cache2) = (layer.forward(inputs, lengths) for layer in self.layers)
        return np.concatenate((h, h2), axis=2), np.concatenate((s, s2), axis=2), (cache, cache2)

    def backward(self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: Any) -> Any:
        """The gradient by the inputs (None for ids): the sum of those of both layers."""
        H = self.layers[0].cell.hidden_size
        d_inputs = None
        for layer, part, own in zip(self.layers, (slice(H), slice(H, None)), cache, strict=True):
            d_final = None if d_final_state is None else d_final_state[..., part]
            more, _ = layer.backward(d_hidden[..., part], d_final, own)
            d_inputs = more if d_inputs is None else d_inputs + more
        return d_inputs


def _rolled(array: Array, by: IntArray) -> Array:
    """Each column of (T, B, ...) moved `by` (B,) steps to the start; what leaves comes last."""
    T, B = array.shape[:2]
    rolled: Array = array[(np.arange(T)[:, None] + by) % T, np.arange(B)]
    return rolled


def _masked(hidden: FloatArray, lengths: IntArray | None) -> FloatArray:
    if lengths is None:
        return hidden
    return hidden * length_mask(lengths, len(hidden))[:, :, None]


def _check(lengths: IntArray, T: int, B: int, state: FloatArray | None) -> None:
    if state is not None:
        raise ValueError("give lengths or a state: with lengths, every sequence begins with zeros")
    if lengths.shape != (B,) or lengths.min(initial=1) < 1 or lengths.max(initial=1) > T:
        raise ValueError(f"lengths {lengths}: ({B},) numbers from 1 to {T} are needed")
