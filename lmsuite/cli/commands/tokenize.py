"""``lm tokenize``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
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
from lmsuite.cli.streams import json_line, printable, read_texts, stream_texts, write_all
from lmsuite.errors import UsageError
from lmsuite.files.stored_text import blocks
from lmsuite.sources.settings import ReadingSettings
from lmsuite.text.settings import TextSettings

if TYPE_CHECKING:
    from lmsuite.text.encoding import TextEncoder, Token
    from lmsuite.types import IntArray


_OF_TRAINING = ("boundaries", "min_count", "max_vocab", "vocab", "backward")


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
    from lmsuite.models.sentences import encoded_units, running

    if like:
        from lmsuite.store.opening import open_model

        encoder = open_model(models, like).model.encoder.forward
        name, parts = stream_texts(texts or [], reading, [encoder.boundaries])
    else:
        from lmsuite.text.encoding import TextEncoder

        corpus = read_texts(texts or [], reading, [])
        name, parts = corpus.name, blocks(corpus.text)
        encoder, _ = TextEncoder.train(corpus.text, TextSettings(**text_settings), name=name)
    units = encoded_units(encoder, parts, name)
    if as_json:
        lines = chain.from_iterable(_located_lines(encoder, part) for part, _, _ in units)
        write_all(json_line({"tokens": [token.as_json() for token in line]}) for line in lines)
    else:
        write_all(_shown(encoder, (running(encoder, each) for _, each, _ in units), ids=ids))


def _located_lines(encoder: TextEncoder, text: str) -> Iterator[list[Token]]:
    """The tokens of each line or document, with the token that ends it."""
    begin = 0
    while begin < len(text):
        end = text.find(encoder.boundaries.end, begin) + 1 or len(text)
        yield list(encoder.located(text[begin:end]))
        begin = end


def _shown(encoder: TextEncoder, pieces: Iterable[IntArray], *, ids: bool) -> Iterator[str]:
    """The lines of the output, in parts, for the ids of a text in pieces."""
    from lmsuite.text.vocabulary import BOS, EOS, UNK

    end = encoder.vocabulary.id(encoder.tokenizer.newline)
    if encoder.boundaries.has_sequences:
        end = EOS
    vocabulary = range(len(encoder.vocabulary))
    words = [str(i) if ids else printable(encoder.token_text(i)) for i in vocabulary]
    # Line marks are not shown as tokens, because the lines of the output show them. An encoder that
    # knows no line ends reads a text as one line.
    marks = set() if ids else {BOS, end} - {UNK}
    line: list[str] = []
    begun = ""  # a space, if a part of the line is written already
    for piece in pieces:
        for number in piece.tolist():
            if number not in marks:
                line.append(words[number])
            if number == end != UNK:
                yield (begun if line else "") + " ".join(line) + "\n"
                line.clear()
                begun = ""
        if line:
            yield begun + " ".join(line)
            line.clear()
            begun = " "
    if begun:
        yield "\n"
