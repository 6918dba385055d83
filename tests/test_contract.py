"""One suite of behaviour for every model, as `lmsuite.models.interface` states it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_cases import CASES, OTHER, TRAINING, Case, given_to

from lmsuite.analysis.evaluation import evaluate, in_blocks
from lmsuite.errors import DataError, UsageError
from lmsuite.generation import sample
from lmsuite.models.interface import LanguageModel, State
from lmsuite.store.artefact import open_model_file, save_model
from lmsuite.store.records import Provenance
from lmsuite.text.vocabulary import BOS, EOS
from lmsuite.types import FloatArray, IntArray

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cache
def model_of(case: Case) -> LanguageModel:
    """The model of a case, made once for all tests: none of them may change it."""
    return case.make()


def ids_of(model: LanguageModel, text: str) -> IntArray:
    """The ids of a text for a model of whatever boundaries."""
    return model.encoder.encode(given_to(model.encoder.boundaries, text))


def chain(model: LanguageModel, ids: IntArray) -> FloatArray:
    """The log-probabilities of the predicted ids, one step at a time."""
    state = model.start(1)
    found = []
    for token in ids.tolist():
        if token != BOS:
            found.append(model.log_probs(state)[0, token])
        state = model.step(state, np.array([token], dtype=np.int32))
    return np.array(found, dtype=np.float64)


def states(model: LanguageModel) -> list[State]:
    """The start, and states along a text that the model knows and one that it does not."""
    found = [model.start(1)]
    for text in (TRAINING, OTHER):
        state = model.start(1)
        for token in ids_of(model, text)[:25].tolist():
            state = model.step(state, np.array([token], dtype=np.int32))
            found.append(state)
    return found


def test_distributions_sum_to_one(case: Case) -> None:
    model = model_of(case)
    for state in states(model):
        log_probs = model.log_probs(state)
        assert log_probs.shape == (1, len(model.encoder.vocabulary))
        assert not np.isnan(log_probs).any()
        if model.is_normalised:
            assert np.exp(log_probs.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-5)
        else:
            assert (log_probs <= 0).all()


def test_impossible_ids_have_probability_zero(case: Case) -> None:
    model = model_of(case)
    assert BOS in model.encoder.impossible
    for state in states(model):
        assert np.isneginf(model.log_probs(state)[0, model.encoder.impossible]).all()


@pytest.mark.parametrize("text", [TRAINING, OTHER], ids=["seen", "unseen"])
def test_score_is_the_chain_of_steps(case: Case, text: str) -> None:
    model = model_of(case)
    for ids in (ids_of(model, text), in_blocks(ids_of(model, text), 4)):
        scores = model.score(ids)
        assert scores.dtype == np.float64
        assert scores.shape == ((ids != BOS).sum(),)
        np.testing.assert_allclose(scores, chain(model, ids), rtol=0, atol=1e-4)


CUTS: tuple[Sequence[int], ...] = ([], [0, 0, 1, 2, 9, 400, 400, 1700], range(0, 2600, 64))


def test_scores_of_pieces_are_those_of_the_text(case: Case) -> None:
    """Of pieces that are empty, that are within a sequence, and that hold many."""
    model = model_of(case)
    text = ids_of(model, (OTHER + "\n" + TRAINING) * 20)
    for ids in (text, text[text != BOS]):
        whole = model.score(ids)
        for cuts in CUTS:
            pieces = np.split(ids, cuts)
            found = list(map(model.piece_scorer(), pieces))
            assert [len(each) for each in found] == [(piece != BOS).sum() for piece in pieces]
            assert all(each.dtype == np.float64 for each in found)
            np.testing.assert_allclose(np.concatenate(found), whole, rtol=0, atol=1e-4)
            if not cuts or model.reach == 0 or model.kind == "ngram":
                np.testing.assert_array_equal(np.concatenate(found), whole)


def test_reading_is_the_chain_of_steps(case: Case) -> None:
    """Of few ids, of many, across ``<s>``, and from a state that has read something already."""
    model = model_of(case)
    text = ids_of(model, (OTHER + "\n" + TRAINING) * 9)
    without = np.resize(text[text != BOS], 1300)
    for ids in (text, np.concatenate((text[:5], without)).astype(np.int32)):
        state = model.start(1)
        for length in range(len(ids) + 1):
            if length in (0, 1, 3, 5, 6, 8, 40, 45, len(ids)):
                read = model.read(model.read(model.start(1), ids[:length][:2]), ids[2:length])
                np.testing.assert_allclose(
                    model.log_probs(read), model.log_probs(state), rtol=1e-4, atol=1e-4
                )
            if length < len(ids):
                state = model.step(state, ids[length : length + 1])


def batch_of(model: LanguageModel) -> State:
    """The joined states of four texts, of different lengths."""
    ids = model.encoder.encode_prompt(TRAINING)
    return model.join([model.read(model.start(1), ids[:n]) for n in (0, 1, 4, 9)])


def test_rows_of_a_state_are_selected_and_joined(case: Case) -> None:
    model = model_of(case)
    state = batch_of(model)
    whole = model.log_probs(state)
    assert len(whole) == 4
    rows = [3, 0, 3]
    np.testing.assert_allclose(model.log_probs(model.select(state, rows)), whole[rows], atol=1e-5)
    again = model.join([model.select(state, [0, 1]), model.select(state, np.array([2, 3]))])
    assert all(model.state_key(again, row) == model.state_key(state, row) for row in range(4))


def test_equal_keys_have_equal_futures(case: Case) -> None:
    model = model_of(case)
    state = batch_of(model)
    keys = [model.state_key(state, row) for row in range(4)]
    assert model.reach == 0 or len({hash(key) for key in keys}) > 1
    twice = model.select(state, [2, 1, 2])
    assert model.state_key(twice, 0) == model.state_key(twice, 2) == keys[2]
    assert model.state_key(twice, 1) == keys[1]


def test_the_score_of_the_next_id_is_that_of_the_distribution(case: Case) -> None:
    model = model_of(case)
    state = batch_of(model)
    possible = np.setdiff1d(np.arange(len(model.encoder.vocabulary)), model.encoder.impossible)
    for seed in range(5):
        ids = np.random.default_rng(seed).choice(possible, 4).astype(np.int32)
        scores, after = model.score_next(state, ids)
        assert (scores.shape, scores.dtype) == ((4,), np.float64)
        expected = model.log_probs(state)[range(4), ids]
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            model.log_probs(after), model.log_probs(model.step(state, ids)), atol=1e-5
        )


def test_a_drawn_text_has_the_log_probabilities_of_its_score(case: Case) -> None:
    """Also after ``</s>``, where ``<s>`` is read as well."""
    model = model_of(case)
    for text in sample(model, "", seed=3, samples=3, max_tokens=40):
        ids = np.array(text.ids, np.int32)
        read = np.insert(ids, np.flatnonzero(ids == EOS) + 1, BOS)
        np.testing.assert_allclose(text.log_probs, model.score(read), rtol=1e-4, atol=1e-4)


def test_many_threads_share_one_model(case: Case) -> None:
    """Each of eight that sample, score and step at once gets what it gets alone."""
    model = model_of(case)
    text = ids_of(model, TRAINING * 3)

    def work(seed: int) -> tuple[list[list[int]], list[float], list[float], float]:
        samples = 1 + 2 * (seed % 2)
        texts = sample(model, text[:seed], seed=seed, samples=samples, max_tokens=12)
        stepped = model.score_next(model.read(model.start(1), text[:seed]), text[seed : seed + 1])
        scores = np.append(model.score(text), stepped[0])
        evaluated = evaluate(model, OTHER, name="one").cross_entropy
        return [each.ids for each in texts], scores.tolist(), texts[0].log_probs, evaluated

    alone = [work(seed) for seed in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            assert list(pool.map(work, range(1, 9))) == alone


def test_a_decoder_steps_as_its_model_does(case: Case) -> None:
    """Batches of its size and smaller ones, in turn."""
    model = model_of(case)
    decoder = model.decoder(4)
    possible = np.setdiff1d(np.arange(len(model.encoder.vocabulary)), model.encoder.impossible)
    rng = np.random.default_rng(1)
    for rows in ([0, 1, 2, 3], [2], [3, 1], [0, 0, 0, 0]):
        state = model.select(batch_of(model), rows)
        ids = rng.choice(possible, len(rows)).astype(np.int32)
        expected = model.log_probs(model.step(state, ids))
        np.testing.assert_allclose(
            decoder.log_probs(decoder.step(state, ids)), expected, rtol=0, atol=1e-5
        )
        scores, after = decoder.score_next(state, ids)
        np.testing.assert_allclose(scores, model.score_next(state, ids)[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(decoder.log_probs(after), expected, rtol=0, atol=1e-5)


NO_TOKENS = ([-1], [10**6], [2**32 + 3])
NO_IDS: tuple[Any, ...] = ([3.0], [5.7], "t", [True], [None], [[3]], 3)


def test_what_are_no_ids_is_refused(case: Case) -> None:
    model = model_of(case)
    state, decoder = model.start(1), model.decoder(1)
    for use in (
        model.score,
        lambda ids: model.read(state, ids),
        lambda ids: model.step(state, ids),
        lambda ids: model.score_next(state, ids),
        lambda ids: decoder.step(state, ids),
        lambda ids: decoder.score_next(state, ids),
    ):
        for wrong in (*NO_TOKENS, *NO_IDS):
            error = DataError if wrong in NO_TOKENS else UsageError
            with pytest.raises(error, match=r"the id .* is no token|ids "):
                use(wrong)


def test_ids_may_be_a_list_or_of_another_width(case: Case) -> None:
    model = model_of(case)
    ids = ids_of(model, OTHER)
    for same in (ids.tolist(), ids.astype(np.int64), ids.astype(np.uint8)):
        np.testing.assert_array_equal(model.score(same), model.score(ids))
        np.testing.assert_array_equal(
            model.log_probs(model.read(model.start(1), same[:5])),
            model.log_probs(model.read(model.start(1), ids[:5])),
        )


def test_no_ids_have_no_scores(case: Case) -> None:
    assert model_of(case).score(np.array([], dtype=np.int32)).shape == (0,)


def test_states_are_values(case: Case) -> None:
    """A state that was stepped on from, twice and by others, gives what it gave."""
    model = model_of(case)
    first = model.step(model.start(1), np.array([3], dtype=np.int32))
    before = model.log_probs(first).copy()
    once = model.log_probs(model.step(first, np.array([4], dtype=np.int32))).copy()
    model.log_probs(model.step(first, np.array([5], dtype=np.int32)))
    model.log_probs(first)[:] = 0.0  # what was handed out is the caller's own
    again = model.log_probs(model.step(first, np.array([4], dtype=np.int32)))
    np.testing.assert_array_equal(again, once)
    np.testing.assert_array_equal(model.log_probs(first), before)


def test_a_batch_is_its_rows(case: Case) -> None:
    model = model_of(case)
    rows = np.random.default_rng(0).integers(
        3, len(model.encoder.vocabulary), (6, 8), dtype=np.int32
    )
    rows[2, 4] = BOS
    together = model.start(len(rows))
    alone = [model.start(1) for _ in rows]
    for ids in rows.T:
        together = model.step(together, ids)
        alone = [model.step(state, ids[at : at + 1]) for at, state in enumerate(alone)]
        expected = np.concatenate([model.log_probs(state) for state in alone])
        np.testing.assert_allclose(model.log_probs(together), expected, rtol=0, atol=1e-5)


def test_a_sentence_start_leads_back_to_the_beginning(case: Case) -> None:
    model = model_of(case)
    state = model.start(1)
    for token in (3, 4, BOS):
        state = model.step(state, np.array([token], dtype=np.int32))
    if model.remembers_text:
        assert (model.log_probs(state) != model.log_probs(model.start(1))).any()
        return
    np.testing.assert_array_equal(model.log_probs(state), model.log_probs(model.start(1)))
    ids = np.array([3, 4, 5], dtype=np.int32)
    scores = model.score(np.concatenate((ids, [BOS], ids)).astype(np.int32))
    np.testing.assert_allclose(scores[3:], scores[:3], rtol=0, atol=1e-6)


def test_the_scores_of_tokens_add_up_with_and_without_a_beginning(case: Case) -> None:
    """Without one, every sentence begins in the null context, where the model has that."""
    model = model_of(case)
    text = given_to(model.encoder.boundaries, OTHER)
    for bos in (True, False):
        try:
            total = model.logprob(text, bos=bos)
        except UsageError as error:
            assert not bos and "can read a sentence only from its beginning" in str(error)
            with pytest.raises(UsageError):
                model.null_context(1)
            continue
        found = list(model.full_scores(text, bos=bos))
        assert sum(score.log_prob for score in found) == pytest.approx(total)
        assert [score.word for score in found] == model.encoder.tokens(text)
        if not bos:
            chain = LanguageModel.score_without_bos(model, model.encoder.encode(text))
            np.testing.assert_array_equal([score.log_prob for score in found], chain)


def test_save_and_load_give_an_equal_model(case: Case, tmp_path: Path) -> None:
    model = model_of(case)
    made = Provenance("lm train", "0", "small", "0" * 64, "2026-01-01T00:00:00+00:00")
    save_model(tmp_path / "m.safetensors", model, made)
    loaded, manifest = open_model_file(tmp_path / "m.safetensors")
    assert type(loaded) is type(model)
    assert loaded.settings == model.settings
    assert manifest.settings == json.loads(json.dumps(model.settings_dict()))
    assert loaded.encoder.fingerprint() == model.encoder.fingerprint()
    assert loaded.is_normalised == model.is_normalised
    assert loaded.summary() == model.summary()
    for text in (TRAINING, OTHER):
        ids = ids_of(model, text)
        np.testing.assert_array_equal(loaded.score(ids), model.score(ids))
    np.testing.assert_array_equal(
        loaded.log_probs(loaded.start(1)), model.log_probs(model.start(1))
    )


def test_the_same_training_gives_the_same_arrays(case: Case) -> None:
    first, second = model_of(case).arrays(), case.make().arrays()
    assert list(first) == list(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
        assert array.dtype == second[name].dtype


def test_facts_can_be_written_as_json(case: Case) -> None:
    model = model_of(case)
    assert json.loads(json.dumps(dict(model.summary())))
