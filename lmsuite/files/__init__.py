"""Files replaced as a whole, locks, text files, arrays in files; nothing here knows of models."""

from __future__ import annotations

import os
from typing import TypeAlias

AnyPath: TypeAlias = "str | os.PathLike[str]"
"""The name of a file; every public function accepts both types."""
