"""One model, many readers: a thread steps all their texts as one batch.

A step of many texts costs little more than a step of one. So readers who share steps are served
faster than readers who take turns. Between two steps new texts join. A text leaves when it has
ended, when nobody reads it any more, or when its reader is slow (`AHEAD`).

The promise: a text depends on its prompt, settings and seed, not on the other texts. N-gram models
and caches give exactly the text and the numbers of `sample`. A network rounds a product of many
rows differently from a product of one. So its log-probabilities agree within 1e-5. Its text is the
same, unless a random number falls so close to the border between two tokens.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lmsuite.errors import LmError, UsageError
from lmsuite.generation.batch import Batch, Continuation, Piece
from lmsuite.generation.conditions import Condition
from lmsuite.generation.texts import Seed, prompt_ids
from lmsuite.models.interface import LanguageModel, State
from lmsuite.sampling import SamplingSettings
from lmsuite.types import IntArray

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

AHEAD = 256
"""A text may be so many pieces ahead of its reader. Then it waits, outside the batch."""

_PROMPT_AT_ONCE = 256
"""Ids of a prompt that are read between two steps, so a long prompt does not delay other texts."""


class _Line:
    """One text on its way from the thread to its reader."""

    def __init__(
        self,
        prompt: str | IntArray,
        settings: SamplingSettings,
        rng: np.random.Generator,
        conditions: Sequence[Condition],
        alternatives: int,
    ) -> None:
        self.prompt, self.settings, self.rng = prompt, settings, rng
        self.conditions, self.alternatives = conditions, alternatives
        # Used by the thread alone:
        self.text: Continuation | None = None
        self.unread: IntArray = np.empty(0, np.int32)  # of the prompt
        self.state: State = None  # while it is not in the batch
        # Shared with the reader, without a lock: what both sides do is harmless done twice.
        self.pieces: SimpleQueue[Piece | BaseException | None] = SimpleQueue()
        self.is_closed = False
        self.is_waiting = False  # for its reader
        self.sleeper: Future[None] | None = None  # wakes a reader in an event loop

    @property
    def is_full(self) -> bool:
        """Whether the text must wait, because its reader is too far behind."""
        return self.pieces.qsize() >= AHEAD

    @property
    def may_go_on(self) -> bool:
        """Whether the reader of a text that waits has caught up."""
        return self.is_waiting and self.pieces.qsize() <= AHEAD // 2


class SharedStream:
    """The pieces of a text from a `Batcher`, for one reader: use ``for`` or ``async for``.

    To stop early, close the stream or delete it: the text then ends at once.
    """

    def __init__(self, line: _Line, inbox: SimpleQueue[_Line | None]) -> None:
        """`Batcher.submit` makes one."""
        self._line, self._inbox = line, inbox

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        if self._line.is_closed:
            raise StopIteration
        piece = self._taken(self._line.pieces.get())
        if piece is None:
            raise StopIteration
        return piece

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self

    async def __anext__(self) -> Piece:
        if self._line.is_closed:
            raise StopAsyncIteration
        piece = self._taken(await self._arrived())
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def arrived(self) -> list[Piece]:
        """All pieces that are there, in order; if there are none, the next. At the end none."""
        line = self._line
        if line.is_closed:
            return []
        first = self._taken(await self._arrived())
        if first is None:
            return []
        pieces, take = [first], line.pieces.get_nowait
        for _ in range(0 if line.is_closed else line.pieces.qsize()):
            item = take()
            if type(item) is Piece:
                pieces.append(item)
            elif item is None:
                line.is_closed = True
            else:
                line.pieces.put(item)  # the last of this text: the next call raises it
        if pieces[-1].finish_reason:
            line.is_closed = True
        elif line.may_go_on:
            line.is_waiting = False
            self._inbox.put(line)
        return pieces

    async def _arrived(self) -> Piece | BaseException | None:
        """The next item. If the task is cancelled while it waits, the stream is closed."""
        import asyncio

        line = self._line
        while True:
            with suppress(Empty):
                return line.pieces.get_nowait()
            line.sleeper = sleeper = asyncio.get_running_loop().create_future()
            if line.pieces.empty():  # else an item came before there was a sleeper
                try:
                    await sleeper
                except asyncio.CancelledError:
                    self.close()
                    raise

    def _taken(self, item: Piece | BaseException | None) -> Piece | None:
        line = self._line
        if isinstance(item, BaseException):
            line.is_closed = True
            raise item
        if item is None or item.finish_reason:
            line.is_closed = True
        elif line.may_go_on:
            line.is_waiting = False
            self._inbox.put(line)
        return item

    def close(self) -> None:
        """End the text; the reader gets no more pieces."""
        if not self._line.is_closed:
            self._line.is_closed = True
            self._inbox.put(self._line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Batcher:
    """Steps a model for many readers, in a thread of its own.

    Any thread may `submit` a prompt and read the pieces. `close` the batcher, or use it in a
    ``with`` or ``async with`` statement.
    """

    def __init__(self, model: LanguageModel, *, most: int = 64) -> None:
        """Start the thread.

        Args:
            model: of any family. It is not changed, so others may use it at the same time.
            most: how many texts are stepped together. More texts wait until one leaves.

        Raises:
            UsageError: `most` is below 1.
        """
        if most < 1:
            raise UsageError(f"{most} texts at a time: at least 1 is needed")
        self._model = model
        self._inbox: SimpleQueue[_Line | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        work = _Work(model, self._inbox, most)
        self._thread = threading.Thread(target=work.run, name="lmsuite-batcher", daemon=True)
        self._thread.start()

    def submit(
        self,
        prompt: str | IntArray = "",
        settings: SamplingSettings = SamplingSettings(),
        seed: Seed = None,
        *,
        conditions: Sequence[Condition] = (),
        alternatives: int = 0,
        **changes: Any,
    ) -> SharedStream:
        """Begin a text that continues a prompt; returns the stream of its pieces.

        The pieces are those of `stream` (for networks, see the module's docstring), and the
        arguments are those of `sample`. If the prompt is wrong, reading the pieces raises the
        error. The text's own `conditions` come beside those of the settings, and each piece has
        this number of `alternatives`.

        Raises:
            UsageError: a setting is out of bounds, or asks for phrases; or the batcher is closed.
        """
        settings = replace(settings, **changes)
        if settings.is_choosy:
            raise UsageError(
                "a batcher draws each text once; {contains} and {ends_with} are for `sample`",
                *("contains", "ends_with"),
            )
        [rng] = np.random.default_rng(seed).spawn(1)
        line = _Line(prompt, settings, rng, conditions, alternatives)
        with self._closing:
            if self._is_closed:
                raise UsageError("the batcher is closed; make another")
            self._inbox.put(line)
        return SharedStream(line, self._inbox)

    def close(self) -> None:
        """End the thread. Readers of texts that have not ended get an `LmError`."""
        self._end()
        self._thread.join()

    async def aclose(self) -> None:
        """As `close`, but the event loop continues while the thread takes its last step."""
        import asyncio

        self._end()
        while self._thread.is_alive():
            await asyncio.sleep(0.001)

    def _end(self) -> None:
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._inbox.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Work:
    """The work of a batcher's thread."""

    def __init__(self, model: LanguageModel, inbox: SimpleQueue[_Line | None], most: int) -> None:
        self._model, self._inbox, self._most = model, inbox, most
        self._open: set[_Line] = set()  # all that a reader may wait for
        self._prompts: deque[_Line] = deque()  # whose prompts are being read
        self._ready: deque[_Line] = deque()  # which wait for a row
        self._rows: list[_Line] = []  # of the batch
        self._waiting: set[_Line] = set()  # for their readers
        self._batch = Batch(model)
        self._start: State = None  # made in the thread, when it is first needed
        self._at_once = _PROMPT_AT_ONCE if model.reach is None else sys.maxsize
        self._wakened: dict[AbstractEventLoop, list[Future[None]]] = defaultdict(list)

    def run(self) -> None:
        """Serve until None comes out of the inbox."""
        while self._receive():
            try:
                self._read_prompts()
                self._fill_rows()
                if self._rows:
                    self._step()
            except Exception as error:  # of all rows, as where memory is out
                rows, self._rows, self._batch = self._rows, [], Batch(self._model)
                self._end(rows, error)
        self._end(tuple(self._open), LmError("the batcher was closed before the text had ended"))
        self._wake()

    def _receive(self) -> bool:
        """Take all lines from the inbox; wait for one if there is nothing else to do."""
        while True:
            self._wake()
            is_idle = not (self._prompts or self._ready or self._rows)
            try:
                line = self._inbox.get(block=is_idle)
            except Empty:
                return True
            if line is None:
                return False
            if line.is_closed:
                self._waiting.discard(line)
                self._give(line, None)
            elif line.text is None:
                self._begin(line)
            elif line in self._waiting:  # else it was sent twice
                self._waiting.remove(line)
                self._ready.append(line)

    def _begin(self, line: _Line) -> None:
        self._open.add(line)
        try:
            line.unread = prompt_ids(self._model, line.prompt)
            line.text = Continuation(
                self._model.encoder,
                line.unread,
                line.settings,
                line.rng,
                line.conditions,
                line.alternatives,
            )
            if self._start is None:
                self._start = self._model.start(1)
            line.state = self._start
        except Exception as error:
            self._give(line, error)
        else:
            if line.settings.max_tokens:
                (self._prompts if line.unread.size else self._ready).append(line)
            else:
                self._give(line, None)

    def _read_prompts(self) -> None:
        """Read a part of every prompt."""
        for _ in range(len(self._prompts)):
            line = self._prompts.popleft()
            if line.is_closed:
                continue
            part, line.unread = line.unread[: self._at_once], line.unread[self._at_once :]
            try:
                line.state = self._model.read(line.state, part)
            except Exception as error:
                self._give(line, error)
                continue
            (self._prompts if line.unread.size else self._ready).append(line)

    def _fill_rows(self) -> None:
        """Remove lines that nobody reads, or reads too slowly; waiting lines take their rows."""
        staying = []
        for row, line in enumerate(self._rows):
            if line.is_full and not line.is_closed:
                line.state = self._batch.state(row)
                line.is_waiting = True  # from now on its reader sends it back
                self._waiting.add(line)
                if line.may_go_on:  # unless it caught up a moment before
                    self._inbox.put(line)
            elif not line.is_closed:
                staying.append(row)
        self._rows = [self._rows[row] for row in staying]
        self._batch.keep(staying)
        while self._ready and len(self._rows) < self._most:
            line = self._ready.popleft()
            if line.text is not None and not line.is_closed:
                self._rows.append(line)
                self._batch.join([line.text], line.state)
                line.state = None

    def _step(self) -> None:
        staying = []
        for row, (line, piece) in enumerate(zip(self._rows, self._batch.draw(), strict=True)):
            self._give(line, piece)
            if not isinstance(piece, LmError) and piece.finish_reason is None:
                staying.append(row)
        self._wake()
        self._rows = [self._rows[row] for row in staying]
        self._batch.read(staying)

    def _end(self, lines: Sequence[_Line], error: Exception) -> None:
        for line in lines:
            self._give(line, error)

    def _give(self, line: _Line, item: Piece | BaseException | None) -> None:
        line.pieces.put(item)
        if not isinstance(item, Piece) or item.finish_reason:
            self._open.discard(line)
        sleeper, line.sleeper = line.sleeper, None
        if sleeper is not None:
            self._wakened[sleeper.get_loop()].append(sleeper)

    def _wake(self) -> None:
        """Wake the readers in event loops, each loop once."""
        for loop, sleepers in self._wakened.items():
            with suppress(RuntimeError):  # the loop has ended, and its readers with it
                loop.call_soon_threadsafe(_end_sleep, sleepers)
        self._wakened.clear()


def _end_sleep(sleepers: list[Future[None]]) -> None:
    for sleeper in sleepers:
        if not sleeper.done():
            sleeper.set_result(None)


def astream(
    model: LanguageModel,
    prompt: str | IntArray = "",
    settings: SamplingSettings = SamplingSettings(),
    seed: Seed = None,
    **changes: Any,
) -> AsyncGenerator[Piece, None]:
    """As `stream`, for ``async for``: the model is stepped in a thread, never in the event loop.

    When its reader is cancelled or stops, the work and the thread end.

    Raises:
        UsageError: a setting is out of bounds. Reading the pieces raises all other errors.
    """
    return _pieces(model, prompt, replace(settings, **changes), seed)


async def _pieces(
    model: LanguageModel, prompt: str | IntArray, settings: SamplingSettings, seed: Seed
) -> AsyncGenerator[Piece, None]:
    async with Batcher(model) as batcher:
        async for piece in batcher.submit(prompt, settings, seed):
            yield piece
