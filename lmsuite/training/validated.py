"""A finished model is evaluated on its validation text, and saved together with it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lmsuite.analysis.evaluation import Evaluation, evaluate
from lmsuite.errors import DataError, ModelFileError
from lmsuite.files.stored_text import Text, sha256_of
from lmsuite.models.interface import LanguageModel
from lmsuite.store.artefact import make_folder, save_model
from lmsuite.store.folder import ModelsFolder
from lmsuite.store.records import Provenance, ValidationRecord
from lmsuite.store.validation_text import beside_new_model
from lmsuite.training.time_budget import sample_of


@dataclass(frozen=True)
class ValidatedModel:
    """A finished model, and all that its file records of it."""

    name: str
    model: LanguageModel
    text: Text
    """The validation text; empty if there is none."""
    provenance: Provenance
    result: Evaluation | None
    """The model's results on that text; None if there is no text."""

    @classmethod
    def of(
        cls,
        name: str,
        model: LanguageModel,
        text: Text,
        origin: Provenance,
        *,
        rule: str,
        share: float = 1.0,
    ) -> Self:
        """Evaluate the model now.

        Args:
            name: the name of the model.
            model: the model.
            text: the validation text; empty if there is none.
            origin: how the model was made, without its validation.
            rule: how the text was chosen: "0.1", the name of a file, or "none".
            share: the share of the text to read; a sample, if less than 1.

        Raises:
            DataError: the text has no tokens.
        """
        result, record = None, ValidationRecord(rule)
        if text:
            try:
                result = evaluate(model, sample_of(text, share), name=name)
            except DataError as error:
                raise DataError(f"the validation text {rule}: {error}") from error
            record = ValidationRecord(
                split=rule,
                sha256=sha256_of(text),
                tokens=result.tokens,
                oov=result.oov,
                cross_entropy=result.cross_entropy,
                perplexity=result.perplexity,
                perplexity_without_oov=result.perplexity_without_oov,
                bits_per_char=result.bits_per_char,
                sample=share if share < 1 else None,
            )
        return cls(name, model, text, replace(origin.made_now(), validation=record), result)

    def save(self, folder: ModelsFolder) -> None:
        """Save the model and its validation text in `folder`.

        Raises:
            ModelFileError: the model cannot be saved; an older model of this name is unchanged.
        """
        make_folder(folder.root)
        path = folder.path(self.name)
        with beside_new_model(path, self.text):
            save_model(path, self.model, self.provenance)

    def save_elsewhere(self) -> Path | None:
        """Save the model in a new temporary folder, if its own folder has no room; return that.

        None if the temporary folder has no room either.
        """
        folder = None
        try:
            folder = ModelsFolder(Path(tempfile.mkdtemp(prefix="lmsuite-")))
            self.save(folder)
        except (OSError, ModelFileError):
            if folder is not None:
                shutil.rmtree(folder.root, ignore_errors=True)
            return None
        return folder.root
