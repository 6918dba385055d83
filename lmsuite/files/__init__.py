"""Files that change at once or not at all, locks, texts and arrays in files: no model is known."""

from __future__ import annotations

import os
from typing import TypeAlias

AnyPath: TypeAlias = "str | os.PathLike[str]"
"""The name of a file, as every public function takes it."""
