"""Opening what a user calls MODEL: a name in the models folder, a model file, or an ARPA file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite.cli.streams import is_quiet, piped_input
from lmsuite.errors import DataError, LmError
from lmsuite.store.folder import SUFFIX, ModelsFolder, valid_path_beside

if TYPE_CHECKING:
    from lmsuite.models.interface import LanguageModel
    from lmsuite.sources.corpus import Corpus
    from lmsuite.store.artefact import Manifest

ARPA_SUFFIXES = (".arpa", ".arpa.gz")
TUNED = "tuned on the validation text"
"""What the provenance of a mixture says, under `training`: are its weights from that text."""


@dataclass(frozen=True)
class OpenedModel:
    """A model, and what it is called in tables."""

    name: str
    path: Path
    model: LanguageModel
    manifest: Manifest | None  # an ARPA file has none


def open_model(folder: Path, name_or_path: str) -> OpenedModel:
    """Load the model of this name in `folder`, or at this path.

    Raises:
        ModelFileError: there is none, or it cannot be used.
    """
    path = ModelsFolder(folder).resolve(name_or_path)
    if path.name.endswith(ARPA_SUFFIXES):
        from lmsuite.models.ngram import NgramModel

        return OpenedModel(path.name, path, NgramModel.from_arpa(path), None)
    from lmsuite.store.artefact import open_model_file

    model, manifest = open_model_file(path)
    return OpenedModel(path.name.removesuffix(SUFFIX), path, model, manifest)


def model_names(folder: Path, names: list[str] | None) -> list[str]:
    """`names`, or all models of the folder if there are none.

    Raises:
        LmError: the folder has no model.
    """
    found = names or ModelsFolder(folder).names()
    if not found:
        raise LmError(f"no models in {folder}; make one: lm train ngram")
    return found


def validation_text(opened: OpenedModel) -> str:
    """The text that was set aside when the model was trained.

    Raises:
        DataError: there is none, or it is that of another training.
    """
    from lmsuite.store.validation_text import load_validation_text

    validation = opened.manifest.provenance.validation if opened.manifest else {}
    if "sha256" not in validation:
        raise DataError(f"{opened.name} has no validation text; give a text with --text FILE")
    try:
        return load_validation_text(valid_path_beside(opened.path), validation["sha256"])
    except DataError as error:
        raise DataError(f"{error}; give a text with --text FILE") from error


def shared_validation_text(opened: Sequence[OpenedModel]) -> str:
    """The text that was set aside when these models were trained, the same for all.

    Raises:
        DataError: one has none, or they have different ones.
    """
    first, *others = opened
    text = validation_text(first)
    for other in others:
        if validation_text(other) != text:
            raise DataError(
                f"{first.name} and {other.name} have different validation texts; give a text that "
                "neither was trained on with --text FILE"
            )
    return text


def given_text(text: str | None, encoding: str) -> str | None:
    """The text that the user named with --text or piped in; None if there is neither.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    if text is None and piped_input() is None:
        return None
    return read_texts([text or "-"], encoding).text


def read_texts(sources: Sequence[str], encoding: str) -> Corpus:
    """The text of these files and names; without any, what is piped in, or the embedded play.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    from lmsuite.sources.corpus import read_corpus

    return read_corpus(sources, encoding=encoding, stdin=piped_input(), quiet=is_quiet())


def is_tuned_on(opened: OpenedModel, text: str) -> bool:
    """Whether the model is a mixture whose weights come from this very text."""
    from lmsuite.store.validation_text import text_sha256

    made = opened.manifest.provenance if opened.manifest else None
    if made is None or not made.training.get(TUNED):
        return False
    return bool(made.validation.get("sha256") == text_sha256(text))
