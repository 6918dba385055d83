"""The division of a text into a part to train on and a part to validate on."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from lmsuite.errors import UsageError
from lmsuite.files.plain import DOCUMENT_END


class HeldOut(StrEnum):
    """Which part of a text is held out for validation."""

    END = "end"
    """Its end: what a model meets that goes on reading where its training text stops."""

    RANDOM = "random"
    """Lines or documents from everywhere: right for a list, whose order says nothing or is
    alphabetical."""


_RULE = re.compile(r"(?P<share>\S+?)(?: of random lines, seed (?P<seed>\d+))?")


@dataclass(frozen=True)
class SplitRule:
    """A share of a text, and how it is chosen; ``str`` writes it as a model file records it."""

    share: float
    by: HeldOut = HeldOut.END
    seed: int = 0
    """Of RANDOM. It is not that of the training, so that models trained with different seeds are
    validated on the same text."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(
                f"{{valid}} takes a share above 0 and below 1, or a file, not {self.share}",
                "valid",
                value=self.share,
            )

    def __str__(self) -> str:
        ending = f" of random lines, seed {self.seed}" if self.by is HeldOut.RANDOM else ""
        return f"{self.share}{ending}"

    @classmethod
    def parse(cls, rule: str) -> SplitRule | None:
        """The rule that is written so; None if this is no share, but the name of a file, or "none".

        Raises:
            UsageError: it is a number that is not between 0 and 1.
        """
        found = _RULE.fullmatch(rule)
        try:
            share = float(found["share"]) if found else None
        except ValueError:
            return None
        if found is None or share is None:
            return None
        if found["seed"] is None:
            return cls(share)
        return cls(share, HeldOut.RANDOM, int(found["seed"]))

    def divide(self, text: str, *, whole_units: bool, end: str = "\n") -> tuple[str, str]:
        """The two parts of a text, as from `split_text`, which says "lines" for units.

        Args:
            text: the text.
            whole_units: move the cut to the beginning of the next unit; of a document after
                which there is none, to its own.
            end: what ends a unit: a line end, or the end of a document.
        """
        if self.by is HeldOut.RANDOM:
            return _random_units(text, self.share, self.seed, end)
        cut = int(len(text) * (1 - self.share))
        if whole_units and cut > 0 and text[cut - 1] != end:
            unit_end = text.find(end, cut)
            cut = len(text) if unit_end < 0 else unit_end + 1
        if end == DOCUMENT_END and cut == len(text):  # few and long: rather the last than none
            cut = text.rfind(end, 0, len(text) - 1) + 1
        return text[:cut], text[cut:]


def split_text(
    text: str,
    fraction: float,
    *,
    whole_lines: bool,
    by: HeldOut | str = HeldOut.END,
    seed: int = 0,
) -> tuple[str, str]:
    """The text without the part that is held out, and that part.

    Args:
        text: the text.
        fraction: the share of the characters that are held out.
        whole_lines: move the cut to the beginning of the next line.
        by: which part is held out. RANDOM takes whole lines, equal ones to the same side, and keeps
            their order on each side. Empty lines stay with the line before them. A line that makes
            up more than the share by itself is never held out.
        seed: of RANDOM. The same seed orders the same lines alike in every text.

    Returns:
        Both parts; one of them is empty if the text is too short to be divided.

    Raises:
        UsageError: the fraction is not between 0 and 1, or `by` is unknown.
    """
    if by not in list(HeldOut):
        raise UsageError(f"a text is split by {' or '.join(HeldOut)}, not by {by!r}")
    return SplitRule(fraction, HeldOut(by), seed).divide(text, whole_units=whole_lines)


def _random_units(text: str, fraction: float, seed: int, end: str) -> tuple[str, str]:
    sizes: Counter[str] = Counter()
    for unit, whole in _units(text, end):
        sizes[unit] += len(whole)
    aim = round(fraction * len(text))
    held_out: set[str] = set()
    size = 0
    for unit in sorted((unit for unit in sizes if sizes[unit] <= aim), key=_draw(seed)):
        # The nearest to what is asked: the last one is taken if less than half of it is too much.
        if 2 * (aim - size) < sizes[unit]:
            break
        held_out.add(unit)
        size += sizes[unit]
    parts: tuple[list[str], list[str]] = ([], [])
    for unit, whole in _units(text, end):
        parts[unit in held_out].append(whole)
    return "".join(parts[0]), "".join(parts[1])


def _draw(seed: int) -> Callable[[str], bytes]:
    """A key that orders units at random: a checksum, so one's place depends on no other."""
    start = hashlib.blake2b(f"{seed}\n".encode(), digest_size=8)

    def key(unit: str) -> bytes:
        digest = start.copy()
        digest.update(unit.encode("utf-8", "surrogatepass"))
        return digest.digest()

    return key


def _units(text: str, end: str) -> Iterator[tuple[str, str]]:
    """Every line or document, and it with its end and the empty ones after it."""
    for found in re.finditer(f"[^{end}]*{end}+|[^{end}]+", text):
        whole = found.group()
        yield whole.rstrip(end), whole
