"""Which texts are wanted: those that contain some phrases, and end with another.

A phrase is the tokens of its text, one after another, in what is drawn after the prompt. Where
tokens hold their own spaces, the phrase with a space before it counts, too. All phrases are looked
for at once by the automaton of Aho and Corasick (1975), "Efficient string matching".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lmsuite.errors import UsageError
from lmsuite.sampling import SamplingSettings
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.settings import Boundaries
from lmsuite.text.vocabulary import BOS, EOS, UNK


class Progress(NamedTuple):
    """How far a text has come."""

    node: int
    """The longest end of the text that is a beginning of a phrase; 0 if there is none."""
    found: int
    """The phrases found: bit k for phrase k of `contains`."""


START = Progress(0, 0)


class Phrases:
    """The automaton of all phrases."""

    def __init__(self, encoder: TextEncoder, settings: SamplingSettings) -> None:
        """The phrases of `contains` and `ends_with`.

        Raises:
            UsageError: a phrase has no tokens, or one that the model does not know.
        """
        self._next: list[dict[int, int]] = [{}]
        self._fail, self._bits, self._is_end = [0], [0], [False]
        self.last = [-1]
        """The last token of each node's beginning of a phrase."""
        for k, text in enumerate(settings.contains):
            for phrase in _phrases(encoder, text, "contains"):
                self._bits[self._add(phrase)] |= 1 << k
        self._all = (1 << len(settings.contains)) - 1
        self._ends = settings.ends_with is not None
        if settings.ends_with is not None:
            for phrase in _phrases(encoder, settings.ends_with, "ends_with"):
                self._is_end[self._add(phrase)] = True
        self.words = sorted({word for branches in self._next for word in branches})
        """Every token of a phrase, rising."""
        self._link()

    def _add(self, phrase: tuple[int, ...]) -> int:
        node = 0
        for word in phrase:
            if word not in self._next[node]:
                self._next[node][word] = len(self._next)
                self._next.append({})
                self._fail.append(0)
                self._bits.append(0)
                self._is_end.append(False)
                self.last.append(word)
            node = self._next[node][word]
        return node

    def _link(self) -> None:
        """The longest shorter end of every node, the short nodes first."""
        waiting = deque(self._next[0].values())
        while waiting:
            node = waiting.popleft()
            for word, child in self._next[node].items():
                self._fail[child] = self._goto(self._fail[node], word)
                waiting.append(child)
            self._bits[node] |= self._bits[self._fail[node]]
            self._is_end[node] |= self._is_end[self._fail[node]]

    def _goto(self, node: int, word: int) -> int:
        while word not in self._next[node] and node:
            node = self._fail[node]
        return self._next[node].get(word, 0)

    def step(self, progress: Progress, word: int) -> Progress:
        """The progress after one more token."""
        node = self._goto(progress.node, word)
        return Progress(node, progress.found | self._bits[node])

    def is_kept(self, progress: Progress) -> bool:
        """Whether a text that ends here is wanted."""
        return progress.found == self._all and (not self._ends or self._is_end[progress.node])

    def is_decided(self, progress: Progress) -> bool:
        """Whether every text that goes on from here is wanted."""
        return not self._ends and progress.found == self._all

    def are_kept(self, ids: Iterable[int]) -> bool:
        """Whether a text of these ids is wanted."""
        progress = START
        for word in ids:
            progress = self.step(progress, word)
        return self.is_kept(progress)

    def reachable(self) -> list[Progress]:
        """Every progress that a text can make."""
        known, waiting = {START}, [START]
        while waiting:
            progress = waiting.pop()
            for word in (-1, *self.words):  # -1: a token of no phrase
                after = self.step(progress, word)
                if after not in known:
                    known.add(after)
                    waiting.append(after)
        return sorted(known)


def _phrases(encoder: TextEncoder, text: str, field: str) -> set[tuple[int, ...]]:
    """The ids of a phrase, as they may stand in a text."""
    found = set()
    for spelled in (text, f" {text}"):
        ids = encoder.encode_prompt(spelled)
        if UNK not in ids:
            found.add(tuple(ids[ids != BOS].tolist()))
    if not found:
        unknown = next(token.token for token in encoder.located(text) if token.id == UNK)
        raise UsageError(
            f"{{{field}}} has {unknown!r}, a token that the model does not know and so cannot "
            "write",
            field,
            value=text,
        )
    if () in found:
        raise UsageError(f"{{{field}}} must be a text of at least one token", field, value=text)
    return found


def ending_tokens(encoder: TextEncoder, settings: SamplingSettings) -> list[int] | None:
    """The tokens that end a text wherever they come; None if that depends on the text before."""
    ending = {EOS} if encoder.boundaries is Boundaries.DOCUMENTS else set()
    for stop in settings.stop:
        if len(stop) > 1 or (not encoder.lossless and stop != "\n" and stop.isspace()):
            return None
        letter = encoder.tokenizer.token_of(stop)
        if len(letter) > 1 or encoder.tokenizer.name == "treebank":
            return None
        tokens = encoder.vocabulary.tokens
        ending.update(np.flatnonzero([letter in token for token in tokens]).tolist())
        if stop == encoder.boundaries.end:
            ending.add(EOS)
    return sorted(ending - {UNK, BOS})
