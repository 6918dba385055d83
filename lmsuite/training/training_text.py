"""A text prepared for training: divided in two, with its encoder and its ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from lmsuite.errors import DataError, UsageError
from lmsuite.files.stored_text import StoredText, Text, copied, is_blank
from lmsuite.sources.splitting import HeldOut, SplitRule
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries, TextSettings
from lmsuite.types import IntArray


class Split(NamedTuple):
    """A text divided into a training part and a validation part."""

    training: Text
    valid: Text  # empty if there is no validation part
    rule: str  # for the model file: a `SplitRule`, the name of a file, or "none"

    @property
    def is_end(self) -> bool:
        """Whether the validation part is the end of the text."""
        rule = SplitRule.parse(self.rule)
        return bool(self.valid) and rule is not None and rule.by is HeldOut.END


@dataclass(frozen=True)
class Validation:
    """Where the validation text comes from: a share of the text, or another text.

    Raises:
        UsageError: the share is not from 0 to below 1; or `by` is unknown, or given without a
            share.
    """

    valid: float | Text
    """A share of the text, 0 for none; or another text."""
    by: HeldOut | str | None = None
    """`HeldOut.END` (the default) or `HeldOut.RANDOM`: lines from all over the text."""
    name: str = "another text"
    """The name of that other text."""

    def __post_init__(self) -> None:
        if self.by is not None and self.by not in list(HeldOut):
            raise UsageError(
                f"{{valid_by}} must be one of {', '.join(HeldOut)}, not {self.by!r}", "valid_by"
            )
        if isinstance(self.valid, str | StoredText) or self.valid == 0:
            if self.by is not None:
                asked = self.name if isinstance(self.valid, str | StoredText) else f"{self.valid:g}"
                raise UsageError(
                    f"{{valid_by}} {self.by} says which share of the text is held out, but "
                    f"{{valid}} {asked} asks for none; leave out {{valid_by}}",
                    *("valid_by", "valid"),
                )
        else:
            SplitRule(self.valid)

    @classmethod
    def recorded(cls, rule: str, text: Text = "") -> Validation:
        """From the rule in a model file; `text` is the validation text, if it was another text."""
        if rule == "none":
            return cls(0)
        share = SplitRule.parse(rule)
        return cls(text, name=rule) if share is None else cls(share.share, share.by)

    def divide(self, text: Text, boundaries: Boundaries, *, name: str = "the text") -> Split:
        """Divide the text in two; a text that is too short for that is all for training.

        Where it is cut into sequences, none is in both parts.

        Raises:
            DataError: the text, called `name`, has too few different lines or documents to choose
                from.
        """
        if isinstance(self.valid, str | StoredText):
            return Split(text, self.valid, self.name)
        if self.valid == 0:
            return Split(text, "", "none")
        rule = SplitRule(self.valid, HeldOut(self.by or HeldOut.END), unit=boundaries.unit)
        training, held_out = divided(text, rule, boundaries)
        if not is_blank(training) and not is_blank(held_out):
            return Split(training, held_out, str(rule))
        if rule.by is HeldOut.RANDOM:
            raise DataError(
                f"{name} has too few different {boundaries.unit}s to hold {rule.share} of it out "
                "at random; leave out {valid_by}, or give more text",
                "valid_by",
            )
        return Split(text, "", str(rule))


def divided(text: Text, rule: SplitRule, boundaries: Boundaries) -> tuple[Text, Text]:
    """The two parts of a text, as `SplitRule.divide` makes them for a text of these boundaries."""
    return rule.divide(text, whole_units=boundaries.has_sequences, end=boundaries.end)


@dataclass(frozen=True)
class TrainingText:
    """A text prepared for training."""

    encoder: TextEncoder
    ids: IntArray  # (N,) of the training part, as from `encoder.encode`
    split: Split

    @cached_property
    def valid_ids(self) -> IntArray:
        """The ids of the validation part; none if there is no such part."""
        return self.encoder.encode(self.split.valid)

    def without_text(self) -> TrainingText:
        """The same, with an empty training text: a long one takes room on disk."""
        return replace(self, split=Split("", copied(self.split.valid), self.split.rule))


def make_ready(
    text: Text,
    validation: Validation,
    reading: TextSettings | TextEncoder,
    *,
    name: str = "the text",
) -> TrainingText:
    """Divide a text, and encode its training part.

    Args:
        text: the text.
        validation: which part of the text is set aside.
        reading: settings for a new encoder, which the training part makes; or an encoder.
        name: how messages name the text.

    Raises:
        DataError: the text has no tokens, or a reserved token, or too few different lines.
    """
    split = validation.divide(text, reading.boundaries, name=name)
    if isinstance(reading, TextEncoder):
        return TrainingText(reading, reading.encode(split.training, name=name), split)
    encoder, ids = TextEncoder.train(split.training, reading, name=name)
    return TrainingText(encoder, ids, split)
