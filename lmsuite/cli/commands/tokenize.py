"""``lm tokenize``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.opening import open_model
from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    EncodingOption,
    JsonOption,
    ModelsOption,
    TokenizerName,
    complete_models,
)
from lmsuite.cli.streams import json_line, piped_input, printable, say, write_all
from lmsuite.errors import UsageError

if TYPE_CHECKING:
    from lmsuite.sources.corpus import Corpus
    from lmsuite.text.encoding import TextEncoder, Token
    from lmsuite.types import IntArray


def tokenize(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Files, `-` for standard input, or names from `lm corpus list`; else what is "
            "piped in; else the embedded play.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        TokenizerName | None,
        typer.Option("--tokenizer", help="What a token is.", show_default="word"),
    ] = None,
    bpe_size: Annotated[
        int | None,
        typer.Option(
            "--bpe-size", help="How many tokens `bpe` learns from the text.", show_default=False
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="MODEL",
            help="Show what this model reads, with <unk> for what it does not know.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    models: ModelsOption = DEFAULT_FOLDER,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids instead of tokens.")] = False,
    as_json: JsonOption = False,
    encoding: EncodingOption = "utf-8",
) -> None:
    """Show the tokens of a text.

    \b
    Examples:
      lm tokenize play.txt | head
      echo "My lord, 'tis done." | lm tokenize --tokenizer char --ids

    A line for each line of the text, tokens separated by spaces; a space within a token is shown as
    ␣. Ids are those of the vocabulary that the text itself makes, or of the model of --like, line
    ends included. JSON has an object for each line: its tokens, each with the text that it stands
    for, its id, and where it lies in the line (`start`, `end`).
    """
    from lmsuite.sources.corpus import read_corpus

    if like and (tokenizer or bpe_size is not None):
        raise UsageError(f"--like takes the tokenizer of {like}; leave out --tokenizer, --bpe-size")
    corpus = read_corpus(texts or [], encoding=encoding, stdin=piped_input())
    if like:
        encoder = open_model(models, like).model.encoder
        encoded = encoder.encode(corpus.text, name=corpus.name)
    else:
        encoder, encoded = _encoded(corpus, tokenizer, bpe_size)
    if as_json:
        write_all(map(_as_json, _located_lines(encoder, corpus.text)))
        return
    shown = [printable(encoder.token_text(i)) for i in range(len(encoder.vocabulary))]
    unseen = _line_marks(encoder)
    for line in _lines(encoder, encoded):
        if ids:
            say(" ".join(map(str, line)))
        else:
            say(" ".join(shown[number] for number in line if number not in unseen))


def _located_lines(encoder: TextEncoder, text: str) -> Iterator[list[Token]]:
    """The tokens of each line, with the one that ends it."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        yield list(encoder.located(text[begin:end]))
        begin = end


def _as_json(line: list[Token]) -> str:
    return json_line({"tokens": [token.as_json() for token in line]})


def _encoded(
    corpus: Corpus, tokenizer: TokenizerName | None, bpe_size: int | None
) -> tuple[TextEncoder, IntArray]:
    from lmsuite.text.encoding import TextEncoder, TextSettings
    from lmsuite.text.tokenizer import DEFAULT_BPE_SIZE

    settings = TextSettings(
        tokenizer=(tokenizer or TokenizerName.WORD).value,
        bpe_size=DEFAULT_BPE_SIZE if bpe_size is None else bpe_size,
    )
    return TextEncoder.train(corpus.text, settings, name=corpus.name)


def _line_end(encoder: TextEncoder) -> int:
    """The id that ends a line of text; `UNK` if the encoder knows no line ends."""
    from lmsuite.text.encoding import Boundaries
    from lmsuite.text.vocabulary import EOS

    if encoder.boundaries is Boundaries.LINES:
        return EOS
    return encoder.vocabulary.id(encoder.tokenizer.newline)


def _line_marks(encoder: TextEncoder) -> set[int]:
    """The ids that are not shown as tokens, because the lines of the output show them."""
    from lmsuite.text.vocabulary import BOS, UNK

    return {BOS, _line_end(encoder)} - {UNK}


def _lines(encoder: TextEncoder, encoded: IntArray) -> Iterator[list[int]]:
    """The ids of each line of text, with the one that ends it."""
    import numpy as np

    from lmsuite.text.vocabulary import UNK

    line_end = _line_end(encoder)
    ends = np.flatnonzero((encoded == line_end) & (line_end != UNK)) + 1
    for line in np.split(encoded, ends):
        if line.size:
            yield line.tolist()
