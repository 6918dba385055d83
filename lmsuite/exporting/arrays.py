"""A model's arrays with its settings and vocabulary, for numpy (.npz) and for anything (.json).

A network's arrays are named as in its equations (`equations`). An n-gram model in an .npz file has
the arrays of its table: ``order2.words``, ``order2.log_probs`` and so on, which `BackoffTable`
explains. In a .json file it is a list of n-grams, each with its words, its log-probability and its
log back-off weight, in nats; null stands for minus infinity. All else is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError
from lmsuite.exporting.equations import in_equations
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel
from lmsuite.types import Array


def described(model: LanguageModel) -> dict[str, Any]:
    """What a program must know besides the arrays, as JSON values."""
    return {
        "kind": model.kind,
        "settings": model.settings_dict(),
        "text": model.encoder.describe(),
    }


def write_npz(model: LanguageModel, stream: BinaryIO, name: str) -> None:
    """An array for each of the model's, `vocabulary`, and `settings` as a text of JSON."""
    if isinstance(model, NgramModel):
        arrays = dict(model.table.arrays())
    else:
        arrays = _of_network(model, name)
    tokens = np.array(model.encoder.vocabulary.tokens, np.str_)
    settings = np.array(json.dumps(described(model), ensure_ascii=False))
    both: dict[str, Any] = {"vocabulary": tokens, "settings": settings} | arrays
    np.savez(stream, **both)


def write_json(model: LanguageModel, stream: BinaryIO, name: str) -> None:
    """An object with `kind`, `settings`, `text`, `vocabulary`, and `arrays` or `ngrams`."""
    tokens = {"vocabulary": list(model.encoder.vocabulary.tokens)}
    head = json.dumps(described(model) | tokens, ensure_ascii=False)
    if isinstance(model, NgramModel):
        rows = _ngrams(model)
        opening, closing = '"ngrams": [\n', "\n]}\n"
    else:
        rows = _array_rows(_of_network(model, name))
        opening, closing = '"arrays": {\n', "\n}}\n"
    text = chain([f"{head[:-1]}, {opening}"], _separated(rows), [closing])
    for part in text:
        stream.write(part.encode("utf-8", "backslashreplace"))


def _of_network(model: LanguageModel, name: str) -> dict[str, Array]:
    if not isinstance(model, NeuralModel):
        raise LmError(
            f"{name} is of kind {model.kind}: n-gram models and networks can be exported; for a "
            "mixture export its members"
        )
    return in_equations(model, name)


def _separated(rows: Iterator[str]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield row if number == 0 else f",\n{row}"


def _array_rows(arrays: dict[str, Array]) -> Iterator[str]:
    for name, array in arrays.items():
        yield f"{json.dumps(name)}: {json.dumps(np.asarray(array).tolist())}"


def _ngrams(model: NgramModel) -> Iterator[str]:
    """Every n-gram, the short ones first."""
    table, tokens = model.table, model.encoder.vocabulary.tokens
    words: NDArray[np.int64] = np.arange(table.vocabulary_size)[:, None]  # (M, n)
    for n, order in enumerate(table.orders, start=1):
        if n > 1:
            words = np.column_stack([words[table.prefixes(n)], order.words])
        backoffs = order.log_backoffs if n < table.order else np.zeros(len(order))
        rows = zip(words.tolist(), order.log_probs.tolist(), backoffs.tolist(), strict=True)
        for ids, log_prob, log_backoff in rows:
            fields: dict[str, Any] = {"words": [tokens[word] for word in ids]}
            fields["log_prob"] = log_prob if math.isfinite(log_prob) else None
            if n < table.order:
                fields["log_backoff"] = log_backoff
            yield json.dumps(fields, ensure_ascii=False)
