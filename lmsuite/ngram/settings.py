"""How an n-gram model is to be estimated: the choices, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from lmsuite.errors import UsageError
from lmsuite.ngram.pruning import cutoffs_of

SMOOTHINGS: tuple[str, ...] = (
    "modified-kneser-ney",
    "kneser-ney",
    "absolute",
    "witten-bell",
    "jelinek-mercer",
    "katz",
    "add-k",
    "mle",
    "stupid-backoff",
)
IMPORTED = "arpa"  # the smoothing of models that were not estimated here
KNESER_NEY = ("modified-kneser-ney", "kneser-ney")
_ONE_DISCOUNT = ("kneser-ney", "absolute")


@dataclass(frozen=True)
class NgramSettings:
    """How an n-gram model is to be estimated."""

    order: int = 3
    """The length of the longest n-grams, 1 or more."""
    smoothing: str = "modified-kneser-ney"
    """One of `SMOOTHINGS`; ``arpa`` in models that were read from an ARPA file."""
    k: float = 1.0
    """add-k: what is added to every count."""
    prune: tuple[int, ...] = ()
    """Cut-offs as lmplz's ``--prune``: n-grams that occur so often or less are left out."""
    entropy_prune: float = 0.0
    """N-grams without which perplexity rises by less than this part are left out; 0 keeps all."""
    discount: float | None = None
    """kneser-ney, absolute: the discount of every order, instead of one from counts of counts."""
    interpolate_unigrams: bool = True
    """Whether unigrams are mixed with the uniform distribution.

    If not, what Kneser-Ney discounts from them goes to ``<unk>``, as with lmplz's
    ``--interpolate_unigrams 0``; with other smoothings unigrams are relative frequencies, as in
    NLTK, and ``<unk>`` has a probability only if the training text has it.
    """
    quantize: bool = False
    """Whether probabilities are rounded, to a few per cent, so that each takes one byte."""


def check(settings: NgramSettings) -> None:
    """Raise UsageError for settings that are out of range or contradict each other."""
    smoothing, k, discount = settings.smoothing, settings.k, settings.discount
    if settings.order < 1:
        raise UsageError(f"order {settings.order}: an n-gram has at least one word")
    if smoothing not in SMOOTHINGS:
        raise UsageError(
            f"smoothing {smoothing!r} is not known; choose one of {', '.join(SMOOTHINGS)}"
        )
    if not 0 < k < float("inf"):
        raise UsageError(f"k = {k:g}: what is added to every count must be above 0")
    if k != 1.0 and smoothing != "add-k":
        raise UsageError(f"k = {k:g} means nothing to {smoothing}; it is for add-k")
    if discount is not None and smoothing not in _ONE_DISCOUNT:
        raise UsageError(
            f"discount {discount:g} means nothing to {smoothing}; it is for "
            f"{' and '.join(_ONE_DISCOUNT)}"
        )
    if discount is not None and not 0 < discount < 1:
        raise UsageError(f"discount {discount:g}: it must be between 0 and 1")
    if not settings.interpolate_unigrams and smoothing == "add-k":
        raise UsageError("add-k has no interpolated unigrams to do without")
    if not 0 <= settings.entropy_prune < float("inf"):
        raise UsageError(f"entropy pruning at {settings.entropy_prune:g}: give 0 or more")
    if settings.entropy_prune and smoothing == "stupid-backoff":
        raise UsageError("entropy pruning needs probabilities; stupid-backoff has only scores")
    if settings.quantize and smoothing == "stupid-backoff":
        raise UsageError("quantizing keeps sums of probabilities; stupid-backoff has only scores")
    cutoffs_of(settings.prune, settings.order)


def check_partitioned(settings: NgramSettings) -> None:
    """Raise UsageError for settings that cannot be met within a given amount of memory."""
    if settings.smoothing not in KNESER_NEY:
        raise UsageError(
            f"--memory is for {' and '.join(KNESER_NEY)}; leave it out for {settings.smoothing}"
        )
    if settings.entropy_prune:
        raise UsageError("entropy pruning does not keep to --memory; use lm prune afterwards")
    if settings.quantize:
        raise UsageError("quantizing does not keep to --memory; leave out one of the two")
