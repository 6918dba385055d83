"""The arrays of a quantized table: a byte for nearly every probability, and a byte a context.

A byte says which of an order's most frequent values a log-probability is, or that it is the next of
a second array, of those that are none of them. Where the continuations of a context begin is kept
as how many there are, again in a byte or in a second array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import ModelFileError
from lmsuite.ngram.table import BackoffTable

VALUES = 255
_ESCAPE = 255  # the byte that says: the next of the second array


def compact_arrays(table: BackoffTable) -> dict[str, NDArray[Any]]:
    """The arrays of a quantized table, by name: all that `from_compact_arrays` needs."""
    named = table.arrays()
    for n in range(1, table.order + 1):
        if n > 1:
            log_probs = named.pop(f"order{n}.log_probs")
            values, codes, counts = np.unique(log_probs, return_inverse=True, return_counts=True)
            frequent = np.sort(np.argsort(-counts, kind="stable")[:VALUES])
            code_of = np.full(len(values), _ESCAPE, dtype=np.uint8)
            code_of[frequent] = np.arange(len(frequent))
            named[f"order{n}.values"] = values[frequent]
            named[f"order{n}.codes"] = code_of[codes]
            named[f"order{n}.other_log_probs"] = log_probs[code_of[codes] == _ESCAPE]
        if n < table.order:
            children = np.diff(named.pop(f"order{n}.first_child"))
            named[f"order{n}.children"] = np.minimum(children, _ESCAPE).astype(np.uint8)
            named[f"order{n}.other_children"] = children[children >= _ESCAPE]
    return named


def from_compact_arrays(
    arrays: Mapping[str, NDArray[Any]], order: int, vocabulary_size: int
) -> BackoffTable:
    """The table whose `compact_arrays` these are.

    Raises:
        ModelFileError: an array is missing or superfluous, or does not fit; the message names it.
    """
    named = dict(arrays)
    for n in range(1, order + 1):
        if n > 1:
            values = _taken(named, f"order{n}.values", np.float32)
            value_of = np.full(_ESCAPE + 1, np.nan, dtype=np.float32)
            if len(values) > VALUES:
                raise _damaged(f"order{n}.values")
            value_of[: len(values)] = values
            codes = _taken(named, f"order{n}.codes", np.uint8)
            named[f"order{n}.log_probs"] = _completed(
                value_of[codes], codes, named, f"order{n}.other_log_probs"
            )
        if n < order:
            codes = _taken(named, f"order{n}.children", np.uint8)
            children = _completed(codes.astype(np.uint32), codes, named, f"order{n}.other_children")
            ends = np.cumsum(children, dtype=np.uint64)
            if len(ends) and int(ends[-1]) >= 1 << 32:
                raise _damaged(f"order{n}.other_children")
            named[f"order{n}.first_child"] = np.concatenate(([0], ends)).astype(np.uint32)
    return BackoffTable.from_arrays(named, order, vocabulary_size)


def _completed(
    values: NDArray[Any], codes: NDArray[Any], arrays: dict[str, NDArray[Any]], name: str
) -> NDArray[Any]:
    """The values, with those that escape filled in from the array `name`, which is taken out."""
    others = _taken(arrays, name, values.dtype)
    escapes = codes == _ESCAPE
    if int(escapes.sum()) != len(others):
        raise _damaged(name)
    values[escapes] = others
    return values


def _taken(arrays: dict[str, NDArray[Any]], name: str, dtype: DTypeLike) -> NDArray[Any]:
    array = arrays.pop(name, None)
    if array is None or array.dtype != dtype or array.ndim != 1:
        raise _damaged(name)
    return array


def _damaged(name: str) -> ModelFileError:
    return ModelFileError(
        f"the n-gram model's array {name!r} is missing or is not what it should be: the file is "
        "damaged; make the model again."
    )
