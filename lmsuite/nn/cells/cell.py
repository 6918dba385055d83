"""A recurrent cell: one step, its reverse, and the loop over time that follows from them.

| symbol | here      | shape        |                                                           |
|--------|-----------|--------------|-----------------------------------------------------------|
| x_t    | inputs    | (T, B, D)    | input                                                     |
| h_t    | hidden    | (T, B, H)    | hidden vector                                             |
| W, b   | Wx, b     | (D, G·H), (G·H,) | input to gates                                        |
| U      | Wh        | (H, G·H)     | hidden to gates                                           |
|        | drive     | (T, G, B, H) | x_t W + b, the input's part in each of the G gates        |
|        | recurrent | (G, B, H)    | h_{t-1} U, the past's part in them                        |
| s_t    | state     | (S, B, H)    | h_t and the cell's other memories: S = 2 for LSTM (h, c)  |

Forward, for t = 1 ... T:

    drive_t     = x_t W + b                                       (0)  for all steps at once
    recurrent_t = h_{t-1} U                                       (1)
    s_t         = step(drive_t, recurrent_t, s_{t-1})             (2)  defines the kind of cell

Backward, for t = T ... 1, where ds_t is the sum of all gradients that reach s_t:

    d_drive_t, d_recurrent_t, ds_{t-1} = step_back(ds_t)          (2)
    dh_{t-1} += d_recurrent_t Uᵀ                                  (1), by h_{t-1}
    dU       += h_{t-1}ᵀ d_recurrent_t                            (1), by U

(0) does not depend on the recurrence: `lmsuite.nn.drive` has its tuned form and its reverse.

Your own cell is a subclass with `step` and `step_back`; `register_cell` gives it a name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from lmsuite.nn.initialisation import glorot_uniform, orthogonal
from lmsuite.nn.layers import Layer, Shapes
from lmsuite.types import BoolArray, FloatArray

State: TypeAlias = FloatArray | Sequence[FloatArray]
"""An array (S, B, H), or S arrays (B, H), each anywhere in memory."""


class Cell(Layer, ABC):
    """A recurrent layer between its drive (T, G, B, H) and its hidden vectors (T, B, H)."""

    gates: ClassVar[int] = 1
    """G: the number of blocks of H columns in Wx and in Wh."""
    states: ClassVar[int] = 1
    """S: the number of arrays (B, H) in a state. The hidden vector is the first."""

    names: ClassVar[tuple[str, ...]] = ("Wx", "Wh", "b")
    Wx: FloatArray
    Wh: FloatArray
    b: FloatArray
    d_Wx: FloatArray
    d_Wh: FloatArray
    d_b: FloatArray

    @property
    def hidden_size(self) -> int:
        return len(self.Wh)

    @classmethod
    def shapes(cls, prefix: str, inputs: int, hidden: int) -> Shapes:
        width = cls.gates * hidden
        return {
            f"{prefix}.Wx": (inputs, width),
            f"{prefix}.Wh": (hidden, width),
            f"{prefix}.b": (width,),
        }

    def initialise(self, rng: np.random.Generator) -> None:
        """Fill each gate's block: Glorot for Wx, orthogonal for Wh, zero for b."""
        H = self.hidden_size
        for first in range(0, self.gates * H, H):
            glorot_uniform(self.Wx[:, first : first + H], rng)
            orthogonal(self.Wh[:, first : first + H], rng)
        self.b[...] = 0

    def start(self, batch_size: int) -> FloatArray:
        """The state (S, B, H) before anything is read: zeros."""
        return np.zeros((self.states, batch_size, self.hidden_size), self.Wh.dtype)

    def drive(self, inputs: FloatArray) -> FloatArray:
        """Equation (0): the drive (T, G, B, H) of inputs (T, B, D)."""
        T, B, _ = inputs.shape
        columns = inputs @ self.Wx + self.b  # (T, B, G·H)
        return columns.reshape(T, B, self.gates, -1).swapaxes(1, 2)

    @abstractmethod
    def step(
        self, drive: FloatArray, recurrent: FloatArray, state: FloatArray
    ) -> tuple[FloatArray, Any]:
        """One step, from the state (S, B, H) before it. It changes no argument.

        Args:
            drive: x_t W + b, (G, B, H).
            recurrent: h_{t-1} U, (G, B, H).
            state: the state before the step.

        Returns:
            The state (S, B, H) after the step, and the cache for `step_back`.
        """

    @abstractmethod
    def step_back(
        self, d_state: FloatArray, cache: Any
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The reverse of `step`, from the gradient (S, B, H) by the state after the step.

        If this kind of cell has more parameters than others, `step_back` adds to their gradients.

        Returns:
            Gradients by drive, by recurrent, and by the state before the step. The last one leaves
            out the gradient that reaches h_{t-1} through `recurrent`: the loop adds it.
        """

    def forward(
        self, drive: FloatArray, state: FloatArray, resets: BoolArray | None = None
    ) -> tuple[FloatArray, FloatArray, Any]:
        """Read a sequence.

        Args:
            drive: (T, G, B, H); a kernel overwrites it.
            state: the state (S, B, H) before the first step; it is not changed.
            resets: (T, B), true where the state is set to zero *before* that step.

        Returns:
            Hidden vectors (T, B, H), the state after the last step, the cache for `backward`.
        """
        hidden, steps = [], []
        for t, drive_t in enumerate(drive):
            state = state if resets is None else np.where(resets[t][:, None], 0, state)
            h_before = state[0]
            recurrent = by_gate(h_before @ self.Wh, self.gates)  # (1)
            state, cache = self.step(drive_t, recurrent, state)  # (2)
            hidden.append(state[0])
            steps.append((h_before, cache))
        return np.stack(hidden), state.copy(), (steps, resets)

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: Any
    ) -> tuple[FloatArray, FloatArray]:
        """Backpropagate through the T steps of a `forward`; writes the gradient of U.

        Args:
            d_hidden: gradient by the hidden vectors, (T, B, H); it is not changed.
            d_final_state: gradient by the final state; None if backpropagation is truncated there.
            cache: from `forward`; a kernel overwrites it.

        Returns:
            Gradients by the drive (T, G, B, H) and by the initial state (S, B, H).
        """
        steps, resets = cache
        d_state = self.start(d_hidden.shape[1]) if d_final_state is None else d_final_state.copy()
        d_drive = []
        self.d_Wh[...] = 0
        for t in reversed(range(len(steps))):
            h_before, step_cache = steps[t]
            d_state[0] += d_hidden[t]
            d_drive_t, d_recurrent, d_state = self.step_back(d_state, step_cache)  # (2)
            d_columns = by_column(d_recurrent)
            d_state[0] += d_columns @ self.Wh.T  # (1), by h_{t-1}
            self.d_Wh += h_before.T @ d_columns  # (1), by U
            if resets is not None:
                d_state = np.where(resets[t][:, None], 0, d_state)
            d_drive.append(d_drive_t)
        return np.stack(d_drive[::-1]), d_state

    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        """One step without a cache for the reverse: fill the state `after` (S, B, H).

        It may overwrite `recurrent`, but not `drive` and the state `before`.
        """
        state, _ = self.step(drive, recurrent, np.stack(tuple(before)))
        for there, here in zip(after, state, strict=True):
            there[...] = here


def by_gate(columns: FloatArray, gates: int) -> FloatArray:
    """A view of (N, G·H), whose columns lie in blocks of H, as (G, N, H): a matrix a gate."""
    return columns.reshape(len(columns), gates, -1).swapaxes(0, 1)


def by_column(gates: FloatArray) -> FloatArray:
    """(G, B, H) as (B, G·H)."""
    return gates.swapaxes(0, 1).reshape(gates.shape[1], -1)
