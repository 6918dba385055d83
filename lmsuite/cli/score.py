"""``lm score``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.opening import open_model
from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    EncodingOption,
    JsonOption,
    ModelArgument,
    ModelsOption,
)
from lmsuite.cli.streams import write, write_json

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
    from lmsuite.text.corpus import read_corpus

    loaded = open_model(folder, model).model
    corpus = read_corpus([text], encoding=encoding)
    ids = loaded.text.encode(corpus.text, name=corpus.name)
    for sentence in _sentences(loaded, ids):
        if tokens:
            _show_tokens(sentence, loaded.text, as_json)
        else:
            _show(sentence, as_json)


@dataclass(frozen=True)
class _Sentence:
    """One line of the text, scored."""

    text: str
    ids: IntArray  # (M,) the predicted tokens
    log_probs: FloatArray  # (M,)


def _sentences(model: LanguageModel, ids: IntArray) -> Iterator[_Sentence]:
    import numpy as np

    from lmsuite.text.vocabulary import BOS

    log_probs = model.score(ids)
    predicted = ids[ids != BOS]
    is_used = np.zeros(len(model.text.vocabulary), dtype=bool)
    is_used[predicted] = True
    ends_line = np.zeros_like(is_used)
    ends_line[_ids_that_end_lines(model.text, np.flatnonzero(is_used).tolist())] = True
    ends = np.flatnonzero(ends_line[predicted]) + 1
    cuts = [0, *ends.tolist()]
    if cuts[-1] < len(predicted):
        cuts.append(len(predicted))
    for first, last in pairwise(cuts):
        line = predicted[first:last]
        text = model.text.decode(line).strip("\n")
        yield _Sentence(text, line, log_probs[first:last])


def _ids_that_end_lines(text: TextEncoder, ids: Sequence[int]) -> list[int]:
    from lmsuite.text.vocabulary import EOS, SPECIALS

    newlines = (i for i in ids if i >= len(SPECIALS) and "\n" in text.decode([i]))
    return [EOS, *newlines]


def _show(sentence: _Sentence, as_json: bool) -> None:
    from lmsuite.text.vocabulary import UNK

    total = float(sentence.log_probs.sum())
    oov = int((sentence.ids == UNK).sum())
    if as_json:
        write_json(
            {"text": sentence.text, "log_prob": total, "tokens": len(sentence.ids), "oov": oov}
        )
    else:
        write(f"{total:.4f}\t{len(sentence.ids)}\t{oov}\t{sentence.text}\n")


def _show_tokens(sentence: _Sentence, text: TextEncoder, as_json: bool) -> None:
    lines = []
    for token, log_prob in zip(sentence.ids.tolist(), sentence.log_probs.tolist(), strict=True):
        shown = text.token_text(token)
        if as_json:
            write_json({"token": shown, "id": token, "log_prob": log_prob})
        else:
            lines.append(f"{log_prob:.4f}\t{shown}\n")
    write("".join(lines))
