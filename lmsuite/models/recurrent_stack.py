"""The part of a recurrent network that scoring and stepping need.

They use nothing else of the network; the docstrings are in `recurrent.Recurrent`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.settings import RecurrentSettings
from lmsuite.nn.output import Softmax
from lmsuite.nn.reader import Reader
from lmsuite.text.encoding import TextEncoder
from lmsuite.types import FloatArray, IntArray


class RecurrentStack(Protocol):
    """A recurrent network, as scoring and stepping see it."""

    encoder: TextEncoder
    output: Softmax

    @property
    def settings(self) -> RecurrentSettings: ...
    @property
    def carry_shape(self) -> tuple[int, int]: ...
    @property
    def recurrence_size(self) -> int: ...
    @property
    def states_a_layer(self) -> int: ...
    def checked(self, ids: IntArray) -> IntArray: ...
    def zero_state(self, batch_size: int) -> FloatArray: ...
    def readers(self, batch_size: int) -> list[Reader]: ...
    def read_window(
        self, readers: list[Reader], ids: IntArray, state: FloatArray
    ) -> tuple[FloatArray, FloatArray]: ...
    def target_scores(self, vectors: FloatArray, targets: IntArray) -> NDArray[np.float64]: ...
    def output_vectors(self, state: FloatArray) -> FloatArray: ...
    def step_tokens(self, state: FloatArray, ids: IntArray, after: FloatArray) -> None: ...
