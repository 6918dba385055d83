"""Every kind of model that must keep the contract, in small; a new kind adds its cases here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.context_mixture import ContextMixture
from lmsuite.models.feedforward import FeedForward, FeedForwardSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.neural import NeuralModel
from lmsuite.models.neural_cache import NeuralCache, NeuralCacheSettings
from lmsuite.models.ngram import SMOOTHINGS, NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.models.widened import Widened
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings
from lmsuite.training.loop import train
from lmsuite.training.settings import TrainingSettings

TRAINING = """\
Eating hay is what the cows do, and eating grass;
the cows eat corn if the corn is there, and the hay if not.
The cat sat where the cow had sat.

Where had the cow sat? The cow had sat in the hay,
and the cat, that had eaten the corn, sat in the grass.
If the cows eat corn, what do the cats eat? The cats eat what they catch.
"""
OTHER = "The cows sat, and a zebra ate the corn.\n\nthe the the hay\nwhat if"


def given_to(boundaries: Boundaries, text: str) -> str:
    """The text for models of these boundaries: with documents, paragraphs are some, one empty."""
    if boundaries is not Boundaries.DOCUMENTS:
        return text
    return text.replace("\n\n", boundaries.end * 2)


@dataclass(frozen=True)
class Case:
    """How one model is made; `make` twice makes two equal ones."""

    name: str
    make: Callable[[], LanguageModel]


def text_of(boundaries: Boundaries, tokenizer: str = "word") -> TextSettings:
    """How the small text becomes ids: rare words become <unk>, so that every family knows it."""
    return TextSettings(
        tokenizer=tokenizer, boundaries=boundaries, min_count=2 if tokenizer == "word" else 1
    )


def ngram(smoothing: str, order: int, boundaries: Boundaries) -> Case:
    """The n-gram model of this smoothing and order."""

    def make() -> LanguageModel:
        text, ids = TextEncoder.train(given_to(boundaries, TRAINING), text_of(boundaries))
        return NgramModel.fit(text, ids, NgramSettings(order=order, smoothing=smoothing))

    return Case(f"{smoothing}-{order}-{boundaries.value}", make)


NETWORKS = {
    "ffnn": FeedForwardSettings(context=3, embed=6, hidden=(8,), direct=True),
    "ffnn-deep": FeedForwardSettings(context=2, embed=4, hidden=(6, 5), activation="relu"),
    "lstm": RecurrentSettings(
        cell="lstm", hidden=8, embed=8, layers=2, dropout=0.2, embed_dropout=0.2, weight_drop=0.3
    ),
    "gru": RecurrentSettings(cell="gru", hidden=8, embed=8, tied=True),
    "elman": RecurrentSettings(cell="elman", hidden=8, embed=4),
    "ffnn-adaptive": FeedForwardSettings(
        context=3, embed=6, hidden=(8,), direct=True, softmax="adaptive", cutoffs=(6, 11)
    ),
    "ffnn-tied-adaptive": FeedForwardSettings(
        context=3, embed=6, hidden=(5, 6), tied=True, softmax="adaptive", cutoffs=(6, 11)
    ),
    "lstm-adaptive": RecurrentSettings(hidden=8, embed=4, softmax="adaptive", cutoffs=(5, 6, 9)),
    "gru-tied-adaptive": RecurrentSettings(
        cell="gru", hidden=8, embed=8, tied=True, softmax="adaptive", cutoffs=(7, 12)
    ),
    "lstm-features": RecurrentSettings(
        hidden=8,
        embed=4,
        layers=2,
        dropout=0.2,
        ngram_features=3,
        feature_rows=64,
        feature_dropout=0.3,
    ),
    "gru-tied-features": RecurrentSettings(
        cell="gru", hidden=8, embed=8, tied=True, ngram_features=2, feature_rows=7
    ),
}


class Unheard:
    """A reporter that tells nobody."""

    def stepped(self, progress: float, tokens: int, loss: float, rate: float) -> None: ...
    def validated(self, row: object, *, best: bool) -> None: ...
    def said(self, message: str) -> None: ...


def network(name: str, boundaries: Boundaries) -> Case:
    """A network of these settings, after two epochs."""
    settings = NETWORKS[name]
    kind: type[NeuralModel] = FeedForward if "ffnn" in name else Recurrent

    def make() -> LanguageModel:
        text, ids = TextEncoder.train(given_to(boundaries, TRAINING), text_of(boundaries))
        model = kind.initial(text, settings, np.random.default_rng(1))
        how = TrainingSettings(epochs=2, minutes=None, batch=4, bptt=5, learning_rate=0.01)
        return train(model, ids, text.encode(given_to(boundaries, OTHER)), how, Unheard()).model

    return Case(f"{name}-{boundaries.value}", make)


def cache(boundaries: Boundaries) -> Case:
    """A cache of the recent past, alone."""

    def make() -> LanguageModel:
        text, _ = TextEncoder.train(given_to(boundaries, TRAINING), text_of(boundaries))
        return CacheModel(text, CacheSettings(half_life=4.0))

    return Case(f"cache-{boundaries.value}", make)


def neural_cache(name: str, boundaries: Boundaries) -> Case:
    """A network with a cache that is short enough to forget."""

    def make() -> LanguageModel:
        model = network(name, boundaries).make()
        assert isinstance(model, NeuralModel)
        settings = NeuralCacheSettings(model.kind, weight=0.3, flatness=0.5, size=7)
        return NeuralCache(model, settings)

    return Case(f"neural-cache-{name}-{boundaries.value}", make)


def mixture(members: tuple[str, ...], boundaries: Boundaries) -> Case:
    """The mixture of these: smoothings, networks, or the cache."""

    def make() -> LanguageModel:
        makers = {
            name: cache(boundaries)
            if name == "cache"
            else network(name, boundaries)
            if name in NETWORKS
            else ngram(name, 3, boundaries)
            for name in members
        }
        made = {name: case.make() for name, case in makers.items()}
        return Mixture.fit(made, made[members[0]].encoder.encode(given_to(boundaries, OTHER)))

    return Case(f"mixture-{'-'.join(members)}-{boundaries.value}", make)


def widened(case: Case) -> Case:
    """The same model with more words, of which the texts have one."""

    def make() -> LanguageModel:
        inner = case.make()
        return Widened(inner, inner.encoder.vocabulary.extended(["zebra", "quagga"]))

    return Case(f"widened-{case.name}", make)


def by_context(members: tuple[str, ...], boundaries: Boundaries) -> Case:
    """The mixture of these with weights by context."""

    def make() -> LanguageModel:
        plain = mixture(members, boundaries).make()
        assert isinstance(plain, Mixture)
        ids = plain.encoder.encode(given_to(boundaries, OTHER))
        return ContextMixture.of(plain, ids, [member.score(ids) for member in plain.members])

    return Case(f"by-context-{'-'.join(members)}-{boundaries.value}", make)


def _cases() -> Iterator[Case]:
    for boundaries in Boundaries:
        yield widened(ngram("katz", 3, boundaries))
        yield widened(network("gru", boundaries))
        yield cache(boundaries)
        yield neural_cache("gru", boundaries)
        yield neural_cache("ffnn", boundaries)
        yield neural_cache("lstm-features", boundaries)
        yield mixture(("katz", "ffnn"), boundaries)
        yield mixture(("witten-bell", "cache", "elman"), boundaries)
        yield by_context(("katz", "cache", "ffnn"), boundaries)
    for name in NETWORKS:
        for boundaries in Boundaries:
            yield network(name, boundaries)
    # What reads a table does not know its smoothing: an interpolated and a back-off model of every
    # order in every kind of text, and of the others one order in each.
    texts = {1: Boundaries.LINES, 3: Boundaries.DOCUMENTS, 5: Boundaries.STREAM}
    for smoothing in SMOOTHINGS:
        for order in (1, 2, 3, 5):
            for boundaries in Boundaries:
                is_full = smoothing in ("modified-kneser-ney", "katz")
                if is_full or texts.get(order) is boundaries:
                    yield ngram(smoothing, order, boundaries)


CASES = list(_cases())
