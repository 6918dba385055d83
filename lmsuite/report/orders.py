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
    ids = model.text.encode(text)
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
    rows_by_model: Mapping[str, Sequence[OrderRow]], *, same_tokens: bool
) -> LineChart | None:
    """What each model makes of contexts of growing length; None without n-gram models.

    The unit is bits a character unless all models have the `same_tokens`, of which a perplexity is.
    """
    unit = "perplexity" if same_tokens else "bits a character"
    series = []
    for name, rows in rows_by_model.items():
        values = [row.perplexity if same_tokens else row.bits_per_char for row in rows]
        points = [
            (float(row.order), value)
            for row, value in zip(rows, values, strict=True)
            if value < math.inf
        ]
        if points:
            series.append(Series(name, points))
    if not series:
        return None
    return LineChart(
        title="N-gram models by order",
        x_label="order: the tokens of context used, and one",
        y_label=unit,
        series=series,
        y_logarithmic=same_tokens,
        counts=True,
    )


def _perplexity(losses: NDArray[np.float64]) -> float:
    mean = float(losses.mean())
    return math.exp(mean) if mean < 700 else math.inf
