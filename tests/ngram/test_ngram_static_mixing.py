"""One table of several: sums, the mixture at run time, KenLM; log-linear ones by brute force."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmsuite
from lmsuite.errors import DataError, UsageError
from lmsuite.models.mixing import mix, with_all_words
from lmsuite.models.ngram import NgramModel
from lmsuite.models.static_mixture import StaticMixing
from lmsuite.text.vocabulary import BOS, EOS, UNK

COWS = "the cow eats hay\nthe cow eats corn\na cow is not a crow\n\nthe crow eats the corn\n"
ZEBRAS = "a zebra eats grass\nthe zebra is a horse\nthe horse eats hay\na cow\n"


def model(text: str, n: int, **settings: Any) -> NgramModel:
    how = {"lines": True, "tokenizer": "whitespace", "smoothing": "witten-bell"} | settings
    fitted = lmsuite.fit("ngram", text, n=n, valid=0, **how)
    assert isinstance(fitted, NgramModel)
    return fitted


def static(members: dict[str, Any], weights: list[float], **how: Any) -> NgramModel:
    mixed = mix(members, weights=weights, static=True, **how)
    assert isinstance(mixed, NgramModel)
    return mixed


def rows(mixed: NgramModel, length: int) -> Any:
    """The distributions (C, V) after all histories of so many words."""
    size = len(mixed.encoder.vocabulary)
    columns = np.indices((size,) * length, np.int32).reshape(length, size**length)
    state = mixed.null_context(size**length)
    for column in columns:
        state = mixed.step(state, column)
    return np.exp(mixed.log_probs(state))


WORDS = st.sampled_from("abcde")
TEXTS = st.lists(st.lists(WORDS, max_size=5), min_size=1, max_size=6).map(
    lambda lines: "a b\n" + "".join(" ".join(line) + "\n" for line in lines)
)


@given(
    TEXTS,
    TEXTS.map(lambda text: text.replace("c", "x").replace("d", "y")),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["witten-bell", "modified-kneser-ney", "mle", "katz"]),
    st.floats(0.01, 0.99),
    st.booleans(),
)
@settings(max_examples=25)
def test_every_distribution_sums_to_one(
    text: str, other: str, n: int, m: int, smoothing: str, weight: float, log_linear: bool
) -> None:
    try:
        members = {"a": model(text, n, smoothing=smoothing), "b": model(other, m)}
    except lmsuite.TrainingError:  # a text of fewer words than the order
        return
    mixed = static(members, [weight, 1 - weight], log_linear=log_linear)
    mixed.table.check()
    for length in range(3):
        assert np.abs(rows(mixed, length).sum(axis=1) - 1).max() < 2e-6


@pytest.mark.parametrize("log_linear", [False, True])
def test_every_stored_ngram_has_the_probability_of_the_mixture_at_run_time(
    log_linear: bool,
) -> None:
    """Members of different words and orders; the log-linear one is made anew, word by word."""
    members = {"a": model(COWS, 3), "b": model(ZEBRAS, 2, smoothing="modified-kneser-ney")}
    weights = [0.7, 0.3] if not log_linear else [0.9, 0.4]
    mixed = static(members, weights, log_linear=log_linear)
    assert mixed.table.order == 3
    assert set(mixed.encoder.vocabulary.tokens) == {
        word for each in members.values() for word in each.encoder.vocabulary.tokens
    }
    wide = mix(members, weights=[0.7, 0.3])
    tokens = mixed.encoder.vocabulary.tokens
    words = np.arange(len(tokens))[:, None]
    checked = 0
    for n in range(1, 4):
        order = mixed.table.orders[n - 1]
        if n > 1:
            words = np.concatenate((words[mixed.table.prefixes(n)], order.words[:, None]), axis=1)
        for ngram, log_prob in zip(words.tolist(), order.log_probs.tolist(), strict=True):
            if ngram[-1] == BOS:
                continue
            if log_linear:
                expected = brute_force(list(members.values()), weights, tokens, ngram)
            else:
                state = wide.null_context(1)
                for word in ngram[:-1]:
                    state = wide.step(state, np.array([word], np.int32))
                expected = float(wide.log_probs(state)[0, ngram[-1]])
            assert log_prob == pytest.approx(expected, abs=1e-5)
            checked += 1
    assert checked > 50


def brute_force(
    members: list[NgramModel], weights: list[float], tokens: tuple[str, ...], ngram: list[int]
) -> float:
    """ln of the normalised product of powers, over all words."""
    logs = np.zeros(len(tokens))
    for member, weight in zip(members, weights, strict=True):
        ids = member.encoder.vocabulary.ids(tokens)  # <unk> of words that it does not know
        state = member.null_context(1)
        for word in ngram[:-1]:
            state = member.step(state, ids[[word]])
        logs += weight * member.log_probs(state)[0][ids]
    return float(logs[ngram[-1]] - np.logaddexp.reduce(logs))


def test_a_sum_by_hand() -> None:
    """Unigrams of relative frequency: A has a, b, </s>; B has b, c, </s>."""
    a = model("a b\na\n", 1, smoothing="mle")  # 2, 1, 2 of 5
    b = model("b c\n", 1, smoothing="mle")  # 1, 1, 1 of 3
    mixed = static({"a": a, "b": b}, [3, 1])
    probs = np.exp(mixed.table.orders[0].log_probs)
    found = {token: probs[mixed.encoder.id(token)] for token in ("a", "b", "c", "</s>")}
    expected = {"a": 0.3, "b": 0.15 + 1 / 12, "c": 1 / 12, "</s>": 0.3 + 1 / 12}
    assert found == pytest.approx(expected, abs=1e-6)
    assert probs[BOS] == 0
    assert probs[UNK] == 0


def test_weights_are_those_that_predict_a_text_best() -> None:
    members = {"a": model(COWS, 3), "b": model(ZEBRAS, 2)}
    text = "the horse eats corn\na cow\n"
    mixing = StaticMixing(members)
    ids = mixing.encoder.encode(text)
    best = mixing.linear_weights(ids)
    wide = with_all_words(members)

    def total(weight: float) -> float:
        return float(lmsuite.Mixture(wide, [weight, 1 - weight]).score(ids).sum())

    assert total(best[0]) >= max(map(total, np.linspace(0.01, 0.99, 99))) - 1e-6


def test_log_linear_weights_are_those_that_predict_a_text_best() -> None:
    """Against a grid; every n-gram of the text is stored, so the table is the mixture."""
    members = {"a": model(COWS, 2), "b": model(ZEBRAS, 2)}
    text = "the cow eats hay\nthe zebra is a horse\na cow\n"
    mixing = StaticMixing(members)
    ids = mixing.encoder.encode(text)

    def total(weights: Any) -> float:
        return float(mixing.model(weights, is_log_linear=True).score(ids).sum())

    best = mixing.log_linear_weights(ids)
    grid = [(x, y) for x in np.linspace(0, 2, 9) for y in np.linspace(0, 2, 9) if x + y]
    assert total(best) >= max(map(total, grid)) - 1e-4
    for step in (0.02, -0.02):
        assert total(best) >= total(best + np.array([step, 0]))
        assert total(best) >= total(best + np.array([0, step]))


def test_kenlm_reads_it_and_scores_alike(tmp_path: Path, shared: Path) -> None:
    """One member is lmplz's file, the other ours, with more words and a higher order."""
    kenlm = pytest.importorskip("kenlm", reason="the kenlm package does not build here")
    theirs = NgramModel.from_arpa(shared / "reference" / "small.kenlm.3.arpa")
    folder = shared / "corpora" / "tinyshakespeare"
    ours = model((folder / "train.words.txt").read_text("utf-8")[:100_000], 4)
    mixed = static({"ours": ours, "theirs": theirs}, [0.6, 0.4])
    path = tmp_path / "mixed.arpa"
    mixed.to_arpa(path)
    text = (folder / "valid.words.txt").read_text("utf-8")[:20_000]
    read = kenlm.Model(str(path))
    expected = [score[0] for line in text.splitlines() for score in read.full_scores(line)]
    ids = mixed.encoder.encode("\n".join(text.splitlines()) + "\n")
    np.testing.assert_allclose(mixed.score(ids) / np.log(10), expected, atol=3e-6)


def test_an_imported_file_whose_ngrams_lack_their_beginnings_is_mixed(tmp_path: Path) -> None:
    """As after SRILM's pruning: the trigram is there, its suffix is not."""
    path = tmp_path / "pruned.arpa"
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=2\nngram 3=1\n\n\\1-grams:\n-1.0\t<unk>\n-99\t<s>\t-0.3\n"
        "-0.6\t</s>\n-0.5\ta\t-0.2\n-0.4\tb\t-0.1\n\n\\2-grams:\n-0.2\t<s> a\t-0.05\n-0.6\tb a\n\n"
        "\\3-grams:\n-0.1\t<s> a b\n\n\\end\\\n"
    )
    pruned = NgramModel.from_arpa(path)
    mixed = static({"pruned": pruned, "cows": model(COWS, 2)}, [0.5, 0.5])
    ids = mixed.encoder.encode("a b\n")
    own = np.exp(pruned.score(pruned.encoder.encode("a b\n")))
    assert own[1] == pytest.approx(10**-0.1, abs=1e-6)
    assert np.exp(mixed.score(ids))[1] == pytest.approx(0.5 * own[1], abs=1e-6)  # no b in COWS


def test_order_of_members_changes_numbers_only() -> None:
    a, b = model(COWS, 3), model(ZEBRAS, 2)
    one, other = static({"a": a, "b": b}, [0.2, 0.8]), static({"b": b, "a": a}, [0.8, 0.2])
    text = "the zebra eats corn\nthe cow is not a horse\nbird\n"
    np.testing.assert_allclose(
        one.score(one.encoder.encode(text)), other.score(other.encoder.encode(text)), atol=1e-5
    )
    assert one.table.sizes == other.table.sizes


def test_a_member_of_weight_zero_is_left_out() -> None:
    a, b = model(COWS, 3), model(ZEBRAS, 2)
    alone = static({"a": a, "b": b}, [1, 0])
    assert alone.table.sizes[1:] == a.table.sizes[1:]
    ids = a.encoder.encode(COWS)
    np.testing.assert_allclose(alone.score(alone.encoder.encode(COWS)), a.score(ids), atol=1e-5)


def test_what_cannot_be_one_table_is_named() -> None:
    a = model(COWS, 2)
    others: dict[str, tuple[Any, type[Exception], str]] = {
        "stupid": (model(COWS, 2, smoothing="stupid-backoff"), UsageError, "stupid gives scores"),
        "chars": (model(COWS, 2, tokenizer="char"), DataError, "chars reads text in another way"),
        "stream": (model(COWS, 2, lines=False), DataError, r"\(whitespace, stream; whitespace, l"),
        "mixed": (mix({"a": a, "b": model(ZEBRAS, 2)}, weights=[1, 1]), UsageError, "mixed is a m"),
    }
    for name, (other, error, said) in others.items():
        with pytest.raises(error, match=said):
            static({"a": a, name: other}, [1, 1])
    with pytest.raises(UsageError, match="weights must be 2 numbers"):
        static({"a": a, "b": model(ZEBRAS, 2)}, [1, 1, 1])
    with pytest.raises(UsageError, match="weights must be 2 numbers of at least 0"):
        static({"a": a, "b": model(ZEBRAS, 2)}, [1, -1])
    with pytest.raises(UsageError, match="give weights, or a text"):
        mix({"a": a, "b": a}, static=True)
    nobody = {"x": model("a a\n", 1, smoothing="mle"), "y": model("b b\n", 1, smoothing="mle")}
    mixed = static(nobody, [1, 1], log_linear=True)  # </s> is all that both know
    assert np.exp(mixed.table.orders[0].log_probs[EOS]) == pytest.approx(1)


def test_the_result_goes_to_an_arpa_file_and_back() -> None:
    mixed = static({"a": model(COWS, 3), "b": model(ZEBRAS, 2)}, [0.2, 0.8])
    stream = io.BytesIO()
    mixed.to_arpa(stream)
    assert stream.getvalue().startswith(b"\\data\\\nngram 1=")
    with pytest.raises(UsageError, match="smoothing must be one of"):
        NgramModel.fit(mixed.encoder, mixed.encoder.encode(COWS), mixed.settings)
