"""A smaller model: an order has 255 values for nearly all its probabilities, so each takes a byte.

KenLM's ``-q`` rounds each probability and each back-off weight by itself. Then the probabilities of
a context no longer sum to one. Here they do:

* The 255 values of an order are evenly spaced in the logarithm, from its least probability to its
  greatest: a few per cent apart.
* The words of a context are rounded from the most probable to the least. Each is rounded up or
  down, so that the sum so far is as near as possible to the exact sum (error diffusion, Floyd &
  Steinberg 1976).
* The back-off weights have 32 bits. They are fitted to the probability that is then left over. Some
  contexts leave too little to make up for the rounding; these are not rounded.

Unigrams are not rounded, either.

In the file, a byte gives the number of a log-probability among the most frequent values of its
order. One byte value says instead: take the next value of a second array, which holds all others.
The file also has the number of continuations of each context, in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lmsuite.errors import ModelFileError
from lmsuite.files.disk_arrays import DiskArray
from lmsuite.files.tensors import release_pages
from lmsuite.ngram.refitting import left_by, refitted
from lmsuite.ngram.table import BackoffTable, Logs
from lmsuite.ngram.table_blocks import AT_ONCE, all_suffixes, blocks, gathered, probs_of
from lmsuite.types import FloatArray, IntArray

VALUES = 255
_ESCAPE = 255  # the byte that says: take the next value of the second array
_TOO_LITTLE = 1e-4  # probability of the unseen words, after the shorter context


def quantized(table: BackoffTable) -> BackoffTable:
    """The table with rounded probabilities in every order above the first, on disk."""
    suffixes = all_suffixes(table)
    orders = list(table.orders)
    for n, suffix in enumerate(suffixes, start=2):
        scale = _scale(table, n)
        if scale is not None:
            orders[n - 1] = replace(orders[n - 1], log_probs=_rounded(table, n, suffix, scale))
    rounded = BackoffTable(tuple(orders))
    for n in range(2, table.order + 1):
        rounded = refitted(rounded, suffixes, n)
    return rounded


def _scale(table: BackoffTable, n: int) -> NDArray[np.float32] | None:
    """The values to which order n is rounded; None if it has no more values already."""
    log_probs = table.orders[n - 1].log_probs
    few: NDArray[Any] = np.zeros(0, log_probs.dtype)
    least, greatest = np.inf, -np.inf
    for begin in range(0, len(log_probs), AT_ONCE):
        piece = log_probs[begin : begin + AT_ONCE]
        finite = piece[piece > -np.inf]
        least = min(least, finite.min(initial=np.inf))
        greatest = max(greatest, finite.max(initial=-np.inf))
        if len(few) <= VALUES:
            few = np.union1d(few, piece)
        table.release()
    if len(few) <= VALUES:
        return None
    scale = np.linspace(least, greatest, VALUES - 1).astype(np.float32)
    return np.concatenate((np.array([-np.inf], dtype=np.float32), scale))


def _rounded(table: BackoffTable, n: int, suffix: IntArray, scale: NDArray[np.float32]) -> Logs:
    """The log-probabilities (M,) of order n, rounded unless their context leaves too little."""
    found = DiskArray(table.orders[n - 1].log_probs.dtype)
    for block in blocks(table, n):
        log_probs, prefix = table.orders[n - 1].log_probs[block.ngrams], block.prefix
        lower = probs_of(gathered(table.orders[n - 2].log_probs, suffix[block.ngrams]))
        is_fixed = left_by(prefix, lower, block.size) < _TOO_LITTLE
        probs = probs_of(log_probs)
        code, owed = _diffused(probs, prefix, scale, block.size)
        is_fixed |= np.abs(owed) > left_by(prefix, probs, block.size) / 2
        found.append(np.where(is_fixed[prefix], log_probs, scale[code]))
        release_pages(suffix)
    return found.mapped()


def _diffused(
    probs: FloatArray, prefix: IntArray, scale: NDArray[np.float32], contexts: int
) -> tuple[IntArray, FloatArray]:
    """The number on the scale of each rounded probability (M,), and what each context lost."""
    values = np.exp(scale.astype(np.float64))
    above = np.searchsorted(values, probs).clip(1, len(values) - 1)
    by_falling = np.lexsort((-probs, prefix))
    first = np.searchsorted(prefix, np.arange(contexts))
    children = np.bincount(prefix, minlength=contexts)
    open_ = np.argsort(-children, kind="stable")  # contexts; those with most words come first
    code = np.empty(len(probs), dtype=np.int64)
    owed = np.zeros(contexts)
    for place in range(int(children.max(initial=0))):
        open_ = open_[: np.searchsorted(-children[open_], -place)]
        at = by_falling[first[open_] + place]
        wanted = probs[at] + owed[open_]
        low, high = values[above[at] - 1], values[above[at]]
        code[at] = above[at] - (wanted - low < high - wanted)
        owed[open_] = wanted - values[code[at]]
    return code, owed


def quantized_arrays(table: BackoffTable) -> dict[str, NDArray[Any]]:
    """The arrays of a quantized table, by name: all that `from_quantized_arrays` needs."""
    named = table.arrays()
    for n in range(1, table.order + 1):
        if n > 1:
            named |= _coded(named.pop(f"order{n}.log_probs"), n)
        if n < table.order:
            children = np.diff(named.pop(f"order{n}.first_child"))
            named[f"order{n}.children"] = np.minimum(children, _ESCAPE).astype(np.uint8)
            named[f"order{n}.other_children"] = children[children >= _ESCAPE]
    return named


def _coded(log_probs: NDArray[Any], n: int) -> dict[str, NDArray[Any]]:
    """The arrays that stand for the log-probabilities (M,) of order n."""
    pieces = [log_probs[begin : begin + AT_ONCE] for begin in range(0, len(log_probs), AT_ONCE)]
    values, counts = np.unique(log_probs[:0], return_counts=True)
    for piece in pieces:
        more, of_piece = np.unique(piece, return_counts=True)
        values, place = np.unique(np.concatenate((values, more)), return_inverse=True)
        together = np.concatenate((counts, of_piece))
        counts = np.bincount(place, together, len(values)).astype(np.int64)
        release_pages(log_probs)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:VALUES])
    known = values[frequent]
    codes, others = DiskArray(np.uint8), DiskArray(log_probs.dtype)
    for piece in pieces:
        place = np.minimum(np.searchsorted(known, piece), max(len(known) - 1, 0))
        is_known = known[place] == piece
        codes.append(np.where(is_known, place, _ESCAPE).astype(np.uint8))
        others.append(piece[~is_known])
        release_pages(log_probs)
    named = {"values": known, "codes": codes.mapped(), "other_log_probs": others.mapped()}
    return {f"order{n}.{name}": array for name, array in named.items()}


def from_quantized_arrays(
    arrays: Mapping[str, NDArray[Any]], order: int, vocabulary_size: int
) -> BackoffTable:
    """The table that has these `quantized_arrays`.

    Raises:
        ModelFileError: an array is missing, unknown, or does not fit; the message names it.
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
    """The values, with the escaped ones filled in from the array `name`, which is removed."""
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
