"""``lm info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelArgument, ModelsOption
from lmsuite.cli.streams import write_json
from lmsuite.cli.tables import show_facts

if TYPE_CHECKING:
    from lmsuite.store.opening import OpenedModel


def info(
    model: ModelArgument, folder: ModelsOption = DEFAULT_FOLDER, as_json: JsonOption = False
) -> None:
    """Show what a model is and how it was made.

    \b
    Examples:
      lm info ngram
      lm info models/ngram.safetensors --json
    """
    from lmsuite.store.opening import open_model

    facts = _facts(open_model(folder, model))
    if as_json:
        write_json(facts)
    else:
        if len(files := facts.get("corpus_files", ())) > _MOST_FILES:
            facts["corpus_files"] = f"{len(files):,} (--json shows them with their checksums)"
        show_facts({label.replace("_", " "): _in_words(fact) for label, fact in facts.items()})


_MOST_FILES = 3  # whose checksums are shown


def _facts(opened: OpenedModel) -> dict[str, Any]:
    from lmsuite.files.records import as_json

    model = opened.model
    settings = model.settings_dict()
    facts: dict[str, Any] = {
        "model": opened.name,
        "kind": model.kind,
        "file": str(opened.path),
        "bytes": opened.path.stat().st_size,
        "tokenizer": model.encoder.tokenizer.title,
        "boundaries": model.encoder.boundaries.value,
        **({"direction": "backward"} if model.encoder.backward else {}),
        "vocabulary": len(model.encoder.vocabulary),
        "settings": settings,
    }
    known = facts.keys() | settings.keys()
    facts |= {label: fact for label, fact in model.summary().items() if label not in known}
    if opened.manifest is not None:
        facts |= as_json(opened.provenance)
    return facts


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key} {_in_words(entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, list | tuple):
        return "\n".join(map(_in_words, value)) or "-"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
