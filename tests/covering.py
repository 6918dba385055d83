"""A few combinations of options in which each pair of values occurs, or each triple."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

Choice = tuple[int, ...]  # of every option which of its values


def covering(*options: Iterable[Any], strength: int = 2) -> list[tuple[Any, ...]]:
    """Combinations, a value of every option each; the same ones every time.

    Any `strength` values of different options are together in one of them. The next combination is
    always the one with the most of those that are still missing.
    """
    values: list[Sequence[Any]] = [list(option) for option in options]
    numbers = list(product(*(range(len(each)) for each in values)))
    together = {choice: set(_parts(choice, strength)) for choice in numbers}
    missing = set().union(*together.values())
    chosen: list[Choice] = []
    while missing:
        chosen.append(max(numbers, key=lambda choice: len(together[choice] & missing)))
        missing -= together[chosen[-1]]
    return [tuple(map(lambda all, k: all[k], values, choice)) for choice in sorted(chosen)]


def _parts(choice: Choice, strength: int) -> Iterable[tuple[tuple[int, int], ...]]:
    """The (option, value) pairs of a combination, so many at a time."""
    return combinations(enumerate(choice), strength)
