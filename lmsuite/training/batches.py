"""The batch of each step of a training: a pure function of the seed and the step.

No position has to be saved, because the batch is computed from the seed and the step's number
alone. So a resumed training goes on with the right batch, and every worker process computes the
same batch without a message.

A lane is one of the stretches of text that a batch reads in parallel. Lanes are always the last
axis, so a batch is split over workers by its columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError
from lmsuite.models.feedforward import windows
from lmsuite.text.vocabulary import BOS
from lmsuite.training.unknown import MaskedWords
from lmsuite.types import IntArray

# Independent streams of random numbers: one of these follows the seed of each generator.
SHUFFLE, RESETS, MASKING, DROPOUT = range(4)

_PIECE = 2000  # tokens of a validation piece; so long that its start without context hardly counts
MOST_VALIDATED = 200_000  # tokens

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
        """ids (N,) as encoded: in lines mode with every line's ``<s>``, in stream mode without."""
        self._ids = ids
        self._masked = masked
        self._seed = seed
        self._positions = np.flatnonzero(ids != BOS)  # (M,) positions of the tokens to predict
        if self._positions.size == 0:
            raise DataError("the training text holds no token to predict; give a longer text")
        self._epoch = -1
        self._tokens = ids

    @property
    def tokens_per_epoch(self) -> int:
        """The number of tokens to predict; an epoch drops the few that do not fill the lanes."""
        return int(self._positions.size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._tokens = self._masked.mask(self._ids, self._random(MASKING, epoch))
            self._open_epoch(epoch)
            self._epoch = epoch
        return self._batch(step, index)

    def _random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, number])

    @abstractmethod
    def _open_epoch(self, epoch: int) -> None: ...

    @abstractmethod
    def _batch(self, step: int, index: int) -> Batch: ...


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
        order = self._order(self._random(SHUFFLE, epoch))
        length = int(self._cuts[-1])
        taken = order[: self.lanes * length].reshape(self.lanes, length).T  # (length, B)
        self._targets = np.ascontiguousarray(self._tokens[taken])
        # In stream mode, the input before the first token of the text is <s>.
        before = np.where(taken > 0, self._tokens[taken - 1], np.int32(BOS))
        self._inputs = np.ascontiguousarray(before, dtype=np.int32)

    def _order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The positions to predict, in the order of this epoch."""
        if not self._shuffle_lines:
            return np.roll(self._positions, -int(rng.integers(self._positions.size)))
        first = np.flatnonzero(np.diff(self._positions, prepend=-1) > 1)
        lengths = np.diff(first, append=self._positions.size)
        lines = rng.permutation(first.size)
        shift = first[lines] - np.concatenate([[0], np.cumsum(lengths[lines])[:-1]])
        shuffled = np.arange(self._positions.size) + np.repeat(shift, lengths[lines])
        ordered: NDArray[np.int64] = self._positions[shuffled]
        return ordered

    def _batch(self, step: int, index: int) -> Batch:
        window = slice(self._cuts[index], self._cuts[index + 1])
        inputs, targets = self._inputs[window], self._targets[window]
        if not self._shuffle_lines:
            fresh = self._random(RESETS, step).random(self.lanes) < RESET_PROBABILITY
            if index == 0:
                fresh[:] = True
            inputs = inputs.copy()
            inputs[0, fresh] = BOS
        return Batch(inputs, targets, fresh=index == 0)


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
        self._order = rng.permutation(self._positions)
        starts = self._ids == BOS
        if self._stream:
            starts = starts | (rng.random(starts.size) < RESET_PROBABILITY / self._context)
            starts[0] = True
        # (N,) for every position, the first position that its window may read.
        start_positions = np.where(starts, np.arange(starts.size), 0)
        self._since = np.maximum.accumulate(start_positions)

    def _batch(self, step: int, index: int) -> Batch:
        positions = self._order[self._cuts[index] : self._cuts[index + 1]]  # (B,)
        inputs = windows(self._tokens, positions, self._since[positions], self._context)
        return Batch(inputs, self._tokens[positions], fresh=True)


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
