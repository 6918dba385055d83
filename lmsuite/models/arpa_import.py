"""How the text of a model from an ARPA file is read: the file has tokens, but no tokenizer.

By itself such a file tells one thing. If it gives ``</s>`` a probability, its text consisted of
sequences (lines, or documents); if not, the text was one stream. Which tokenizer made its tokens a
user must say, or another model that reads text in the same way (`like`). Otherwise text is split at
white space, as KenLM does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lmsuite.errors import ModelFileError, UsageError
from lmsuite.ngram.arpa import ArpaModel, unescaped
from lmsuite.ngram.renumbering import renumbered
from lmsuite.ngram.table import BackoffTable
from lmsuite.text.encoding import Boundaries, TextEncoder
from lmsuite.text.registry import make_tokenizer
from lmsuite.text.vocabulary import EOS, SPECIALS, Vocabulary


def reading_of(
    arpa: ArpaModel, name: str, chosen: Mapping[str, Any], like: TextEncoder | None
) -> tuple[TextEncoder, BackoffTable]:
    """The encoder for an imported table, and the table with the encoder's ids.

    If the file has just the words of `like`, they have the ids of `like`.

    Args:
        arpa: the contents of the file.
        name: of the file, for messages.
        chosen: ``tokenizer`` and ``boundaries``, as in `TextSettings`, as far as a user chose them.
        like: an encoder that tells both instead.

    Raises:
        ModelFileError: the tokenizer of `like` cannot make the tokens of the file.
        UsageError: the file has other boundaries than these; or the tokenizer is one that is
            learned from a text.
    """
    has_ends = bool(arpa.table.orders[0].log_probs[EOS] > -np.inf)
    otherwise = Boundaries.LINES if has_ends else Boundaries.STREAM
    boundaries = like.boundaries if like else Boundaries(chosen.get("boundaries", otherwise))
    if boundaries.has_sequences != has_ends:
        found, fitting = (
            ("a probability", "lines or documents") if has_ends else ("no probability", "stream")
        )
        asked = "like" if like else "boundaries"
        raise UsageError(
            f"{name} gives </s> {found}, so its text was read as {fitting}; {{{asked}}} says "
            f"{boundaries}",
            asked,
            value=boundaries,
        )
    if chosen.get("tokenizer") == "bpe":
        raise UsageError(
            "{tokenizer} bpe is learned from a text, and an ARPA file does not say what it "
            "learned; give {like} MODEL, a model with this tokenizer",
            *("tokenizer", "like"),
            value="bpe",
        )
    tokenizer = like.tokenizer if like else make_tokenizer(chosen.get("tokenizer", "whitespace"))
    tokens = arpa.tokens[len(SPECIALS) :]
    if like or chosen.get("tokenizer") or not has_ends:  # of lines at white space none is escaped
        tokens = tuple(map(unescaped, tokens))
    foreign = set(tokens).difference(tokenizer.fixed_tokens() or tokens)
    if foreign:
        raise ModelFileError(
            f"{name} has the token {min(foreign)!r}, which the tokenizer {tokenizer.name} of "
            "{like} never makes; name the model that was exported",
            "like",
        )
    if like and set(tokens) == set(like.vocabulary.tokens[len(SPECIALS) :]):
        ids = like.vocabulary.ids((*SPECIALS, *tokens))
        return like, renumbered(arpa.table, ids)
    return TextEncoder(tokenizer, Vocabulary(tokens), boundaries), arpa.table
