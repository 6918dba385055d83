"""A model as a report sees it: what it is called, what it is, how it was made."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lmsuite.errors import LmError
from lmsuite.models.interface import LanguageModel
from lmsuite.report.linechart import LineChart, Series
from lmsuite.store.history import HistoryRow
from lmsuite.store.opening import OpenedModel
from lmsuite.store.records import Provenance, ValidationRecord

_MINUTES_FROM = 240.0  # seconds of training from which an axis counts minutes
_LARGEST_LOSS = 700.0  # nats, of which a float still holds the perplexity


@dataclass(frozen=True)
class Subject:
    """One model of a report."""

    name: str
    model: LanguageModel
    provenance: Provenance | None = None  # an ARPA file has none
    history: Sequence[HistoryRow] = ()  # only training in steps leaves one

    @classmethod
    def of(cls, opened: OpenedModel, left_out: Callable[[LmError], None]) -> Subject:
        """The model with its provenance and its learning curve, if it has them.

        Raises:
            ModelFileError: the learning curve is damaged.
        """
        provenance = opened.provenance if opened.manifest else None
        return cls(opened.name, opened.model, provenance, opened.learning_curve(left_out))

    @property
    def validation(self) -> ValidationRecord:
        """How the model did on the text that was set aside."""
        return self.provenance.validation if self.provenance else ValidationRecord()


def same_tokens(models: Iterable[LanguageModel]) -> bool:
    """Whether all models cut a text into the same tokens, so that perplexities compare."""
    return len({json.dumps(model.encoder.describe(), sort_keys=True) for model in models}) <= 1


def learning_curves(subjects: Sequence[Subject]) -> LineChart | None:
    """Validation over the time of training, for the models that have a history; None if none has.

    Models without a history that were validated on the same text are flat lines to compare with.
    The unit is perplexity a token if all have the same tokens, else bits a character. How a network
    did before its first step is left out: it would press all that follows flat.
    """
    trained = [subject for subject in subjects if subject.history]
    texts = {subject.validation.sha256 for subject in trained}
    baselines = [
        subject
        for subject in subjects
        if not subject.history and len(texts) == 1 and subject.validation.sha256 in texts
    ]
    drawn = trained + baselines
    in_bits = not same_tokens(subject.model for subject in drawn)
    if in_bits and any(_bits_of_a_nat(subject) is None for subject in drawn):
        drawn, in_bits = trained, False
    longest = max((subject.history[-1].seconds for subject in trained), default=0.0)
    minute = 60.0 if longest >= _MINUTES_FROM else 1.0
    series = [
        Series(subject.name, points, style)
        for style, subject in enumerate(subjects)
        if subject in drawn and (points := _points(subject, longest, minute, in_bits=in_bits))
    ]
    if not trained or not series:
        return None
    return LineChart(
        title="Learning curves",
        x_label=f"{'minutes' if minute > 1 else 'seconds'} of training",
        y_label=f"validation, {'bits a character' if in_bits else 'perplexity'}",
        series=series,
        y_logarithmic=not in_bits,
    )


def _points(
    subject: Subject, longest: float, minute: float, *, in_bits: bool
) -> list[tuple[float, float]]:
    """The curve of a model with a history, or two points of a flat line from 0 to `longest`."""
    rows = [row for row in subject.history if row.step > 0] or subject.history
    places = [(row.seconds, row.valid_loss) for row in rows]
    if not rows and (loss := subject.validation.cross_entropy) is not None:
        places = [(0.0, loss), (longest, loss)]
    factor = _bits_of_a_nat(subject) if in_bits else None
    return [
        (seconds / minute, loss * factor if factor else math.exp(loss))
        for seconds, loss in places
        if 0 <= loss < _LARGEST_LOSS and (not factor or math.isfinite(loss * factor))
    ]


def _bits_of_a_nat(subject: Subject) -> float | None:
    """What one nat a token is in bits a character, on the model's validation text."""
    nats, bits = subject.validation.cross_entropy, subject.validation.bits_per_char
    return bits / nats if nats and bits else None
