"""Lines of a text of any length are scored some at a time; the numbers are those of the whole."""

from __future__ import annotations

from itertools import islice, repeat
from typing import Any

import numpy as np
import pytest
from bigram_model import encoder, random_model

from lmsuite.errors import DataError
from lmsuite.files import stored_text
from lmsuite.files.stored_text import whole_units
from lmsuite.models.cache import CacheModel, CacheSettings
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.ngram import NgramModel, NgramSettings
from lmsuite.models.recurrent import Recurrent, RecurrentSettings
from lmsuite.models.sentences import Sentence, score_sentences
from lmsuite.text.encoding import Boundaries, TextEncoder, TextSettings

LINES = "a cat\n\n sät on \U0001f40e\nthe mat, and on, and on.\nthe end" * 12


def text_of(boundaries: Boundaries) -> str:
    return LINES.replace("\n", boundaries.end)


def models(boundaries: Boundaries) -> dict[str, LanguageModel]:
    settings = TextSettings(tokenizer="char", boundaries=boundaries)
    text, ids = TextEncoder.train(text_of(boundaries), settings)
    counts = NgramModel.fit(text, ids, NgramSettings(order=3))
    network = Recurrent.initial(
        text, RecurrentSettings(hidden=4, embed=4), np.random.default_rng(1)
    )
    cache = CacheModel(text, CacheSettings(30.0))
    mixture = Mixture({"counts": counts, "cache": cache, "network": network}, [0.5, 0.2, 0.3])
    return {"ngram": counts, "rnn": network, "cache": cache, "mixture": mixture}


def figures(sentences: list[Sentence]) -> tuple[Any, list[float]]:
    shown = [(each.text, each.end, each.ids.tolist()) for each in sentences]
    return shown, np.concatenate([each.log_probs for each in sentences]).tolist()


@pytest.mark.parametrize("block", [1, 100])
@pytest.mark.parametrize("in_context", [False, True])
@pytest.mark.parametrize("boundaries", Boundaries)
def test_lines_have_the_scores_of_the_whole(
    boundaries: Boundaries, in_context: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = text_of(boundaries)
    for name, model in models(boundaries).items():
        expected = list(score_sentences(model, [whole], in_context=in_context))
        assert "".join(each.text + each.end for each in expected) == whole
        with monkeypatch.context() as patch:
            patch.setattr(stored_text, "BLOCK", block)
            for parts in (list(whole), [whole[:100], "", whole[100:]]):
                found = list(score_sentences(model, parts, in_context=in_context))
                shown, scores = figures(found)
                assert shown == figures(expected)[0]
                if name == "ngram":
                    assert scores == figures(expected)[1]
                np.testing.assert_allclose(scores, figures(expected)[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("boundaries", Boundaries)
def test_a_text_without_end_is_scored_as_it_comes(boundaries: Boundaries) -> None:
    model = models(boundaries)["ngram"]
    for in_context in (False, True):
        found = score_sentences(model, repeat("a cat" + boundaries.end), in_context=in_context)
        assert [each.text for each in islice(found, 10)] == ["a cat"] * 10


@pytest.mark.parametrize(("boundaries", "unit"), [("stream", "line"), ("documents", "document")])
def test_a_reserved_token_is_found_on_its_line(
    boundaries: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = encoder("a b\n", "whitespace", Boundaries(boundaries))
    end = text.boundaries.end
    monkeypatch.setattr(stored_text, "BLOCK", 20)
    lines = ["a b"] * 50 + ["", "a <s> b"]
    found = score_sentences(random_model(text), [end.join(lines)], name="notes.txt")
    assert len(list(islice(found, 40))) == 40
    with pytest.raises(DataError, match=rf"^notes.txt, {unit} 52: the token <s> is reserved"):
        list(found)


def test_parts_are_cut_after_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_text, "BLOCK", 6)
    text = "ab\ncd\nef\n" + "x" * 40 + "\ny\n" + "z" * 3
    for size in (1, 3, 5, 7, 100):
        parts = [text[begin : begin + size] for begin in range(0, len(text), size)]
        units = list(whole_units(parts, "\n"))
        assert "".join(units) == text
        assert all(part.endswith("\n") for part in units[:-1])
        assert len(units) <= 5
    assert list(whole_units(["ab\n", "cd\n", "ef\n", "g"], "\n")) == ["ab\ncd\n", "ef\ng"]
    assert list(whole_units(iter(()), "\n")) == []
