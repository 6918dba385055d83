"""The learning curve: one row for each validation, in ``NAME.history.jsonl`` beside the model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmsuite.errors import ModelFileError
from lmsuite.files import AnyPath, records
from lmsuite.files.atomic import replacing
from lmsuite.files.records import Count
from lmsuite.store.artefact import make_folder


@dataclass(frozen=True)
class HistoryRow:
    """The state of a training at one validation. Losses are in nats per token."""

    step: Count
    epoch: float
    seconds: float  # of training, summed over all its sessions
    train_loss: float  # mean over the steps since the previous row
    valid_loss: float
    learning_rate: float
    tokens_per_second: float

    @property
    def valid_perplexity(self) -> float:
        return math.exp(min(self.valid_loss, 700.0))


def write_history(path: AnyPath, rows: Sequence[HistoryRow]) -> None:
    """Write all rows: replace the file as a whole, and make its folder if it is missing.

    Raises:
        ModelFileError: the file cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    with replacing(path) as stream:
        for row in rows:
            document = records.as_json(row) | {"valid_perplexity": row.valid_perplexity}
            stream.write((json.dumps(document) + "\n").encode())


def read_history(path: AnyPath) -> list[HistoryRow]:
    """The rows of a learning curve.

    Raises:
        ModelFileError: the file is missing, or a line of it is no row; the message names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"cannot read the learning curve {path}: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
            document.pop("valid_perplexity", None)
            rows.append(records.read(HistoryRow, document))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"{path}, line {number}: no row of a learning curve") from error
    return rows
