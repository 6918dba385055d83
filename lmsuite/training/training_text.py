"""A text made ready to train on: divided in two, with its encoder and its ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lmsuite.errors import DataError, UsageError
from lmsuite.sources.splitting import HeldOut, SplitRule
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries, TextSettings
from lmsuite.types import IntArray


class Split(NamedTuple):
    """A text in two."""

    training: str
    valid: str  # empty: none
    rule: str  # what the model file records: a `SplitRule`, the name of a file, "none"

    @property
    def is_end(self) -> bool:
        """Whether the validation text is the end of the text."""
        rule = SplitRule.parse(self.rule)
        return bool(self.valid) and rule is not None and rule.by is HeldOut.END


@dataclass(frozen=True)
class Validation:
    """Where the validation text comes from: a share of the text, or another text.

    Raises:
        UsageError: the share is not from 0 to below 1, `by` is unknown, or speaks of no share.
    """

    valid: float | str
    """A share of the text, 0 for none; or another text."""
    by: HeldOut | str | None = None
    """Whether the share is the end of the text, which is the default, or lines from everywhere."""
    name: str = "another text"
    """Of that text."""

    def __post_init__(self) -> None:
        if self.by is not None and self.by not in list(HeldOut):
            raise UsageError(
                f"{{valid_by}} must be one of {', '.join(HeldOut)}, not {self.by!r}", "valid_by"
            )
        if isinstance(self.valid, str) or self.valid == 0:
            if self.by is not None:
                asked = self.name if isinstance(self.valid, str) else f"{self.valid:g}"
                raise UsageError(
                    f"{{valid_by}} {self.by} says which share of the text is held out, but "
                    f"{{valid}} {asked} asks for none; leave out {{valid_by}}",
                    *("valid_by", "valid"),
                )
        else:
            SplitRule(self.valid)

    @classmethod
    def recorded(cls, rule: str, text: str = "") -> Validation:
        """What a model file has recorded; `text` is the validation text if it was another one."""
        if rule == "none":
            return cls(0)
        share = SplitRule.parse(rule)
        return cls(text, name=rule) if share is None else cls(share.share, share.by)

    def divide(self, text: str, *, whole_lines: bool, name: str = "the text") -> Split:
        """The text in two; all of it is for training if it is too short to be divided.

        Raises:
            DataError: it has too few different lines to choose from; the message calls it `name`.
        """
        if isinstance(self.valid, str):
            return Split(text, self.valid, self.name)
        if self.valid == 0:
            return Split(text, "", "none")
        rule = SplitRule(self.valid, HeldOut(self.by or HeldOut.END))
        training, held_out = rule.divide(text, whole_lines=whole_lines)
        if training.strip() and held_out.strip():
            return Split(training, held_out, str(rule))
        if rule.by is HeldOut.RANDOM:
            raise DataError(
                f"{name} has too few different lines to hold {rule.share} of it out at random; "
                "leave out {valid_by}, or give more text",
                "valid_by",
            )
        return Split(text, "", str(rule))


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


def make_ready(
    text: str,
    validation: Validation,
    reading: TextSettings | TextEncoder,
    *,
    name: str = "the text",
) -> TrainingText:
    """A text, divided, with its encoder.

    Args:
        text: the text.
        validation: which part of it is set aside.
        reading: how an encoder is made of the rest; or the encoder.
        name: what messages call the text.

    Raises:
        DataError: it has no tokens, or a reserved one, or too few different lines.
    """
    lines = reading.boundaries is Boundaries.LINES
    split = validation.divide(text, whole_lines=lines, name=name)
    if isinstance(reading, TextEncoder):
        return TrainingText(reading, reading.encode(split.training, name=name), split)
    encoder, ids = TextEncoder.train(split.training, reading, name=name)
    return TrainingText(encoder, ids, split)
