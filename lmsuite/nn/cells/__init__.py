"""The plain recurrent cells. They are the definition; `lmsuite.nn.kernels` must agree with it."""

from __future__ import annotations

from lmsuite.nn.cells.cell import Cell
from lmsuite.nn.cells.elman import Elman
from lmsuite.nn.cells.gru import GRU
from lmsuite.nn.cells.lstm import LSTM

PLAIN_CELLS: dict[str, type[Cell]] = {"elman": Elman, "gru": GRU, "lstm": LSTM}

__all__ = ["GRU", "LSTM", "PLAIN_CELLS", "Cell", "Elman"]
