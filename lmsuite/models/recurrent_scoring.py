"""Scoring with a recurrent network: whatever can be read side by side is.

Segments of a text that each begin with ``<s>`` know nothing of one another, and are read as the
lanes of a batch. A long text is one segment, in which every step needs the state after the step
before; read one token at a time, all the weights pass through the processor for each. But a
network forgets: what it read a few hundred tokens ago no longer shows in its state. So

1. the text is cut into pieces that are read side by side, all but the first from a guess at the
   state before them: zero;
2. each piece is read again from the state in which the piece before it ended, until its state
   agrees with what the first reading had there; from there on the first reading was right;
3. where they do not come to agree before the piece ends, that piece ended in another state than was
   thought, so the next one is read again. In the worst case, of a network that forgets nothing, all
   pieces are read one after another, as the text would have been to begin with.

The scores are those of reading it token by token, up to the rounding of the states (`AGREEMENT`).
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.recurrent_stack import RecurrentStack
from lmsuite.nn.reader import Reader
from lmsuite.nn.threads import side_by_side, thread_count
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

LANES = 32
"""Sequences that one thread reads side by side."""

FEW = 8
"""Fewer sequences than this are not worth a thread of their own."""

STEPS = 16
"""Steps that are read at a time; few enough for their arrays to stay in the cache."""

STEPS_OF_FEW = 128
"""Steps of few sequences: the output's weights, read for each window, are larger than the rest."""

PIECES = 64
"""Into how many pieces a long text is cut."""

PIECE = (512, 2048)
"""Tokens of a piece, at least (there are fewer pieces) and at most (the text is cut in several)."""

AGREEMENT = 1e-5
"""Two readings agree if no number of their states differs by more. Rounding alone leaves trained
networks up to 3e-6 apart; the mean over a text of 10^5 tokens then agrees to 1e-9 nats."""

ROUNDS = 3
"""How often all pieces in doubt are read again together, before it is one after another."""

Places = NDArray[np.int64]


class SideBySide:
    """Scores one text with one model."""

    def __init__(self, model: RecurrentStack) -> None:
        self._model = model
        self._targets: IntArray | None = None  # None: nothing is scored
        self._thread = threading.local()  # whose readers it keeps, from one batch to the next

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        """Log-probability of each id that is not ``<s>``, as `LanguageModel.score` has it."""
        positions = np.flatnonzero(ids != BOS)
        self._targets = ids[positions]
        self._before = np.where(positions > 0, ids[positions - 1], np.int32(BOS))
        self._scores = np.empty(positions.size)
        first = np.flatnonzero(self._before == BOS)
        lengths = np.diff(first, append=positions.size)
        long = lengths >= 2 * PIECE[0]
        with _one_blas_thread if positions.size >= PIECE[0] else nullcontext():
            self._score_short(first[~long], lengths[~long])
            for begin, length in zip(first[long].tolist(), lengths[long].tolist(), strict=True):
                self._score_long(begin, length)
        return self._scores

    def read(self, state: FloatArray, ids: IntArray) -> FloatArray:
        """The state (…, 1, …) after ids (N,), no ``<s>`` after the first; nothing is scored."""
        self._before, self._targets = ids, None
        windows = -(-min(max(ids.size // PIECES, PIECE[0]), PIECE[1]) // STEPS)
        whole = ids.size // (windows * STEPS) * windows * STEPS
        most = PIECES * windows * STEPS
        if whole <= windows * STEPS:
            whole = 0  # a single piece has none beside it
        with _one_blas_thread if whole else nullcontext():
            for begin in range(0, whole, most):
                state = self._score_pieces(begin, min(most, whole - begin), windows, state)
        readers = self._model.readers(1)
        for begin in range(whole, ids.size, STEPS):
            window = ids[begin : begin + STEPS, None]
            _, state = self._model.read_window(readers, window, state)
        return state

    def _score_short(self, first: Places, lengths: Places) -> None:
        """Segments as lanes, those of like length together."""
        order = np.argsort(-lengths, kind="stable")
        side_by_side([partial(self._score_group, first[g], lengths[g]) for g in _groups(order)])

    def _score_group(self, first: Places, lengths: Places) -> None:
        """Reads segments side by side, the longest first; those that end drop out."""
        readers = self._readers(first.size)
        state = self._model.zero_state(first.size)
        steps = STEPS if first.size * STEPS > STEPS_OF_FEW else STEPS_OF_FEW // first.size
        for t in range(0, int(lengths.max()), steps):
            lanes = int(np.sum(lengths > t))
            state = self._window(
                readers, first[:lanes] + t, lengths[:lanes] - t, state[:, :lanes], steps
            )

    def _score_long(self, begin: int, length: int) -> None:
        """One segment, in stretches of at most PIECES pieces."""
        state = self._model.zero_state(1)
        end = begin + length
        while begin < end:
            left = end - begin
            windows = -(-min(max(left // PIECES, PIECE[0]), PIECE[1]) // STEPS)
            stretch = min(left, PIECES * windows * STEPS)
            state = self._score_pieces(begin, stretch, windows, state)
            begin += stretch

    def _score_pieces(self, begin: int, length: int, windows: int, state: FloatArray) -> FloatArray:
        """A stretch of a text in pieces of `windows` windows, read from `state` (…, 1, …).

        Returns the state after it, if the last piece is as long as the others.
        """
        offsets = np.arange(0, length, windows * STEPS)
        first, lengths = begin + offsets, np.minimum(length - offsets, windows * STEPS)
        states = self._model.zero_state(first.size)
        states[:, :1] = state
        # After every window the state of each piece: (windows, arrays, pieces, H).
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
        final: FloatArray = reached[-1][:, -1:]
        return final

    def _read_pieces(
        self,
        first: Places,
        lengths: Places,
        states: FloatArray,
        reached: FloatArray,
        pieces: NDArray[np.intp],
        ended_otherwise: list[int] | None = None,
    ) -> None:
        """Reads some pieces from their `states`, noting in `reached` the states on the way.

        With a list to note those in that ended in another state than `reached` had, a piece is
        left where its state agrees with that.
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

    def _readers(self, lanes: int) -> list[Reader]:
        """This thread's own: a reader's memory serves one reading at a time."""
        if lanes < LANES // 2:
            return self._model.readers(lanes)
        if not hasattr(self._thread, "readers"):
            self._thread.readers = self._model.readers(LANES)
        readers: list[Reader] = self._thread.readers
        return readers

    def _window(
        self,
        readers: list[Reader],
        first: Places,
        lengths: Places,
        state: FloatArray,
        most: int,
    ) -> FloatArray:
        """Scores at `most` so many steps of lanes (B,); the state after them."""
        steps = np.arange(min(most, int(lengths.max())))[:, None]  # (T, 1)
        places = first + steps  # (T, B)
        inside = steps < lengths
        inputs = self._before[np.minimum(places, self._before.size - 1)]
        hidden, state = self._model.read_window(readers, inputs, state)
        if self._targets is None:
            return state
        rows = places[inside]
        self._scores[rows] = self._model.score_rows(hidden[inside], self._targets[rows])
        return state


def _groups(lanes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Lanes in groups of at most LANES, in at least two if there are enough for two threads."""
    count = max(-(-lanes.size // LANES), min(2, lanes.size // FEW))
    return [group for group in np.array_split(lanes, max(1, count)) if group.size]


class _OneBlasThread:
    """While anyone is inside, BLAS uses one thread: threads of ours and its own would fight.

    The limit is the whole process's. Of several readers that come and go, the first sets it and the
    last puts it back; were each to put back what it found, the limit would stay.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0 and thread_count() > 1:
                from threadpoolctl import threadpool_limits

                self._limits = threadpool_limits(1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


_one_blas_thread = _OneBlasThread()
