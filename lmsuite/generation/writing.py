"""From ids to text, one at a time: characters that are certain are given, others are held back."""

from __future__ import annotations

from copy import copy
from typing import Self

from lmsuite.sampling import SamplingSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries
from lmsuite.text.vocabulary import EOS
from lmsuite.types import IntArray

_SPACING_REACH = 1 << 14
"""The first space may depend on so many tokens at the end of a prompt. A quotation that stays open
for more tokens than this, without an empty line, counts as closed."""


class Writer:
    """Makes text from the ids of one text; holds back characters that may begin a stop text."""

    stopped = False
    """Whether the text has ended: a stop text came, or ``</s>`` in a model of documents."""

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
        """Add a token; returns the characters that it makes certain."""
        if token == self._last:
            rest = self.finish()
            self.stopped = True
            return rest
        return self._pass_on(self._decoder.push(token))

    def copy(self) -> Self:
        """A writer that has written the same."""
        copied = copy(self)
        copied._decoder = self._decoder.copy()
        return copied

    def after(self, token: int) -> Self:
        """The writer that this one becomes by one more token; this one stays as it is."""
        later = self.copy()
        later.push(token)
        return later

    def finish(self) -> str:
        """End the text here; returns the characters that were held back."""
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


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
