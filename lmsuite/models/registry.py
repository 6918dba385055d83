"""The class for each ``kind`` of model in a model file; it is imported when it is needed."""

from __future__ import annotations

import importlib

from lmsuite.errors import ModelFileError
from lmsuite.models.interface import LanguageModel

MODELS = {
    "ngram": "lmsuite.models.ngram:NgramModel",
    "ffnn": "lmsuite.models.feedforward:FeedForward",
    "rnn": "lmsuite.models.recurrent:Recurrent",
    "mixture": "lmsuite.models.mixture:Mixture",
    "context-mixture": "lmsuite.models.context_mixture:ContextMixture",
    "line-mixture": "lmsuite.models.line_mixture:LineMixture",
    "widened": "lmsuite.models.widened:Widened",
    "cache": "lmsuite.models.cache:CacheModel",
    "neural-cache": "lmsuite.models.neural_cache:NeuralCache",
}
"""Kind -> ``module:class``."""


def model_class(kind: str) -> type[LanguageModel]:
    """The class of models of this kind.

    Raises:
        ModelFileError: there is no such kind.
    """
    if kind not in MODELS:
        raise ModelFileError(f"no such kind of model: {kind!r} (known: {', '.join(MODELS)})")
    module, name = MODELS[kind].split(":")
    found: type[LanguageModel] = getattr(importlib.import_module(module), name)
    return found
