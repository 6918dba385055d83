"""Scoring with a recurrent network: parts of a text are read side by side, as one batch.

Segments of a text that each begin with ``<s>`` do not depend on each other, so they form a batch. A
long text is one segment, in which every step needs the state after the previous step. Read token by
token, each token would need all the weights for itself, which is slow. But a network forgets: a
token read a few hundred tokens ago no longer shows in its state. So the method is:

1. The text is cut into pieces, which are read side by side. The state before the first piece is
   known; the state before each other piece is guessed to be zero.
2. Each piece is read again, from the state at the end of the piece before it, until its state
   agrees with the first reading. From there on, the first reading was right.
3. If the two readings do not agree before the piece ends, the state at its end was wrong, so the
   next piece is read again. In the worst case, if the network forgets nothing, all pieces are read
   one after another.

The scores are those of reading token by token, up to the rounding of the states (`AGREEMENT`).
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.blas_threads import blas_threads, one_blas_thread
from lmsuite.models.recurrent_stack import RecurrentStack
from lmsuite.nn.products import SMALL
from lmsuite.nn.reader import Reader
from lmsuite.nn.threads import side_by_side
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

GROUP = 32
"""The most sequences (segments or pieces) that one thread reads side by side."""

FEW = 8
"""Fewer sequences than this are not worth a thread of their own."""

STEPS = 16
"""The steps of a window, which is read at once; so few that its arrays stay in the cache."""

STEPS_OF_FEW = 128
"""Steps of few sequences: the output's weights, read for each window, are larger than the rest."""

PIECES = 64
"""The number of pieces into which a stretch of a long text is cut."""

PIECE = (512, 2048)
"""The fewest and the most tokens of a piece. A shorter text has fewer pieces than `PIECES`; a
longer text is read in several stretches."""

AGREEMENT = 1e-5
"""Two readings agree if no number of their states differs by more. In trained networks, rounding
alone makes differences up to 3e-6; the mean over a text of 10^5 tokens then agrees to 1e-9 nats."""

ROUNDS = 3
"""How often all doubtful pieces are read again together; after that, they are read in order."""

Positions = NDArray[np.int64]


class SideBySide:
    """Scores one text, in one or several pieces, with one model."""

    def __init__(self, model: RecurrentStack) -> None:
        self._model = model
        is_small = model.recurrence_size <= SMALL
        self._blas_of_few = one_blas_thread if is_small else blas_threads(1)
        # Where the text goes on: after `_last`, and in the state after `_state` and then `_unread`.
        self._last = BOS
        self._state: FloatArray
        self._unread: IntArray
        self._targets: IntArray | None = None  # None: nothing is scored
        self._thread = threading.local()  # keeps each thread's readers from batch to batch

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """The log-probability of each id that is not ``<s>``, as `LanguageModel.score`.

        The ids go on where those scored before them ended.
        """
        positions = np.flatnonzero(ids != BOS)
        before = np.where(positions > 0, ids[positions - 1], np.int32(self._last))
        if ids.size:
            self._last = int(ids[-1])
        goes_on = positions.size > 0 and before[0] != BOS  # within a segment
        state = self.read(self._state, self._unread) if goes_on else None
        self._before, self._targets = before, ids[positions]
        self._scores = np.empty(positions.size)
        first = np.flatnonzero(before == BOS)
        if state is None and first.size == 1 and positions.size <= STEPS_OF_FEW:
            with self._blas_of_few:  # a sentence: one window
                inputs, start = before[:, None], self._model.zero_state(1)
                vectors, self._state = self._model.read_window(
                    self._model.readers(1), inputs, start
                )
                self._unread = before[:0]
                return self._model.target_scores(vectors[:, 0], self._targets)
        lengths = np.diff(first, append=positions.size)
        long = lengths >= 2 * PIECE[0]
        with one_blas_thread if positions.size >= PIECE[0] else self._blas_of_few:
            if state is not None:
                self._score_long(0, int(first[0]) if first.size else positions.size, state)
            self._score_short(first[~long], lengths[~long])
            for begin, length in zip(first[long].tolist(), lengths[long].tolist(), strict=True):
                self._score_long(begin, length, self._model.zero_state(1))
        if first.size and not long[-1]:
            self._state, self._unread = self._model.zero_state(1), before[first[-1] :]
        return self._scores

    def read(self, state: FloatArray, ids: IntArray) -> FloatArray:
        """The state (…, 1, …) after ids (N,); only the first may be ``<s>``. Nothing is scored."""
        self._before, self._targets = ids, None
        windows = -(-min(max(ids.size // PIECES, PIECE[0]), PIECE[1]) // STEPS)
        whole = ids.size // (windows * STEPS) * windows * STEPS
        most = PIECES * windows * STEPS
        if whole <= windows * STEPS:
            whole = 0  # a single piece has no other piece to be read with
        with one_blas_thread if whole else nullcontext():
            for begin in range(0, whole, most):
                state, _ = self._score_pieces(begin, min(most, whole - begin), windows, state)
        readers = self._model.readers(1)
        with self._blas_of_few:
            for begin in range(whole, ids.size, STEPS):
                window = ids[begin : begin + STEPS, None]
                _, state = self._model.read_window(readers, window, state)
        return state

    def _score_short(self, first: Positions, lengths: Positions) -> None:
        """Segments side by side, in groups of similar length."""
        order = np.argsort(-lengths, kind="stable")
        side_by_side([partial(self._score_group, first[g], lengths[g]) for g in _groups(order)])

    def _score_group(self, first: Positions, lengths: Positions) -> None:
        """Read segments side by side, the longest first; a segment drops out when it ends."""
        readers = self._readers(first.size)
        state = self._model.zero_state(first.size)
        steps = STEPS if first.size * STEPS > STEPS_OF_FEW else STEPS_OF_FEW // first.size
        for t in range(0, int(lengths.max()), steps):
            left = int(np.sum(lengths > t))
            state = self._window(
                readers, first[:left] + t, lengths[:left] - t, state[:, :left], steps
            )

    def _score_long(self, begin: int, length: int, state: FloatArray) -> None:
        """One segment, after `state` (…, 1, …), in stretches of at most `PIECES` pieces."""
        end = begin + length
        while begin < end:
            left = end - begin
            windows = -(-min(max(left // PIECES, PIECE[0]), PIECE[1]) // STEPS)
            stretch = min(left, PIECES * windows * STEPS)
            state, read = self._score_pieces(begin, stretch, windows, state)
            self._state, self._unread = state, self._before[begin + read : begin + stretch]
            begin += stretch

    def _score_pieces(
        self, begin: int, length: int, windows: int, state: FloatArray
    ) -> tuple[FloatArray, int]:
        """Score a stretch of a text, after `state` (…, 1, …), in pieces of `windows` windows.

        Returns a state, and after how many of the inputs it is: after all, unless the last piece is
        shorter than the others.
        """
        offsets = np.arange(0, length, windows * STEPS)
        first, lengths = begin + offsets, np.minimum(length - offsets, windows * STEPS)
        states = self._model.zero_state(first.size)
        states[:, :1] = state
        # The state of each piece after each window: (windows, arrays, pieces, H).
        reached = np.empty((windows, *states.shape), states.dtype)
        guess = partial(self._read_pieces, first, lengths, states, reached)
        side_by_side([partial(guess, group) for group in _groups(np.arange(first.size))])
        doubtful = np.arange(1, first.size)
        rounds = 0
        while doubtful.size:
            rounds += 1
            now = doubtful if rounds <= ROUNDS else doubtful[:1]
            states[:, now] = reached[-1][:, now - 1]
            ended_otherwise: list[int] = []
            again = partial(self._read_pieces, first, lengths, states, reached)
            side_by_side([partial(again, group, ended_otherwise) for group in _groups(now)])
            after = np.array(ended_otherwise, np.intp) + 1
            doubtful = np.union1d(np.setdiff1d(doubtful, now), after[after < first.size])
        whole = length // (windows * STEPS)
        return (reached[-1][:, whole - 1 : whole] if whole else state), whole * windows * STEPS

    def _read_pieces(
        self,
        first: Positions,
        lengths: Positions,
        states: FloatArray,
        reached: FloatArray,
        pieces: NDArray[np.intp],
        ended_otherwise: list[int] | None = None,
    ) -> None:
        """Read some pieces from their `states`, and note in `reached` the state after each window.

        With the list `ended_otherwise`, this is a second reading. It stops in a piece where its
        state agrees with the first reading's, in `reached`. The list gets the pieces that end in
        another state than in the first reading.
        """
        readers = self._readers(pieces.size)
        state = states[:, pieces]
        for window, there in enumerate(reached):
            t = window * STEPS
            state = self._window(readers, first[pieces] + t, lengths[pieces] - t, state, STEPS)
            going_on = lengths[pieces] > t + STEPS
            if ended_otherwise is not None:
                differs = np.abs(state - there[:, pieces]).max(axis=(0, 2)) > AGREEMENT
                if window + 1 == len(reached):
                    ended_otherwise.extend(pieces[differs].tolist())
                going_on &= differs
            there[:, pieces] = state
            if not going_on.all():
                pieces, state = pieces[going_on], state[:, going_on]
                if not pieces.size:
                    return

    def _readers(self, size: int) -> list[Reader]:
        """This thread's readers for so many sequences; a reader can do one reading at a time."""
        if size < GROUP // 2:
            return self._model.readers(size)
        if not hasattr(self._thread, "readers"):
            self._thread.readers = self._model.readers(GROUP)
        readers: list[Reader] = self._thread.readers
        return readers

    def _window(
        self,
        readers: list[Reader],
        first: Positions,
        lengths: Positions,
        state: FloatArray,
        most: int,
    ) -> FloatArray:
        """Score at most `most` steps of sequences (B,); return the state after them."""
        steps = np.arange(min(most, int(lengths.max())))[:, None]  # (T, 1)
        positions = first + steps  # (T, B)
        inside = steps < lengths
        inputs = self._before[np.minimum(positions, self._before.size - 1)]
        vectors, state = self._model.read_window(readers, inputs, state)
        if self._targets is None:
            return state
        scored = positions[inside]
        self._scores[scored] = self._model.target_scores(vectors[inside], self._targets[scored])
        return state


def _groups(sequences: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Groups of at most `GROUP` sequences; two or more if there are enough for two threads."""
    count = max(-(-sequences.size // GROUP), min(2, sequences.size // FEW))
    return [group for group in np.array_split(sequences, max(1, count)) if group.size]
