"""The settings of an n-gram model's estimation, and which of them go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmsuite.errors import UsageError
from lmsuite.settings import check, setting

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
IMPORTED = "arpa"  # the smoothing of models that lmsuite did not estimate
MIXED = "mixed"  # that of one table made of several
KNESER_NEY = ("modified-kneser-ney", "kneser-ney")
MOST_ORDER = 32  # the highest order that lmsuite estimates
COUNTS_SUFFIX = ".counts"  # of files that hold the counts of a text
_ONE_DISCOUNT = ("kneser-ney", "absolute")


@dataclass(frozen=True)
class NgramSettings:
    """The settings for the estimation of an n-gram model.

    Raises:
        UsageError: a setting is out of bounds, or settings contradict each other.
    """

    order: int = setting(
        3, option="--n", minimum=1, help=f"The order: tokens in an n-gram, 1 to {MOST_ORDER}."
    )
    """Models from an ARPA file may have a higher order."""
    smoothing: str = setting(
        "modified-kneser-ney",
        choices=SMOOTHINGS,
        unlisted=(IMPORTED, MIXED),
        help="How unseen n-grams get their share.",
    )
    """``arpa`` in models from an ARPA file, ``mixed`` in those that were combined of several."""
    k: float = setting(1.0, above=0, shown="1, Laplace", help="What add-k adds to each count.")
    prune: tuple[int, ...] = setting(
        (),
        minimum=0,
        metavar="COUNTS",
        shown=False,
        help="Drop n-grams with these counts or less, one number an order: 0,0,1 drops trigrams "
        "that occur once (the last number holds for all higher orders).",
    )
    """As lmplz's ``--prune``."""
    entropy_prune: float = setting(
        0.0,
        minimum=0,
        metavar="THRESHOLD",
        shown=False,
        help="Drop n-grams whose loss raises perplexity by less than this part; 1e-7 is mild, "
        "1e-5 is drastic.",
    )
    discount: float | None = setting(
        None,
        above=0,
        below=1,
        shown="from the counts of counts",
        help="What absolute and kneser-ney subtract from each count.",
    )
    interpolate_unigrams: bool = setting(
        True,
        option="--interpolate-unigrams/--no-interpolate-unigrams",
        help="Mix the words' own probabilities with the uniform distribution; without, only <unk> "
        "gets what discounting leaves over, as with `lmplz --interpolate_unigrams 0`.",
    )
    """If False and the smoothing is not Kneser-Ney, unigrams are relative frequencies, as in NLTK.
    Then ``<unk>`` has a probability only if the training text has it."""
    quantize: bool = setting(
        False,
        help="Round probabilities by a few per cent, so that each takes one byte of the file.",
    )

    def __post_init__(self) -> None:
        check(self)
        _check_smoothing(self)
        _check_cutoffs(self.prune, self.order)


def _check_smoothing(settings: NgramSettings) -> None:
    """Refuse settings that the smoothing does not use or cannot have."""
    smoothing, k, discount = settings.smoothing, settings.k, settings.discount
    if k != 1.0 and smoothing != "add-k":
        raise UsageError(
            f"{{k}} is for {{smoothing}} add-k, not {smoothing}", "k", "smoothing", value=k
        )
    if discount is not None and smoothing not in _ONE_DISCOUNT:
        raise UsageError(
            f"{{discount}} is for {{smoothing}} {' and '.join(_ONE_DISCOUNT)}, not {smoothing}",
            *("discount", "smoothing"),
            value=discount,
        )
    if not settings.interpolate_unigrams and smoothing == "add-k":
        raise UsageError(
            "{interpolate_unigrams} must be true for {smoothing} add-k, which always does that",
            *("interpolate_unigrams", "smoothing"),
            value=False,
        )
    if smoothing != "stupid-backoff":
        return
    if settings.entropy_prune:
        raise UsageError(
            "{entropy_prune} needs probabilities; {smoothing} stupid-backoff has only scores",
            *("entropy_prune", "smoothing"),
            value=settings.entropy_prune,
        )
    if settings.quantize:
        raise UsageError(
            "{quantize} keeps sums of probabilities; {smoothing} stupid-backoff has only scores",
            *("quantize", "smoothing"),
            value=True,
        )


def check_trainable(settings: NgramSettings) -> None:
    """Raise UsageError for settings that only a model may have that was not estimated here."""
    if settings.smoothing not in SMOOTHINGS:
        raise UsageError(
            f"{{smoothing}} must be one of {', '.join(SMOOTHINGS)}, not {settings.smoothing!r}",
            "smoothing",
            value=settings.smoothing,
        )
    if settings.order > MOST_ORDER:
        raise UsageError(
            f"{{order}} must be at most {MOST_ORDER}, not {settings.order}",
            "order",
            value=settings.order,
        )


def _check_cutoffs(thresholds: Sequence[int], order: int) -> None:
    given = ",".join(map(str, thresholds))
    wrong = ""
    if len(thresholds) > order:
        wrong = f"has {len(thresholds)} numbers, but {{order}} is only {order}"
    elif any(thresholds[:1]):
        wrong = (
            "must begin with 0, because unigrams cannot be pruned; limit the vocabulary with "
            "{min_count} instead"
        )
    elif list(thresholds) != sorted(thresholds):
        wrong = "may not fall, or a kept n-gram would lose its context"
    if wrong:
        raise UsageError(
            f"{{prune}} {given} {wrong}", *("prune", "order", "min_count"), value=tuple(thresholds)
        )


def cutoffs_of(thresholds: Sequence[int], order: int) -> tuple[int, ...]:
    """One cut-off an order, from the setting ``prune``: its last number holds for longer n-grams.

    Raises:
        UsageError: there are more thresholds than orders, a threshold is below the one before it,
            or the one for unigrams is not 0.
    """
    _check_cutoffs(thresholds, order)
    return (*thresholds, *[thresholds[-1] if thresholds else 0] * (order - len(thresholds)))


def check_partitioned(settings: NgramSettings) -> None:
    """Raise UsageError for settings that cannot go with a given amount of memory."""
    if settings.smoothing == "jelinek-mercer":
        raise UsageError(
            "{smoothing} jelinek-mercer reads held-out text again and again, with all its n-grams "
            "in memory; leave out {memory}, or choose another smoothing",
            *("memory", "smoothing"),
        )


def check_counted(settings: NgramSettings) -> None:
    """Raise UsageError for settings that need the text itself, not only its counts."""
    if settings.smoothing == "jelinek-mercer":
        raise UsageError(
            "{smoothing} jelinek-mercer fits its weights to held-out text, and counts hold no "
            "text; train on the text",
            "smoothing",
        )
