"""The contract of every language model, of any family.

A model is a distribution over the next token given a *state*. A state is a value: `start` makes
one, `step` makes the next one from it, and neither is ever changed. So a state can be kept, copied
and returned to. It can be an n-gram history, a feed-forward window or a recurrent hidden vector.

Letters as in `lmsuite.types`, and M predicted tokens. Units are nats.

Invariants, tested for every model and every smoothing in ``tests/test_contract.py``:

* ``logsumexp(log_probs(state)) == 0`` to 1e-5, and the ids in ``encoder.impossible`` have
  probability zero (``<s>`` always; ``</s>`` too in stream mode, where a text has no end). If
  ``is_normalised`` is false (stupid backoff), only the sum may differ.
* ``score(ids)`` equals the chain of `step`s and `log_probs`, to 1e-4 nats per token. `read` equals
  that chain of steps. `score_next` is a step, with the log-probability of the ids that it reads.
  `score_without_bos` is the chain in which every sentence begins in `null_context`.
* A `piece_scorer`, given a text in pieces, cut anywhere, gives the numbers of `score`: those of the
  first piece to the bit, the others up to the rounding of the model's states.
* `select` and `join` treat the rows of a state alike in every family, and states of equal
  `state_key` have equal futures.
* Reading does not change a model, so any number of threads can share it. For many steps, ask for a
  `decoder`: it has buffers of its own, and serves one thread at a time.
* `restore` of `settings_dict`, `arrays` and the encoder gives an equal model: same scores, to the
  bit.
* Training twice with the same seed on the same machine gives the same arrays, to the bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmsuite.errors import DataError, UsageError
from lmsuite.models.sentences import LineScorer, running, scores_alone
from lmsuite.models.settings import AdaptationSettings
from lmsuite.models.text_scores import TextScores
from lmsuite.ngram.backed_off import BackedOff as BackedOff
from lmsuite.ngram.backed_off import Context as Context
from lmsuite.settings import recorded
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS
from lmsuite.types import Array, FloatArray, IntArray

if TYPE_CHECKING:
    from lmsuite.ngram.context_buckets import ContextBuckets

# Each model defines what its states hold; callers only pass them on.
State: TypeAlias = Any


class Decoder(Protocol):
    """Makes the steps of a `LanguageModel` for one reader, but quickly.

    A decoder is for one thread at a time, and for batches of at most the size that it was made for.
    Its states are the model's states. It is valid as long as the weights do not change.
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
    """The name in model files and tables: ``ngram``, ``ffnn``, ``rnn``, ``mixture``, ``cache``."""

    encoder: TextEncoder
    """The tokenizer, vocabulary and boundaries that turn text into this model's ids."""

    is_normalised: bool = True
    """Whether `log_probs` gives probabilities; only stupid backoff gives other scores."""

    reach: int | None = None
    """The state depends on this number of the last ids alone; None if it depends on all ids."""

    predicts_lines: bool = False
    """Whether the model predicts whole lines or documents, and no single tokens: then it has no
    states, and only `line_scorer` scores a text."""

    remembers_text: bool = False
    """Whether a state keeps a memory of the text before an ``<s>``, as a cache does."""

    @property
    @abstractmethod
    def settings(self) -> Any:
        """The model's settings: a frozen dataclass, all of whose values JSON can hold."""

    @abstractmethod
    def start(self, batch_size: int) -> State:
        """The state of `batch_size` texts at their beginning, after ``<s>``."""

    def null_context(self, batch_size: int) -> State:
        """The state of `batch_size` texts without known context: they need not begin here.

        In STREAM mode this is `start`, because a stream has no ``<s>`` between its sentences.

        Raises:
            UsageError: the model can read a sentence only from its ``<s>``.
        """
        if not self.encoder.boundaries.has_sequences:
            return self.start(batch_size)
        raise UsageError(
            f"a model of kind {self.kind} can read a sentence only from its beginning; "
            "leave bos=True"
        )

    @abstractmethod
    def step(self, state: State, ids: IntArray) -> State:
        """The state after one more token of each text of the batch, ids (B,).

        The token ``<s>`` leads back to `start`; a model that `remembers_text` keeps its memory of
        the text, and forgets all else.
        """

    @abstractmethod
    def log_probs(self, state: State) -> FloatArray:
        """Natural log-probabilities of the next token, (B, V)."""

    def backed_off(self, state: State) -> Sequence[BackedOff] | None:
        """`log_probs` with few numbers a row, of a model that has only such rows; here None."""
        return None

    def decoder(self, batch_size: int) -> Decoder:
        """A decoder that makes many steps of up to `batch_size` texts quickly; here the model."""
        return self

    def read(self, state: State, ids: IntArray) -> State:
        """The state of one text after N more ids (N,): N steps, but quickly."""
        ids = self.checked(ids)
        known = len(ids) if self.reach is None else self.reach
        decoder = self.decoder(1)
        for i in range(max(0, len(ids) - known), len(ids)):
            state = decoder.step(state, ids[i : i + 1])
        return state

    def score_next(self, state: State, ids: IntArray) -> tuple[NDArray[np.float64], State]:
        """The log-probability (B,) of one id (B,) after each text, and the state after it."""
        after = self.step(state, ids)
        log_probs = self.log_probs(state)[np.arange(len(ids)), ids]
        return log_probs.astype(np.float64), after

    rows_axis: ClassVar[int] = 0
    """The axis of a state's array that runs over the texts of the batch."""

    def select(self, state: State, rows: Sequence[int] | IntArray) -> State:
        """The state of these texts of a batch, in this order; a text may be selected repeatedly."""
        return np.take(state, np.asarray(rows, np.intp), axis=self.rows_axis)

    def join(self, states: Sequence[State]) -> State:
        """One state of the texts of several batches, one batch after the other."""
        return np.concatenate(states, axis=self.rows_axis)

    def state_key(self, state: State, row: int) -> Hashable:
        """A key of the state of one text; states of equal keys have equal futures."""
        key: bytes = np.take(state, row, axis=self.rows_axis).tobytes()
        return key

    @abstractmethod
    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """Natural log-probabilities (M,) of every id in ids (N,) that is not ``<s>``, in order.

        Scoring begins in `start`; every ``<s>`` among the ids does what it does in `step`.
        """

    def piece_scorer(self) -> Callable[[IntArray], NDArray[np.float64]]:
        """What scores a text in pieces: called with each in turn, it gives the scores of each.

        Between two pieces it keeps no more of the text than the state of the model. Here that is
        the last `reach` ids; a model without `reach` has its own way.
        """
        before: IntArray = np.zeros(0, np.int32)

        def score(ids: IntArray) -> NDArray[np.float64]:
            nonlocal before
            whole = np.concatenate((before, self.checked(ids)))
            scores = self.score(whole)[np.count_nonzero(before != BOS) :]
            before = whole if self.reach is None else whole[max(0, len(whole) - self.reach) :]
            return scores

        return score

    def adapting_scorer(
        self, settings: AdaptationSettings
    ) -> Callable[[IntArray], NDArray[np.float64]]:
        """As `piece_scorer`, but the model learns from what it has scored; see `adaptation`.

        The model itself is not changed.

        Raises:
            UsageError: no part of the model is a network.
        """
        raise UsageError(f"a model of kind {self.kind} cannot adapt: it has no network to train")

    def line_scorer(self, *, in_context: bool) -> LineScorer:
        """What scores a text in parts of whole lines (documents); see `LineScorer`.

        With `in_context` a line has the lines before it as context; without, it is scored as if it
        were alone.
        """
        if not in_context:
            return lambda part, ids, lengths: scores_alone(self, ids)
        score = self.piece_scorer()
        return lambda part, ids, lengths: score(running(self.encoder, ids))

    def score_without_bos(self, ids: IntArray) -> NDArray[np.float64]:
        """As `score`, but every sentence begins in `null_context`.

        Raises:
            UsageError: as `null_context`.
        """
        if not self.encoder.boundaries.has_sequences:
            return self.score(ids)
        scores = []
        state = self.null_context(1)
        for token in self.checked(ids).tolist():
            if token == BOS:
                state = self.null_context(1)
                continue
            score, state = self.score_next(state, np.array([token], np.int32))
            scores.append(float(score[0]))
        return np.array(scores)

    def matched_orders(self, ids: IntArray, *, bos: bool = True) -> NDArray[np.int64] | None:
        """The order (M,) of the n-gram that predicts each id; None if the model has no n-grams.

        If `bos` is False, these are the orders for `score_without_bos`, else those for `score`.
        """
        return None

    def context_buckets(self) -> ContextBuckets | None:
        """What tells contexts apart by how much is known of them, from the model's ids and states.

        None if the model has no n-grams.
        """
        return None

    @abstractmethod
    def arrays(self) -> Mapping[str, Array]:
        """The learned arrays, by name: all that `restore` needs besides encoder and settings."""

    @classmethod
    @abstractmethod
    def restore(
        cls, encoder: TextEncoder, settings: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Self:
        """The model that gave this encoder, `settings_dict` and `arrays`.

        Raises:
            ModelFileError: a setting or an array is missing or unknown, or its shape, dtype or
                value does not fit the others; the message names it.
        """

    @abstractmethod
    def summary(self) -> Mapping[str, Any]:
        """Facts for ``lm info``, by label, in the order to show: sizes, discounts, notes."""

    def layers(self, ids: IntArray) -> Sequence[FloatArray] | None:
        """What every layer of a network has when it has read each of the ids (N,): N vectors each.

        The embedding is layer 0. None if the model is no network.
        """
        return None

    def embedding(self) -> FloatArray | None:
        """The learned vector of every token, (V, E); None if the model has no embedding."""
        return None

    def checked(self, ids: IntArray) -> IntArray:
        """The ids as int32, after a check; see `checked_ids`."""
        return checked_ids(ids, len(self.encoder.vocabulary))

    def settings_dict(self) -> dict[str, Any]:
        """`settings` as plain JSON values, as a model file records them."""
        return recorded(self.settings)


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
        # A conversion could cut off large numbers and make negative ones wrap around: check first.
        _require_in_range(array, vocabulary_size)
        array = array.astype(np.int32)
    if array.size == 1 and 0 <= array.item() < vocabulary_size:  # a step of one text
        return array
    # As unsigned numbers, negative ids are larger than all others: one reduction finds both faults.
    if array.size and np.maximum.reduce(array.view(np.uint32)) >= vocabulary_size:
        _require_in_range(array, vocabulary_size)
    return array


def _require_in_range(ids: NDArray[Any], vocabulary_size: int) -> None:
    wrong = ids[(ids < 0) | (ids >= vocabulary_size)]
    if wrong.size:
        raise DataError(
            f"the id {wrong[0]} is no token; the vocabulary has 0 to {vocabulary_size - 1}"
        )
