"""Scores of a text that is given as a string, for notebooks and decoders.

In LINES mode a line is a sentence, in DOCUMENTS mode a document is. A text without any is the empty
sentence; its probability is that of its end. `logprob` is KenLM's ``score``; `full_scores` is its
``full_scores``. Logarithms are natural unless a `base` is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import DataError, UsageError
from lmsuite.models.sentences import Scorer, Sentence, score_sentences
from lmsuite.text.encoding import TextEncoder, Token
from lmsuite.text.vocabulary import BOS, EOS, SPECIALS, UNK
from lmsuite.types import IntArray

Unit = Literal["word", "token", "line"]
"""The units of text of which `TextScores.surprisal` gives one record each."""


class FullScore(NamedTuple):
    """One token of a sentence and its score, as in KenLM's ``full_scores``."""

    word: str
    """The text of the token; ``</s>`` at the end of a sentence."""
    log_prob: float
    order: int | None
    """The order of the n-gram that was found; None if the model has no n-grams."""
    oov: bool
    """Whether the model reads the token as ``<unk>``."""


@dataclass(frozen=True)
class Surprisal:
    """The surprisal of one word, token or line of a text."""

    sentence: int
    """The number of its line or document, from 1."""
    word: str
    """Its text; the end of a sentence is ``</s>``, in STREAM mode a newline."""
    start: int
    """Its beginning in the line or document, in characters."""
    end: int
    """Its end in the line, in characters."""
    surprisal: float
    """Minus the logarithm of its probability: the sum over its tokens."""
    tokens: int
    """The number of its tokens, with those of the spaces before it."""
    oov: int
    """How many of these tokens the model does not know."""


class _Model(Scorer, Protocol):
    """The part of a `LanguageModel` that is needed here; its docstrings say more."""

    def score_without_bos(self, ids: IntArray) -> NDArray[np.float64]:
        """As `LanguageModel.score_without_bos`."""

    def matched_orders(self, ids: IntArray, *, bos: bool = True) -> NDArray[np.int64] | None:
        """As `LanguageModel.matched_orders`."""


class TextScores:
    """The methods of every model that take a text as a string."""

    def logprob(
        self: _Model, text: str, *, bos: bool = True, eos: bool = True, base: float = math.e
    ) -> float:
        """The log-probability of a text: the sum over its tokens, each given all tokens before it.

        Args:
            text: a sentence, or several lines.
            bos: begin every sentence after ``<s>``. If False, a sentence begins without known
                context, which only n-gram models can do. STREAM mode has no ``<s>``: there `bos`
                changes nothing.
            eos: count the end of every sentence, ``</s>``. STREAM mode has none.
            base: of the logarithm: 10 as in KenLM, 2 for bits.

        Raises:
            DataError: the text holds a reserved token.
            UsageError: the base is invalid, or `bos` is False and the model needs ``<s>``.
        """
        unit = log_of(base)
        ids = self.encoder.encode_sentence(text)
        scores = self.score(ids) if bos else self.score_without_bos(ids)
        if not eos:
            scores = scores[ids[ids != BOS] != EOS]
        return float(scores.sum()) / unit

    def logprob_given(
        self: _Model, context: str, text: str, *, eos: bool = False, base: float = math.e
    ) -> float:
        """The log-probability that `text` follows `context`, log p(text | context).

        Both are read as one text, so a space between them must be part of one of them:
        ``logprob_given("The king", " is here")``. Added to the log-probability of the context's
        tokens, it gives that of the whole.

        Raises:
            DataError: a token is partly in the context and partly in the text, or is reserved.
            UsageError: the base is invalid, or the model reads backward.
        """
        unit = log_of(base)
        if self.encoder.backward:
            raise UsageError(
                "a backward model predicts a text from what comes after it, not from a context "
                "before it"
            )
        whole, seam = context + text, len(context)
        before = 0
        for _, start, end in self.encoder.tokenizer.located(whole):
            if start < seam < end:
                raise DataError(
                    f"the context ends within the token {whole[start:end]!r}; end it where a token "
                    "ends, mostly before a space"
                )
            if end > seam or start >= seam:
                break
            before += 1
        ids = self.encoder.encode_sentence(whole)
        counted = np.ones(int((ids != BOS).sum()), bool) if eos else ids[ids != BOS] != EOS
        return float(self.score(ids)[before:][counted[before:]].sum()) / unit

    def perplexity(self: _Model, text: str) -> float:
        """The perplexity of a text, as `evaluate` gives it; ``</s>`` and unknown words count.

        Raises:
            DataError: the text has no tokens, or a reserved token.
        """
        scores = self.score(self.encoder.encode_sentence(text))
        if not len(scores):
            raise DataError("nothing to score: the text has no tokens")
        with np.errstate(over="ignore"):
            return float(np.exp(-scores.mean()))

    def full_scores(
        self: _Model, sentence: str, *, bos: bool = True, eos: bool = True, base: float = math.e
    ) -> Iterator[FullScore]:
        """Every token of a sentence, with its log-probability and order, and whether it is unknown.

        The arguments are those of `logprob`, which is the sum of these log-probabilities.

        Raises:
            DataError, UsageError: as `logprob`.
        """
        unit = log_of(base)
        ids = self.encoder.encode_sentence(sentence)
        words = self.encoder.tokens(sentence) or [SPECIALS[EOS]] * (len(ids) > 0)
        scores = (self.score(ids) if bos else self.score_without_bos(ids)).tolist()
        orders = self.matched_orders(ids, bos=bos)
        matched = [None] * len(scores) if orders is None else orders.tolist()
        tokens = ids[ids != BOS].tolist()
        for word, score, order, token in zip(words, scores, matched, tokens, strict=True):
            if eos or token != EOS:
                yield FullScore(word, score / unit, order, token == UNK)

    def surprisal(
        self: _Model,
        text: str,
        *,
        by: Unit = "word",
        in_context: bool = False,
        eos: bool = True,
        base: float = 2.0,
    ) -> list[Surprisal]:
        """The surprisal of every word of a text; ``pandas.DataFrame`` takes the list as it is.

        A word is a stretch without white space, whatever the tokenizer. Its surprisal is the sum
        over its tokens and the tokens of the spaces before it. So the surprisals of a line's words
        add up to the surprisal of the line. The end of a line is a word of its own.

        Args:
            text: lines, each a sentence.
            by: ``word``, ``token`` or ``line``.
            in_context: the lines before a line are its context. Otherwise each line is scored as if
                it were alone.
            eos: the end of every line counts, as a word of its own.
            base: of the logarithm; 2 gives bits.

        Raises:
            DataError: the text holds a reserved token.
            UsageError: `by` or the base is invalid.
        """
        if by not in _GROUPINGS:
            raise UsageError(f"{{by}} must be one of {', '.join(_GROUPINGS)}, not {by!r}", "by")
        log_of(base)
        lines = list(score_sentences(self, [text], in_context=in_context))
        boundaries = self.encoder.boundaries
        if not lines and boundaries.has_sequences:
            lines = list(score_sentences(self, [text, boundaries.end]))
        records: list[Surprisal] = []
        for number, line in enumerate(lines, start=1):
            records += surprisals(self.encoder, line, number, by=by, eos=eos, base=base)
        return records


def surprisals(
    encoder: TextEncoder,
    sentence: Sentence,
    number: int,
    *,
    by: Unit = "word",
    eos: bool = True,
    base: float = 2.0,
) -> list[Surprisal]:
    """The surprisal of every word of a sentence that was scored, as `TextScores.surprisal`.

    Args:
        encoder: of the model that scored it.
        sentence: with its scores.
        number: of the sentence.
        by: as `TextScores.surprisal`.
        eos: whether the end of the sentence counts.
        base: of the logarithm.
    """
    tokens = list(encoder.located(sentence.text + sentence.end))
    if not eos:
        tokens = tokens[: len(tokens) - sentence.has_end(encoder)]
    values = (sentence.log_probs / -log_of(base)).tolist()
    unknown = (sentence.ids == UNK).tolist()
    records, begin = [], 0
    for size, word, start, end in _GROUPINGS[by](sentence, tokens):
        part = slice(begin, begin + size)
        total, oov = sum(values[part], 0.0), sum(unknown[part])
        records.append(Surprisal(number, word, start, end, total, size, oov))
        begin += size
    return records


def log_of(base: float) -> float:
    """The natural logarithm of a base."""
    if not 0 < base < math.inf or base == 1:
        raise UsageError(f"no logarithm has the base {base}; give 10, 2 or math.e")
    return math.log(base)


_Group = tuple[int, str, int, int]  # number of tokens, their text, its start and end


def _by_token(line: Sentence, tokens: list[Token]) -> Iterator[_Group]:
    for token in tokens:
        yield 1, token.token, token.start, token.end


def _by_line(line: Sentence, tokens: list[Token]) -> Iterator[_Group]:
    if tokens:
        yield len(tokens), line.text, 0, len(line.text)


def _by_word(line: Sentence, tokens: list[Token]) -> Iterator[_Group]:
    """Tokens without white space between them; white space belongs to the word after it, if any."""
    groups: list[list[Token]] = []
    joins = False  # whether the next token belongs to the last group
    end = 0
    for token in tokens:
        text = line.text[token.start : token.end]  # empty at the end of the line
        is_cut = not text or token.start > end or text[0].isspace()
        if joins or (groups and not is_cut):
            groups[-1].append(token)
        else:
            groups.append([token])
        # The group is only white space so far, or the token ends with white space.
        joins = text.isspace() and (joins or is_cut)
        end = token.end if not text[-1:].isspace() else -1
    if joins and len(groups) > 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    for group in groups:
        start, end = group[0].start, group[-1].end
        if group[-1].start == len(line.text):
            yield len(group), group[-1].token, group[-1].start, end
            continue
        text = line.text[start:end]
        if text.strip():
            start, end = end - len(text.lstrip()), start + len(text.rstrip())
        yield len(group), line.text[start:end], start, end


_GROUPINGS = {"word": _by_word, "token": _by_token, "line": _by_line}
