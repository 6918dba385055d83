"""A model that is served, and those who share its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmsuite.generation.batcher import Batcher
from lmsuite.models.interface import LanguageModel
from lmsuite.models.sentences import LineScorer, Sentence, score_sentences, scores_alone
from lmsuite.serve.prompts import Prompt, ids_prompt, text_prompt
from lmsuite.serve.refusals import RefusedError
from lmsuite.serve.requests import RawPrompt
from lmsuite.serve.scoring import Scorer
from lmsuite.text.vocabulary import BOS, SPECIALS
from lmsuite.types import IntArray


class ServedModel:
    """One model, its texts being written and its texts being scored."""

    def __init__(self, name: str, model: LanguageModel, created: int) -> None:
        """A model that answers under this name; `created` is in seconds since 1970."""
        self.name, self.model, self.created = name, model, created
        self.batcher = Batcher(model)
        self.scorer = Scorer(model)

    def prompt(self, given: RawPrompt, most: int) -> Prompt:
        """A prompt of a request, of at most so many tokens.

        Raises:
            RefusedError: it is longer.
            DataError: it holds a reserved token, or an id out of range.
        """
        encoder = self.model.encoder
        make: Any = text_prompt if isinstance(given, str) else ids_prompt
        prompt: Prompt = make(encoder, given)
        if prompt.count > most:
            raise RefusedError(
                400,
                f"the prompt has {prompt.count} tokens; the most are {most} on this server",
                param="prompt",
                code="context_length_exceeded",
            )
        return prompt

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, as clients see them; the name of a special token is that token."""
        if text in SPECIALS:
            return [SPECIALS.index(text)]
        ids = self.model.encoder.encode_prompt(text)
        found: list[int] = ids[ids != BOS].tolist()
        return found

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of some ids.

        Raises:
            DataError: one is outside the vocabulary.
        """
        return self.model.encoder.decode(ids)

    def sentences(self, text: str, *, in_context: bool) -> list[Sentence]:
        """The lines of a text, scored as ``lm score`` does, together with what others ask.

        This waits, so it is for a thread of its own.
        """
        scorer = _TogetherWithOthers(self.model, self.scorer)
        return list(score_sentences(scorer, [text], in_context=in_context))

    def close(self) -> None:
        """End the threads."""
        self.batcher.close()
        self.scorer.close()


class _TogetherWithOthers:
    """A model whose scores are computed in the scorer's thread."""

    def __init__(self, model: LanguageModel, scorer: Scorer) -> None:
        self.encoder, self.remembers_text = model.encoder, model.remembers_text
        self._model, self._scorer = model, scorer

    def score(self, ids: IntArray) -> NDArray[np.float64]:
        return self._scorer.submit(ids).result().log_probs

    def line_scorer(self, *, in_context: bool) -> LineScorer:
        if in_context or self._model.predicts_lines:  # what only the model itself can do
            return self._model.line_scorer(in_context=in_context)
        return lambda part, ids, lengths: scores_alone(self, ids)


class ServedModels(Mapping[str, ServedModel]):
    """The models by name; the first is meant where a request names none."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._models = {model.name: model for model in models}

    def __getitem__(self, name: str) -> ServedModel:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def named(self, name: str | None) -> ServedModel:
        """The model of this name; the first, if no name is given.

        Raises:
            RefusedError: there is none.
        """
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise RefusedError(
                404,
                f"there is no model {name!r:.100} here; there are: {', '.join(self._models)}",
                param="model",
                code="model_not_found",
            )
        return self._models[name]

    def close(self) -> None:
        """End the threads of all models."""
        for model in self._models.values():
            model.close()
