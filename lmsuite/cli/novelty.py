"""What ``lm sample --novelty`` says of the texts drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmsuite.cli.streams import note, read_texts

if TYPE_CHECKING:
    from lmsuite.text.encoding import TextEncoder
    from lmsuite.types import IntArray


@dataclass(frozen=True)
class KnownText:
    """A text that samples may be copied from."""

    name: str
    ids: IntArray  # (N,)
    encoder: TextEncoder

    @classmethod
    def read(cls, source: str, encoder: TextEncoder, encoding: str) -> KnownText:
        """The text of this file or name, as the model reads it.

        Raises:
            DataError: it cannot be read, or is empty.
        """
        corpus = read_texts([source], encoding)
        return cls(corpus.name, encoder.encode(corpus.text, name=corpus.name), encoder)

    def as_json(self, drawn: str) -> dict[str, Any]:
        """The figures of one text."""
        from lmsuite.analysis.novelty import novelty

        found = novelty([self.encoder.encode_prompt(drawn)], self.ids)
        return {
            "text": self.name,
            "copied_tokens": len(found.copied),
            "copied": self.encoder.decode(found.copied),
            "novel": {str(order): share for order, share in found.novel.items()},
        }

    def report(self, drawn: Sequence[str]) -> None:
        """Tell the figures of all texts together."""
        from lmsuite.analysis.novelty import novelty

        found = novelty([self.encoder.encode_prompt(each) for each in drawn], self.ids)
        copied = self.encoder.decode(found.copied)
        tokens = f"{len(found.copied)} token{'' if len(found.copied) == 1 else 's'}"
        note(f"longest run that is in {self.name} too: {tokens} {copied!r}")
        shares = ", ".join(
            f"{order}: {100 * share:.0f} %"
            for order, share in found.novel.items()
            if share is not None
        )
        if shares:
            note(f"n-grams that are not in {self.name}, by order: {shares}")
