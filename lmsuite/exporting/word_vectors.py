"""The embedding in word2vec's text format, which gensim and others read.

The first line has the number of tokens and of dimensions; each other line a token and its vector.
White space separates, so a token that holds some is written in the form that tables show.
"""

from __future__ import annotations

from typing import BinaryIO

from lmsuite.errors import LmError
from lmsuite.models.interface import LanguageModel


def write_vectors(model: LanguageModel, stream: BinaryIO, name: str) -> None:
    """Write the vectors of all tokens but ``<s>`` and ``</s>`` where these are impossible.

    Raises:
        LmError: the model has no embedding, or two tokens would be written alike.
    """
    table = model.embedding()
    if table is None:
        raise LmError(f"{name} is of kind {model.kind}, which has no word vectors; networks do")
    tokens = [_written(model.encoder.token_text(token)) for token in range(len(table))]
    if len(set(tokens)) < len(tokens):
        twice = next(token for number, token in enumerate(tokens) if token in tokens[:number])
        raise LmError(f"two tokens of {name} would both be written as {twice!r}")
    stream.write(f"{len(table)} {table.shape[1]}\n".encode())
    for token, vector in zip(tokens, table.tolist(), strict=True):
        numbers = " ".join(f"{number:.9g}" for number in vector)
        stream.write(f"{token} {numbers}\n".encode("utf-8", "backslashreplace"))


def _written(shown: str) -> str:
    """A token without white space."""
    return "".join(f"\\x{ord(c):02x}" if c.isspace() else c for c in shown)
