"""The division of a text into a part to train on and a part to validate on."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lmsuite.errors import UsageError
from lmsuite.files.plain import DOCUMENT_END
from lmsuite.files.stored_text import Text, TextWriter, blocks, whole_units


class HeldOut(StrEnum):
    """Which part of a text is held out for validation."""

    END = "end"
    """Its end: what a model meets that goes on reading where its training text stops."""

    RANDOM = "random"
    """Lines or documents from everywhere: right for a list, whose order says nothing or is
    alphabetical."""


_RULE = re.compile(r"(?P<share>\S+?)(?: of random (?P<unit>line|document)s, seed (?P<seed>\d+))?")


@dataclass(frozen=True)
class SplitRule:
    """A share of a text, and how it is chosen; ``str`` writes it as a model file records it."""

    share: float
    by: HeldOut = HeldOut.END
    seed: int = 0
    """Of RANDOM. It is not that of the training, so that models trained with different seeds are
    validated on the same text."""
    unit: str = "line"
    """What RANDOM chooses: a line or a document. Only `str` shows it."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(
                f"{{valid}} takes a share above 0 and below 1, or a file, not {self.share}",
                "valid",
                value=self.share,
            )

    def __str__(self) -> str:
        ending = f" of random {self.unit}s, seed {self.seed}" if self.by is HeldOut.RANDOM else ""
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
        return cls(share, HeldOut.RANDOM, int(found["seed"]), found["unit"])

    def divide(self, text: Text, *, whole_units: bool, end: str = "\n") -> tuple[Text, Text]:
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
    text: Text,
    fraction: float,
    *,
    whole_lines: bool,
    by: HeldOut | str = HeldOut.END,
    seed: int = 0,
) -> tuple[Text, Text]:
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


def _random_units(text: Text, fraction: float, seed: int, end: str) -> tuple[Text, Text]:
    drawn = _draw(seed)
    keys, sizes = array("Q"), array("Q")  # of each line: a dict of all lines may take much memory
    for unit, whole in _units(text, end):
        keys.append(drawn(unit))
        sizes.append(len(whole))
    key, line = np.unique(np.frombuffer(keys, np.uint64), return_inverse=True)
    size_of_key = np.bincount(line, np.frombuffer(sizes, np.uint64)).astype(np.int64)
    aim = round(fraction * len(text))
    held_out: set[int] = set()
    left = aim
    for unit_key, size in zip(key.tolist(), size_of_key.tolist(), strict=True):
        if size > aim:
            continue
        # The nearest to what is asked: the last one is taken if less than half of it is too much.
        if 2 * left < size:
            break
        held_out.add(unit_key)
        left -= size
    parts = TextWriter(), TextWriter()
    for number, (_, whole) in zip(keys, _units(text, end), strict=True):
        parts[number in held_out].write(whole)
    return parts[0].text(), parts[1].text()


def _draw(seed: int) -> Callable[[str], int]:
    """A key that orders units at random: a checksum, so one's place depends on no other.

    Two of 2^64 checksums are equal in a text of a billion different lines once in forty.
    """
    start = hashlib.blake2b(f"{seed}\n".encode(), digest_size=8)

    def key(unit: str) -> int:
        digest = start.copy()
        digest.update(unit.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest(), "big")

    return key


def _units(text: Text, end: str) -> Iterator[tuple[str, str]]:
    """Every line or document, and it with its end and the empty ones after it."""
    find = re.compile(f"[^{end}]*{end}+|[^{end}]+").finditer
    held = ""  # the last one found: more of its ends may follow
    for part in whole_units(blocks(text), end):
        units = [found.group() for found in find(held + part)]
        held = units.pop()
        yield from ((unit.rstrip(end), unit) for unit in units)
    if held:
        yield held.rstrip(end), held
