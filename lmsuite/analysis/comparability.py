"""Which figures of several models can be compared, and what a reader must know before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmsuite.analysis.evaluation import Evaluation
from lmsuite.models.interface import LanguageModel


@dataclass(frozen=True)
class Comparable:
    """One evaluation, and what decides with which others it can be compared."""

    result: Evaluation
    text: str
    """What tells the text from others."""
    tokenization: str
    vocabulary: str
    """Fingerprint."""
    lossless: bool
    is_normalised: bool
    is_tuned: bool
    """Whether the text has chosen the weights of this mixture."""

    @classmethod
    def of(
        cls, result: Evaluation, model: LanguageModel, text: str, *, is_tuned: bool
    ) -> Comparable:
        """What decides it for `model`, whose `result` on `text` this is."""
        return cls(
            result=result,
            text=text,
            tokenization=json.dumps(model.encoder.describe(), sort_keys=True),
            vocabulary=model.encoder.fingerprint(),
            lossless=model.encoder.tokenizer.lossless,
            is_normalised=model.is_normalised,
            is_tuned=is_tuned,
        )


def same_tokens(rows: Sequence[Comparable]) -> bool:
    """Whether all models cut a text into the same tokens, so that perplexities compare."""
    return not _different(row.tokenization for row in rows)


def cautions(rows: Sequence[Comparable]) -> list[str]:
    """What a reader must know before comparing the figures."""
    notes = []
    if _different(row.text for row in rows):
        notes.append(
            "The models have different validation texts: give one text to compare them on."
        )
    if _different(row.tokenization for row in rows):
        notes.append("* The models have different tokens: compare bits/char, not perplexity.")
    elif _different(row.vocabulary for row in rows) and any(row.result.oov for row in rows):
        notes.append(
            "The vocabularies differ, so the perplexities with OOV are not comparable; those "
            "without OOV leave out different tokens."
        )
    oov = [row for row in rows if row.result.oov]
    if oov:
        notes.append(
            f"{_names(oov)}: bits/char charges <unk> for OOV tokens, but not their spelling."
        )
    lossy = [row for row in rows if not row.lossless]
    if lossy and _different(row.tokenization for row in rows):
        notes.append(
            f"{_names(lossy)}: the tokens do not show every space, so bits/char leaves some "
            "characters unpredicted."
        )
    for row in rows:
        if row.result.zero_tokens:
            notes.append(
                f"{row.result.model}: {row.result.zero_tokens:,} of {row.result.tokens:,} tokens "
                "have probability zero."
            )
        if row.is_tuned:
            notes.append(tuned_on_it(row.result.model))
        if not row.is_normalised:
            notes.append(
                f"{row.result.model}: stupid backoff gives scores that do not sum to one; its "
                "figures are not perplexities."
            )
    return notes


def tuned_on_it(name: str) -> str:
    """The caution about a mixture whose weights come from the text that it is measured on."""
    return f"{name} has its weights from this very text: another one is fairer."


def _different(values: Iterable[str]) -> bool:
    return len(set(values)) > 1


def _names(rows: Iterable[Comparable]) -> str:
    return ", ".join(row.result.model for row in rows)
