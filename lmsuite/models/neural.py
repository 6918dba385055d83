"""The common part of the neural models: parameters in one buffer, gradients, save and restore."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.models.adaptation import Adaptation
from lmsuite.models.blas_threads import blas_threads
from lmsuite.models.interface import LanguageModel, State
from lmsuite.models.settings import AdaptationSettings
from lmsuite.nn.layers import Dropout
from lmsuite.nn.output import Softmax
from lmsuite.nn.parameter import Parameters
from lmsuite.settings import read
from lmsuite.text.encoding import TextEncoder
from lmsuite.types import Array, FloatArray, IntArray

_LARGEST_SUM = float(np.finfo(np.float32).max) / 16  # room for one more addition of such sums


class NeuralModel(LanguageModel):
    """A language model that is trained by gradient descent.

    The training loop needs no more of a model than this: it gives the inputs and targets of a batch
    to `backpropagate`, and changes `parameters.values` along `parameters.gradients`.
    """

    settings_type: ClassVar[type]
    parameters: Parameters
    output: Softmax
    """From top vectors to distributions, by the arrays ``output.*``."""

    def __init__(self, encoder: TextEncoder, settings: Any, parameters: Parameters) -> None:
        """A model with these `parameters`; `initial` makes an untrained one."""
        self.encoder = encoder
        self._settings = settings
        self.parameters = parameters

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is made by the constructor, so that its layers share the copied parameters."""
        return type(self), (self.encoder, self._settings, self.parameters)

    @property
    def settings(self) -> Any:
        return self._settings

    @classmethod
    @abstractmethod
    def shapes(cls, vocabulary: int, settings: Any) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter by name."""

    @classmethod
    @abstractmethod
    def output_inputs(cls, settings: Any) -> int:
        """D, the size of the hidden vectors that the output layer reads."""

    @abstractmethod
    def initialise(self, rng: np.random.Generator) -> None:
        """Fill the parameters with the values from which training starts."""

    @abstractmethod
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
        """Fill `parameters.gradients` with the gradient of `weight` times a batch's summed loss.

        Args:
            inputs: (T, B), or (context, B) for a feed-forward model.
            targets: (T, B), or (B,).
            carry: (*carry_shape[:1], B, *carry_shape[1:]), the state before the batch, which is
                overwritten by the state after it. No gradient flows through it.
            weight: of each token; 1 / (number of the batch's tokens) makes the loss a mean.
            rng: for dropout; without it, nothing is dropped.
            rows: of the `sparse_table`, those that this batch reads among them. Only these rows of
                its gradient are filled, and the others left as they are. None fills all.

        Returns:
            `weight` times the summed cross-entropy, in nats.
        """

    @abstractmethod
    def examples(self, ids: IntArray, positions: NDArray[np.int64]) -> tuple[IntArray, IntArray]:
        """Inputs and targets of one text, as `backpropagate` takes them.

        Args:
            ids: of the text (N,).
            positions: the rising positions (T,) of the targets, none of them an ``<s>``; between
                two of them stands nothing but ``<s>``.
        """

    @abstractmethod
    def example_vectors(self, inputs: IntArray, carry: FloatArray) -> FloatArray:
        """The input (T, D) of the output layer for each target of `examples`.

        An output layer that reads more than hidden vectors reads them first.

        `carry` is the state before the first, and is overwritten by the state after the last.
        """

    @abstractmethod
    def output_vectors(self, state: State) -> FloatArray:
        """The input (B, D) of the output layer in a state."""

    def target_scores(self, vectors: FloatArray, targets: IntArray) -> NDArray[np.float64]:
        """The log-probability (n,) of each target after the output layer's input (n, D)."""
        return self.output.target_log_probs(vectors, targets, self.encoder.impossible)

    @abstractmethod
    def example(
        self, rng: np.random.Generator, batch_size: int, length: int
    ) -> tuple[IntArray, IntArray]:
        """Random inputs and targets of `batch_size` sequences, for a gradient check."""

    def score_next(self, state: Any, ids: IntArray) -> tuple[NDArray[np.float64], Any]:
        """As `LanguageModel.score_next`; of an adaptive softmax only the ids' clusters."""
        if not self.output.cutoffs:
            return super().score_next(state, ids)
        ids = self.checked(ids)
        with blas_threads(len(ids)):
            scores = self.target_scores(self.output_vectors(state), ids)
        return scores, self.step(state, ids)

    def scores_in_training(self, ids: IntArray) -> list[NDArray[np.float64]]:
        """As `score`, once for each other way in which the network can be run over ids (N,)."""
        return []

    @property
    def sparse_table(self) -> str | None:
        """The name of a large table of which a batch reads few rows; it is the first parameter.

        Here the embeddings, where the vocabulary is large and they are not tied.
        """
        return "embedding.table" if self.output.cutoffs and not self.output.is_tied else None

    def rows_read(self, inputs: IntArray, carry: FloatArray) -> IntArray:
        """The rising rows of that table that a batch reads; arguments as for `backpropagate`."""
        return np.unique(inputs)

    def clear_tables(self, rows: IntArray | None) -> None:
        """Set to zero the gradients of the tables, to which layers add.

        Of the sparse table only those of `rows`; None is for all.
        """
        for name in self.parameters:
            if name.endswith(".table"):
                is_sparse = rows is not None and name == self.sparse_table
                self.parameters.gradient(name)[rows if is_sparse else ...] = 0

    @property
    def carry_shape(self) -> tuple[int, int]:
        """The number and the length of the arrays that each lane carries from batch to batch."""
        return (0, 0)

    @classmethod
    def initial(
        cls,
        encoder: TextEncoder,
        settings: Any,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> Self:
        """An untrained model. float64 is for gradient checks."""
        model = cls(
            encoder, settings, Parameters(cls.shapes(len(encoder.vocabulary), settings), dtype)
        )
        model.initialise(rng)
        return model

    def adapting_scorer(
        self, settings: AdaptationSettings
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        return Adaptation(self, settings).score

    def set_output_bias(self, counts: NDArray[np.float64]) -> None:
        """Set the output's bias to log-frequencies: an untrained model then predicts unigrams.

        Otherwise a large vocabulary takes about an epoch to learn them.

        Args:
            counts: (V,) of each id in the training text; one is added to each.
        """
        self.output.set_bias((counts + 1) / (counts + 1).sum())

    def with_buffers(self, values: FloatArray, gradients: FloatArray) -> Self:
        """The same model on other parameter buffers (P,): it uses the values that they hold."""
        parameters = Parameters(self.parameters.shapes, values=values, gradients=gradients)
        return type(self)(self.encoder, self._settings, parameters)

    def embedding(self) -> FloatArray:
        return self.parameters["embedding.table"]

    def arrays(self) -> Mapping[str, Array]:
        return {name: self.parameters[name] for name in self.parameters}

    @classmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        restored = cls._restore_settings(settings)
        values = sum(array.size for array in arrays.values())
        if any(value > values for value in asdict(restored).values() if type(value) is int):
            # Checked first: `shapes` would take long for a damaged number of layers.
            raise ModelFileError(f"the {cls.kind} model is smaller than its settings say")
        try:
            shapes = cls.shapes(len(encoder.vocabulary), restored)
        except UsageError as error:
            said = error.spelled(lambda field: f"the setting {field!r}")
            raise ModelFileError(f"the {cls.kind} model is damaged: {said}") from error
        for name in shapes.keys() ^ arrays.keys():
            what = "lacks" if name in shapes else "has an unknown"
            raise ModelFileError(f"the {cls.kind} model {what} array '{name}'")
        for name, shape in shapes.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != np.float32:
                raise ModelFileError(
                    f"array '{name}' of the {cls.kind} model is {array.dtype}{list(array.shape)}; "
                    f"its settings need float32{list(shape)}"
                )
        parameters = Parameters(shapes)
        for name in shapes:
            parameters[name][...] = arrays[name]
        model = cls(encoder, restored, parameters)
        model.require_sound()
        return model

    def require_sound(self) -> None:
        """Refuse weights from which no probabilities can be computed.

        Raises:
            ModelFileError: a weight is not finite, or so large that a sum would overflow.
        """
        for name in self.parameters:
            if not np.isfinite(self.parameters[name]).all():
                raise ModelFileError(f"array '{name}' of the {self.kind} model is not finite")
        if not self.largest_sum() < _LARGEST_SUM:
            raise ModelFileError(
                f"the {self.kind} model has weights so large that its numbers would overflow"
            )

    def largest_sum(self) -> float:
        """An upper bound of every sum of products that the model computes, for any input.

        This one is for models whose activations are bounded: each is at most one, or at most the
        greatest entry of an embedding.
        """
        inputs = max(1.0, self.largest("embedding.table"))
        sums = (max(self.parameters.shapes[n]) * self.largest(n) for n in self.parameters)
        return max(inputs * sum(sums), self.output.largest_sum(inputs))

    def largest(self, name: str) -> float:
        """The greatest absolute value in the array of this name."""
        array = self.parameters[name]
        return max(float(array.max()), -float(array.min()))

    @classmethod
    def _restore_settings(cls, settings: Mapping[str, Any]) -> Any:
        return read(cls.settings_type, settings, f"the {cls.kind} model")

    def _possible(self) -> IntArray:
        """The ids that can be predicted."""
        everything = np.arange(len(self.encoder.vocabulary), dtype=np.int32)
        return np.setdiff1d(everything, self.encoder.impossible)

    def _softmax_note(self) -> str:
        """Which softmax the model has, for `summary`."""
        cutoffs = self.output.cutoffs
        if not cutoffs:
            return "full softmax"
        edges = pairwise((*cutoffs, len(self.encoder.vocabulary)))
        clusters = ", ".join(
            f"{last - first:,} by {size}"
            for (first, last), size in zip(edges, self.output.sizes, strict=True)
        )
        numbers = "numbers (the tied embeddings)" if self.output.is_tied else "numbers"
        return f"adaptive softmax: {cutoffs[0]:,} tokens, and clusters of {clusters} {numbers}"

    def _unknown_note(self) -> str:
        """How the model learned about unknown words, for `summary`."""
        share = self._settings.unknown_share
        if share == 0:
            return "as in the training text"
        return f"{share:.2g} of the rarest training tokens were read as <unk>"


def dropped(
    dropout: Dropout, array: FloatArray, rng: np.random.Generator | None
) -> tuple[FloatArray, FloatArray | None]:
    """The array after dropout, and the mask; without `rng`, the array unchanged, and None."""
    if rng is None:
        return array, None
    return dropout.forward(array, dropout.mask(rng, array.shape, array.dtype))
