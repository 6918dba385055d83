"""Charts of models: learning curves, perplexity by order, maps of token vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmsuite.analysis.comparability import same_tokens
from lmsuite.analysis.evaluation import perplexity_of
from lmsuite.errors import DataError, LmError, UsageError
from lmsuite.models.interface import LanguageModel
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.table import BackoffTable
from lmsuite.report.charts import LineChart, Place, Series, TokenMap
from lmsuite.store.history import HistoryRow
from lmsuite.store.opening import OpenedModel
from lmsuite.store.records import Provenance, ValidationRecord
from lmsuite.text.vocabulary import SPECIALS

_MINUTES_FROM = 240.0  # seconds; an axis for longer trainings counts minutes
_LARGEST_LOSS = 700.0  # nats; a float still holds the perplexity of this loss


@dataclass(frozen=True)
class TrainedModel:
    """A model, its name, and the records of its training."""

    name: str
    model: LanguageModel
    provenance: Provenance | None = None  # an ARPA file has none
    history: Sequence[HistoryRow] = ()  # only training in steps leaves one

    @classmethod
    def of(cls, opened: OpenedModel, left_out: Callable[[LmError], None]) -> TrainedModel:
        """The model with its provenance and its learning curve, if it has them.

        Raises:
            ModelFileError: the learning curve is damaged.
        """
        provenance = opened.provenance if opened.manifest else None
        return cls(opened.name, opened.model, provenance, opened.learning_curve(left_out))

    @property
    def validation(self) -> ValidationRecord:
        """The model's figures on its validation text."""
        return self.provenance.validation if self.provenance else ValidationRecord()

    @property
    def bits_of_a_nat(self) -> float | None:
        """How many bits a character one nat a token is, on the validation text; None if unknown."""
        nats, bits = self.validation.cross_entropy, self.validation.bits_per_char
        return bits / nats if nats and bits else None


def learning_curves(models: Sequence[TrainedModel]) -> LineChart | None:
    """Validation over the time of training, for the models that have a history; None if none has.

    Models without a history that were validated on the same text are flat lines to compare with.
    The unit is perplexity a token if all have the same tokens, else bits a character. The value
    before the first step of a network is left out: it is so high that the rest would look flat.
    """
    trained = [each for each in models if each.history]
    texts = {each.validation.sha256 for each in trained}
    drawn = trained + [
        each
        for each in models
        if not each.history and len(texts) == 1 and each.validation.sha256 in texts
    ]
    in_bits = not same_tokens(each.model.encoder for each in drawn)
    if in_bits and any(each.bits_of_a_nat is None for each in drawn):
        drawn, in_bits = trained, False
    longest = max((each.history[-1].seconds for each in trained), default=0.0)
    minute = 60.0 if longest >= _MINUTES_FROM else 1.0
    series = [
        Series(each.name, points, style)
        for style, each in enumerate(models)
        if each in drawn and (points := _points(each, longest, minute, in_bits=in_bits))
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
    trained: TrainedModel, longest: float, minute: float, *, in_bits: bool
) -> list[tuple[float, float]]:
    """The curve of a model with a history, or two points of a flat line from 0 to `longest`."""
    rows = [row for row in trained.history if row.step > 0] or trained.history
    places = [(row.seconds, row.valid_loss) for row in rows]
    if not rows and (loss := trained.validation.cross_entropy) is not None:
        places = [(0.0, loss), (longest, loss)]
    factor = trained.bits_of_a_nat if in_bits else None
    return [
        (seconds / minute, loss * factor if factor else math.exp(loss))
        for seconds, loss in places
        if 0 <= loss < _LARGEST_LOSS and (not factor or math.isfinite(loss * factor))
    ]


@dataclass(frozen=True)
class OrderRow:
    """One order n of an n-gram model, on one text."""

    order: int
    perplexity: float  # of the model with contexts of at most n - 1 tokens
    bits_per_char: float  # of the same model
    share: float  # of the tokens whose longest stored n-gram has this order
    matched_perplexity: float  # of those tokens, under the whole model; nan if there are none


def by_order(model: NgramModel, text: str) -> list[OrderRow]:
    """A row for every order of `model`.

    A model with shorter contexts is the same table without its higher orders, like an ARPA file
    that is cut there. Kneser-Ney estimates its lower orders to support the higher ones, so they
    alone predict worse than a model that was trained at that order.

    Raises:
        DataError: the text has no tokens.
    """
    ids = model.encoder.encode(text)
    losses = -model.score(ids)
    if not losses.size:
        raise DataError("nothing to score: the text has no tokens")
    matched = model.matched_orders(ids)
    rows = []
    for order in range(1, model.table.order + 1):
        mine = matched == order
        truncated = -BackoffTable(model.table.orders[:order]).score(ids)
        rows.append(
            OrderRow(
                order=order,
                perplexity=perplexity_of(float(truncated.mean())),
                bits_per_char=float(truncated.sum()) / math.log(2) / len(text),
                share=float(mine.mean()),
                matched_perplexity=perplexity_of(float(losses[mine].mean()))
                if mine.any()
                else math.nan,
            )
        )
    return rows


def order_chart(
    models: Sequence[TrainedModel], rows_by_model: Mapping[str, Sequence[OrderRow]]
) -> LineChart | None:
    """Perplexity over the order, a line for each model that has rows; None if none has.

    The unit is perplexity a token if these models have the same tokens, else bits a character.
    """
    in_bits = not same_tokens(each.model.encoder for each in models if each.name in rows_by_model)
    series = []
    for style, each in enumerate(models):
        points = [
            (float(row.order), row.bits_per_char if in_bits else row.perplexity)
            for row in rows_by_model.get(each.name, ())
            if row.perplexity < math.inf
        ]
        if points:
            series.append(Series(each.name, points, style))
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


def token_map(name: str, model: LanguageModel, tokens: int) -> TokenMap:
    """The `tokens` most frequent tokens of `model` along their vectors' principal components.

    Special tokens are left out. The components are those of the tokens shown, because the vectors
    of rare tokens have hardly moved from their initial values. Signs are fixed, so the same vectors
    always give the same map.

    Raises:
        UsageError: the model has no vectors, or too few tokens to spread over a plane.
    """
    table = model.embedding()
    if table is None:
        raise UsageError(
            f"{name} ({model.kind}) has no embedding: only ffnn and rnn learn vectors of tokens"
        )
    first = len(SPECIALS)  # from here on, more frequent tokens have smaller ids
    vectors = table[first : first + tokens].astype(np.float64)  # (N, E)
    if min(vectors.shape) < 2:
        raise UsageError(f"{name} has too few tokens or dimensions for a map")
    centred = vectors - vectors.mean(axis=0)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    plane = left[:, :2] * strengths[:2]  # (N, 2)
    plane *= np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    variances = strengths**2 / max(float((strengths**2).sum()), np.finfo(np.float64).tiny)
    places = [
        Place(model.encoder.token_text(first + at), float(x), float(y))
        for at, (x, y) in enumerate(plane)
    ]
    return TokenMap(name, places, (float(variances[0]), float(variances[1])))
