"""Texts that are given are scored together: a thread takes all that wait.

Without alternatives, the ids of all texts are one text to the model, with ``<s>`` between them, and
`LanguageModel.score` is called once. With alternatives the whole distribution before each token is
needed. Then the texts are read side by side, a token of each at a time, and the distributions
of some steps are computed at once. Between two such windows new texts join.

The log-probability of a token and those of the alternatives come from the same distribution. So a
token that is the most probable has the very number of the best alternative.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError
from lmsuite.generation.alternatives import most_probable
from lmsuite.models.interface import LanguageModel, State
from lmsuite.text.vocabulary import BOS
from lmsuite.types import FloatArray, IntArray

MOST = 64
"""Texts that are read side by side."""

_STEPS = 16
"""Steps of a window, if its distributions do not hold more numbers than these:"""
_NUMBERS = 1 << 21

_AT_ONCE = 1 << 16
"""Ids that are scored in one call; more texts wait for the next."""


class Scores(NamedTuple):
    """What a model says of a text: of every id that is not ``<s>``, in order."""

    log_probs: NDArray[np.float64]
    """(M,) in nats."""
    best: NDArray[np.intp]
    """(M, K) the ids of the most probable tokens before each."""
    best_log_probs: FloatArray
    """(M, K)"""


@dataclass
class _Text:
    """A text on its way through the thread."""

    ids: IntArray
    alternatives: int
    answer: Future[Scores] = field(default_factory=Future)
    read: int = 0  # ids
    parts: list[Scores] = field(default_factory=list)

    def give(self, answer: Scores | BaseException) -> None:
        """Answer, unless nobody waits any more."""
        try:
            if isinstance(answer, BaseException):
                self.answer.set_exception(answer)
            else:
                self.answer.set_result(answer)
        except InvalidStateError:
            pass


class Scorer:
    """Scores texts with one model for many who ask, in a thread of its own."""

    def __init__(self, model: LanguageModel) -> None:
        """Start the thread."""
        self._inbox: SimpleQueue[_Text | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._is_closed = False
        work = _Work(model, self._inbox)
        self._thread = threading.Thread(target=work.run, name="lmsuite-scorer", daemon=True)
        self._thread.start()

    def submit(self, ids: IntArray, alternatives: int = 0) -> Future[Scores]:
        """The scores of the ids (N,), as of a text that begins after ``<s>``.

        Args:
            ids: of a text, or of several, each after ``<s>``.
            alternatives: how many of the most probable tokens are wanted before each id.

        Raises:
            LmError: the scorer is closed. The future raises what the model does.
        """
        text = _Text(ids, alternatives)
        with self._lock:
            if self._is_closed:
                raise LmError("the server is ending")
            self._inbox.put(text)
        return text.answer

    def close(self) -> None:
        """End the thread. Who still waits gets an `LmError`."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(None)
        self._thread.join()


class _Work:
    """The work of a scorer's thread."""

    def __init__(self, model: LanguageModel, inbox: SimpleQueue[_Text | None]) -> None:
        self._model, self._inbox = model, inbox
        self._plain: deque[_Text] = deque()  # without alternatives
        self._waiting: deque[_Text] = deque()  # for a row
        self._rows: list[_Text] = []
        self._state: State = None
        self._decoder = model.decoder(MOST)

    def run(self) -> None:
        """Score until None comes out of the inbox."""
        while self._receive():
            if self._plain:
                texts = self._some()
                self._try(texts, partial(self._score, texts))
            if self._rows or self._waiting:
                self._try(self._rows, self._read_window)
        for text in (*self._plain, *self._waiting, *self._rows):
            text.give(LmError("the server ended before the text was scored"))

    def _try(self, texts: list[_Text], work: Callable[[], None]) -> None:
        """Do some work for texts; if it fails, it fails for all of them."""
        try:
            work()
        except Exception as error:
            for text in texts:
                text.give(error)
            self._rows = [text for text in self._rows if not text.answer.done()]
            if len(self._rows) == 0:
                self._state = None

    def _receive(self) -> bool:
        """Take all texts from the inbox; wait for one if there is nothing else to do."""
        while True:
            is_idle = not (self._plain or self._waiting or self._rows)
            try:
                text = self._inbox.get(block=is_idle)
            except Empty:
                return True
            if text is None:
                return False
            (self._waiting if text.alternatives else self._plain).append(text)

    def _some(self) -> list[_Text]:
        """Texts that are scored in one call."""
        texts: list[_Text] = []
        size = 0
        while self._plain and (not texts or size + len(self._plain[0].ids) <= _AT_ONCE):
            text = self._plain.popleft()
            if not text.answer.cancelled():
                texts.append(text)
                size += len(text.ids)
        return texts

    def _score(self, texts: list[_Text]) -> None:
        if self._model.remembers_text:  # what stands before a <s> would count
            scores = [self._model.score(text.ids) for text in texts]
        else:
            joined = [part for text in texts for part in (_BEGIN, text.ids)]
            lengths = [np.count_nonzero(text.ids != BOS) for text in texts]
            together = self._model.score(np.concatenate([*joined, _BEGIN[:0]]))
            scores = np.split(together, np.cumsum(lengths)[:-1])
        for text, own in zip(texts, scores, strict=True):
            none = np.empty((len(own), 0))
            text.give(Scores(own, none.astype(np.intp), none))

    def _read_window(self) -> None:
        """Read some ids of every text in a row."""
        self._fill_rows()
        if not self._rows:
            return
        states: list[State] = []
        targets: list[NDArray[np.int32]] = []
        texts: list[list[_Text]] = []
        size = len(self._model.encoder.vocabulary)
        for _ in range(max(1, min(_STEPS, _NUMBERS // (size * len(self._rows))))):
            ids = np.array([text.ids[text.read] for text in self._rows], np.int32)
            states.append(self._state)
            targets.append(ids)
            texts.append(self._rows)
            self._state = self._decoder.step(self._state, ids)
            staying = []
            for row, text in enumerate(self._rows):
                text.read += 1
                if text.read < len(text.ids):
                    staying.append(row)
            self._keep(staying)
            if not staying:
                break
        self._take(states, targets, texts)

    def _fill_rows(self) -> None:
        self._keep([row for row, text in enumerate(self._rows) if not text.answer.cancelled()])
        while self._waiting and len(self._rows) < MOST:
            text = self._waiting.popleft()
            if not len(text.ids):
                text.give(_joined([]))
            elif not text.answer.cancelled():
                start = self._model.start(1)
                self._state = self._model.join([self._state, start]) if self._rows else start
                self._rows = [*self._rows, text]

    def _keep(self, rows: list[int]) -> None:
        if len(rows) < len(self._rows):
            self._state = self._model.select(self._state, rows) if rows else None
            self._rows = [self._rows[row] for row in rows]

    def _take(
        self, states: list[State], targets: list[NDArray[np.int32]], texts: list[list[_Text]]
    ) -> None:
        """Give each text the scores of a window's steps; answer those that have ended."""
        ids = np.concatenate(targets)
        log_probs = np.concatenate(list(self._distributions(states, targets)))  # (R, V)
        owners = [text for step in texts for text in step]
        most = max(text.alternatives for text in owners)
        best, best_log_probs = most_probable(log_probs, most)
        own = log_probs[np.arange(len(ids)), ids].astype(np.float64)
        rows: dict[int, list[int]] = {}
        by_number: dict[int, _Text] = {}
        for row, (text, token) in enumerate(zip(owners, ids.tolist(), strict=True)):
            by_number[id(text)] = text
            mine = rows.setdefault(id(text), [])
            if token != BOS:
                mine.append(row)
        for number, text in by_number.items():
            mine, count = rows[number], text.alternatives
            text.parts.append(Scores(own[mine], best[mine, :count], best_log_probs[mine, :count]))
            if text.read == len(text.ids):
                text.give(_joined(text.parts))

    def _distributions(
        self, states: list[State], targets: list[NDArray[np.int32]]
    ) -> Iterator[FloatArray]:
        """The distributions of the states of some steps, up to `MOST` rows at a time."""
        begin = rows = 0
        for step, ids in enumerate(targets):
            if rows + len(ids) > MOST:
                yield self._decoder.log_probs(self._model.join(states[begin:step]))
                begin, rows = step, 0
            rows += len(ids)
        yield self._decoder.log_probs(self._model.join(states[begin:]))


_BEGIN = np.array([BOS], np.int32)


def _joined(parts: list[Scores]) -> Scores:
    if not parts:
        return Scores(np.empty(0), np.empty((0, 0), np.intp), np.empty((0, 0)))
    return Scores(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
