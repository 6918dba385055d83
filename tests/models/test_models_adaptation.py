"""Dynamic evaluation: the definition by hand, and what it must never do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.analysis.evaluation import evaluate
from lmsuite.errors import UsageError
from lmsuite.models.adaptation import Adaptation
from lmsuite.models.interface import LanguageModel
from lmsuite.models.mixture import Mixture
from lmsuite.models.neural import NeuralModel
from lmsuite.models.settings import AdaptationSettings
from lmsuite.models.widened import Widened
from lmsuite.text.encoding import Boundaries
from lmsuite.text.vocabulary import BOS
from tests.contract_cases import OTHER, TRAINING, network, ngram

NAMES = ("ffnn", "lstm", "gru", "elman", "ffnn-adaptive", "lstm-adaptive", "lstm-features")
MADE = {
    (name, boundaries): network(name, boundaries).make()
    for name in NAMES
    for boundaries in (Boundaries.STREAM, Boundaries.LINES)
}
QUICK = AdaptationSettings(rate=0.01, decay=0.05, segment=4)
EVERY = pytest.mark.parametrize(
    "model", MADE.values(), ids=[f"{name}-{boundaries.value}" for name, boundaries in MADE]
)


def ids_of(model: LanguageModel, text: str = TRAINING + OTHER) -> np.ndarray:
    return np.asarray(model.encoder.encode(text))


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_by_the_formula(name: str) -> None:
    model = MADE[name, Boundaries.STREAM]
    assert isinstance(model, NeuralModel)
    ids = ids_of(model)[:24]
    trained = model.parameters.values
    values, squares = trained.astype(np.float64), np.zeros(trained.size)
    arrays, width = model.carry_shape
    carry = np.zeros((arrays, 1, width), np.float32)
    scores = []
    for i in range(6):
        now = model.with_buffers(values.astype(np.float32), np.zeros_like(trained))
        history, own = ids[: 4 * i], ids[4 * i : 4 * i + 4]
        inputs, targets = now.examples(np.concatenate([history, own]), np.arange(4) + 4 * i)
        assert targets.ravel().tolist() == own.tolist()
        vectors = now.example_vectors(inputs, carry.copy())
        scores.append(now.target_scores(vectors, targets.ravel()))
        loss = now.backpropagate(inputs, targets, carry, weight=1 / 4, rng=None)
        assert loss == pytest.approx(-scores[-1].mean(), rel=1e-5)
        g = now.parameters.gradients.astype(np.float64)
        squares += g**2
        values -= QUICK.rate * g / (np.sqrt(squares / (i + 1)) + 1e-8)
        values += QUICK.decay * (trained - values)
    assert Adaptation(model, QUICK).score(ids) == pytest.approx(np.concatenate(scores), abs=1e-4)


@EVERY
def test_a_token_is_predicted_before_it_is_learned_from(model: LanguageModel) -> None:
    ids = ids_of(model)
    static, adapted = model.score(ids), model.adapting_scorer(QUICK)(ids)
    assert adapted[:4] == pytest.approx(static[:4], abs=1e-5)
    assert np.abs(adapted[4:] - static[4:]).max() > 1e-4
    changed = ids.copy()
    last = np.flatnonzero(ids != BOS)[-1]
    changed[last] = next(i for i in range(3, 9) if i != ids[last])
    assert model.adapting_scorer(QUICK)(changed)[:-1] == pytest.approx(adapted[:-1], abs=1e-5)


@EVERY
def test_without_a_step_that_is_worth_the_name_it_is_the_model(model: LanguageModel) -> None:
    ids = ids_of(model)
    tiny = AdaptationSettings(rate=1e-9, decay=0.0, segment=5)
    assert model.adapting_scorer(tiny)(ids) == pytest.approx(model.score(ids), abs=1e-4)


@given(st.data())
def test_a_text_may_be_cut_anywhere(data: st.DataObject) -> None:
    model = data.draw(st.sampled_from(list(MADE.values())))
    ids = ids_of(model)[: data.draw(st.integers(0, 60))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=4)))
    settings = AdaptationSettings(rate=0.01, decay=0.05, segment=data.draw(st.integers(1, 9)))
    score = model.adapting_scorer(settings)
    parts = np.concatenate([score(part) for part in np.split(ids, cuts)])
    assert parts == pytest.approx(model.adapting_scorer(settings)(ids), abs=1e-4)


@EVERY
def test_the_model_stays_as_it_is(model: LanguageModel) -> None:
    before = {name: array.copy() for name, array in model.arrays().items()}
    model.adapting_scorer(QUICK)(ids_of(model))
    assert all((array == before[name]).all() for name, array in model.arrays().items())


def test_a_text_that_repeats_itself_is_learned() -> None:
    model, text = MADE["lstm", Boundaries.LINES], "the zebra ate the corn and sat\n" * 60
    static = evaluate(model, text, name="lstm")
    adapted = evaluate(model, text, name="lstm", adapt=QUICK)
    assert adapted.tokens == static.tokens
    assert adapted.perplexity < 0.7 * static.perplexity


def test_in_a_mixture_the_networks_adapt() -> None:
    members = {
        "kn": ngram("modified-kneser-ney", 3, Boundaries.LINES).make(),
        "lstm": MADE["lstm", Boundaries.LINES],
    }
    mixture = Mixture(members, (0.25, 0.75))
    ids = ids_of(mixture)
    own = [members["kn"].score(ids), members["lstm"].adapting_scorer(QUICK)(ids)]
    together = np.log(0.25 * np.exp(own[0]) + 0.75 * np.exp(own[1]))
    assert mixture.adapting_scorer(QUICK)(ids) == pytest.approx(together, abs=1e-6)


def test_a_network_with_more_words_adapts_too() -> None:
    model = MADE["lstm", Boundaries.LINES]
    wide = Widened(model, model.encoder.vocabulary.extended(["zebra"]))
    ids = wide.encoder.encode(TRAINING)
    expected = model.adapting_scorer(QUICK)(model.encoder.encode(TRAINING))
    assert wide.adapting_scorer(QUICK)(ids) == pytest.approx(expected, abs=1e-6)


def test_what_has_no_network_says_so() -> None:
    with pytest.raises(UsageError, match="a model of kind ngram cannot adapt"):
        ngram("witten-bell", 2, Boundaries.LINES).make().adapting_scorer(QUICK)
    with pytest.raises(UsageError, match="block"):
        evaluate(MADE["ffnn", Boundaries.LINES], OTHER, name="x", block=3, adapt=QUICK)
