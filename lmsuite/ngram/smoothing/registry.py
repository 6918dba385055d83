"""The smoothings by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lmsuite.ngram.recursion import Leftover, Smoothing
from lmsuite.ngram.settings import KNESER_NEY, NgramSettings
from lmsuite.ngram.smoothing.katz import katz
from lmsuite.ngram.smoothing.kneser_ney import modified_kneser_ney, one_discount
from lmsuite.ngram.smoothing.relative_frequency import AddK, RelativeFrequency, StupidBackoff
from lmsuite.ngram.smoothing.witten_bell import WittenBell
from lmsuite.types import IntArray


def uses_adjusted_counts(settings: NgramSettings) -> bool:
    """Whether the smoothing works with adjusted counts (see `kneser_ney`), not with occurrences."""
    return settings.smoothing in KNESER_NEY


def fitted(of_count: Sequence[IntArray], possible: int, settings: NgramSettings) -> Smoothing:
    """The smoothing in the settings, for a text of these counts.

    Args:
        of_count: the `counts_of_counts` of each order.
        possible: the words that may follow a history.
        settings: any but jelinek-mercer, which is fitted to held-out text.
    """
    order, k, discount = len(of_count), settings.k, settings.discount
    methods: dict[str, Callable[[], Smoothing]] = {
        "modified-kneser-ney": lambda: modified_kneser_ney(of_count),
        "kneser-ney": lambda: one_discount(of_count, discount),
        "absolute": lambda: one_discount(of_count, discount),
        "witten-bell": lambda: Smoothing((WittenBell(),) * order),
        "katz": lambda: katz(of_count),
        "add-k": lambda: Smoothing(
            tuple(AddK(k * possible, is_highest=n == order) for n in range(1, order + 1))
        ),
        "mle": lambda: Smoothing((RelativeFrequency(),) * order),
        "stupid-backoff": lambda: Smoothing((StupidBackoff(),) * order, Leftover.SCORES),
    }
    return with_unigrams(methods[settings.smoothing](), settings)


def with_unigrams(smoothing: Smoothing, settings: NgramSettings) -> Smoothing:
    """The smoothing, with relative frequencies of unigrams if the settings ask for them."""
    if settings.interpolate_unigrams or settings.smoothing in KNESER_NEY:
        return smoothing
    return replace(smoothing, estimators=(RelativeFrequency(), *smoothing.estimators[1:]))
