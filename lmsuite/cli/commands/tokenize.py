"""``lm tokenize``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    LikeOption,
    ModelsOption,
    TextArguments,
)
from lmsuite.cli.settings_options import Given, Without
from lmsuite.cli.streams import json_line, printable, read_texts, say, write_all
from lmsuite.errors import UsageError
from lmsuite.sources.settings import ReadingSettings
from lmsuite.text.settings import TextSettings

if TYPE_CHECKING:
    from lmsuite.sources.corpus import Corpus
    from lmsuite.text.encoding import TextEncoder, Token
    from lmsuite.types import IntArray


_OF_TRAINING = ("boundaries", "min_count", "max_vocab", "vocab")


def tokenize(
    texts: TextArguments = None,
    *,
    text_settings: Annotated[Given, TextSettings, Without(_OF_TRAINING)],
    like: LikeOption = None,
    models: ModelsOption = DEFAULT_FOLDER,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids instead of tokens.")] = False,
    as_json: JsonOption = False,
    reading: ReadingSettings,
) -> None:
    """Show the tokens of a text.

    \b
    Examples:
      lm tokenize play.txt | head
      echo "My lord, 'tis done." | lm tokenize --tokenizer char --ids

    Each line of the text is shown as a line of tokens, separated by spaces; ␣ is a space within a
    token. With --like a model of documents, each document is. Ids come from the text's own
    vocabulary, or from the model of --like, and include line ends. JSON has an object for each
    line: its tokens, each with its text, its id, and its place in the line (`start`, `end`).
    """
    if like and text_settings:
        raise UsageError(f"--like takes the tokenizer of {like}; leave out --tokenizer, --bpe-size")
    if like:
        from lmsuite.store.opening import open_model

        encoder = open_model(models, like).model.encoder
        corpus = read_texts(texts or [], reading, [encoder.boundaries])
        encoded = encoder.encode(corpus.text, name=corpus.name)
    else:
        corpus = read_texts(texts or [], reading, [])
        encoder, encoded = _encoded(corpus, text_settings)
    if as_json:
        write_all(map(_as_json, _located_lines(encoder, str(corpus.text))))
        return
    shown = [printable(encoder.token_text(i)) for i in range(len(encoder.vocabulary))]
    unseen = _line_marks(encoder)
    for line in _lines(encoder, encoded):
        if ids:
            say(" ".join(map(str, line)))
        else:
            say(" ".join(shown[number] for number in line if number not in unseen))


def _located_lines(encoder: TextEncoder, text: str) -> Iterator[list[Token]]:
    """The tokens of each line or document, with the token that ends it."""
    begin = 0
    while begin < len(text):
        end = text.find(encoder.boundaries.end, begin) + 1 or len(text)
        yield list(encoder.located(text[begin:end]))
        begin = end


def _as_json(line: list[Token]) -> str:
    return json_line({"tokens": [token.as_json() for token in line]})


def _encoded(corpus: Corpus, settings: Given) -> tuple[TextEncoder, IntArray]:
    from lmsuite.text.encoding import TextEncoder

    return TextEncoder.train(corpus.text, TextSettings(**settings), name=corpus.name)


def _end(encoder: TextEncoder) -> int:
    """The id that ends a line of text, or a document; `UNK` if the encoder knows no line ends."""
    from lmsuite.text.vocabulary import EOS

    if encoder.boundaries.has_sequences:
        return EOS
    return encoder.vocabulary.id(encoder.tokenizer.newline)


def _line_marks(encoder: TextEncoder) -> set[int]:
    """The ids that are not shown as tokens, because the lines of the output show them."""
    from lmsuite.text.vocabulary import BOS, UNK

    return {BOS, _end(encoder)} - {UNK}


def _lines(encoder: TextEncoder, encoded: IntArray) -> Iterator[list[int]]:
    """The ids of each line or document, with the id that ends it."""
    import numpy as np

    from lmsuite.text.vocabulary import UNK

    end = _end(encoder)
    ends = np.flatnonzero((encoded == end) & (end != UNK)) + 1
    for line in np.split(encoded, ends):
        if line.size:
            yield line.tolist()
