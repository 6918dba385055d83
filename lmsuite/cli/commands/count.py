"""``lm count``."""

from __future__ import annotations

import gzip
import io
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

from lmsuite.cli.options import (
    DEFAULT_FOLDER,
    JsonOption,
    MemoryOption,
    ModelsOption,
    TextArguments,
    WorkersOption,
    complete_models,
)
from lmsuite.cli.saving import command_line
from lmsuite.cli.settings_options import Given, Only, Without
from lmsuite.cli.streams import json_line, read_texts, say, write_all, write_json
from lmsuite.errors import DataError, UsageError
from lmsuite.executors.cores import limit_threads
from lmsuite.ngram.settings import COUNTS_SUFFIX, NgramSettings, check_trainable
from lmsuite.sources.settings import ReadingSettings
from lmsuite.text.settings import TextSettings

if TYPE_CHECKING:
    from lmsuite.ngram.count_lines import ListedNgrams
    from lmsuite.ngram.longest import LongestNgrams
    from lmsuite.ngram.text_counts import TextCounts
    from lmsuite.sources.corpus import Corpus, Origin
    from lmsuite.text.encoding import TextEncoder
    from lmsuite.text.tokenizer import Tokenizer
    from lmsuite.types import IntArray

_LIMITS = {"vocab", "min_count", "max_vocab"}


def count(
    context: typer.Context,
    texts: TextArguments = None,
    *,
    counting: Annotated[Given, NgramSettings, Only({"order": "--n"})],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where the counts go: FILE.counts to train from; under any other name, perhaps "
            "with .gz, they are text.",
            show_default="text on standard output",
        ),
    ] = None,
    added: Annotated[
        bool,
        typer.Option(
            "--counts", help="The files hold counts (`lm count`) instead of text; add them up."
        ),
    ] = False,
    least: Annotated[
        int,
        typer.Option(
            "--min",
            min=1,
            metavar="COUNT",
            help="Leave n-grams out of the text that are rarer. A model from such counts differs "
            "from that of the text.",
        ),
    ] = 1,
    text_settings: Annotated[Given, TextSettings, Without(("backward",))],
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="COUNTS|MODEL",
            help="Read text as it was read for these counts (new words join their vocabulary, "
            "unless it was limited), or as this model reads it.",
            autocompletion=complete_models,
            show_default=False,
        ),
    ] = None,
    memory: MemoryOption = None,
    threads: WorkersOption = None,
    models: ModelsOption = DEFAULT_FOLDER,
    reading: ReadingSettings,
    as_json: JsonOption = False,
) -> None:
    """Count the n-grams of a text.

    \b
    Examples:
      lm count play --n 5 -o play.counts
      lm count play --n 2 --lines --min 20 | head

    Counts of several texts can be added: `lm train ngram --counts a.counts b.counts` makes the
    model that training on both texts makes, and `lm count --counts a.counts b.counts -o c.counts`
    the counts of both. So texts can be counted one by one, where and when they are there.

    As text, a line is an n-gram of 1 to n words, a tab and its count, as SRILM's ngram-count writes
    and reads them. White space in a token is written as its code, a space as <0x20>.
    """
    is_file = out is not None and out.name.endswith(COUNTS_SUFFIX)
    if is_file and least > 1:
        raise UsageError(f"{out} is to hold all n-grams, to be added to others; leave out --min")
    from lmsuite.ngram.count_files import save_counts
    from lmsuite.ngram.count_lines import count_lines
    from lmsuite.ngram.memory import bytes_of

    settings = NgramSettings(**counting)
    check_trainable(settings)
    allowed = None if memory is None else bytes_of(memory)
    if added:
        for name, value in (("like", like), ("memory", memory), ("threads", threads)):
            if value is not None:
                raise UsageError(
                    f"{{counts}} are added as they are, and in memory; leave out {{{name}}}",
                    *("counts", name),
                )
        counting_now: AbstractContextManager[_Counted] = nullcontext(
            _added(texts or [], text_settings, counting.get("order"))
        )
    else:
        limit_threads(threads)  # of the encoding, too
        way = _way(like, models, text_settings)
        corpus = read_texts(texts or [], reading, [way.by.boundaries])
        counting_now = _of_text(corpus, way, settings.order, allowed, threads)
    with counting_now as counted:
        origin, tokens = counted.origin, counted.encoder.vocabulary.tokens
        if is_file:
            assert out is not None
            command = command_line(context)
            save_counts(out, counted.whole(), corpus_sha256=origin.sha256, command=command)
        else:
            lines = count_lines(counted.listed(), tokens, least)
            if out is None:
                write_all(map(_as_json, lines) if as_json else map(_as_text, lines))
                return
            _write(out, map(_as_text, lines))
    size = out.stat().st_size
    if as_json:
        facts = {"file": str(out), "bytes": size, "order": counted.order, "corpus": origin.name}
        write_json(facts | {"tokens": counted.tokens, "vocabulary": len(tokens)})
        return
    say(
        f"counted     {counted.tokens:,} tokens of {origin.name}, {len(tokens):,} in the vocabulary"
    )
    say(f"saved       {out} ({size / 1e6:.1f} MB)")
    next_command = ["lm", "train", "ngram", "--counts", str(out), "--n", str(counted.order)]
    say(f"next        {shlex.join(next_command)}")


@dataclass(frozen=True)
class _Way:
    """The way in which the text becomes ids."""

    by: TextSettings | TextEncoder
    """An encoder, or settings for a new one."""
    tokenizer: Tokenizer | None = None
    """That of the new encoder, instead of the one in the settings."""
    grows: bool = False
    """As in `TextCounts`."""


def _way(like: str | None, models: Path, given: Given) -> _Way:
    if like is None:
        return _Way(TextSettings(**given), grows=not _LIMITS & given.keys())
    if given:
        option = min(given)
        raise UsageError(
            f"{{like}} takes the tokens of {like}; leave out {{{option}}}", "like", option
        )
    if like.endswith(COUNTS_SUFFIX):
        from lmsuite.ngram.count_files import open_counts

        other = open_counts(Path(like))
        encoder = other.encoder
        if other.grows:
            settings = TextSettings(boundaries=encoder.boundaries)
            return _Way(settings, encoder.tokenizer, grows=True)
        return _Way(encoder)
    from lmsuite.store.opening import open_model

    encoder = open_model(models, like).model.encoder
    if encoder.backward:
        raise UsageError(
            f"{like} reads text backward, and n-grams are counted forward; name another model with "
            "{like}",
            "like",
        )
    return _Way(encoder)


def _encoded(corpus: Corpus, way: _Way) -> tuple[TextEncoder, IntArray]:
    from lmsuite.text.encoding import TextEncoder

    if not isinstance(way.by, TextEncoder):
        return TextEncoder.train(corpus.text, way.by, tokenizer=way.tokenizer, name=corpus.name)
    ids = way.by.encode(corpus.text, name=corpus.name)
    if not len(ids):
        raise DataError(f"{corpus.name} has no tokens to count; give some text")
    return way.by, ids


@dataclass(frozen=True)
class _Counted:
    """The n-grams of a text."""

    origin: Origin
    encoder: TextEncoder
    tokens: int
    order: int
    whole: Callable[[], TextCounts]
    """The counts as a file holds them."""
    listed: Callable[[], Iterator[ListedNgrams]]
    """The n-grams of each order."""


@contextmanager
def _of_text(
    corpus: Corpus, way: _Way, order: int, memory: int | None, threads: int | None
) -> Iterator[_Counted]:
    """Those of a text: counted in parts if that is asked for, or faster."""
    from lmsuite.ngram.blocks import TextSource
    from lmsuite.ngram.count_lines import listed_ngrams
    from lmsuite.ngram.counting import count_ngrams
    from lmsuite.ngram.counting_in_parts import listed_in_parts, longest_in_parts
    from lmsuite.ngram.estimate import is_long, occurrences
    from lmsuite.ngram.longest import LongestNgrams
    from lmsuite.ngram.packing import Packing
    from lmsuite.ngram.text_counts import TextCounts
    from lmsuite.ngram.workplace import workplace

    encoder, ids = _encoded(corpus, way)
    size, sentences = len(encoder.vocabulary), encoder.boundaries.has_sequences

    def whole(longest: LongestNgrams) -> TextCounts:
        return TextCounts.of(longest, corpus.text, encoder, ids, grows=way.grows, name=corpus.name)

    facts = (corpus.origin, encoder, len(ids), order)
    if memory is None and not is_long(len(ids), Packing(size, order)):
        counts = count_ngrams(ids, size, order, sentences=sentences)
        yield _Counted(
            *facts, lambda: whole(LongestNgrams.of(counts)), lambda: listed_ngrams(counts)
        )
        return
    with workplace(threads=threads) as place:
        given = (TextSource(ids, sentences), occurrences(ids, size), order, memory, place)
        yield _Counted(
            *facts, lambda: whole(longest_in_parts(*given)), lambda: listed_in_parts(*given)
        )


def _added(files: list[str], given: Given, order: int | None) -> _Counted:
    """Those of the texts whose counts the files hold; without an order, of the highest they have.

    Raises:
        UsageError: no file is named.
        DataError, ModelFileError: a file cannot be read, or they are of different kinds of text.
    """
    from lmsuite.cli.preparing_counts import origin_of, read_parts, tokens_of
    from lmsuite.ngram.count_lines import listed_ngrams
    from lmsuite.ngram.text_counts import joined

    parts = read_parts(files, given)
    order = order or min(part.longest.order for part in parts)
    counts = joined(parts, order, given)
    return _Counted(
        origin_of(files),
        counts.encoder,
        tokens_of(counts.unigrams),
        order,
        counts.whole,
        lambda: listed_ngrams(counts.counts()),
    )


def _as_text(line: tuple[str, int]) -> str:
    ngram, count = line
    return f"{ngram}\t{count}\n"


def _as_json(line: tuple[str, int]) -> str:
    ngram, count = line
    return json_line({"ngram": ngram, "count": count})


def _write(out: Path, lines: Iterator[str]) -> None:
    from lmsuite.files.atomic import replacing

    with replacing(out) as stream, ExitStack() as packing:
        if out.name.endswith(".gz"):
            packed = gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0)
            stream = cast(BinaryIO, packing.enter_context(packed))
        writer = io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", newline="\n")
        writer.writelines(lines)
        writer.detach()
