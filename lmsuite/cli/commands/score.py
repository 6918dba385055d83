"""``lm score``."""

from __future__ import annotations

import csv
import io
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    ModelsAndText,
    ModelsOption,
    models_then_text,
)
from lmsuite.cli.streams import json_line, stream_texts, write_all
from lmsuite.errors import DataError, UsageError
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.models.interface import LanguageModel
    from lmsuite.models.sentences import Sentence
    from lmsuite.models.text_scores import Surprisal
    from lmsuite.text.settings import Boundaries


class Base(StrEnum):
    """The base of the logarithms that are printed."""

    E = "e"
    TWO = "2"
    TEN = "10"

    @property
    def number(self) -> float:
        """Its value."""
        return math.e if self is Base.E else float(self.value)


def score(
    models_and_text: ModelsAndText,
    *,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="A line for each token, not for each sentence.")
    ] = False,
    words: Annotated[
        bool,
        typer.Option(
            "--words",
            help="A line for each word: what stands between white space, whatever the model's "
            "tokens are. The surprisals of a sentence's words add up to that of the sentence.",
        ),
    ] = False,
    ids: Annotated[
        bool,
        typer.Option(
            "--ids",
            help="Each sentence begins with an id, as in an n-best list: it is not scored, but "
            "printed first.",
        ),
    ] = False,
    base: Annotated[
        Base | None,
        typer.Option(
            "--base", help="Of the logarithms.", show_default="e; 2, which is bits, for --words"
        ),
    ] = None,
    eos: Annotated[
        bool,
        typer.Option("--eos/--no-eos", help="Count the end of each sentence, as a token of it."),
    ] = True,
    in_context: Annotated[
        bool,
        typer.Option("--in-context", help="Give each sentence the ones before it as context."),
    ] = False,
    folder: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    tsv: Annotated[
        bool,
        typer.Option("--tsv", help="A table with a header, for R, pandas and spreadsheets."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the log-probability of each sentence of a text.

    \b
    Examples:
      lm score ngram play.txt
      lm score ngram rnn play.txt --words --tsv
      echo "To be or not to be" | lm score ngram --tokens

    Each line is a sentence, scored as if it were alone; a model of documents scores each document,
    and its line ends are shown as \\n. The columns, separated by tabs, are the log-probability in
    nats, the number of tokens, the number of OOV tokens, and the line as it was given; with
    --tokens they are the log-probability and the token; with --words the sentence, the position in
    it, the word, its surprisal in bits (minus the log-probability), and the numbers of its tokens
    and OOV tokens. Several models have a column each, and no numbers of tokens. In the JSON of
    --tokens, `token` is the token's text, and `start` and `end` are its place in its `line` (or
    document); a part of a character also has its `bytes`.
    """
    if tokens and words:
        raise UsageError("--tokens and --words exclude each other")
    if tsv and as_json:
        raise UsageError("--tsv and --json exclude each other")
    names, text = models_then_text(models_and_text, folder)
    loaded = _open(folder, names)
    boundaries = _shared_boundaries(loaded)
    name, parts = stream_texts([text], reading, [boundaries])
    known: deque[str] | None = deque() if ids else None
    if known is not None:
        parts = _without_ids(parts, boundaries, name, known)
    form = _Form.TSV if tsv else _Form.JSON if as_json else _Form.PLAIN
    rows = _Rows(loaded, known, base or (Base.TWO if words else Base.E), eos, form)
    scored = _scored(loaded, parts, in_context=in_context, name=name)
    if tokens or words:
        for name, model in loaded.items():
            if model.predicts_lines:
                option = "--tokens" if tokens else "--words"
                raise UsageError(
                    f"{name} predicts whole lines: it has no log-probability of a token or a word; "
                    f"leave out {option}"
                )
    if tokens:
        write_all(rows.of_tokens(scored))
    elif words:
        write_all(rows.of_words(scored))
    else:
        write_all(rows.of_sentences(scored))


def _open(folder: Path, names: Sequence[str]) -> dict[str, LanguageModel]:
    """The models, by the names of their columns."""
    from lmsuite.store.opening import open_model

    opened = {name: open_model(folder, name) for name in names}
    plain = [each.name for each in opened.values()]
    is_clear = len(set(plain)) == len(plain)
    return {each.name if is_clear else name: each.model for name, each in opened.items()}


def _shared_boundaries(models: dict[str, LanguageModel]) -> Boundaries:
    """What the text consists of, for all models.

    Raises:
        UsageError: documents for some, lines for others.
    """
    (first, model), *others = models.items()
    boundaries = model.encoder.boundaries
    for name, other in others:
        if other.encoder.boundaries.unit != boundaries.unit:
            raise UsageError(
                f"{first} scores {boundaries.unit}s, and {name} scores "
                f"{other.encoder.boundaries.unit}s: score them one at a time"
            )
    return boundaries


def _without_ids(
    parts: Iterable[str], boundaries: Boundaries, name: str, ids: deque[str]
) -> Iterator[str]:
    """The text without the first field of each line (document), which goes to `ids`.

    Raises:
        DataError: a line has no field.
    """
    from lmsuite.files.stored_text import whole_units

    number, end = 0, boundaries.end
    for part in whole_units(parts, end):
        lines = part.removesuffix(end).split(end)
        for place, line in enumerate(lines):
            number += 1
            fields = line.split(maxsplit=1)
            if not fields:
                raise DataError(
                    f"{name}, {boundaries.unit} {number}: no id; with --ids each "
                    f"{boundaries.unit} begins with one"
                )
            ids.append(fields[0])
            lines[place] = fields[1] if len(fields) > 1 else ""
        # Where nothing follows the id, the line end makes it a sentence: the empty one.
        yield end.join(lines) + (end if part.endswith(end) or not lines[-1] else "")


def _scored(
    models: dict[str, LanguageModel], parts: Iterable[str], *, in_context: bool, name: str
) -> Iterator[tuple[Sentence, ...]]:
    """Every sentence, as each model scores it."""
    from lmsuite.models.sentences import score_sentences

    return zip(
        *(
            score_sentences(model, copy, in_context=in_context, name=name)
            for model, copy in zip(models.values(), tee(parts, len(models)), strict=True)
        ),
        strict=False,  # what only white space ends with, only some tokenizers see
    )


class _Form(StrEnum):
    """How rows are written."""

    PLAIN = "plain"
    JSON = "json"
    TSV = "tsv"


@dataclass
class _Rows:
    """Writes the rows of what is scored; a row has a column for each model."""

    models: dict[str, LanguageModel]
    ids: deque[str] | None
    """Of the sentences that are not written yet."""
    base: Base
    eos: bool
    form: _Form
    _headed: bool = field(default=False, init=False)

    def of_sentences(self, scored: Iterator[tuple[Sentence, ...]]) -> Iterator[str]:
        """A row for each sentence."""
        unit, encoders = math.log(self.base.number), [m.encoder for m in self.models.values()]
        for each in scored:
            sentences = each
            if not self.eos:
                pairs = zip(each, encoders, strict=True)
                sentences = tuple(one.without_end(encoder) for one, encoder in pairs)
            first, text = sentences[0], sentences[0].text
            log_probs = [one.log_prob / unit for one in sentences]
            counts = {"tokens": len(first.ids), "oov": first.oov}
            if self.form is _Form.JSON:
                fields: dict[str, Any] = self._id() | {"text": text}
                if len(sentences) == 1:
                    yield json_line(fields | {"log_prob": log_probs[0]} | counts)
                    continue
                of_models = {
                    name: {"log_prob": log_prob, "tokens": len(one.ids), "oov": one.oov}
                    for name, log_prob, one in zip(self.models, log_probs, sentences, strict=True)
                }
                yield json_line(fields | {"models": of_models})
                continue
            columns = self._columns("log_prob", log_probs)
            columns |= counts if len(sentences) == 1 else {}
            yield from self._row(self._id() | columns | {"text": text})

    def of_words(self, scored: Iterator[tuple[Sentence, ...]]) -> Iterator[str]:
        """A row for each word.

        Raises:
            DataError: two models find different words.
        """
        for number, sentences in enumerate(scored, start=1):
            words = [
                self._words(model, sentence, number)
                for model, sentence in zip(self.models.values(), sentences, strict=True)
            ]
            if len(set(map(len, words))) > 1:
                raise DataError(
                    f"sentence {number}, {sentences[0].text[:40]!r}: the models find different "
                    "words in it; score them one at a time"
                )
            known = self._id()
            for position, of_models in enumerate(zip(*words, strict=True), start=1):
                word = of_models[0]
                fields = {"sentence": number, "position": position, "word": word.word}
                fields |= self._columns("surprisal", [each.surprisal for each in of_models])
                if len(of_models) == 1:
                    fields |= {"tokens": word.tokens, "oov": word.oov}
                if self.form is _Form.JSON:
                    place = {"start": word.start, "end": word.end}
                    yield json_line(known | fields | place)
                else:
                    yield from self._row(known | fields)

    def of_tokens(self, scored: Iterator[tuple[Sentence, ...]]) -> Iterator[str]:
        """A row for each token.

        Raises:
            UsageError: the models have different tokens.
        """
        (name, model), *others = self.models.items()
        for other, one in others:
            if one.encoder.fingerprint() != model.encoder.fingerprint():
                raise UsageError(
                    f"{name} and {other} have different tokens; --words has a line for each word "
                    "of any models"
                )
        encoder, shown = model.encoder, cache(model.encoder.token_text)
        unit = math.log(self.base.number)
        for number, sentences in enumerate(scored, start=1):
            known, first = self._id(), sentences[0]
            size = len(first.ids) - (0 if self.eos else first.has_end(encoder))
            if self.form is _Form.JSON:
                located = encoder.located(first.text + first.end)
                for place, token in zip(range(size), located, strict=False):
                    values = [float(one.log_probs[place]) / unit for one in sentences]
                    fields = {**known, **token.as_json(), "line": number}
                    yield json_line(fields | self._columns("log_prob", values))
                continue
            for begin in range(0, size, _AT_ONCE):
                part = slice(begin, min(begin + _AT_ONCE, size))
                columns = [(one.log_probs[part] / unit).tolist() for one in sentences]
                rows = zip(first.ids[part].tolist(), *columns, strict=True)
                if self.form is _Form.PLAIN:
                    before = "".join(f"{value}\t" for value in known.values())
                    for token, *log_probs in rows:
                        numbers = "".join([f"{log_prob:.4f}\t" for log_prob in log_probs])
                        yield f"{before}{numbers}{shown(token)}\n"
                    continue
                for token, *log_probs in rows:
                    row = known | self._columns("log_prob", log_probs)
                    yield from self._row(row | {"token": shown(token)})

    def _words(self, model: LanguageModel, sentence: Sentence, number: int) -> list[Surprisal]:
        from lmsuite.models.text_scores import surprisals

        base = self.base.number
        return surprisals(model.encoder, sentence, number, eos=self.eos, base=base)

    def _id(self) -> dict[str, Any]:
        return {} if self.ids is None else {"sentence_id": self.ids.popleft()}

    def _columns(self, what: str, values: Sequence[float]) -> dict[str, Any]:
        """A column for each model."""
        if len(values) == 1:
            return {what: values[0]}
        return {f"{what}_{name}": value for name, value in zip(self.models, values, strict=True)}

    def _row(self, fields: dict[str, Any]) -> Iterator[str]:
        """The row, and the header before the first one of a table."""
        if self.form is _Form.TSV and not self._headed:
            self._headed = True
            yield _tsv(list(fields))
        cells = [
            f"{value:.4f}" if isinstance(value, float) else str(value) for value in fields.values()
        ]
        cells = [cell.replace("\n", "\\n") for cell in cells]  # of a document
        yield _tsv(cells) if self.form is _Form.TSV else "\t".join(cells) + "\n"


def _tsv(cells: list[str]) -> str:
    """A row in which quotation marks, tabs and line ends are quoted as R and pandas expect."""
    row = io.StringIO()
    csv.writer(row, delimiter="\t", lineterminator="\n").writerow(cells)
    return row.getvalue()


_AT_ONCE = 10_000  # numbers converted to Python's at a time: 30 bytes each, 4 in an array
