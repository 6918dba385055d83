"""A finished model: evaluated on its validation text, and saved together with it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lmsuite.analysis.evaluation import Evaluation, evaluate
from lmsuite.errors import DataError, ModelFileError
from lmsuite.models.interface import LanguageModel
from lmsuite.store.artefact import make_folder, save_model
from lmsuite.store.folder import ModelsFolder
from lmsuite.store.records import Provenance, ValidationRecord
from lmsuite.store.validation_text import beside_new_model, text_sha256
from lmsuite.training.time_budget import sample_of


@dataclass(frozen=True)
class ValidatedModel:
    """A finished model, and all that its file is to say of it."""

    name: str
    model: LanguageModel
    text: str
    """The validation text; empty if there is none."""
    provenance: Provenance
    result: Evaluation | None
    """How the model does on that text."""

    @classmethod
    def of(
        cls,
        name: str,
        model: LanguageModel,
        text: str,
        origin: Provenance,
        *,
        rule: str,
        share: float = 1.0,
    ) -> Self:
        """The model, evaluated now.

        Args:
            name: what it is called.
            model: the model.
            text: what was set aside; empty if nothing was.
            origin: how the model came to be, all but its validation.
            rule: how the text was chosen: "0.1", the name of a file, "none".
            share: how much of it to read: a sample, if less than 1.

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
                sha256=text_sha256(text),
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
            ModelFileError: the model cannot be saved; one that was there before is unharmed.
        """
        make_folder(folder.root)
        path = folder.path(self.name)
        with beside_new_model(path, self.text):
            save_model(path, self.model, self.provenance)

    def save_elsewhere(self) -> Path | None:
        """Save a model that its folder has no room for in a new temporary one: that folder.

        None if there is no room there either.
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
