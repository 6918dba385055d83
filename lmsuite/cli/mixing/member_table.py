"""The members of a mixture as they are shown: each with its weight, and what it is alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmsuite.cli.streams import say
from lmsuite.cli.tables import Column, show_table

_IN_WORDS = {
    "perplexity": "{:.2f}",
    "bits_per_char": "{:.3f} bits/char",
    "half_life": "half-life {:g} tokens",
}


@dataclass(frozen=True)
class MemberRow:
    """One member."""

    name: str
    kind: str
    weight: float
    alone: Mapping[str, float] = field(default_factory=dict)
    """Its own figures, by their names in `_IN_WORDS`."""

    def facts(self) -> dict[str, Any]:
        """The row, for ``--json``."""
        return {"member": self.name, "kind": self.kind, "weight": self.weight, **self.alone}


def show_members(rows: Sequence[MemberRow]) -> None:
    """Print the table."""
    columns = (Column("member"), Column("kind"), Column("weight", number=True), Column("alone"))
    shown = [
        [
            row.name,
            row.kind,
            f"{row.weight:.4f}",
            ", ".join(_IN_WORDS[figure].format(value) for figure, value in row.alone.items()),
        ]
        for row in rows
    ]
    show_table(columns, shown)
    say()
