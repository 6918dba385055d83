"""From ids to text, one at a time: characters that are certain are given, others are held back."""

from __future__ import annotations

from copy import copy
from typing import Protocol, Self

from lmsuite.sampling import SamplingSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries
from lmsuite.text.vocabulary import EOS
from lmsuite.types import IntArray

_SPACING_REACH = 1 << 14
"""The first space may depend on so many tokens at the end of a prompt. A quotation that stays open
for more tokens than this, without an empty line, counts as closed."""


class Writer(Protocol):
    """Makes text from the ids of one text."""

    stopped: bool
    """Whether the text has ended: a stop text came, or ``</s>`` in a model of documents."""

    def push(self, token: int) -> str:
        """Add a token; returns the characters that it makes certain."""

    def finish(self) -> str:
        """End the text here; returns the characters that were held back."""

    def copy(self) -> Self:
        """A writer that has written the same."""


def writer(encoder: TextEncoder, settings: SamplingSettings, prompt_ids: IntArray) -> Writer:
    """A writer of the text that continues a prompt (N,)."""
    kind = BackwardWriter if encoder.backward else ForwardWriter
    return kind(encoder, settings, prompt_ids)


class ForwardWriter:
    """Holds back characters that may begin a stop text."""

    stopped = False

    def __init__(
        self, encoder: TextEncoder, settings: SamplingSettings, prompt_ids: IntArray
    ) -> None:
        # The first space depends on the end of the prompt. So that is pushed, too, and skipped in
        # the text that is given.
        self._decoder = encoder.decoder()
        self._last = EOS if encoder.boundaries is Boundaries.DOCUMENTS else None
        self._stops, self._keep_stop = settings.stop, settings.keep_stop
        self._held = ""
        before = prompt_ids[-_SPACING_REACH:]
        self._skip = len(encoder.decode(before))
        for token in before.tolist():
            self._pass_on(self._decoder.push(token))

    def push(self, token: int) -> str:
        if token == self._last:
            rest = self.finish()
            self.stopped = True
            return rest
        return self._pass_on(self._decoder.push(token))

    def copy(self) -> Self:
        copied = copy(self)
        copied._decoder = self._decoder.copy()
        return copied

    def finish(self) -> str:
        rest = self._pass_on(self._decoder.finish())
        return rest if self.stopped else rest + self._held

    def _pass_on(self, new: str) -> str:
        if self._skip:
            skipped = min(self._skip, len(new))
            self._skip -= skipped
            new = new[skipped:]
        if not self._stops:
            return new
        text = self._held + new
        ends = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            at, stop = min(ends, key=lambda end: (end[0], len(end[1])))
            return text[: at + len(stop) if self._keep_stop else at]
        held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


class BackwardWriter:
    """Holds back all of the text, whose last word comes first."""

    stopped = False

    def __init__(
        self, encoder: TextEncoder, settings: SamplingSettings, prompt_ids: IntArray
    ) -> None:
        # The prompt is the end of the text; the last space before it depends on its beginning.
        self._encoder, self._stops, self._keep_stop = encoder, settings.stop, settings.keep_stop
        self._last = EOS if encoder.boundaries is Boundaries.DOCUMENTS else None
        self._ids: tuple[int, ...] = tuple(prompt_ids[-_SPACING_REACH:].tolist())
        self._behind = len(encoder.decode(self._ids))

    def push(self, token: int) -> str:
        if token == self._last:
            self.stopped = True
            return self._text()
        self._ids = (*self._ids, token)
        text = self._text() if self._stops else ""
        found = [(at, stop) for stop in self._stops if (at := text.rfind(stop)) >= 0]
        if not found:
            return ""
        self.stopped = True
        at, stop = max(found, key=lambda each: (each[0] + len(each[1]), len(each[1])))
        return text[at if self._keep_stop else at + len(stop) :]

    def copy(self) -> Self:
        return copy(self)

    def finish(self) -> str:
        return "" if self.stopped else self._text()

    def _text(self) -> str:
        """What is drawn so far."""
        text = self._encoder.decode(self._ids)
        return text[: len(text) - self._behind]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
