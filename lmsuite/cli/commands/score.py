"""``lm score``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.opening import read_texts, open_model
from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    EncodingOption,
    JsonOption,
    ModelArgument,
    ModelsOption,
)
from lmsuite.cli.streams import json_line, write_all

if TYPE_CHECKING:
    from lmsuite.models.interface import FloatArray, IntArray, LanguageModel
    from lmsuite.text.encoding import TextEncoder


def score(
    model: ModelArgument,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="A file, or `-` for standard input.")
    ] = "-",
    tokens: Annotated[
        bool, typer.Option("--tokens", help="A line for each token, not for each sentence.")
    ] = False,
    folder: ModelsOption = DEFAULT_FOLDER,
    encoding: EncodingOption = "utf-8",
    as_json: JsonOption = False,
) -> None:
    """Print the log-probability of each sentence of a text.

    \b
    Examples:
      lm score ngram play.txt
      echo "To be or not to be" | lm score ngram --tokens

    A sentence is a line. The columns, separated by tabs, are the log-probability in nats, the
    number of tokens, how many of them are OOV, and the sentence; with --tokens the log-probability
    and the token. The sentences of a stream model have those before them as context.
    """
    loaded = open_model(folder, model).model
    corpus = read_texts([text], encoding)
    ids = loaded.encoder.encode(corpus.text, name=corpus.name)
    sentences = _sentences(loaded, ids)
    lines: Iterator[str]
    if tokens:
        lines = chain.from_iterable(map(_TokenLines(loaded.encoder, as_json).of, sentences))
    else:
        lines = (_line(sentence, loaded.encoder, as_json) for sentence in sentences)
    write_all(lines)


@dataclass(frozen=True)
class _Sentence:
    """One line of the text, scored."""

    ids: IntArray  # (M,) the predicted tokens
    log_probs: FloatArray  # (M,)


def _sentences(model: LanguageModel, ids: IntArray) -> Iterator[_Sentence]:
    import numpy as np

    from lmsuite.text.vocabulary import BOS

    log_probs = model.score(ids)
    predicted = ids[ids != BOS]
    is_used = np.zeros(len(model.encoder.vocabulary), dtype=bool)
    is_used[predicted] = True
    ends_line = np.zeros_like(is_used)
    ends_line[_ids_that_end_lines(model.encoder, np.flatnonzero(is_used).tolist())] = True
    ends = np.flatnonzero(ends_line[predicted]) + 1
    cuts = [0, *ends.tolist()]
    if cuts[-1] < len(predicted):
        cuts.append(len(predicted))
    for first, last in pairwise(cuts):
        yield _Sentence(predicted[first:last], log_probs[first:last])


def _ids_that_end_lines(encoder: TextEncoder, ids: Sequence[int]) -> list[int]:
    from lmsuite.text.vocabulary import EOS, SPECIALS

    newlines = (i for i in ids if i >= len(SPECIALS) and "\n" in encoder.decode([i]))
    return [EOS, *newlines]


def _line(sentence: _Sentence, encoder: TextEncoder, as_json: bool) -> str:
    from lmsuite.text.vocabulary import UNK

    text = encoder.decode(sentence.ids.tolist()).strip("\n")
    total = float(sentence.log_probs.sum())
    oov = int((sentence.ids == UNK).sum())
    count = len(sentence.ids)
    if as_json:
        return json_line({"text": text, "log_prob": total, "tokens": count, "oov": oov})
    return f"{total:.4f}\t{count}\t{oov}\t{text}\n"


class _TokenLines:
    """Writes a line for each token; what a token looks like is found once."""

    def __init__(self, encoder: TextEncoder, as_json: bool) -> None:
        self._shown = cache(encoder.token_text)
        self._as_json = as_json

    def of(self, sentence: _Sentence) -> Iterator[str]:
        """The lines of a sentence."""
        for begin in range(0, len(sentence.ids), _AT_ONCE):
            ids = sentence.ids[begin : begin + _AT_ONCE].tolist()
            log_probs = sentence.log_probs[begin : begin + _AT_ONCE].tolist()
            for token, log_prob in zip(ids, log_probs, strict=True):
                shown = self._shown(token)
                if self._as_json:
                    yield json_line({"token": shown, "id": token, "log_prob": log_prob})
                else:
                    yield f"{log_prob:.4f}\t{shown}\n"


_AT_ONCE = 10_000  # numbers that become Python's at a time: 30 bytes each, where an array has 4
