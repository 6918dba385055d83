"""Opening models with the learning curves that lie beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmsuite.cli.opening import OpenedModel, model_names, open_model
from lmsuite.cli.streams import note
from lmsuite.errors import LmError
from lmsuite.store.folder import ModelsFolder

if TYPE_CHECKING:
    from lmsuite.report.model_charts import TrainedModel
    from lmsuite.store.artefact import Provenance
    from lmsuite.training.history import HistoryRow


def open_all(folder: Path, names: list[str] | None) -> list[OpenedModel]:
    """The models of these names, or all that can be opened in the folder if none is given.

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
            note(f"left out: {error}")
    if not opened:
        raise LmError(f"none of the models in {folder} can be used")
    return opened


def trained_model(opened: OpenedModel) -> TrainedModel:
    """The model with its provenance and its learning curve, if it has them.

    Raises:
        ModelFileError: the learning curve is damaged.
    """
    from lmsuite.report.model_charts import TrainedModel

    provenance = opened.manifest.provenance if opened.manifest else None
    history = _learning_curve(opened, provenance) if provenance else []
    return TrainedModel(opened.name, opened.model, provenance, history)


def _learning_curve(opened: OpenedModel, provenance: Provenance) -> list[HistoryRow]:
    """What its training wrote; nothing if that beside it is of one under way, or that was ended."""
    from lmsuite.training.history import read_history

    path = ModelsFolder(opened.path.parent).history_path(opened.name)
    history = read_history(path) if path.is_file() else []
    if history and history[-1].step != provenance.training.get("steps"):
        note(f"left out: {path} is of another training than the model {opened.name}")
        return []
    return history
