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
from lmsuite.cli.streams import piped_input, printable, say, write_json
from lmsuite.errors import UsageError

if TYPE_CHECKING:
    from lmsuite.types import IntArray
    from lmsuite.sources.corpus import Corpus
    from lmsuite.text.encoding import TextEncoder


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
    ends included. JSON has an object for each line, with its tokens and ids as they are.
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
    tokens = encoder.vocabulary.tokens
    shown = [printable(encoder.token_text(number)) for number in range(len(tokens))]
    unseen = _line_marks(encoder)
    for line in _lines(encoder, encoded):
        if as_json:
            write_json({"tokens": [tokens[number] for number in line], "ids": line})
        elif ids:
            say(" ".join(map(str, line)))
        else:
            say(" ".join(shown[number] for number in line if number not in unseen))


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
