"""``lm sample``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmsuite.cli.novelty import KnownText
from lmsuite.cli.opening import open_model
from lmsuite.cli.options import DEFAULT_FOLDER, ModelArgument, ModelsOption
from lmsuite.cli.streams import note, piped_input, unescaped, write, write_json
from lmsuite.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from lmsuite.generation import Sample, SamplingSettings
    from lmsuite.models.interface import IntArray, LanguageModel

_SEPARATOR = "---\n"


def sample(
    model: ModelArgument,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="The beginning of the text, in which \\n stands for a line end, \\t for a tab and "
            "\\\\ for \\; else what is piped in; else nothing.",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            "--temp",
            min=0.0,
            help="Below 1 safer, above 1 wilder; 0 always takes the most probable token.",
        ),
    ] = 1.0,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k", min=0, help="Draw from the K most probable tokens.", show_default="all"
        ),
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(
            "--top-p",
            min=0.0,
            max=1.0,
            help="Draw from the most probable tokens that together reach P.",
        ),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            "--min-p",
            min=0.0,
            max=1.0,
            help="Draw from the tokens at least P times as probable as the best.",
        ),
    ] = 0.0,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=0, help="How many tokens each text has at most.")
    ] = 200,
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, help="How many texts; a line `---` stands between them."),
    ] = 1,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="The same seed gives the same text.",
            show_default="a new one each time",
        ),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            "--stop",
            metavar="TEXT",
            help="End before this text; can be repeated. \\n stands for a line end, as in PROMPT.",
            show_default=False,
        ),
    ] = None,
    keep_stop: Annotated[
        bool, typer.Option("--keep-stop", help="End after the text of --stop, not before it.")
    ] = False,
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
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A JSON object for each text, with ids and log-probabilities."),
    ] = False,
) -> None:
    """Write text in the manner of a model.

    \b
    Examples:
      lm sample ngram "My lord," --temp 0.8
      echo "My lord," | lm sample ngram --samples 3 --seed 7

    Text number k depends on the seed and on k alone, however many there are. A model of lines
    writes line after line; --stop '\\n' ends after one. Unknown tokens (<unk>)
    are never drawn. Of the filters, the temperature is applied first, then top-k, top-p, min-p.
    """
    import numpy as np

    from lmsuite.generation import SamplingSettings
    from lmsuite.generation import sample as draw_samples

    settings = SamplingSettings(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        max_tokens=max_tokens,
        stop=tuple(map(unescaped, stop or ())),
        keep_stop=keep_stop,
    )
    loaded = open_model(folder, model).model
    beginning = _prompt(prompt, lossless=loaded.encoder.tokenizer.lossless)
    prompt_ids = _prompt_ids(loaded, beginning)
    known = KnownText.read(novelty, loaded.encoder) if novelty is not None else None
    rng = np.random.default_rng(seed)
    if samples == 1 and not as_json:
        texts = [_stream(loaded, settings, rng, beginning, prompt_ids)]
    else:
        texts = []
        for drawn in draw_samples(loaded, settings, rng, prompt_ids, samples):
            if as_json:
                write_json(_as_json(beginning, drawn, known))
            else:
                write((_SEPARATOR if texts else "") + _closed(beginning + drawn.text))
            texts.append(drawn.text)
    if known and not as_json:
        known.report(texts)


def _as_json(beginning: str, drawn: Sample, known: KnownText | None) -> dict[str, Any]:
    fields = {
        "prompt": beginning,
        "text": drawn.text,
        "ids": drawn.ids,
        "log_probs": drawn.log_probs,
    }
    return fields | ({"novelty": known.as_json(drawn.text)} if known else {})


def _stream(
    model: LanguageModel,
    settings: SamplingSettings,
    rng: np.random.Generator,
    beginning: str,
    prompt_ids: IntArray,
) -> str:
    """Write the text as it is made, and return what follows the prompt."""
    from lmsuite.generation import stream

    write(beginning)
    pieces = []
    for piece in stream(model, settings, rng, prompt_ids):
        if piece:
            write(piece)
            pieces.append(piece)
    if not (pieces[-1] if pieces else beginning).endswith("\n"):
        write("\n")
    return "".join(pieces)


def _prompt(argument: str | None, *, lossless: bool) -> str:
    """The beginning of the text, from the command line or a pipe.

    One line end is taken off what is piped in, for ``echo`` adds it; and the spaces at the end, if
    the model's tokens do not show them: the next word brings its own.
    """
    if argument is None:
        stdin = piped_input()
        data = stdin.read() if stdin else b""
        data = data.removesuffix(b"\n").removesuffix(b"\r")
    else:
        data = unescaped(argument).encode("utf-8", "surrogateescape")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"the prompt is not UTF-8 (byte {error.start})") from error
    return text if lossless else text.rstrip(" ")


def _prompt_ids(model: LanguageModel, prompt: str) -> IntArray:
    from lmsuite.text.vocabulary import UNK

    ids = model.encoder.encode_prompt(prompt, last=model.reach)
    unseen = int((ids == UNK).sum())
    if unseen:
        what = "a token" if unseen == 1 else f"{unseen} tokens"
        note(f"warning: the prompt has {what} that the model does not know; it reads <unk> there")
    return ids


def _closed(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
