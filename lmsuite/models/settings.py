"""The settings of the networks and of the cache, without the code of the models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lmsuite.errors import UsageError
from lmsuite.settings import check, setting

ACTIVATIONS = ("tanh", "relu", "sigmoid", "hardtanh", "softsign")
CELLS = ("lstm", "gru", "elman")
SOFTMAXES = ("full", "adaptive")
MOST_CLUSTERS = 8
MOST_ROWS = 1 << 24
"""Of n-gram features: a float32 of a vector holds every whole number up to this one."""

OF_TRAINING = ("dropout", "embed_dropout", "variational", "weight_drop", "feature_dropout")
"""The settings of a network that matter in training alone: a finished one predicts without them."""

_CHOSEN = "by the size of the text"


def _embed(default: int) -> Any:
    return setting(default, minimum=1, shown=_CHOSEN, help="The size of a token's vector.")


def _dropout(help: str) -> Any:
    return setting(0.0, minimum=0, below=1, shown=_CHOSEN, help=help)


def _unknown_share() -> Any:
    """The share of the once-seen training tokens that a training reads as ``<unk>``."""
    return setting(0.0, option=None, minimum=0)


def _softmax() -> Any:
    return setting(
        "full",
        choices=SOFTMAXES,
        shown="by the cost",
        unrecorded="full",
        help="adaptive: rare words in clusters, which makes a large vocabulary many times cheaper.",
    )


def _cutoffs() -> Any:
    return setting(
        (),
        metavar="IDS",
        minimum=3,
        shown="by the cost",
        unrecorded=(),
        help="For adaptive: the first token, by frequency, of each cluster: 2000 or 1000,4000.",
    )


def _check_softmax(softmax: str, cutoffs: tuple[int, ...]) -> None:
    """An adaptive softmax has cut-offs, a full one has none.

    Raises:
        UsageError: it is not so, or the cut-offs do not rise.
    """
    if bool(cutoffs) != (softmax == "adaptive"):
        rule = "needs {cutoffs}" if softmax == "adaptive" else "has no {cutoffs}"
        raise UsageError(f"{{softmax}} {softmax} {rule}", *("softmax", "cutoffs"), value=softmax)
    if len(cutoffs) > MOST_CLUSTERS or any(a >= b for a, b in pairwise(cutoffs)):
        raise UsageError(
            f"{{cutoffs}} must be at most {MOST_CLUSTERS} rising numbers, "
            f"not {','.join(map(str, cutoffs[:MOST_CLUSTERS]))}",
            "cutoffs",
            value=cutoffs,
        )


_OF_HIDDEN = "The share of hidden activations left out at random in training."
_OF_EMBEDDINGS = "The share of embedding activations left out at random in training."


@dataclass(frozen=True)
class FeedForwardSettings:
    """The architecture of a feed-forward network.

    Raises:
        UsageError: a size is below one, a rate outside [0, 1), an activation unknown, or the
            cut-offs do not fit the softmax.
    """

    context: int = setting(5, minimum=1, shown=_CHOSEN, help="Tokens that a prediction sees.")
    embed: int = _embed(60)
    hidden: tuple[int, ...] = setting(
        (100,),
        minimum=1,
        metavar="SIZES",
        shown=_CHOSEN,
        help="Sizes of the hidden layers, joined by commas: 100 or 200,100.",
    )
    activation: str = setting(
        "tanh", choices=ACTIVATIONS, shown=_CHOSEN, help="The hidden layers' non-linearity."
    )
    direct: bool = setting(False, help="Connect the embeddings directly to the output as well.")
    tied: bool = setting(
        False,
        option="--tied/--untied",
        shown=_CHOSEN,
        unrecorded=False,
        help="Let the embeddings serve as the output's weights too.",
    )
    softmax: str = _softmax()
    cutoffs: tuple[int, ...] = _cutoffs()
    dropout: float = _dropout(_OF_HIDDEN)
    embed_dropout: float = _dropout(_OF_EMBEDDINGS)
    unknown_share: float = _unknown_share()

    def __post_init__(self) -> None:
        check(self)
        _check_softmax(self.softmax, self.cutoffs)
        if not self.hidden:
            raise UsageError("{hidden} must be one size or more, not none", "hidden", value=())
        if self.tied and (self.embed != self.hidden[-1] or self.direct):
            rule = "leaves no room for {direct}"
            if not self.direct:
                rule = (
                    f"needs {{embed}} equal to the last of {{hidden}}, not {self.embed} "
                    f"and {self.hidden[-1]}"
                )
            raise UsageError(f"{{tied}} {rule}", *("tied", "embed", "hidden", "direct"), value=True)


def _registered() -> Iterable[str]:
    """All cells, also those from `lmsuite.nn.register_cell`."""
    from lmsuite.nn import kernels

    return kernels.CELLS


@dataclass(frozen=True)
class RecurrentSettings:
    """The architecture of a recurrent network.

    Raises:
        UsageError: a size is below one, a rate outside [0, 1), a cell unknown; or `tied` is True,
            but the embeddings and the hidden layers differ in size; or n-gram features lack rows,
            or have an adaptive softmax, or no room in a state.
    """

    cell: str = setting(
        "lstm", choices=CELLS, unlisted=_registered, help="The kind of recurrent layer."
    )
    layers: int = setting(1, minimum=1, maximum=1000, help="Recurrent layers, stacked.")
    hidden: int = setting(256, minimum=1, shown=_CHOSEN, help="The size of each layer.")
    embed: int = _embed(64)
    tied: bool = setting(
        False,
        option="--tied/--untied",
        shown=_CHOSEN,
        help="Let the embeddings serve as the output's weights too.",
    )
    softmax: str = _softmax()
    cutoffs: tuple[int, ...] = _cutoffs()
    ngram_features: int = setting(
        0,
        minimum=0,
        maximum=16,
        metavar="K",
        shown=_CHOSEN,
        unrecorded=0,
        help="Learn weights from the last 1, 2, ... K tokens to the next one beside the network.",
    )
    feature_rows: int = setting(
        0,
        minimum=0,
        maximum=MOST_ROWS,
        option=None,
        unrecorded=0,
    )
    """How many contexts have weights of their own; others share them."""
    feature_dropout: float = setting(
        0.0,
        minimum=0,
        below=1,
        shown=_CHOSEN,
        unrecorded=0.0,
        help="The share of --ngram-features left out at random in training.",
    )
    dropout: float = _dropout(_OF_HIDDEN)
    """Between layers and on the output."""
    embed_dropout: float = _dropout(_OF_EMBEDDINGS)
    variational: bool = setting(False, help="Drop the same activations at every step.")
    weight_drop: float = setting(
        0.0,
        minimum=0,
        below=1,
        shown=_CHOSEN,
        unrecorded=0.0,
        help="The share of recurrent weights left out at random in each batch of training.",
    )
    unknown_share: float = _unknown_share()

    def __post_init__(self) -> None:
        check(self)
        _check_softmax(self.softmax, self.cutoffs)
        self._check_features()
        if self.tied and self.embed != self.hidden:
            raise UsageError(
                f"{{tied}} needs {{embed}} equal to {{hidden}}, not {self.embed} and {self.hidden}",
                *("tied", "embed", "hidden"),
                value=True,
            )

    def _check_features(self) -> None:
        count = self.ngram_features
        if bool(count) != bool(self.feature_rows):
            rule = "needs {feature_rows}" if count else "of 0 has no {feature_rows}"
            raise UsageError(f"{{ngram_features}} {rule}", "ngram_features", "feature_rows")
        if self.feature_dropout and not count:
            raise UsageError(
                "{feature_dropout} needs {ngram_features}", "feature_dropout", "ngram_features"
            )
        if count and self.cutoffs:
            raise UsageError(
                "{ngram_features} are for small vocabularies, which need {softmax} full",
                *("ngram_features", "softmax"),
            )
        if count > self.hidden:
            raise UsageError(
                f"{{ngram_features}} {count} needs {{hidden}} of at least {count}",
                *("ngram_features", "hidden"),
                value=count,
            )


@dataclass(frozen=True)
class CacheSettings:
    """How fast the cache forgets.

    Raises:
        UsageError: the half-life is not positive, or so short or long that its decay rounds to 0
            or 1.
    """

    half_life: float = setting(
        256.0, option=None, above=0, help="Tokens after which a token weighs half."
    )

    def __post_init__(self) -> None:
        check(self)
        if not 0 < self.decay < 1:
            raise UsageError(
                f"a {{half_life}} of {self.half_life:g} tokens is too short or too long: its decay "
                "would be 0 or 1",
                "half_life",
                value=self.half_life,
            )

    @property
    def decay(self) -> float:
        """The weight of a token after one more token, from 0 to 1."""
        return float(2.0 ** (-1.0 / self.half_life))


@dataclass(frozen=True)
class AdaptationSettings:
    """How fast a network follows the text that it is tested on.

    Raises:
        UsageError: a value is out of bounds.
    """

    rate: float = setting(
        5e-4,
        option="--adapt-rate",
        above=0,
        help="How far the weights go at each step, with --adapt.",
    )
    """η"""
    decay: float = setting(
        1e-3,
        option="--adapt-decay",
        minimum=0,
        below=1,
        help="The share of the way back to the trained weights at each step, with --adapt.",
    )
    """λ"""
    segment: int = setting(
        32, option="--adapt-segment", minimum=1, help="Tokens from one step to the next."
    )

    def __post_init__(self) -> None:
        check(self)
