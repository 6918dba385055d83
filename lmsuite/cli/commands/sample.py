"""``lm sample``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.options import DEFAULT_FOLDER, EncodingOption, ModelArgument, ModelsOption
from lmsuite.cli.streams import note, piped_input, read_texts, unescaped, write, write_json
from lmsuite.errors import DataError, UsageError
from lmsuite.files.plain import decode_text, read_text
from lmsuite.sampling import SamplingSettings
from lmsuite.sources.settings import ReadingSettings

if TYPE_CHECKING:
    from lmsuite.generation import Sample
    from lmsuite.generation.conditions import Condition
    from lmsuite.models.interface import LanguageModel
    from lmsuite.text.encoding import TextEncoder
    from lmsuite.types import IntArray


def sample(
    model: ModelArgument,
    *,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="The beginning of the text: write \\n for a line end, \\t for a tab and \\\\ for "
            "\\. Without it, the piped text is read, if there is one.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="Texts for each line of this file (`-` is standard input), written as PROMPT is; "
            "of a .jsonl file for the `prompt` of each line.",
            show_default=False,
        ),
    ] = None,
    settings: SamplingSettings,
    max_copy: Annotated[
        tuple[int, str] | None,
        typer.Option(
            "--max-copy",
            metavar="N TEXT",
            help="Never write more than N tokens in a row that are in this text (a file, or a "
            "name from `lm corpus list`).",
            show_default=False,
        ),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            "--beam",
            min=1,
            metavar="K",
            help="Search for the most probable text, among K at a time; --samples gives the best.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many texts.")] = 1,
    separator: Annotated[
        str, typer.Option("--separator", metavar="TEXT", help="What stands between two texts.")
    ] = "---\\n",
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="The same seed gives the same text.",
            show_default="a new one each time",
        ),
    ] = None,
    novelty: Annotated[
        str | None,
        typer.Option(
            "--novelty",
            metavar="TEXT",
            help="Tell what was copied from this text (a file, or a name from `lm corpus list`): "
            "the longest run, and the share of n-grams that are new.",
            show_default=False,
        ),
    ] = None,
    folder: ModelsOption = DEFAULT_FOLDER,
    encoding: EncodingOption = "utf-8",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A JSON object for each text, with ids and log-probabilities."),
    ] = False,
) -> None:
    """Write text in the manner of a model.

    \b
    Examples:
      lm sample ngram "My lord," --temp 0.8
      lm sample ngram --contains "the king" --stop '\\n' --samples 3
      echo "My lord," | lm sample ngram --samples 3 --seed 7

    Text number k depends only on the seed and on k, not on the number of texts. A model of lines
    writes line after line; --stop '\\n' ends after one. A model of documents writes one document.
    A model trained with --backward writes what comes before the prompt.
    Unknown tokens (<unk>) are never drawn. What depends on the text so far (--contains, --no-repeat
    and the like) comes first, then the temperature, then top-k, top-p and min-p.
    """
    from lmsuite.generation.copying import MaxCopy
    from lmsuite.store.opening import open_model

    settings = replace(
        settings,
        stop=tuple(map(unescaped, settings.stop)),
        contains=tuple(map(unescaped, settings.contains)),
        ends_with=None if settings.ends_with is None else unescaped(settings.ends_with),
    )
    loaded = open_model(folder, model).model
    lossless, backward = loaded.encoder.tokenizer.lossless, loaded.encoder.backward
    if prompts is not None:
        if prompt is not None:
            raise UsageError("--prompts and PROMPT exclude each other")
        beginnings = _prompts(prompts, encoding, lossless=lossless)
    else:
        beginnings = [_prompt(prompt, encoding, lossless=lossless)]
    ids = [_prompt_ids(loaded, beginning) for beginning in beginnings]
    known = KnownText.read(novelty, loaded.encoder, encoding) if novelty is not None else None
    conditions = []
    if max_copy is not None:
        most, source = max_copy
        conditions = [MaxCopy(most, KnownText.read(source, loaded.encoder, encoding).ids)]
    if len(ids) == samples == 1 and not as_json and beam is None and not backward:
        texts = [_stream(loaded, settings, seed, beginnings[0], ids[0], conditions)]
        if known:
            known.report(texts)
        return
    drawn: Iterable[list[Sample]]
    if beam is not None:
        from lmsuite.generation.beam import beam as search

        drawn = (
            search(loaded, each, settings, width=beam, samples=samples, conditions=conditions)
            for each in ids
        )
    else:
        from lmsuite.generation import sample_each

        drawn = sample_each(loaded, ids, settings, seed, samples=samples, conditions=conditions)
    texts, draws, between = [], 0, unescaped(separator)
    for beginning, of_prompt in zip(beginnings, drawn, strict=True):
        for one in of_prompt:
            if as_json:
                write_json(_as_json(beginning, one, known, with_draws=settings.is_choosy))
            else:
                whole = one.text + beginning if backward else beginning + one.text
                write((between if texts else "") + _closed(whole))
            texts.append(one.text)
            draws += one.draws
    if draws > len(texts):
        note(f"drawn {draws:,} times for {len(texts):,} texts that are wanted")
    if known and not as_json:
        known.report(texts)


def _as_json(
    beginning: str, drawn: Sample, known: KnownText | None, *, with_draws: bool
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "prompt": beginning,
        "text": drawn.text,
        "ids": drawn.ids,
        "log_probs": drawn.log_probs,
    }
    fields |= {"draws": drawn.draws} if with_draws else {}
    return fields | ({"novelty": known.as_json(drawn.text)} if known else {})


def _stream(
    model: LanguageModel,
    settings: SamplingSettings,
    seed: int | None,
    beginning: str,
    prompt_ids: IntArray,
    conditions: Sequence[Condition],
) -> str:
    """Write the text as it is made, and return what follows the prompt."""
    from lmsuite.generation import stream

    pieces: list[str] = []
    following = stream(model, prompt_ids, settings, seed, conditions=conditions)
    write(beginning)
    for piece in following:
        if piece.text:
            write(piece.text)
            pieces.append(piece.text)
    if not (pieces[-1] if pieces else beginning).endswith("\n"):
        write("\n")
    return "".join(pieces)


def _prompts(source: str, encoding: str, *, lossless: bool) -> list[str]:
    """The prompts in a file, a line each; in JSON lines, the field `prompt` of each.

    Raises:
        DataError: the file cannot be read or has no prompt, or a line has none; it is named.
    """
    import json

    if source == "-":
        stdin = piped_input()
        text = decode_text(stdin.read(), "the prompts", encoding) if stdin else ""
    else:
        text = read_text(source, encoding)
    lines = text.removesuffix("\n").split("\n") if text else []
    if not lines:
        raise DataError(f"{source} has no prompts; give a line for each")
    if source.endswith(".jsonl"):
        found = []
        for number, line in enumerate(lines, start=1):
            try:
                found.append(json.loads(line)["prompt"])
            except (ValueError, LookupError, TypeError):
                found.append(None)
            if not isinstance(found[-1], str):
                raise DataError(f'{source}, line {number}: no {{"prompt": "..."}} in it')
        lines = found
    else:
        lines = list(map(unescaped, lines))
    return [line if lossless else line.rstrip(" ") for line in lines]


def _prompt(argument: str | None, encoding: str, *, lossless: bool) -> str:
    """The beginning of the text, from the command line or a pipe.

    One line end is removed from a piped text, because ``echo`` adds it. Spaces at the end are
    removed if the model's tokens do not show them: the next word brings its own space.
    """
    if argument is None:
        stdin = piped_input()
        text = decode_text(stdin.read(), "the prompt", encoding) if stdin else ""
        text = text.removesuffix("\n")
    else:
        text = decode_text(unescaped(argument).encode("utf-8", "surrogateescape"), "the prompt")
    return text if lossless else text.rstrip(" ")


def _prompt_ids(model: LanguageModel, prompt: str) -> IntArray:
    from lmsuite.text.encoding import PROMPT_END
    from lmsuite.text.vocabulary import UNK

    ids = model.encoder.encode_prompt(prompt, last=model.reach)
    unseen = int((ids == UNK).sum())
    if unseen:
        what = "a token" if unseen == 1 else f"{unseen} tokens"
        is_whole = model.reach is None or len(prompt) <= PROMPT_END
        where = "the prompt" if is_whole else "the end of the prompt, the only part that is read,"
        note(f"warning: {where} has {what} that the model does not know; it reads <unk> there")
    return ids


def _closed(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


@dataclass(frozen=True)
class KnownText:
    """A text that samples may be copied from."""

    name: str
    ids: IntArray  # (N,)
    encoder: TextEncoder

    @classmethod
    def read(cls, source: str, encoder: TextEncoder, encoding: str) -> KnownText:
        """The text of this file or name, as the model reads it.

        Raises:
            DataError: it cannot be read, or is empty.
        """
        corpus = read_texts([source], ReadingSettings(encoding=encoding), [encoder.boundaries])
        return cls(corpus.name, encoder.encode(corpus.text, name=corpus.name), encoder)

    def as_json(self, drawn: str) -> dict[str, Any]:
        """The figures of one text."""
        from lmsuite.analysis.novelty import novelty

        found = novelty([self.encoder.encode_prompt(drawn)], self.ids)
        return {
            "text": self.name,
            "copied_tokens": len(found.copied),
            "copied": self.encoder.decode(found.copied),
            "novel": {str(order): share for order, share in found.novel.items()},
        }

    def report(self, drawn: Sequence[str]) -> None:
        """Print the figures of all texts together."""
        from lmsuite.analysis.novelty import novelty

        found = novelty([self.encoder.encode_prompt(each) for each in drawn], self.ids)
        copied = self.encoder.decode(found.copied)
        tokens = f"{len(found.copied)} token{'' if len(found.copied) == 1 else 's'}"
        note(f"longest run that is in {self.name} too: {tokens} {copied!r}")
        shares = ", ".join(
            f"{order}: {100 * share:.0f} %"
            for order, share in found.novel.items()
            if share is not None
        )
        if shares:
            note(f"n-grams that are not in {self.name}, by order: {shares}")
