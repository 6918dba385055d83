"""``lm score``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelArgument,
    ModelsOption,
)
from lmsuite.cli.streams import json_line, stream_texts, write_all
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.models.sentences import Sentence
    from lmsuite.text.encoding import TextEncoder


def score(
    model: ModelArgument,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="As for `lm train`; `-` is standard input.")
    ] = "-",
    *,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="A line for each token, not for each sentence.")
    ] = False,
    in_context: Annotated[
        bool,
        typer.Option("--in-context", help="Give each sentence the ones before it as context."),
    ] = False,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Print the log-probability of each sentence of a text.

    \b
    Examples:
      lm score ngram play.txt
      echo "To be or not to be" | lm score ngram --tokens

    Each line is a sentence, scored as if it were alone; a model of documents scores each document,
    and its line ends are shown as \\n. The columns, separated by tabs, are the log-probability in
    nats, the number of tokens, the number of OOV tokens, and the line as it was given; with
    --tokens they are the log-probability and the token. In the JSON of --tokens, `token` is the
    token's text, and `start` and `end` are its place in its `line` (or document); a part of a
    character also has its `bytes`.
    """
    from lmsuite.models.sentences import score_sentences
    from lmsuite.store.opening import open_model

    loaded = open_model(folder, model).model
    name, parts = stream_texts([text], reading, [loaded.encoder.boundaries])
    sentences = score_sentences(loaded, parts, in_context=in_context, name=name)
    lines: Iterator[str]
    if tokens:
        write = _TokenLines(loaded.encoder, as_json)
        lines = chain.from_iterable(
            write.of(sentence, number) for number, sentence in enumerate(sentences, start=1)
        )
    else:
        lines = (_line(sentence, as_json) for sentence in sentences)
    write_all(lines)


def _line(sentence: Sentence, as_json: bool) -> str:
    total, count = sentence.log_prob, len(sentence.ids)
    if as_json:
        fields = {"text": sentence.text, "log_prob": total, "tokens": count, "oov": sentence.oov}
        return json_line(fields)
    text = sentence.text.replace("\n", "\\n")  # of a document
    return f"{total:.4f}\t{count}\t{sentence.oov}\t{text}\n"


class _TokenLines:
    """Writes a line for each token; the text of each token is looked up once."""

    def __init__(self, encoder: TextEncoder, as_json: bool) -> None:
        self._encoder = encoder
        self._shown = cache(encoder.token_text)
        self._as_json = as_json

    def of(self, sentence: Sentence, number: int) -> Iterator[str]:
        """The lines of a sentence."""
        if self._as_json:
            located = self._encoder.located(sentence.text + sentence.end)
            for token, log_prob in zip(located, sentence.log_probs, strict=True):
                yield json_line({**token.as_json(), "line": number, "log_prob": float(log_prob)})
            return
        for begin in range(0, len(sentence.ids), _AT_ONCE):
            ids = sentence.ids[begin : begin + _AT_ONCE].tolist()
            log_probs = sentence.log_probs[begin : begin + _AT_ONCE].tolist()
            for token, log_prob in zip(ids, log_probs, strict=True):
                yield f"{log_prob:.4f}\t{self._shown(token)}\n"


_AT_ONCE = 10_000  # numbers converted to Python's at a time: 30 bytes each, 4 in an array
