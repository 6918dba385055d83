"""The recurrent language model of Mikolov et al. (2010): Elman, GRU or LSTM layers, stacked.

    symbol      here            shape
    w_t         inputs          (T, B)       ids; <s> resets the state of its sequence to zero
    C           embedding       (V, E)       a vector for each token
    h^l_t       hidden          (T, B, H)    layer l reads layer l-1; layer 1 the embeddings
    W, b        output          (H, V)       y_t = h^L_t W + b; with tied embeddings W = Cᵀ

    P(w_{t+1} | w_1 … w_t) = softmax(y_t)

Dropout, if any, is on the embeddings, between layers and before the output, but never between time
steps (Zaremba et al. 2014). With `variational`, all steps of a window have the same mask. With
`weight_drop`, recurrent weights are left out too.

With `ngram_features`, the last tokens have logits of their own, which are added to y_t
(`nn.ngram_features`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.blas_threads import blas_threads
from lmsuite.models.interface import Decoder
from lmsuite.models.neural import NeuralModel, dropped
from lmsuite.models.recent_tokens import RecentTokens
from lmsuite.models.recurrent_scoring import SideBySide
from lmsuite.models.recurrent_stepping import RecurrentDecoder
from lmsuite.models.settings import RecurrentSettings as RecurrentSettings
from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.drive import DenseDrive, Drive, EmbeddedDrive
from lmsuite.nn.kernels import CELLS
from lmsuite.nn.layers import Dropout, Embedding
from lmsuite.nn.ngram_features import NgramFeatures, with_features
from lmsuite.nn.output import Softmax
from lmsuite.nn.parameter import Parameters
from lmsuite.nn.reader import Reader
from lmsuite.nn.weight_drop import weights_dropped
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS
from lmsuite.types import BoolArray, FloatArray, IntArray

Rows: TypeAlias = "NDArray[np.int64] | None"
"""(T, B, K), of n-gram features; None if there are none."""

_STEPS = 128
"""The tokens of which `Recurrent.layers` reads the vectors at once."""


class Recurrent(NeuralModel):
    """A softmax over the top hidden vector of a recurrent network.

    A state is one array (L S, B, H): the S state arrays of each of the L layers, h first. With
    n-gram features, there is one more: the `RecentTokens`.
    """

    kind: ClassVar[str] = "rnn"
    rows_axis: ClassVar[int] = 1
    settings_type = RecurrentSettings

    def __init__(
        self, encoder: TextEncoder, settings: RecurrentSettings, parameters: Parameters
    ) -> None:
        super().__init__(encoder, settings, parameters)
        cell = CELLS[settings.cell]
        self.states_a_layer = cell.states
        self._dropout = Dropout(settings.dropout, variational=settings.variational)
        self._embed_dropout = Dropout(settings.embed_dropout, variational=settings.variational)
        self._embedding = Embedding(parameters, "embedding")
        self._layers = [cell(parameters, f"layer.{i}") for i in range(settings.layers)]
        first, *others = self._layers
        self._drives: list[Drive] = [
            EmbeddedDrive(first, self._embedding),
            *(DenseDrive(layer) for layer in others),
        ]
        self.recent: RecentTokens | None = None
        self._features: NgramFeatures | None = None
        if settings.ngram_features:
            self.recent = RecentTokens(settings.ngram_features, settings.feature_rows)
            self._features = NgramFeatures(parameters, "features", settings.ngram_features)
        self.output = Softmax(
            *(parameters, "output", settings.cutoffs),
            self._embedding if settings.tied else None,
            self._features,
        )

    @classmethod
    def shapes(cls, vocabulary: int, settings: RecurrentSettings) -> dict[str, tuple[int, ...]]:
        cell = CELLS[settings.cell]
        shapes: dict[str, tuple[int, ...]] = {}
        if settings.ngram_features:
            shapes |= NgramFeatures.shapes("features", settings.feature_rows, vocabulary)
        shapes |= Embedding.shapes("embedding", vocabulary, settings.embed)
        inputs = settings.embed
        for i in range(settings.layers):
            shapes |= cell.shapes(f"layer.{i}", inputs, settings.hidden)
            inputs = settings.hidden
        return shapes | Softmax.shapes(
            "output", settings.hidden, vocabulary, settings.cutoffs, tied=settings.tied
        )

    @classmethod
    def output_inputs(cls, settings: RecurrentSettings) -> int:
        return settings.hidden

    def initialise(self, rng: np.random.Generator) -> None:
        # A tied table is the output's weights too, and must not start with large logits.
        self._embedding.initialise(rng, self._settings.embed**-0.5 if self._settings.tied else 1.0)
        for layer in self._layers:
            layer.initialise(rng)
        self.output.initialise(rng)

    @property
    def carry_shape(self) -> tuple[int, int]:
        arrays = len(self._layers) * self.states_a_layer
        return (arrays + (self.recent is not None), self._settings.hidden)

    def _state_of(self, layer: int) -> slice:
        return slice(layer * self.states_a_layer, (layer + 1) * self.states_a_layer)

    def _forward(
        self,
        inputs: IntArray,
        state: FloatArray,
        resets: BoolArray | None,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, Rows, FloatArray, list[Any]]:
        """Top hidden vectors (T, B, H) of ids (T, B), and the rows of their features.

        And the state after them, and the caches. With dropout if `rng` is given.
        """
        caches: list[Any] = []
        after = np.empty_like(state)
        rows = self._note_tokens(state, inputs, after)
        resets = resets if resets is not None and resets.any() else None
        below: Any = inputs
        for i, (drive, layer) in enumerate(zip(self._drives, self._layers, strict=True)):
            mine = self._state_of(i)
            dropout = self._dropout if i else self._embed_dropout
            shape = (*inputs.shape, len(layer.Wx))
            mask = None if rng is None else dropout.mask(rng, shape, state.dtype)
            x, drive_cache = drive.forward(below, mask)
            below, after[mine], cache = layer.forward(x, state[mine], resets)
            caches.append((drive_cache, cache))
        return below, rows, after, caches

    def _note_tokens(self, state: FloatArray, ids: IntArray, after: FloatArray) -> Rows:
        """Write the last tokens after ids (T, B) into the state `after` them.

        Returns the rows (T, B, K) of their features; None if there are no features.
        """
        if self.recent is None:
            return None
        recent = self.recent.read(state[-1], ids)
        self.recent.write(recent[-1], after[-1])
        return self.recent.rows(recent)

    def _backward(self, d_hidden: FloatArray, caches: list[Any]) -> None:
        """The gradients below the output layer, from that of the top hidden vectors (T, B, H)."""
        layers = zip(self._drives, self._layers, caches, strict=True)
        for drive, layer, (drive_cache, cache) in reversed(list(layers)):
            d_drive, _ = layer.backward(d_hidden, None, cache)
            d_hidden = drive.backward(d_drive, drive_cache)

    def backpropagate(
        self,
        inputs: IntArray,
        targets: IntArray,
        carry: FloatArray,
        *,
        weight: float,
        rng: np.random.Generator | None,
        rows: IntArray | None = None,
    ) -> float:
        self.clear_tables(rows)
        with weights_dropped(self._layers, self._settings.weight_drop, rng):
            hidden, features, carry[...], caches = self._forward(inputs, carry, inputs == BOS, rng)
            top, mask = dropped(self._dropout, hidden, rng)
            vectors = _vectors(top, features, self._feature_values(features, rng))
            loss, d_top = self.output.loss(
                *(vectors.reshape(targets.size, -1), targets.reshape(-1)),
                *(weight, self.encoder.impossible),
            )
            self._backward(self._dropout.backward(d_top.reshape(top.shape), mask), caches)
        return loss

    def _feature_values(self, rows: Rows, rng: np.random.Generator | None) -> FloatArray | None:
        """Those of the features of these rows, after dropout; None if they are one."""
        if rows is None or rng is None:
            return None
        dropout = Dropout(self._settings.feature_dropout)
        return dropout.mask(rng, rows.shape, self.parameters.values.dtype)

    @property
    def sparse_table(self) -> str | None:
        return super().sparse_table if self._features is None else "features.table"

    def rows_read(self, inputs: IntArray, carry: FloatArray) -> IntArray:
        if self.recent is None:
            return super().rows_read(inputs, carry)
        return np.unique(self.recent.rows(self.recent.read(carry[-1], inputs)))

    def examples(self, ids: IntArray, positions: NDArray[np.int64]) -> tuple[IntArray, IntArray]:
        before = np.where(positions > 0, ids[positions - 1], np.int32(BOS))
        return before[:, None], ids[positions][:, None]

    def example_vectors(self, inputs: IntArray, carry: FloatArray) -> FloatArray:
        hidden, rows, carry[...], _ = self._forward(inputs, carry, inputs == BOS)
        return _vectors(hidden, rows)[:, 0]

    def output_vectors(self, state: FloatArray) -> FloatArray:
        top: FloatArray = state[(len(self._layers) - 1) * self.states_a_layer]
        return top if self.recent is None else with_features(top, self.recent.rows_of(state[-1]))

    def example(
        self, rng: np.random.Generator, batch_size: int, length: int
    ) -> tuple[IntArray, IntArray]:
        possible, shape = self._possible(), (length, batch_size)
        return rng.choice(possible, shape), rng.choice(possible, shape)

    def zero_state(self, batch_size: int) -> FloatArray:
        """The state before even ``<s>`` is read."""
        arrays, H = self.carry_shape
        return np.zeros((arrays, batch_size, H), self.parameters.values.dtype)

    def start(self, batch_size: int) -> FloatArray:
        state, begin = self.zero_state(1), np.full((1, 1), BOS)
        self._note_tokens(state, begin, state)
        x, _ = self._embedding.forward(begin)
        with blas_threads(1):
            for i, layer in enumerate(self._layers):
                [drive], mine = layer.drive(x), state[self._state_of(i)]
                mine[...], _ = layer.step(drive, np.zeros_like(drive), mine)  # h U is zero
                x = mine[:1]
        return np.repeat(state, batch_size, axis=1)

    def step(self, state: FloatArray, ids: IntArray) -> FloatArray:
        """By the equations; a `decoder` is quicker, and tests hold it to this."""
        ids = self.checked(ids)[None]  # (1, B)
        return self._by_the_equations(ids, state, ids == BOS)[1]

    def log_probs(self, state: FloatArray) -> FloatArray:
        return self.output.log_probs(self.output_vectors(state), self.encoder.impossible)

    def _by_the_equations(
        self, ids: IntArray, state: FloatArray, resets: BoolArray
    ) -> tuple[FloatArray, FloatArray]:
        """The output's inputs (T, B, D) after ids (T, B), and the state after them.

        Each layer loops over the plain `step` of its cell.
        """
        after = np.empty_like(state)
        rows = self._note_tokens(state, ids, after)
        x, _ = self._embedding.forward(ids)
        for i, layer in enumerate(self._layers):
            mine = self._state_of(i)
            x, after[mine], _ = Cell.forward(layer, layer.drive(x), state[mine], resets)
        return _vectors(x, rows), after

    def decoder(self, batch_size: int) -> Decoder:
        return RecurrentDecoder(self, batch_size)

    def read(self, state: FloatArray, ids: IntArray) -> FloatArray:
        ids = self.checked(ids)
        if not ids.size:
            return state
        begins = np.flatnonzero(ids == BOS)
        if begins.size:  # the last <s> resets the state: start there
            return SideBySide(self).read(self.zero_state(1), ids[begins[-1] :])
        return SideBySide(self).read(state, ids)

    @property
    def recurrence_size(self) -> int:
        """The multiply-adds of the recurrent weights in one step of one sequence."""
        return sum(layer.Wh.size for layer in self._layers)

    def readers(self, batch_size: int) -> list[Reader]:
        """A reader for each layer; the readers are valid as long as the weights do not change."""
        return [Reader(drive, batch_size) for drive in self._drives]

    def read_window(
        self, readers: list[Reader], ids: IntArray, state: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The output's inputs (T, B, D) after ids (T, B), and the state after them."""
        after = np.empty_like(state)
        rows = self._note_tokens(state, ids, after)
        below: Any = ids
        for i, reader in enumerate(readers):
            mine = self._state_of(i)
            below, after[mine] = reader.read(below, state[mine])
        return _vectors(below, rows), after

    def step_tokens(self, state: FloatArray, ids: IntArray, after: FloatArray) -> None:
        """The part of a step (B,) that is not the layers': the last tokens, of `after`."""
        if self.recent is not None:
            self.recent.step(state[-1], ids, after[-1])

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        return SideBySide(self).score(self.checked(ids))

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        text = SideBySide(self)
        return lambda ids: text.score(self.checked(ids))

    def layers(self, ids: IntArray) -> list[FloatArray]:
        ids = self.checked(ids)
        goes_on = ids.size > 0 and ids[0] != BOS
        whole = np.concatenate(([BOS], ids)) if goes_on else ids  # every text begins with <s>
        read = [np.empty((len(whole), len(layer.Wh)), np.float32) for layer in self._layers]
        readers, begins = self.readers(1), [*np.flatnonzero(whole == BOS).tolist(), len(whole)]
        with blas_threads(1):
            for begin, end in pairwise(begins):
                state = self.zero_state(1)
                for at in range(begin, end, _STEPS):
                    window = slice(at, min(at + _STEPS, end))
                    below: Any = whole[window, None]
                    for i, reader in enumerate(readers):
                        mine = self._state_of(i)
                        below, state[mine] = reader.read(below, state[mine])
                        read[i][window] = below[:, 0]
        table = self.embedding()
        return [table[ids], *(vectors[len(whole) - len(ids) :] for vectors in read)]

    def scores_in_training(self, ids: IntArray) -> list[NDArray[np.float64]]:
        """By the cells' `forward`, and by the equations."""
        positions = np.flatnonzero(ids != BOS)
        inputs = np.concatenate([[BOS], ids[:-1]])[:, None]  # (N, 1)
        hidden, rows, _, _ = self._forward(inputs, self.zero_state(1), inputs == BOS)
        fast = _vectors(hidden, rows)
        plain, _ = self._by_the_equations(inputs, self.zero_state(1), inputs == BOS)
        targets = ids[positions]
        return [self.target_scores(vectors[positions, 0], targets) for vectors in (fast, plain)]

    def summary(self) -> Mapping[str, Any]:
        settings = self._settings
        dropout = f"{settings.dropout}, of embeddings {settings.embed_dropout}"
        dropout += " (variational)" if settings.variational else ""
        dropout += f", of recurrent weights {settings.weight_drop}" if settings.weight_drop else ""
        return {
            "architecture": f"recurrent network ({settings.cell})",
            "layers": settings.layers,
            "hidden": settings.hidden,
            "embedding": f"{settings.embed}{' (tied to the output)' if settings.tied else ''}",
            "dropout": dropout,
            "output layer": self._softmax_note(),
            **self._features_note(),
            "parameters": len(self.parameters),
            "unknown tokens": self._unknown_note(),
        }

    def _features_note(self) -> dict[str, str]:
        settings = self._settings
        if self.recent is None:
            return {}
        note = f"of 1 to {settings.ngram_features} tokens, in {settings.feature_rows:,} rows"
        note += f", dropout {settings.feature_dropout}"
        return {"n-gram features": note}


def _vectors(hidden: FloatArray, rows: Rows, values: FloatArray | None = None) -> FloatArray:
    """The inputs (..., D) of the output layer."""
    return hidden if rows is None else with_features(hidden, rows, values)
