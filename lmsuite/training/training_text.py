"""A text made ready to train on: divided in two, with its encoder and its ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import TextSettings
from lmsuite.types import IntArray


class Split(NamedTuple):
    """A text in two."""

    training: str
    valid: str  # empty: none
    rule: str  # what the model file records: a `SplitRule`, the name of a file, "none"


@dataclass(frozen=True)
class TrainingText:
    """A text made ready to train on."""

    encoder: TextEncoder
    ids: IntArray  # (N,) of the training part, as from `encoder.encode`
    split: Split

    @cached_property
    def valid_ids(self) -> IntArray:
        """The ids of the validation part; none if there is no such part."""
        return self.encoder.encode(self.split.valid)


def make_ready(split: Split, settings: TextSettings, *, name: str = "the text") -> TrainingText:
    """A text, divided, with the encoder that its training part makes.

    Raises:
        DataError: it has no tokens, or a reserved one; the message calls it `name`.
    """
    encoder, ids = TextEncoder.train(split.training, settings, name=name)
    return TrainingText(encoder, ids, split)
