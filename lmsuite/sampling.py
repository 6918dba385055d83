"""Drawing text from a model, one token after another.

Each token is drawn from the model's next-token distribution after these steps, in this order, each
on what the one before it left over, renormalised:

1. ``<unk>`` and the ids that the encoder calls impossible are excluded; a text cannot show an
   unknown token. (If nothing else has any probability, ``<unk>`` is let through.)
2. *temperature* t: p becomes proportional to p^(1/t) (Ackley, Hinton and Sejnowski 1985). At 0 the
   most probable token is taken, the first of equals.
3. *top-k* (Fan, Lewis and Dauphin 2018): the k most probable tokens are kept.
4. *top-p*, the nucleus (Holtzman et al. 2020): the smallest set of most probable tokens whose
   probabilities sum to at least p is kept.
5. *min-p* (Nguyen et al. 2024): the tokens are kept whose probability is at least m times that of
   the most probable one.

Among tokens of equal probability at the edge of a set, the ones with smaller ids are kept. A filter
at its neutral value (t = 1, k = 0, p = 1, m = 0) is not computed at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lmsuite.errors import LmError, UsageError
from lmsuite.models.interface import FloatArray, IntArray, LanguageModel, State
from lmsuite.text.encoding import TextEncoder
from lmsuite.text.vocabulary import BOS, EOS, UNK


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn, and when to stop."""

    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0
    max_tokens: int = 100
    stop: tuple[str, ...] = ()  # the text ends before the first of these that appears in it

    def __post_init__(self) -> None:
        limits = (
            (self.temperature >= 0 and np.isfinite(self.temperature), "temperature is at least 0"),
            (self.top_k >= 0, "top-k is at least 0 (0 keeps all tokens)"),
            (0 < self.top_p <= 1, "top-p is above 0 and at most 1"),
            (0 <= self.min_p <= 1, "min-p is from 0 to 1"),
            (self.max_tokens >= 0, "the number of tokens is at least 0"),
            ("" not in self.stop, "a stop text has at least one character"),
        )
        for holds, rule in limits:
            if not holds:
                raise UsageError(rule)


@dataclass(frozen=True)
class Draw:
    """The next token of each text of a batch."""

    ids: IntArray  # (B,)
    log_probs: FloatArray  # (B,) the model's own, before any filter


@dataclass
class Sample:
    """One text drawn: what follows the prompt."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)  # the model's own, before any filter


def filtered_probs(
    log_probs: FloatArray, settings: SamplingSettings, excluded: IntArray | None = None
) -> NDArray[np.float64]:
    """The probabilities (B, V) from which tokens are drawn, given the model's log-probabilities.

    `excluded` are the ids of step 1 of the module's docstring.

    Raises:
        LmError: a row gives no token any probability.
    """
    weights = _weights(log_probs, settings, excluded)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _weights(
    log_probs: FloatArray, settings: SamplingSettings, excluded: IntArray | None
) -> NDArray[np.float64]:
    """`filtered_probs` up to a factor: the largest of each row is 1."""
    logits = log_probs.astype(np.float64)  # a copy
    if excluded is not None:
        logits[:, excluded] = -np.inf
    best = logits.max(axis=1, keepdims=True)  # (B, 1)
    if best.min() == -np.inf:
        empty = best[:, 0] == -np.inf
        logits[empty] = log_probs[empty]
        best = logits.max(axis=1, keepdims=True)
        if best.min() == -np.inf:
            raise LmError("the model gives no token any probability here, so no text can go on")
    if settings.temperature == 0:
        weights = np.zeros_like(logits)
        weights[np.arange(len(logits)), logits.argmax(axis=1)] = 1.0
        return weights
    logits -= best
    if settings.temperature != 1:
        with np.errstate(over="ignore"):  # a temperature near 0 leaves nothing but the best
            logits /= settings.temperature
    weights = np.exp(logits)
    if settings.top_k or settings.top_p < 1:
        weights = _most_probable(weights, settings)
    if settings.min_p > 0:
        weights[weights < settings.min_p] = 0.0
    return weights


def _most_probable(weights: NDArray[np.float64], settings: SamplingSettings) -> NDArray[np.float64]:
    """Top-k, then top-p, on one sorting of each row."""
    order = (-weights).argsort(axis=1, kind="stable")
    if settings.top_k:
        order = order[:, : settings.top_k]
    kept = np.take_along_axis(weights, order, axis=1)
    if settings.top_p < 1:
        cumulative = kept.cumsum(axis=1)
        before = cumulative - kept
        kept[before >= settings.top_p * cumulative[:, -1:]] = 0.0
    filtered = np.zeros_like(weights)
    np.put_along_axis(filtered, order, kept, axis=1)
    return filtered


def draw_ids(
    log_probs: FloatArray,
    settings: SamplingSettings,
    rng: np.random.Generator,
    excluded: IntArray | None = None,
) -> IntArray:
    """One id (B,) from each row of `filtered_probs`, by inversion of the cumulative sum.

    Raises:
        LmError: a row gives no token any probability.
    """
    cumulative = _weights(log_probs, settings, excluded).cumsum(axis=1)
    marks = rng.random(len(cumulative)) * cumulative[:, -1]
    ids: NDArray[np.intp]
    if len(marks) == 1:  # a single stream: a binary search does
        ids = cumulative[0].searchsorted(marks, side="right")
    else:
        ids = (cumulative > marks[:, None]).argmax(axis=1)
    return ids.astype(np.int32)


def draw(
    model: LanguageModel,
    settings: SamplingSettings,
    rng: np.random.Generator,
    prompt_ids: IntArray,
    samples: int = 1,
) -> Iterator[Draw]:
    """The tokens that continue `prompt_ids` in a batch of `samples` texts, without end.

    After ``</s>`` a text begins anew in the model's start state, so a model of lines writes line
    after line.
    """
    state: State = model.start(samples)
    for token in prompt_ids:
        state = model.step(state, np.full(samples, token, dtype=np.int32))
    excluded = np.array([UNK, *model.text.impossible], dtype=np.int32)
    rows = np.arange(samples)
    while True:
        log_probs = model.log_probs(state)  # (B, V)
        ids = draw_ids(log_probs, settings, rng, excluded)
        yield Draw(ids, log_probs[rows, ids])
        state = model.step(state, np.where(ids == EOS, np.int32(BOS), ids))


def stream(
    model: LanguageModel,
    settings: SamplingSettings,
    rng: np.random.Generator,
    prompt_ids: IntArray,
) -> Iterator[str]:
    """One text that continues `prompt_ids`, in pieces, each given as soon as it is certain."""
    writer = _Writer(model.text, settings.stop, prompt_ids)
    for step in islice(draw(model, settings, rng, prompt_ids), settings.max_tokens):
        yield writer.push(int(step.ids[0]))
        if writer.stopped:
            return
    yield writer.finish()


def sample(
    model: LanguageModel,
    settings: SamplingSettings,
    rng: np.random.Generator,
    prompt_ids: IntArray,
    samples: int = 1,
) -> list[Sample]:
    """`samples` texts that continue `prompt_ids`, drawn side by side."""
    writers = [_Writer(model.text, settings.stop, prompt_ids) for _ in range(samples)]
    texts = [Sample() for _ in range(samples)]
    for step in islice(draw(model, settings, rng, prompt_ids, samples), settings.max_tokens):
        going = [row for row in range(samples) if not writers[row].stopped]
        if not going:
            break
        for row in going:
            texts[row].ids.append(int(step.ids[row]))
            texts[row].log_probs.append(float(step.log_probs[row]))
            texts[row].text += writers[row].push(texts[row].ids[-1])
    for text, writer in zip(texts, writers, strict=True):
        if not writer.stopped:
            text.text += writer.finish()
    return texts


class _Writer:
    """Makes the characters of one text of its ids; holds back what may become a stop text."""

    stopped = False

    def __init__(self, text: TextEncoder, stops: tuple[str, ...], prompt_ids: IntArray) -> None:
        # The prompt is pushed too, since the first space depends on it, but is not given back.
        self._decoder = text.decoder()
        self._skip = len(text.decode(prompt_ids))
        self._stops = stops
        self._held = ""
        for token in prompt_ids:
            self._pass_on(self._decoder.push(int(token)))

    def push(self, token: int) -> str:
        """The characters that one more token makes certain."""
        return self._pass_on(self._decoder.push(token))

    def finish(self) -> str:
        """The characters that are left when the text ends here."""
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
        ends = [found for stop in self._stops if (found := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            return text[: min(ends)]
        held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
