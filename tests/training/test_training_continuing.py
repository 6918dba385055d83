"""Going on from a model: the rows of new tokens, and the counts of two texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lmsuite
from lmsuite.errors import DataError, ModelFileError, UsageError
from lmsuite.models.neural import NeuralModel
from lmsuite.models.ngram import NgramModel
from lmsuite.ngram.longest import LongestNgrams
from lmsuite.store.records import Ancestor, Provenance
from lmsuite.text.vocabulary import UNK
from lmsuite.training.continuing import continued, continued_settings, grown

COWS = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"
ZEBRAS = "a zebra eats grass\nthe zebra is a horse\nthe horse eats hay\na cow\n"

NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"kind": "rnn", "hidden": 8, "embed": 4, "tied": False},
    "tied": {"kind": "rnn", "cell": "gru", "hidden": 6, "embed": 6, "tied": True, "layers": 2},
    "ffnn": {"kind": "ffnn", "hidden": (5, 4), "embed": 3, "context": 2, "direct": True},
}


def network(name: str, text: str = COWS, **settings: Any) -> NeuralModel:
    given = {"tokenizer": "whitespace", "valid": 0, "epochs": 2, "threads": 1}
    given |= NETWORKS[name] | settings
    kind = given.pop("kind")
    fitted = lmsuite.fit(kind, text, **given)
    assert isinstance(fitted, NeuralModel)
    return fitted


def ngram(text: str, **settings: Any) -> NgramModel:
    how = {"tokenizer": "whitespace", "valid": 0, "n": 3, "smoothing": "witten-bell"} | settings
    fitted = lmsuite.fit("ngram", text, **how)
    assert isinstance(fitted, NgramModel)
    return fitted


@pytest.mark.parametrize("name", NETWORKS)
def test_new_tokens_start_as_unk_and_no_row_changes(name: str) -> None:
    """The known tokens keep their ratios; a new one is on average as probable as it is frequent."""
    model = network(name)
    encoder = grown(model.encoder, ZEBRAS, 1, name="zebras")
    before = len(model.encoder.vocabulary)
    assert encoder.vocabulary.tokens[:before] == model.encoder.vocabulary.tokens
    assert encoder.vocabulary.tokens[before:] == ("horse", "zebra", "grass")
    ids = encoder.encode(ZEBRAS)
    larger = continued(model, encoder, continued_settings(model, {}, 0.0), ids)
    for array in model.parameters:
        old = model.parameters[array]
        kept = tuple(slice(0, size) for size in old.shape)
        assert (larger.parameters[array][kept] == old).all()
    state, after, ratios, unknown = model.start(1), larger.start(1), [], []
    for token in ids.tolist():
        old, new = model.log_probs(state)[0], larger.log_probs(after)[0]
        np.testing.assert_allclose(new[3:before] - new[UNK], old[3:] - old[UNK], atol=1e-4)
        ratios.append(np.exp(new[before:] - new[UNK]))
        unknown.append(np.exp(old[UNK]))
        after = larger.step(after, np.array([token]))
        state = model.step(state, np.array([token if token < before else UNK]))
    np.testing.assert_allclose(ratios, np.tile(ratios[0], (len(ids), 1)), rtol=1e-3)
    share = np.bincount(ids)[before:] / len(ids)
    np.testing.assert_allclose(ratios[0] * np.mean(unknown), share, rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_new_tokens_join_the_last_cluster_of_an_adaptive_softmax(name: str) -> None:
    """As likely there as they are frequent beside its known tokens, on average of their logits."""
    model = network(name, cutoffs=(4, 8))
    encoder = grown(model.encoder, ZEBRAS, 1, name="zebras")
    before, ids = len(model.encoder.vocabulary), encoder.encode(ZEBRAS)
    larger = continued(model, encoder, continued_settings(model, {}, 0.0), ids)
    assert larger.output.cutoffs == (4, 8)
    old, new = model.log_probs(model.start(1))[0], larger.log_probs(larger.start(1))[0]
    assert np.exp(new).sum() == pytest.approx(1)
    np.testing.assert_allclose(new[:8], old[:8], atol=1e-5)  # other clusters stay
    np.testing.assert_allclose(
        new[9:before] - new[8], old[9:before] - old[8], atol=1e-5
    )  # and so do ratios in this one
    assert (new[before:] > new[8:before].min() - 3).all()


def test_going_on_without_a_step_to_take_changes_nothing_and_reads_rare_new_tokens_as_unk() -> None:
    model = network("lstm")
    further = lmsuite.fit("rnn", ZEBRAS, start=model, grow_vocab=True, min_count=2, valid=0,
                          epochs=1, threads=1, learning_rate=1e-9)  # fmt: skip
    assert further.encoder.vocabulary.tokens[-2:] == ("horse", "zebra")
    assert further.encoder.boundaries == model.encoder.boundaries
    for name in model.parameters:
        old = model.parameters[name]
        kept = tuple(slice(0, size) for size in old.shape)
        np.testing.assert_allclose(further.arrays()[name][kept], old, atol=1e-6)


def test_going_on_learns_more_than_beginning_anew_or_staying() -> None:
    """Two epochs over another text, from a model of the first and from nothing."""
    first, second, held_out = COWS * 60, ZEBRAS * 60, ZEBRAS
    model = network("lstm", first, epochs=6, learning_rate=0.02, batch=4, bptt=8)
    assert isinstance(model, NeuralModel)
    how: dict[str, Any] = {"valid": 0, "epochs": 2, "threads": 1, "learning_rate": 0.02}
    how |= {"batch": 4, "bptt": 8}
    further = lmsuite.fit("rnn", second, start=model, grow_vocab=True, **how)
    anew = lmsuite.fit("rnn", second, like=further, hidden=8, embed=4, **how)
    nats = {
        name: lmsuite.evaluate(each, held_out, name=name).cross_entropy
        for name, each in (("further", further), ("anew", anew))
    }
    assert nats["further"] < nats["anew"]
    old = continued(model, further.encoder, model.settings, further.encoder.encode(second))
    assert nats["further"] < lmsuite.evaluate(old, held_out, name="old").cross_entropy


def test_dropout_is_of_the_training_and_the_architecture_of_the_model() -> None:
    model = network("lstm", dropout=0.2)
    assert continued_settings(model, {"dropout": 0.0, "hidden": 8}, 0.5).dropout == 0.0
    with pytest.raises(UsageError, match="hidden 9 contradicts the model of start, which has 8"):
        continued_settings(model, {"hidden": 9}, 0.0)
    with pytest.raises(UsageError, match=r"is a rnn model, not ffnn; go on.* lm train rnn"):
        lmsuite.fit("ffnn", COWS, start=model)
    with pytest.raises(UsageError, match="start decides how text is read; leave out tokenizer"):
        lmsuite.fit("rnn", COWS, start=model, tokenizer="char")
    with pytest.raises(UsageError, match="grow_vocab is for a model that goes on from start"):
        lmsuite.fit("rnn", COWS, grow_vocab=True)
    bpe = network("lstm", tokenizer="bpe", bpe_size=260)
    with pytest.raises(UsageError, match="bpe has tokens for every text; leave out grow_vocab"):
        lmsuite.fit("rnn", COWS, start=bpe, grow_vocab=True)


@pytest.mark.parametrize("boundaries", ["stream", "lines"])
@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "witten-bell"])
def test_an_ngram_model_of_both_texts_is_that_of_training_on_both(
    boundaries: str, smoothing: str
) -> None:
    how = {"boundaries": boundaries, "smoothing": smoothing}
    first = ngram(COWS, keep_counts=True, **how)
    both = lmsuite.fit("ngram", ZEBRAS, start=first, valid=0)
    expected = ngram(COWS + ZEBRAS, **how)
    assert both.encoder.fingerprint() == expected.encoder.fingerprint()
    ours, theirs = both.arrays(), expected.arrays()
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_the_weight_says_how_often_the_second_text_is_there() -> None:
    """Of lines, W copies of the text behind the first one; a chain of two texts likewise."""
    first = ngram(COWS, keep_counts=True, lines=True)
    both = lmsuite.fit("ngram", ZEBRAS, start=first, valid=0, weight=3, keep_counts=True)
    expected = ngram(COWS + 3 * ZEBRAS, lines=True)
    assert all((both.arrays()[name] == array).all() for name, array in expected.arrays().items())
    third = lmsuite.fit("ngram", COWS, start=both, valid=0, order=2, smoothing="katz")
    expected = ngram(COWS + 3 * ZEBRAS + COWS, lines=True, n=2, smoothing="katz")
    assert all((third.arrays()[name] == array).all() for name, array in expected.arrays().items())


def test_texts_of_a_stream_that_are_shorter_than_the_order_are_joined_one_by_one() -> None:
    chain: Any = ngram("a b a\n", n=4, keep_counts=True)
    for word in ("c", "a b c a", "b"):
        chain = lmsuite.fit("ngram", f"{word}\n", start=chain, valid=0, keep_counts=True)
    whole = ngram("a b a\nc\na b c a\nb\n", n=4, keep_counts=True)
    assert all((chain.arrays()[name] == array).all() for name, array in whole.arrays().items())


def test_a_limited_vocabulary_stays_and_kept_counts_are_those_of_the_text() -> None:
    first = ngram(COWS, keep_counts=True, min_count=2)
    both = lmsuite.fit("ngram", ZEBRAS, start=first, valid=0)
    assert both.encoder.fingerprint() == first.encoder.fingerprint()
    assert first.counts is not None
    assert isinstance(first.counts.longest, LongestNgrams)
    unigrams = first.counts.longest.unigrams(len(first.encoder.vocabulary))
    assert unigrams[first.encoder.id("cow")] == 3
    assert ngram(COWS).counts is None


def test_what_is_needed_is_said() -> None:
    with pytest.raises(DataError, match=r"does not keep the counts.*again with keep_counts"):
        lmsuite.fit("ngram", ZEBRAS, start=ngram(COWS))
    kept = ngram(COWS, keep_counts=True)
    for weight in (0, -1, 10**15):
        with pytest.raises(UsageError, match="weight must be a whole number of at least 1"):
            lmsuite.fit("ngram", ZEBRAS, start=kept, weight=weight, valid=0)
    with pytest.raises(UsageError, match="order 4 is above 3, the order of the counts"):
        lmsuite.fit("ngram", ZEBRAS, start=kept, n=4, valid=0)
    with pytest.raises(UsageError, match="jelinek-mercer fits its weights to held-out text"):
        lmsuite.fit("ngram", ZEBRAS, start=kept, smoothing="jelinek-mercer", valid=0)
    with pytest.raises(UsageError, match="grow_vocab is for networks"):
        lmsuite.fit("ngram", ZEBRAS, start=kept, grow_vocab=True)
    with pytest.raises(UsageError, match="keep_counts is for n-gram models"):
        lmsuite.fit("rnn", COWS, keep_counts=True)


def test_damaged_kept_counts_are_refused_when_they_are_needed() -> None:
    kept = ngram(COWS, keep_counts=True)
    arrays = dict(kept.arrays())
    settings = kept.settings_dict()
    arrays["counts.count"] = -arrays["counts.count"]
    damaged = NgramModel.restore(kept.encoder, settings, arrays)
    assert (damaged.score(damaged.encoder.encode(COWS)) < 0).all()
    with pytest.raises(ModelFileError, match="the counts in the model are damaged"):
        _ = damaged.counts
    del arrays["counts.flags"]
    with pytest.raises(ModelFileError, match=r"'counts\.flags' is missing"):
        NgramModel.restore(kept.encoder, settings, arrays)


def test_a_line_of_ancestors_grows_at_its_end() -> None:
    first = Provenance("lm train rnn a.txt", corpus="a.txt", created="2026")
    second = Provenance("lm train rnn --from a b.txt", ancestors=first.lineage("a"))
    assert [each.model for each in second.lineage("b")] == ["a", "b"]
    assert second.lineage("b")[0] == Ancestor("a", "lm train rnn a.txt", "a.txt", "", "2026")
