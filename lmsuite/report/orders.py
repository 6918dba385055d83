"""What each order of an n-gram model is worth on a text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.table import BackoffTable
from lmsuite.report.linechart import LineChart, Series
from lmsuite.report.subject import Subject, same_tokens
from lmsuite.text.vocabulary import BOS


@dataclass(frozen=True)
class OrderRow:
    """One order n of a model, on one text."""

    order: int
    perplexity: float  # of the model with contexts of at most n - 1 tokens
    bits_per_char: float  # the same
    share: float  # of the tokens whose longest stored n-gram has this order
    matched_perplexity: float  # of those tokens, under the whole model; nan if there are none


def by_order(model: NgramModel, text: str) -> list[OrderRow]:
    """A row for every order of `model`.

    The model with shorter contexts is the same table without its higher orders: what an ARPA file
    cut there would give. Kneser-Ney estimates its lower orders to back up the higher ones, so they
    do worse alone than a model that was trained at that order.

    Raises:
        DataError: the text has no tokens.
    """
    ids = model.encoder.encode(text)
    predicted = ids != BOS
    if not predicted.any():
        raise DataError("nothing to score: the text has no tokens")
    losses = -model.score(ids)
    matched = model.matched_orders(ids)
    rows = []
    for order in range(1, model.table.order + 1):
        mine = matched == order
        truncated = -BackoffTable(model.table.orders[:order]).score(ids)[predicted]
        rows.append(
            OrderRow(
                order=order,
                perplexity=_perplexity(truncated),
                bits_per_char=float(truncated.sum()) / math.log(2) / len(text),
                share=float(mine.mean()),
                matched_perplexity=_perplexity(losses[mine]) if mine.any() else math.nan,
            )
        )
    return rows


def order_chart(
    subjects: Sequence[Subject], rows_by_model: Mapping[str, Sequence[OrderRow]]
) -> LineChart | None:
    """What each of the subjects that have rows makes of contexts of growing length; None if none.

    The unit is perplexity a token if these have the same tokens, else bits a character.
    """
    in_bits = not same_tokens(each.model for each in subjects if each.name in rows_by_model)
    series = []
    for style, subject in enumerate(subjects):
        points = [
            (float(row.order), row.bits_per_char if in_bits else row.perplexity)
            for row in rows_by_model.get(subject.name, ())
            if row.perplexity < math.inf
        ]
        if points:
            series.append(Series(subject.name, points, style))
    if not series:
        return None
    return LineChart(
        title="N-gram models by order",
        x_label="n-gram order: tokens of context + 1",
        y_label="bits a character" if in_bits else "perplexity",
        series=series,
        y_logarithmic=not in_bits,
        counts=True,
    )


def _perplexity(losses: NDArray[np.float64]) -> float:
    mean = float(losses.mean())
    return math.exp(mean) if mean < 700 else math.inf
