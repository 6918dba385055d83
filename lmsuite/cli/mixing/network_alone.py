"""A network alone, which gets a neural cache: its text chooses the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmsuite.cli.mixing.making import Mixed
from lmsuite.cli.mixing.members import Members
from lmsuite.files.stored_text import Text


@dataclass(frozen=True)
class NetworkWithCache:
    """The one network and its cache."""

    members: Members

    def fit(self, text: Text, weights: Sequence[float] | None) -> Mixed:
        """Choose the numbers of the cache; they take the place of weights."""
        (model,) = self.members.fitted(text).values()
        return Mixed(model, (), f"{len(model.encoder.encode(text)):,} tokens")
