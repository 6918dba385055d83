"""What the recurrent cells share: inputs, weights, and the ways in.

A cell reads a sequence in two parts. What the inputs contribute to its gates does not depend on
the recurrence, so it is formed for all steps beforehand:

    drive_t = x_t Wx + b

Then the cell runs through time, each kind by its own equations, on drive_t and h_{t-1} Wh. What
belongs to one step lies together, (G, B, H), so that its vector operations run over contiguous
memory; the gradients of all steps lie gate by gate, (G, T, B, H), so that the products which sum
over them do.

If the inputs are embedded ids of a small vocabulary, the drive is even cheaper: there are only V
different rows of it, so the *input table* A Wx + b (V, G·H) is formed once and its rows are
gathered (`reader.Reader`); its gradient is, row by row, the sum over the steps that read that id.

A state is an array (S, B, H): S = 1 for Elman and GRU (h), S = 2 for the LSTM (h, c).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from lmsuite.types import BoolArray, FloatArray, IntArray
from lmsuite.nn.initialisation import glorot_uniform, orthogonal
from lmsuite.nn.layers import (
    Embedding,
    Shapes,
    add_rows_by_id,
    column_sums,
)
from lmsuite.nn.parameter import Parameters
from lmsuite.nn.products import GateProducts, by_gate, transposed
from lmsuite.nn.reader import Reader

State: TypeAlias = FloatArray | Sequence[FloatArray]
"""An array (S, B, H), or its S arrays (B, H), wherever each lies."""

CHUNK = 1 << 17
"""Numbers in an array of which a few fit in a core's L2 cache."""

HALF = np.array(0.5, np.float32)
"""An array, which numpy multiplies by sooner than by a number: that it makes an array of first."""


@dataclass(frozen=True)
class CellCache:
    """What `backward` needs of `forward`."""

    inputs: FloatArray | None
    """The inputs (T, B, D), if the cell was given vectors or embedded the ids one by one."""
    ids: IntArray | None
    """The ids (T, B), if it was given ids."""
    embedding: Embedding | None
    run: Any
    """The cell's own account of its run through time."""


class Cell(ABC):
    """A recurrent layer: reads (T, B, D) or ids (T, B), gives hidden vectors (T, B, H)."""

    gates: ClassVar[int]
    """G: blocks of H columns in Wx."""
    states: ClassVar[int]
    """S: arrays of (B, H) in a state."""
    drive_scales: ClassVar[tuple[float, ...]]
    """For each gate what its drive is multiplied by: 1/2 where sigmoid(x) is had from tanh(x/2)."""
    recurrent_scales: ClassVar[tuple[float, ...]]
    """Likewise for each block of H columns of h_{t-1} Wh."""

    def __init__(self, parameters: Parameters, prefix: str) -> None:
        self.Wx, self.d_Wx = _pair(parameters, f"{prefix}.Wx")  # (D, G·H)
        self.Wh, self.d_Wh = _pair(parameters, f"{prefix}.Wh")  # (H, G·H)
        self.b, self.d_b = _pair(parameters, f"{prefix}.b")  # (G·H,)
        self.hidden_size = self.Wh.shape[0]

    @classmethod
    def shapes(cls, prefix: str, inputs: int, hidden: int) -> Shapes:
        width = cls.gates * hidden
        return {
            f"{prefix}.Wx": (inputs, width),
            f"{prefix}.Wh": (hidden, width),
            f"{prefix}.b": (width,),
        }

    def initialise(self, rng: np.random.Generator) -> None:
        """Each gate by itself: Glorot for Wx, orthogonal for Wh, zero for b."""
        H = self.hidden_size
        for first in range(0, self.gates * H, H):
            glorot_uniform(self.Wx[:, first : first + H], rng)
            orthogonal(self.Wh[:, first : first + H], rng)
        self.b[...] = 0

    def start(self, batch_size: int) -> FloatArray:
        """The state (S, B, H) before anything is read: zeros."""
        return np.zeros((self.states, batch_size, self.hidden_size), self.Wh.dtype)

    # One whole sequence at a time, for training and scoring.

    def forward(
        self,
        inputs: FloatArray,
        state: FloatArray,
        resets: BoolArray | None = None,
    ) -> tuple[FloatArray, FloatArray, CellCache]:
        """Read inputs (T, B, D) from a state (S, B, H).

        Args:
            inputs: the sequence.
            state: the state before its first step.
            resets: (T, B), true where the state is put back to zero *before* that step.

        Returns:
            Hidden vectors (T, B, H), the state after the last step, the cache for `backward`.
        """
        reader = Reader(self, inputs.shape[1])
        drive = reader.drives(inputs)
        hidden, final, run = self._run(drive, reader.times_Wh, state, _any_resets(resets))
        return hidden, final, CellCache(inputs, None, None, run)

    def forward_ids(
        self,
        ids: IntArray,
        embedding: Embedding,
        state: FloatArray,
        resets: BoolArray | None = None,
    ) -> tuple[FloatArray, FloatArray, CellCache]:
        """`forward` of the embedded ids (T, B), by way of the input table where that is cheaper."""
        if not embedding.is_small:
            inputs, _ = embedding.forward(ids)
            hidden, final, cache = self.forward(inputs, state, resets)
            return hidden, final, CellCache(inputs, ids, embedding, cache.run)
        reader = Reader(self, ids.shape[1], embedding)
        drive = reader.drives_of_ids(ids)
        hidden, final, run = self._run(drive, reader.times_Wh, state, _any_resets(resets))
        return hidden, final, CellCache(None, ids, embedding, run)

    def backward(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: CellCache
    ) -> tuple[FloatArray, FloatArray]:
        """Backpropagation through the T steps of a `forward`, whose cache it uses up.

        Args:
            d_hidden: gradient by the hidden vectors, (T, B, H).
            d_final_state: gradient by the final state; None where backpropagation is truncated.
            cache: from `forward`.

        Returns:
            Gradients by the inputs (T, B, D) and by the initial state (S, B, H).
        """
        if cache.inputs is None:
            raise ValueError("the cache is of forward_ids: backward_ids takes it")
        d_drive, d_state = self._backward_run(d_hidden, d_final_state, cache.run)
        inputs = cache.inputs.reshape(d_drive.shape[1], -1)
        self._write_products(self.d_Wx, inputs, d_drive)
        self.d_b[...] = _sums_over_steps(d_drive)
        T, B, _ = cache.inputs.shape
        d_inputs = np.empty_like(cache.inputs)
        times_WxT = self._transposed_products(self.Wx, B)
        for t, d_a in enumerate(d_drive.reshape(self.gates, T, B, -1).swapaxes(0, 1)):
            times_WxT.total(d_a, d_inputs[t])
        return d_inputs, d_state

    def backward_ids(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, cache: CellCache
    ) -> FloatArray:
        """`backward` of `forward_ids`: the embedding's gradient too; returns the state's alone."""
        if cache.ids is None or cache.embedding is None:
            raise ValueError("the cache is of forward: backward takes it")
        embedding = cache.embedding
        if cache.inputs is not None:
            d_inputs, d_state = self.backward(d_hidden, d_final_state, cache)
            embedding.backward(d_inputs, cache.ids)
            return d_state
        d_drive, d_state = self._backward_run(d_hidden, d_final_state, cache.run)
        d_input_table = np.zeros(
            (len(embedding.table), self.gates, self.hidden_size), self.Wx.dtype
        )
        add_rows_by_id(d_input_table.swapaxes(0, 1), cache.ids.reshape(-1), d_drive)
        d_rows = d_input_table.reshape(len(embedding.table), -1)  # (V, G·H)
        np.matmul(embedding.table.T, d_rows, out=self.d_Wx)
        self.d_b[...] = column_sums(d_rows)
        embedding.d_table += d_rows @ self.Wx.T
        return d_state

    def _backward_run(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: Any
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients by the drive (G, T·B, H), all steps in a row, and by the initial state."""
        d_drive, d_state = self._run_back(d_hidden, d_final_state, run)
        return d_drive.reshape(self.gates, -1, self.hidden_size), d_state

    def _write_products(self, d_W: FloatArray, inputs: FloatArray, d_gates: FloatArray) -> None:
        """d_W = inputsᵀ [d_g …], for inputs (N, K) and (N, H) for each gate, gate by gate."""
        for d_W_gate, d_gate in zip(by_gate(d_W, self.gates), d_gates, strict=True):
            d_W_gate[...] = inputs.T @ d_gate

    def _transposed_products(self, W: FloatArray, rows: int) -> GateProducts:
        """da Wᵀ gate by gate, for W = Wh the terms of dh_{t-1}."""
        return GateProducts(transposed(W).reshape(self.gates, self.hidden_size, -1), rows)

    @abstractmethod
    def advance(
        self, drive: FloatArray, recurrent: FloatArray, before: State, after: State
    ) -> None:
        """One step: fills the state `after` from x W + b and h U (G, B, H), scaled.

        The memory of `recurrent` is used up; `drive` and the state `before` stay as they are.
        """

    @abstractmethod
    def _run(
        self,
        drive: FloatArray,
        times_Wh: Callable[[FloatArray], FloatArray],
        state: FloatArray,
        resets: BoolArray | None,
    ) -> tuple[FloatArray, FloatArray, Any]:
        """Through time: hidden (T, B, H), final state, and what `_run_back` needs.

        The memory of `drive` (T, G, B, H) is the run's to use and keep.
        """

    @abstractmethod
    def _run_back(
        self, d_hidden: FloatArray, d_final_state: FloatArray | None, run: Any
    ) -> tuple[FloatArray, FloatArray]:
        """Back through time: gradients by the drive (G, T, B, H) and the initial state (S, B, H).

        Writes the gradients of the parameters that belong to the recurrence.
        """


def reset_lanes(resets: BoolArray | None, T: int) -> list[BoolArray | None]:
    """For each step which sequences of the batch are reset before it; None where none is."""
    if resets is None:
        return [None] * T
    return [lanes if lanes.any() else None for lanes in resets]


def after_reset(states: FloatArray, lanes: BoolArray | None) -> FloatArray:
    """States (..., H) with those of `lanes` (...) zeroed, in a copy; as they are without lanes."""
    if lanes is None:
        return states
    return np.where(lanes[..., None], states.dtype.type(0), states)


def chunks_from_the_end(T: int, width: int) -> Iterator[tuple[int, int]]:
    """Ranges of steps, last first, for work on (steps, width) arrays that should stay in L2."""
    steps = max(1, CHUNK // width)
    for end in range(T, 0, -steps):
        yield max(0, end - steps), end


def _any_resets(resets: BoolArray | None) -> BoolArray | None:
    return resets if resets is not None and resets.any() else None


def _pair(parameters: Parameters, name: str) -> tuple[FloatArray, FloatArray]:
    return parameters[name], parameters.gradient(name)


def _sums_over_steps(d_drive: FloatArray) -> FloatArray:
    """Sums (G·H,) over N of (G, N, H), as a product, which is faster than a reduction."""
    sums: FloatArray = np.ones(d_drive.shape[1], d_drive.dtype) @ d_drive
    return sums.reshape(-1)
