"""Which results of several models can be compared, and what a reader must know first."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from lmsuite.analysis.evaluation import Evaluation
from lmsuite.files.stored_text import Text
from lmsuite.models.interface import LanguageModel
from lmsuite.text.encoding import TextEncoder


@dataclass(frozen=True)
class Comparable:
    """One evaluation, with the facts that decide which others it can be compared with."""

    result: Evaluation
    text: Text
    """The text that was scored."""
    encoder: TextEncoder
    is_normalised: bool
    predicts_lines: bool
    is_tuned: bool
    """Whether this is a mixture whose weights were fitted to the text."""

    @classmethod
    def of(
        cls, result: Evaluation, model: LanguageModel, text: Text, *, is_tuned: bool
    ) -> Comparable:
        """The facts about `model` and its `result` on `text`."""
        return cls(
            result=result,
            text=text,
            encoder=model.encoder,
            is_normalised=model.is_normalised,
            predicts_lines=model.predicts_lines,
            is_tuned=is_tuned,
        )


def same_tokens(encoders: Iterable[TextEncoder]) -> bool:
    """Whether all cut a text into the same tokens; else perplexities cannot be compared."""
    return not _different(json.dumps(each.describe(), sort_keys=True) for each in encoders)


def cautions(rows: Sequence[Comparable]) -> list[str]:
    """What a reader must know before comparing the results."""
    notes = []
    if _different(row.text for row in rows):
        notes.append(
            "The models have different validation texts: give one text to compare them on."
        )
    alike = same_tokens(row.encoder for row in rows)
    if not alike:
        notes.append("* The models have different tokens: compare bits/char, not perplexity.")
    elif _different(row.encoder.fingerprint() for row in rows) and any(
        row.result.oov for row in rows
    ):
        notes.append(
            "The vocabularies differ, so the perplexities with OOV are not comparable; those "
            "without OOV leave out different tokens."
        )
    oov = [row for row in rows if row.result.oov]
    if oov:
        notes.append(
            f"{_names(oov)}: bits/char charges <unk> for OOV tokens, but not their spelling."
        )
    lossy = [row for row in rows if not row.encoder.tokenizer.lossless]
    if lossy and not alike:
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
        if row.predicts_lines:
            notes.append(
                f"{row.result.model}: a mixture over whole lines; its tokens are those of its "
                "first member, so compare it with that one, or by bits/char."
            )
        if not row.is_normalised:
            notes.append(
                f"{row.result.model}: stupid backoff gives scores that do not sum to one; its "
                "figures are not perplexities."
            )
    return notes


def tuned_on_it(name: str) -> str:
    """The caution about a mixture that is evaluated on the text that its weights were fitted to."""
    return f"{name} has its weights from this very text: another one is fairer."


def _different(values: Iterable[Hashable]) -> bool:
    return len(set(values)) > 1


def _names(rows: Iterable[Comparable]) -> str:
    return ", ".join(row.result.model for row in rows)
