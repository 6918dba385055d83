"""The batch of each step of a training: a pure function of the seed and the step.

No position has to be saved, because the batch is computed from the seed and the step's number
alone. So a resumed training goes on with the right batch, and every worker process computes the
same batch without a message.

A lane is one of the stretches of text that a batch reads in parallel. Lanes are always the last
axis, so a batch is split over workers by its columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError
from lmsuite.models.feedforward import windows
from lmsuite.text.vocabulary import BOS, UNK
from lmsuite.training.unknown import MaskedWords
from lmsuite.types import BoolArray, IntArray

# Independent streams of random numbers: one of these follows the seed of each generator.
SHUFFLE, RESETS, MASKING, DROPOUT = range(4)

_PIECE = 2000  # tokens of a validation piece; so long that its start without context hardly counts
MOST_VALIDATED = 200_000  # tokens

_CHUNK = 1 << 20  # positions

RESET_PROBABILITY = 0.05
"""The probability that a lane starts from the zero state at the beginning of a window.

If the state were always carried through a whole epoch, the model would depend on the state of a
long context, and score badly from the zero state. But a text to score begins with the zero state.
"""


@dataclass(frozen=True)
class Batch:
    """Inputs and the tokens that follow them.

    Recurrent: both are (T, B), and an input ``<s>`` resets the state of its lane. Feed-forward:
    inputs (context, B), oldest token first, and targets (B,).
    """

    inputs: IntArray
    targets: IntArray
    fresh: bool
    """Whether every lane starts anew: none continues what it read at the previous step."""

    def share(self, rank: int, size: int) -> tuple[IntArray, IntArray, slice]:
        """The inputs, targets and lanes of one of `size` workers."""
        lanes = self.targets.shape[-1]
        mine = slice(lanes * rank // size, lanes * (rank + 1) // size)
        return self.inputs[..., mine], self.targets[..., mine], mine


class Batches(ABC):
    """The batches of a text, for any number of epochs."""

    lanes: int
    steps_per_epoch: int

    def __init__(self, ids: IntArray, masked: MaskedWords, seed: int) -> None:
        """ids (N,) as encoded: in lines mode with every line's ``<s>``, in stream mode without.

        They may lie on disk: no array is made that has eight bytes for each of them.
        """
        self._ids = ids
        self._masked = masked
        self._seed = seed
        self._starts = _places_of_starts(ids)  # (L,)
        if not self.tokens_per_epoch:
            raise DataError("the training text holds no token to predict; give a longer text")
        self._epoch = -1
        self._is_masked: BoolArray | None = None  # (N,)

    @property
    def ids(self) -> IntArray:
        """The text (N,), as encoded."""
        return self._ids

    def reading(self, ids: IntArray) -> Self:
        """The same batches, of the same ids in another array."""
        other = copy(self)
        other._ids = ids
        return other

    @property
    def tokens_per_epoch(self) -> int:
        """The number of tokens to predict; an epoch drops the few that do not fill the lanes."""
        return len(self._ids) - len(self._starts)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._is_masked = self._masked.drawn(len(self._ids), self._random(MASKING, epoch))
            self._open_epoch(epoch)
            self._epoch = epoch
        return self._batch(step, index)

    def _read(self, positions: NDArray[np.int64]) -> IntArray:
        """The ids at some positions, with ``<unk>`` for those that this epoch masks."""
        found = self._ids[positions]
        if self._is_masked is not None:
            found[self._is_masked[positions]] = UNK
        return found

    def _random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, number])

    @abstractmethod
    def _open_epoch(self, epoch: int) -> None: ...

    @abstractmethod
    def _batch(self, step: int, index: int) -> Batch: ...


def _places_of_starts(ids: IntArray) -> NDArray[np.int64]:
    """The positions of every ``<s>``."""
    chunks = range(0, len(ids), _CHUNK)
    found = [np.flatnonzero(ids[begin : begin + _CHUNK] == BOS) + begin for begin in chunks]
    return np.concatenate([np.empty(0, np.int64), *found])


def even_cuts(length: int, piece: int) -> NDArray[np.int64]:
    """Cuts of range(length) into pieces of about `piece`; their lengths differ by at most one."""
    pieces = max(1, round(length / piece))
    return np.arange(pieces + 1, dtype=np.int64) * length // pieces


class Lanes(Batches):
    """Contiguous lanes of text, read window by window; each window continues the previous one.

    In stream mode each epoch begins at another position of the text and wraps around at its end,
    and lanes are reset at random. In lines mode each epoch shuffles the lines, and the ``<s>`` of
    a line resets its lane.
    """

    def __init__(
        self,
        ids: IntArray,
        masked: MaskedWords,
        seed: int,
        *,
        batch: int,
        window: int,
        shuffle_lines: bool,
    ) -> None:
        super().__init__(ids, masked, seed)
        total = self.tokens_per_epoch
        self.lanes = min(batch, max(1, total // window))
        self._cuts = even_cuts(total // self.lanes, window)
        self.steps_per_epoch = len(self._cuts) - 1
        self._shuffle_lines = shuffle_lines

    def _open_epoch(self, epoch: int) -> None:
        rng = self._random(SHUFFLE, epoch)
        if not self._shuffle_lines:
            self._shift = int(rng.integers(self.tokens_per_epoch))
            return
        first = self._starts + 1
        lengths = np.diff(first, append=len(self._ids) + 1) - 1
        first, lengths = first[lengths > 0], lengths[lengths > 0]
        lines = rng.permutation(first.size)
        # Of each line, in the order of this epoch: where it ends in that order, and how far it has
        # been moved.
        self._ends = np.cumsum(lengths[lines])
        self._moved = first[lines] - (self._ends - lengths[lines])

    def _positions(self, begin: int, end: int) -> NDArray[np.int64]:
        """What each lane reads from `begin` to `end` of its stretch: positions (T, B)."""
        lanes = np.arange(self.lanes) * int(self._cuts[-1])
        if not self._shuffle_lines:
            positions = (lanes + self._shift) + np.arange(begin, end)[:, None]
            positions[positions >= self.tokens_per_epoch] -= self.tokens_per_epoch
            return positions
        first = np.searchsorted(self._ends, lanes + begin, side="right")
        last = np.searchsorted(self._ends, lanes + end - 1, side="right")
        count = last - first + 1  # lines of which each lane reads some
        before = np.cumsum(count) - count
        line = np.arange(count.sum()) + np.repeat(first - before, count)
        stops = np.minimum(self._ends[line], np.repeat(lanes + end, count))
        tokens = np.diff(stops, prepend=0)
        tokens[before] = stops[before] - (lanes + begin)
        moved = np.repeat(self._moved[line], tokens).reshape(self.lanes, end - begin)
        positions = np.ascontiguousarray(moved.T)
        positions += lanes + np.arange(begin, end)[:, None]
        return positions

    def _batch(self, step: int, index: int) -> Batch:
        positions = self._positions(int(self._cuts[index]), int(self._cuts[index + 1]))
        # In stream mode, the input before the first token of the text is <s>.
        inputs = self._read(positions - 1)
        inputs[positions == 0] = BOS
        if not self._shuffle_lines:
            fresh = self._random(RESETS, step).random(self.lanes) < RESET_PROBABILITY
            if index == 0:
                fresh[:] = True
            inputs[0, fresh] = BOS
        return Batch(inputs, self._read(positions), fresh=index == 0)


class Windows(Batches):
    """Single tokens in random order, each with the `context` tokens before it.

    A window reaches back to the ``<s>`` of its line. In stream mode it reaches back to a random
    start, which about one window in twenty meets. What lies before is replaced by ``<s>``.
    """

    def __init__(
        self,
        ids: IntArray,
        masked: MaskedWords,
        seed: int,
        *,
        batch: int,
        context: int,
        stream: bool,
    ) -> None:
        super().__init__(ids, masked, seed)
        self.lanes = min(batch, self.tokens_per_epoch)
        self._cuts = even_cuts(self.tokens_per_epoch, self.lanes)
        self.steps_per_epoch = len(self._cuts) - 1
        self.lanes = int(np.diff(self._cuts).max())
        self._context = context
        self._stream = stream

    def _open_epoch(self, epoch: int) -> None:
        rng = self._random(SHUFFLE, epoch)
        size = len(self._ids)
        is_start = np.zeros(size, bool)
        is_start[self._starts] = True
        # Four bytes where they are enough: this is as long as the text.
        positions = np.arange(size, dtype=np.int32 if size < 1 << 31 else np.int64)
        self._order = rng.permutation(positions[~is_start])
        if self._stream:
            for begin in range(0, size, _CHUNK):
                chunk = is_start[begin : begin + _CHUNK]
                chunk |= rng.random(chunk.size) < RESET_PROBABILITY / self._context
            is_start[0] = True
        self._is_start = is_start

    def _batch(self, step: int, index: int) -> Batch:
        order = self._order[self._cuts[index] : self._cuts[index + 1]]  # (B,)
        positions = order.astype(np.int64)
        back = np.maximum(positions - np.arange(self._context)[:, None], 0)
        reached = np.logical_or.accumulate(self._is_start[back])  # (context, B)
        since = positions - np.sum(~reached, axis=0)
        inputs = windows(self._read, positions, since, self._context)
        return Batch(inputs, self._read(positions), fresh=True)


def validation_pieces(ids: IntArray, *, lines: bool, most: int = MOST_VALIDATED) -> list[IntArray]:
    """The text (N,) of a training's validations, cut into pieces that are scored in parallel.

    Each piece is a line or a stretch of a stream, and begins with ``<s>``. If the text is longer
    than `most` tokens, only evenly spaced pieces are taken, which keeps validation cheap.
    """
    if lines:
        pieces = np.split(ids, np.flatnonzero(ids == BOS)[1:])
    else:
        cuts = even_cuts(ids.size, min(_PIECE, most))
        pieces = [np.insert(piece, 0, BOS) for piece in np.split(ids, cuts[1:-1])]
    pieces = [piece for piece in pieces if piece.size > 1]
    share = max(1.0, ids.size / most)
    return [pieces[int(i * share)] for i in range(max(1, int(len(pieces) / share)))]
