"""What reading with a recurrent network asks of it: its layers, between embeddings and output.

Scoring and stepping know the network by this alone; `recurrent.Recurrent` says what each does.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.settings import RecurrentSettings
from lmsuite.nn.reader import Reader
from lmsuite.types import FloatArray, IntArray


class RecurrentStack(Protocol):
    """A recurrent network, as those see it who read with it."""

    @property
    def settings(self) -> RecurrentSettings: ...
    @property
    def carry_shape(self) -> tuple[int, int]: ...
    @property
    def recurrence_size(self) -> int: ...
    def checked(self, ids: IntArray) -> IntArray: ...
    def zero_state(self, batch_size: int) -> FloatArray: ...
    def readers(self, rows: int) -> list[Reader]: ...
    def read_window(
        self, readers: list[Reader], ids: IntArray, state: FloatArray
    ) -> tuple[FloatArray, FloatArray]: ...
    def score_rows(self, hidden: FloatArray, targets: IntArray) -> NDArray[np.float64]: ...
    def output_weights(self) -> FloatArray: ...
    def output_bias(self) -> FloatArray: ...
