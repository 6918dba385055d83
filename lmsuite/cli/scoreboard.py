"""The table of ``lm eval``, and the footnotes that keep it honest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lmsuite.analysis.evaluation import Evaluation
from lmsuite.cli.tables import Column, show_table
from lmsuite.models.interface import LanguageModel
from lmsuite.store.validation_text import text_sha256

_JSON_KEYS = (
    "model",
    "kind",
    "tokens",
    "oov",
    "cross_entropy",
    "perplexity",
    "perplexity_without_oov",
    "chars",
    "bits_per_char",
    "seconds",
    "tokens_per_second",
)


@dataclass(frozen=True)
class Row:
    """One evaluation, and what decides with which others it can be compared."""

    result: Evaluation
    text: str  # checksum
    tokenization: str
    tokenizer: str
    vocabulary: str  # fingerprint
    lossless: bool
    is_normalised: bool
    is_tuned: bool  # the text has chosen the weights of this mixture

    @classmethod
    def of(cls, result: Evaluation, model: LanguageModel, text: str, *, is_tuned: bool) -> Row:
        """The row of `model`, whose `result` on `text` this is."""
        return cls(
            result=result,
            text=text_sha256(text),
            tokenization=json.dumps(model.encoder.describe(), sort_keys=True),
            tokenizer=model.encoder.tokenizer.name,
            vocabulary=model.encoder.fingerprint(),
            lossless=model.encoder.tokenizer.lossless,
            is_normalised=model.is_normalised,
            is_tuned=is_tuned,
        )


def json_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with the keys that ``--json`` promises."""
    return [{key: asdict(row.result)[key] for key in _JSON_KEYS} for row in rows]


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    mark = " *" if _different(row.tokenization for row in rows) else ""
    columns = [
        Column("model"),
        Column("kind"),
        Column("tokens", number=True),
        Column("OOV", number=True),
        Column("nats", number=True),
        Column("perplexity", number=True),
        Column("w/o OOV", number=True),
        Column(f"bits/char{mark}", number=True),
        Column("tokens/s", number=True),
    ]
    show_table(columns, [_cells(row.result) for row in rows])


def footnotes(rows: Sequence[Row]) -> list[str]:
    """What a reader must know before comparing the figures."""
    notes = []
    if _different(row.text for row in rows):
        notes.append(
            "The models have different validation texts: give --text to compare them on one."
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
            notes.append(
                f"{row.result.model} has its weights from this very text: another one (--text) is "
                "fairer."
            )
        if not row.is_normalised:
            notes.append(
                f"{row.result.model}: stupid backoff gives scores that do not sum to one; its "
                "figures are not perplexities."
            )
    return notes


def _cells(result: Evaluation) -> list[str]:
    return [
        result.model,
        result.kind,
        f"{result.tokens:,}",
        f"{result.oov:,}",
        f"{result.cross_entropy:.4f}",
        _perplexity(result.perplexity) + _plus_minus(result.perplexity_interval),
        _perplexity(result.perplexity_without_oov),
        f"{result.bits_per_char:.3f}",
        f"{result.tokens_per_second:,.0f}",
    ]


def _perplexity(value: float) -> str:
    """Two decimals, or three digits where they would not fit a column."""
    return f"{value:.2f}" if not 1e7 <= value < float("inf") else f"{value:.2e}"


def _plus_minus(interval: tuple[float, float] | None) -> str:
    """Half the width of an interval, in two digits."""
    if interval is None:
        return ""
    half = (interval[1] - interval[0]) / 2
    return f" ±{half:.2g}" if half < 10 else f" ±{half:,.0f}"


def _different(values: Iterable[str]) -> bool:
    return len(set(values)) > 1


def _names(rows: Iterable[Row]) -> str:
    return ", ".join(row.result.model for row in rows)
