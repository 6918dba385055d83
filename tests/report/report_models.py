"""Small models of a text that holds a little of everything that must not break a page."""

from __future__ import annotations

import random

from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.report.model_charts import TrainedModel
from lmsuite.store.records import Provenance, ValidationRecord
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

HOSTILE = "</style><script>alert('x')</script> \x1b[2J\x07 \u202eabc\u202c שלום עולם & \"q\" <!--"


def verse(lines: int, seed: int) -> str:
    """A text of short lines."""
    rng = random.Random(seed)
    words = "my lord the king is come to see thy crown of glass again"
    text = ""
    for number in range(1, lines + 1):
        text += " ".join(rng.choices(words.split(), k=6)) + (
            f" {HOSTILE}" if number % 7 == 0 else ""
        )
        text += "\n\n" if number % 4 == 0 else "\n"
    return text


def trained_ngram(name: str, tokenizer: str, order: int, *, lines: bool = False) -> TrainedModel:
    """An n-gram model of verse, with a provenance."""
    boundaries = Boundaries.LINES if lines else Boundaries.STREAM
    settings = TextSettings(tokenizer=tokenizer, boundaries=boundaries)
    encoder, ids = TextEncoder.train(verse(300, seed=1), settings)
    model = NgramModel.fit(encoder, ids, NgramSettings(order=order))
    valid = model.score(encoder.encode(verse(20, seed=2)))
    provenance = Provenance(
        command=f"lm train ngram {HOSTILE}",
        version="1",
        corpus=HOSTILE,
        corpus_sha256="ab" * 32,
        created="2026-01-01T00:00:00+00:00",
        validation=ValidationRecord(cross_entropy=-valid.mean(), bits_per_char=2.0),
    )
    return TrainedModel(name, model, provenance)
