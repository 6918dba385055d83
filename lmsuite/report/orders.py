"""What each order of an n-gram model is worth on a text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.errors import DataError
from lmsuite.models.interface import IntArray
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.table import BackoffTable
from lmsuite.report.linechart import LineChart, Series
from lmsuite.text.vocabulary import BOS


@dataclass(frozen=True)
class OrderRow:
    """One order n of a model, on one text."""

    order: int
    perplexity: float  # of the model with contexts of at most n - 1 tokens
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
        rows.append(
            OrderRow(
                order=order,
                perplexity=_truncated_perplexity(model.table, order, ids),
                share=float(mine.mean()),
                matched_perplexity=_perplexity(losses[mine]) if mine.any() else math.nan,
            )
        )
    return rows


def order_chart(rows_by_model: Mapping[str, Sequence[OrderRow]]) -> LineChart | None:
    """Perplexity over the order up to which each model is used; None without n-gram models."""
    series = [
        Series(name, points)
        for name, rows in rows_by_model.items()
        if (points := [(row.order, row.perplexity) for row in rows if row.perplexity < math.inf])
    ]
    if not series:
        return None
    return LineChart(
        title="Perplexity by n-gram order",
        x_label="order: 1 + the tokens of context used",
        y_label="perplexity",
        series=series,
        y_logarithmic=True,
        counts=True,
    )


def _truncated_perplexity(table: BackoffTable, order: int, ids: IntArray) -> float:
    truncated = BackoffTable(table.orders[:order])
    return _perplexity(-truncated.score(ids)[ids != BOS])


def _perplexity(losses: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    mean = float(losses.mean())
    return math.exp(mean) if mean < 700 else math.inf
