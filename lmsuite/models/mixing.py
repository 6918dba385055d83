"""Models combined into one, in the way that their tokens allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmsuite.errors import UsageError
from lmsuite.files.stored_text import Text
from lmsuite.models.cache import CacheModel
from lmsuite.models.interface import LanguageModel
from lmsuite.models.line_mixture import LineMixture
from lmsuite.models.mixture import Mixture, check_members
from lmsuite.models.static_mixture import StaticMixing
from lmsuite.models.widened import Widened
from lmsuite.text.vocabulary import Vocabulary


def mix(
    members: Mapping[str, LanguageModel],
    text: Text | None = None,
    *,
    weights: Sequence[float] | None = None,
    static: bool = False,
    log_linear: bool = False,
) -> LanguageModel:
    """The mixture of some models, as ``lm mix`` makes it.

    Models with the same tokens are mixed token by token (`Mixture`), and so are models with the
    same tokenizer that know different words: each gives words that it lacks probability 0. Models
    with different tokenizers predict whole lines together (`LineMixture`), and cannot sample.

    Args:
        members: by name.
        text: a text on which no member was trained, to find the weights on.
        weights: one for each member, instead of a text. They are scaled to sum to one, but for
            log-linear ones.
        static: make one n-gram model of n-gram models.
        log_linear: the same, by interpolating the logarithms of the probabilities.

    Raises:
        UsageError: a member cannot be mixed, or there is neither a text nor weights.
        DataError: the members predict different units, lines and documents; or the text does not
            tell the weights.
    """
    if weights is None and text is None:
        raise UsageError("give {weights}, or a {text} to choose them on", "weights", "text")
    if static or log_linear:
        mixing = StaticMixing(members)
        if weights is None:
            ids = mixing.encoder.encode(text or "")
            find = mixing.log_linear_weights if log_linear else mixing.linear_weights
            weights = find(ids).tolist()
        return mixing.model(weights, is_log_linear=log_linear)
    if first_to_read_differently(members) is not None:
        return LineMixture.fit(members, text or "", weights)
    alike = with_all_words(members)
    check_members(alike)
    if text is None:
        return Mixture(alike, weights or ())
    encoder = next(iter(alike.values())).encoder
    return Mixture.fit(alike, encoder.encode(text), weights)


def first_to_read_differently(members: Mapping[str, LanguageModel]) -> str | None:
    """The first member with another tokenizer or other boundaries than the first; None if all have
    the same."""
    readings = {name: member.encoder.describe() for name, member in members.items()}
    reference = next(iter(readings.values()))
    return next((name for name, reading in readings.items() if reading != reference), None)


def with_all_words(members: Mapping[str, LanguageModel]) -> dict[str, LanguageModel]:
    """The members, each with the words of all; their tokenizers and boundaries are the same.

    A cache, which knows every word of its vocabulary alike, is made anew.
    """
    vocabulary = Vocabulary.union([each.encoder.vocabulary for each in members.values()])
    return {name: _with_words(member, vocabulary) for name, member in members.items()}


def _with_words(member: LanguageModel, vocabulary: Vocabulary) -> LanguageModel:
    if member.encoder.vocabulary == vocabulary:
        return member
    if isinstance(member, Widened):
        return Widened(member.inner, vocabulary)
    widened = Widened(member, vocabulary)
    return (
        CacheModel(widened.encoder, member.settings) if isinstance(member, CacheModel) else widened
    )
