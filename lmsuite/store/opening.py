"""Open the MODEL of a command: a name in the models folder, a model file, or an ARPA file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmsuite.errors import DataError, LmError, UsageError
from lmsuite.files.stored_text import Text, sha256_of
from lmsuite.models.interface import LanguageModel
from lmsuite.store.artefact import open_model_file, read_manifest
from lmsuite.store.folder import SUFFIX, ModelsFolder, valid_path_beside
from lmsuite.store.history import HistoryRow, read_history
from lmsuite.store.records import Manifest, Provenance
from lmsuite.store.validation_text import load_validation_text
from lmsuite.text.settings import Boundaries

ARPA_SUFFIXES = (".arpa", ".arpa.gz")


@dataclass(frozen=True)
class OpenedModel:
    """A model, its name in tables, and access to the files beside its own."""

    name: str
    path: Path
    model: LanguageModel
    manifest: Manifest | None
    """None for an ARPA file."""

    @property
    def provenance(self) -> Provenance:
        """How the model was made; empty for an ARPA file, which does not record it."""
        return self.manifest.provenance if self.manifest else Provenance(version="")

    def validation_text(self) -> Text:
        """The validation text of the model's training.

        Raises:
            DataError: there is no such text, or the file belongs to another training.
        """
        sha256 = self.provenance.validation.sha256
        if sha256 is None:
            raise DataError(
                f"{self.name} has no validation text; give a text with {{text}} FILE", "text"
            )
        try:
            return load_validation_text(valid_path_beside(self.path), sha256)
        except DataError as error:
            raise DataError(f"{error}; give a text with {{text}} FILE", "text") from error

    def is_tuned_on(self, text: Text) -> bool:
        """Whether the model is a mixture whose weights come from this very text."""
        made = self.provenance
        return bool(made.training.tuned) and made.validation.sha256 == sha256_of(text)

    def learning_curve(self, left_out: Callable[[LmError], None]) -> list[HistoryRow]:
        """The rows of the training, one for each validation; empty if no steps made the model.

        Args:
            left_out: called if the curve belongs to another training: one that still runs, or one
                that was ended early.

        Raises:
            ModelFileError: the curve is damaged.
        """
        path = ModelsFolder(self.path.parent).history_path(self.name)
        history = read_history(path) if self.manifest and path.is_file() else []
        if history and history[-1].step != self.provenance.training.steps:
            left_out(LmError(f"{path} is of another training than the model {self.name}"))
            return []
        return history


def open_model(folder: Path, name_or_path: str, **reading: Any) -> OpenedModel:
    """Load the model of this name in `folder`, or at this path.

    `reading` says how the text of an ARPA file is read, as in `NgramModel.from_arpa`.

    Raises:
        ModelFileError: there is no such model, or it cannot be used.
        UsageError: as `NgramModel.from_arpa`; or `reading` is given for a model file.
    """
    path = ModelsFolder(folder).resolve(name_or_path)
    if path.name.endswith(ARPA_SUFFIXES):
        from lmsuite.models.ngram import NgramModel

        return OpenedModel(path.name, path, NgramModel.from_arpa(path, **reading), None)
    for name in reading:
        raise UsageError(
            f"{path} says itself how text is read, as every model file does; {{{name}}} is for "
            "ARPA files",
            name,
        )
    model, manifest = open_model_file(path)
    return OpenedModel(path.name.removesuffix(SUFFIX), path, model, manifest)


def boundaries_of(folder: Path, names: Sequence[str]) -> set[Boundaries]:
    """What the texts of these models consist of, as far as their files can be read."""
    found = set()
    for name in names:
        with suppress(LmError, ValueError):
            path = ModelsFolder(folder).resolve(name)
            if not path.name.endswith(ARPA_SUFFIXES):
                found.add(Boundaries(str(read_manifest(path).text.get("boundaries"))))
    return found


def model_names(folder: Path, names: Sequence[str] | None) -> list[str]:
    """`names`, or the names of all models in the folder if `names` is empty or None.

    Raises:
        LmError: the folder has no model.
    """
    found = list(names or ModelsFolder(folder).names())
    if not found:
        raise LmError(f"no models in {folder}; make one: lm train ngram")
    return found


def open_models(
    folder: Path, names: Sequence[str] | None, left_out: Callable[[LmError], None]
) -> list[OpenedModel]:
    """The models of these names, or if none are given, all models in the folder that can be opened.

    Args:
        folder: the models folder.
        names: as for `open_model`.
        left_out: called with the reason why a model of the folder cannot be used.

    Raises:
        ModelFileError: a model that was named cannot be used.
        LmError: there is no model.
    """
    opened = []
    for name in dict.fromkeys(model_names(folder, names)):
        try:
            opened.append(open_model(folder, name))
        except LmError as error:
            if names:
                raise
            left_out(error)
    if not opened:
        raise LmError(f"none of the models in {folder} can be used")
    return opened


def shared_validation_text(opened: Sequence[OpenedModel]) -> Text:
    """The validation text of these models, if it is the same for all.

    Raises:
        DataError: a model has no validation text, or two have different ones.
    """
    first, *others = opened
    text = first.validation_text()
    for other in others:
        if other.provenance.validation.sha256 != first.provenance.validation.sha256:
            raise DataError(
                f"{first.name} and {other.name} have different validation texts; give a text that "
                "neither was trained on with {text} FILE",
                "text",
            )
    return text
