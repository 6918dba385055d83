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
* ``score(ids)`` equals the chain of `step`s and `log_probs`, to 1e-4 a token.
* `restore` of `settings_dict`, `arrays` and the encoder gives an equal model: same scores, to the
  bit.
* Training twice with the same seed on the same machine gives the same arrays, to the bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lmsuite.text.encoding import TextEncoder
from lmsuite.types import Array, FloatArray, IntArray

# What a state holds is the model's own business; callers only pass it on.
State: TypeAlias = Any


class LanguageModel(ABC):
    """A distribution over the next token, given a state."""

    kind: ClassVar[str]
    """The name in artefacts and tables: ``ngram``, ``ffnn``, ``rnn``, ``mixture``."""

    encoder: TextEncoder
    """The tokenizer, vocabulary and boundaries that turn text into this model's ids."""

    is_normalised: bool = True
    """Whether `log_probs` are probabilities; only stupid backoff's scores are not."""

    remembers_text: bool = False
    """Whether a state keeps, beyond every ``<s>``, a memory of the whole text (a cache does)."""

    @property
    @abstractmethod
    def settings(self) -> Any:
        """The model's frozen dataclass of settings, all values JSON-serialisable."""

    @abstractmethod
    def start(self, batch_size: int) -> State:
        """The state of `batch_size` texts of which nothing has been read (after ``<s>``)."""

    @abstractmethod
    def step(self, state: State, ids: IntArray) -> State:
        """The state after each text of the batch is continued by one token, ids (B,).

        ``<s>`` is allowed as a token and leads back to `start`; a model that `remembers_text` keeps
        its memory of the text, and forgets all else.
        """

    @abstractmethod
    def log_probs(self, state: State) -> FloatArray:
        """Natural log-probabilities of the next token, (B, V)."""

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

    def settings_dict(self) -> dict[str, Any]:
        """`settings` as plain JSON values."""
        from dataclasses import asdict

        return asdict(self.settings)
