"""The members of a mixture, from the names that a user types.

Two words name no model: `cache` is a cache of recent tokens, and `neural-cache` turns the network
before it into one that has a neural cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmsuite.errors import UsageError
from lmsuite.files.stored_text import Text
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.neural import NeuralModel
from lmsuite.models.neural_cache import NeuralCache, NeuralCacheSettings, network_for_cache
from lmsuite.store.opening import OpenedModel, open_model

CACHE, NEURAL_CACHE = "cache", "neural-cache"


@dataclass(frozen=True)
class Members:
    """The members by name, in the order in which they were typed."""

    models: Mapping[str, LanguageModel]
    opened: Sequence[OpenedModel]
    """The models that were named."""
    source: Mapping[str, OpenedModel]
    """The opened model that each member is, or has its tokens from."""
    cached: Mapping[str, NeuralModel]
    """The networks of the members whose neural caches are new."""

    @property
    def has_cache(self) -> bool:
        """Whether one of them is a cache of recent tokens."""
        return any(isinstance(model, CacheModel) for model in self.models.values())

    def fitted(self, text: Text) -> dict[str, LanguageModel]:
        """The members; the text chooses the numbers of the neural caches that are new."""
        return dict(self.models) | {
            name: NeuralCache.fit(network, network.encoder.encode(text))
            for name, network in self.cached.items()
        }


def open_members(folder: Path, typed: Sequence[str]) -> Members:
    """Open the models that the user names, and make the caches that go with them.

    Raises:
        UsageError: there is no model, or one is there twice; or `neural-cache` follows no network.
        ModelFileError: as `open_model`.
    """
    opened = [open_model(folder, each) for each in typed if each not in (CACHE, NEURAL_CACHE)]
    if not opened:
        raise UsageError("a cache alone knows no words: name a model to mix it with")
    named = iter(opened)
    models: dict[str, LanguageModel] = {}
    source: dict[str, OpenedModel] = {}
    cached: dict[str, NeuralModel] = {}
    for each in typed:
        if each == CACHE:
            name, of = CACHE, opened[0]
            model: LanguageModel = CacheModel(of.model.encoder, CacheSettings())
        elif each == NEURAL_CACHE:
            if not models:
                raise UsageError("a neural cache is of a network: name the network before it")
            alone, before = models.popitem()
            network = network_for_cache(before, alone)
            name, of = f"{alone}+cache", source.pop(alone)
            model = NeuralCache(network, NeuralCacheSettings(network.kind))
            cached[name] = network
        else:
            of = next(named)
            name, model = of.name, of.model
        if name in models:
            raise UsageError(f"{name} is named twice; a model can be in a mixture once")
        models[name], source[name] = model, of
    return Members(models, opened, source, cached)
