"""What every language model promises, whatever its family.

A model is a distribution over the next token given a *state*, and the state is a value: `start`
makes one, `step` makes the next one from it, nothing is ever mutated, so a state can be kept,
copied and returned to. The same three methods fit an n-gram history, a feed-forward window and a
recurrent hidden vector.

Letters as in `lmsuite.types`, and M predicted tokens. Units are nats.

Invariants, tested for every model and every smoothing in ``tests/test_contract.py``:

* ``logsumexp(log_probs(state)) == 0`` to 1e-5, and the ids in ``text.impossible`` have
  probability zero (``<s>`` always; ``</s>`` too in stream mode, where a text has no end). Models
  with ``is_normalised`` false (stupid backoff) are excused from the sum alone.
* ``score(ids)`` equals the chain of `step`s and `log_probs`, to 1e-4 a token; `read` is that chain
  of steps, and `score_next` a step together with the log-probability of what is read.
* `select` and `join` treat the rows of a state alike in every family, and states of equal
  `state_key` have equal futures.
* A model is not changed by being read: any number of threads share one. Whoever takes many steps
  asks for a `decoder`, which has buffers of its own, for one thread at a time.
* `restore` of `settings_dict`, `arrays` and the encoder gives an equal model: same scores, to the
  bit.
* Training twice with the same seed on the same machine gives the same arrays, to the bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmsuite.errors import DataError, UsageError
from lmsuite.models.text_scores import TextScores
from lmsuite.text.encoding import TextEncoder
from lmsuite.types import Array, FloatArray, IntArray

# What a state holds is the model's own business; callers only pass it on.
State: TypeAlias = Any


class Decoder(Protocol):
    """What steps a model for one reader, as `LanguageModel` does, but quickly.

    It is for one thread at a time, and for batches of at most the size that it was made for. Its
    states are the model's. It serves as long as the weights stay as they are.
    """

    def step(self, state: State, ids: IntArray) -> State:
        """As `LanguageModel.step`."""

    def log_probs(self, state: State) -> FloatArray:
        """As `LanguageModel.log_probs`."""

    def score_next(self, state: State, ids: IntArray) -> tuple[NDArray[np.float64], State]:
        """As `LanguageModel.score_next`."""


class LanguageModel(TextScores, ABC):
    """A distribution over the next token, given a state.

    Every method that is given ids raises `UsageError` if they are not whole numbers, and
    `DataError` if one is outside the vocabulary.
    """

    kind: ClassVar[str]
    """The name in artefacts and tables: ``ngram``, ``ffnn``, ``rnn``, ``mixture``."""

    encoder: TextEncoder
    """The tokenizer, vocabulary and boundaries that turn text into this model's ids."""

    is_normalised: bool = True
    """Whether `log_probs` are probabilities; only stupid backoff's scores are not."""

    reach: int | None = None
    """How many of the ids read last determine the state; None if all of them do."""

    remembers_text: bool = False
    """Whether a state keeps, beyond every ``<s>``, a memory of the whole text (a cache does)."""

    @property
    @abstractmethod
    def settings(self) -> Any:
        """The model's frozen dataclass of settings, all values JSON-serialisable."""

    @abstractmethod
    def start(self, batch_size: int) -> State:
        """The state of `batch_size` texts of which nothing has been read (after ``<s>``)."""

    def null_context(self, batch_size: int) -> State:
        """The state of `batch_size` texts of which nothing is known, not even that they begin here.

        A stream has no other beginning, so in STREAM mode this is `start`.

        Raises:
            UsageError: the model knows sentences from their ``<s>`` alone.
        """
        if not self.encoder.boundaries.has_sequences:
            return self.start(batch_size)
        raise UsageError(
            f"a model of kind {self.kind} has read every sentence from its beginning, and has no "
            "probability without one; leave bos=True"
        )

    def matched_order(self, state: State, token_id: int) -> int | None:
        """The order of the n-gram that predicts an id after a state of batch size 1.

        None in a model that is not made of n-grams.
        """
        return None

    @abstractmethod
    def step(self, state: State, ids: IntArray) -> State:
        """The state after each text of the batch is continued by one token, ids (B,).

        ``<s>`` is allowed as a token and leads back to `start`; a model that `remembers_text` keeps
        its memory of the text, and forgets all else.
        """

    @abstractmethod
    def log_probs(self, state: State) -> FloatArray:
        """Natural log-probabilities of the next token, (B, V)."""

    def decoder(self, batch_size: int) -> Decoder:
        """What takes many steps of up to `batch_size` texts quickly: this model, or its buffers."""
        return self

    def read(self, state: State, ids: IntArray) -> State:
        """The state (of one text) after the text is continued by ids (N,): N steps, but quickly."""
        ids = self.checked(ids)
        known = len(ids) if self.reach is None else self.reach
        decoder = self.decoder(1)
        for place in range(max(0, len(ids) - known), len(ids)):
            state = decoder.step(state, ids[place : place + 1])
        return state

    def score_next(self, state: State, ids: IntArray) -> tuple[NDArray[np.float64], State]:
        """The log-probability (B,) of one id (B,) after each text, and the state after it."""
        after = self.step(state, ids)
        log_probs = self.log_probs(state)[np.arange(len(ids)), ids]
        return log_probs.astype(np.float64), after

    rows_axis: ClassVar[int] = 0
    """The axis of a state's array that counts the texts of the batch."""

    def select(self, state: State, rows: Sequence[int] | IntArray) -> State:
        """The state of these texts of a batch, in this order; a text may be named repeatedly."""
        return np.take(state, np.asarray(rows, np.intp), axis=self.rows_axis)

    def join(self, states: Sequence[State]) -> State:
        """The state of all texts of some batches, one batch after the other."""
        return np.concatenate(states, axis=self.rows_axis)

    def state_key(self, state: State, row: int) -> Hashable:
        """What tells the state of one text from others: equal keys have equal futures."""
        key: bytes = np.take(state, row, axis=self.rows_axis).tobytes()
        return key

    @abstractmethod
    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """Natural log-probabilities (M,) of every id in ids (N,) that is not ``<s>``, in order.

        Scoring begins in `start`; every ``<s>`` among the ids does what it does in `step`.
        """

    @abstractmethod
    def arrays(self) -> Mapping[str, Array]:
        """What the model has learned, by name: all that `restore` needs besides settings, text."""

    @classmethod
    @abstractmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        """The model whose `settings_dict` and `arrays` these are.

        Raises:
            ModelFileError: a setting or an array is missing, superfluous, or has a shape, dtype or
                value that does not fit the others; the message names it.
        """

    @abstractmethod
    def summary(self) -> Mapping[str, Any]:
        """Facts for ``lm info``, by label, in the order to show: sizes, discounts, notes."""

    def embedding(self) -> FloatArray | None:
        """The learned vector of every token, (V, E); None in a model that has none."""
        return None

    def checked(self, ids: IntArray) -> IntArray:
        """The ids as int32, after a check; see `checked_ids`."""
        return checked_ids(ids, len(self.encoder.vocabulary))

    def settings_dict(self) -> dict[str, Any]:
        """`settings` as plain JSON values."""
        from dataclasses import asdict

        return asdict(self.settings)


def checked_ids(ids: ArrayLike, vocabulary_size: int) -> IntArray:
    """The ids (N,) as int32.

    Raises:
        UsageError: they are not whole numbers, in one dimension.
        DataError: one is outside the vocabulary.
    """
    array = np.asarray(ids)
    if array.dtype.kind not in "iu" and array.size:
        raise UsageError(
            f"ids are whole numbers, as model.encoder.encode(text) makes them, not {ids!r:.60}"
        )
    if array.ndim != 1:
        raise UsageError(f"ids have one dimension, not the shape {array.shape}")
    if array.dtype != np.int32:
        # Wider numbers are compared before they are cut off, and -1 before it wraps around.
        _require_in_range(array, vocabulary_size)
        array = array.astype(np.int32)
    # Seen as unsigned numbers, negative ids lie above all others: one reduction finds both.
    if array.size and np.maximum.reduce(array.view(np.uint32)) >= vocabulary_size:
        _require_in_range(array, vocabulary_size)
    return array


def _require_in_range(ids: NDArray[Any], vocabulary_size: int) -> None:
    wrong = ids[(ids < 0) | (ids >= vocabulary_size)]
    if wrong.size:
        raise DataError(
            f"the id {wrong[0]} is no token; the vocabulary has 0 to {vocabulary_size - 1}"
        )
