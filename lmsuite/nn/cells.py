"""The recurrent cells by name, from the simplest to the most elaborate."""

from __future__ import annotations

from lmsuite.nn.cell import Cell, CellCache
from lmsuite.nn.elman import Elman
from lmsuite.nn.gru import GRU
from lmsuite.nn.lstm import LSTM

CELLS: dict[str, type[Cell]] = {"elman": Elman, "gru": GRU, "lstm": LSTM}

__all__ = ["CELLS", "GRU", "LSTM", "Cell", "CellCache", "Elman"]
