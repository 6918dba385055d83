"""A model as a report sees it: what it is called, what it is, how it was made."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmsuite.models.interface import LanguageModel
from lmsuite.report.linechart import LineChart, Series
from lmsuite.storage.artefact import Provenance
from lmsuite.training.history import HistoryRow

_MINUTES_FROM = 240.0  # seconds of training from which an axis counts minutes


@dataclass(frozen=True)
class Subject:
    """One model of a report."""

    name: str
    model: LanguageModel
    provenance: Provenance | None = None  # an ARPA file has none
    history: Sequence[HistoryRow] = ()  # only training in steps leaves one


def same_tokens(models: Iterable[LanguageModel]) -> bool:
    """Whether all models cut a text into the same tokens, so that perplexities compare."""
    return len({json.dumps(model.text.describe(), sort_keys=True) for model in models}) <= 1


def learning_curves(subjects: Sequence[Subject]) -> LineChart | None:
    """Validation over the time of training, for the models that have a history; None if none has.

    The unit is perplexity a token if all have the same tokenizer, else bits a character, which
    models of different tokens have in common.
    """
    styles = {subject.name: style for style, subject in enumerate(subjects)}
    trained = [subject for subject in subjects if subject.history]
    if not trained:
        return None
    factors = [_bits_per_char_of_a_nat(subject) for subject in trained]
    in_bits = not same_tokens([subject.model for subject in trained]) and None not in factors
    longest = max(subject.history[-1].seconds for subject in trained)
    minutes = longest >= _MINUTES_FROM
    series = []
    for subject, factor in zip(trained, factors, strict=True):
        points = [
            (
                row.seconds / (60 if minutes else 1),
                row.valid_loss * factor if in_bits and factor else row.valid_perplexity,
            )
            for row in subject.history
            if math.isfinite(row.valid_loss)
        ]
        if points:
            series.append(Series(subject.name, points, styles[subject.name]))
    if not series:
        return None
    return LineChart(
        title="Learning curves",
        x_label=f"{'minutes' if minutes else 'seconds'} of training",
        y_label=f"validation, {'bits a character' if in_bits else 'perplexity'}",
        series=series,
        y_logarithmic=not in_bits,
    )


def _bits_per_char_of_a_nat(subject: Subject) -> float | None:
    """What one nat a token is in bits a character, on the model's validation text."""
    validation = subject.provenance.validation if subject.provenance else {}
    nats, bits = validation.get("cross_entropy"), validation.get("bits_per_char")
    return bits / nats if nats and bits else None
