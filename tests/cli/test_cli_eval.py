"""``lm eval``: the table, the JSON, the footnotes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hardening.command import Run

pytestmark = pytest.mark.usefixtures("in_workplace")

KEYS = [
    "model",
    "kind",
    "tokens",
    "oov",
    "cross_entropy",
    "perplexity",
    "perplexity_without_oov",
    "chars",
    "bits_per_char",
    "seconds",
    "tokens_per_second",
]
TEXT = b"My lord, the zebra is here.\nWho calls?\n"


def test_no_model_is_all_and_no_text_is_each_models_own(lm: Run) -> None:
    outcome = lm("eval")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].split()[:4] == ["model", "kind", "tokens", "OOV"]
    assert [line.split()[0] for line in lines[1:5]] == ["chars", "counts", "lines", "words"]
    assert "different validation texts" in outcome.out


def test_json_has_the_promised_keys_and_one_total(lm: Run) -> None:
    rows = json.loads(lm("eval", "words", "chars", "--json", stdin=TEXT).out)
    assert [row["model"] for row in rows] == ["words", "chars"]
    for row in rows:
        assert list(row) == KEYS
        assert row["chars"] == len(TEXT)
        assert row["perplexity"] == pytest.approx(math.exp(row["cross_entropy"]))
        bits = row["cross_entropy"] * row["tokens"] / math.log(2)
        assert row["bits_per_char"] == pytest.approx(bits / row["chars"])
    assert rows[0]["oov"] > 0
    assert rows[0]["perplexity_without_oov"] < rows[0]["perplexity"]


def test_a_text_from_a_file_a_pipe_and_by_a_dash(lm: Run, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT)
    outcomes = [
        json.loads(lm("eval", "words", "--json", *arguments, stdin=stdin).out)[0]
        for arguments, stdin in (
            (["--text", file], None),
            ([], TEXT),
            (["--text", "-"], TEXT),
        )
    ]
    assert len({outcome["cross_entropy"] for outcome in outcomes}) == 1
    # A file that is named goes before what is piped in.
    named = lm("eval", "words", "--json", "--text", file, stdin=b"something else")
    assert json.loads(named.out)[0]["chars"] == len(TEXT)


def test_models_by_name_and_by_path(lm: Run) -> None:
    outcome = lm("eval", "words", "models/words.safetensors", "--json")
    first, second = json.loads(outcome.out)
    assert first["model"] == second["model"] == "words"
    assert first["perplexity"] == second["perplexity"]


def test_blocks_know_nothing_of_what_came_before(lm: Run) -> None:
    whole = json.loads(lm("eval", "chars", "--json").out)[0]
    blocks = json.loads(lm("eval", "chars", "--json", "--block", "4").out)[0]
    ones = json.loads(lm("eval", "chars", "--json", "--block", "1").out)[0]
    assert whole["tokens"] == blocks["tokens"] == ones["tokens"]
    assert whole["cross_entropy"] < blocks["cross_entropy"] < ones["cross_entropy"]


def test_different_tokens_mark_the_column_that_compares(lm: Run) -> None:
    outcome = lm("eval", "words", "chars", stdin=TEXT)
    assert "bits/char *" in outcome.out.splitlines()[0]
    assert "* The models have different tokens: compare bits/char" in outcome.out
    assert "words: bits/char charges <unk> for OOV tokens, but not their spelling." in outcome.out
    assert "words: the tokens do not show every space" in outcome.out
    assert "validation texts" not in outcome.out


def test_one_model_needs_no_mark(lm: Run) -> None:
    outcome = lm("eval", "chars", stdin=b"My lord,\n")
    assert "*" not in outcome.out
    assert len(outcome.out.splitlines()) == 2


def test_zero_probabilities_are_inf_and_counted(lm: Run) -> None:
    outcome = lm("eval", "counts", stdin=b"My lord, king king king.\n")
    row = outcome.out.splitlines()[1].split()
    assert row[4:6] == ["inf", "inf"]
    assert "counts: " in outcome.out
    assert "tokens have probability zero." in outcome.out
    as_json = lm("eval", "counts", "--json", stdin=b"My lord, king king king.\n")
    (parsed,) = json.loads(as_json.out, parse_constant=pytest.fail)  # strict JSON has no Infinity
    assert parsed["perplexity"] is None
    assert "probability zero" in as_json.err


def test_different_vocabularies_and_scores_are_said(
    lm: Run, tmp_path: Path, in_workplace: Path
) -> None:
    models = ("--models", tmp_path)
    lm("train", "ngram", "play.txt", *models, "--name", "all")
    lm("train", "ngram", "play.txt", *models, "--name", "few", "--max-vocab", "100")
    lm("train", "ngram", "play.txt", *models, "--name", "stupid", "--smoothing", "stupid-backoff")
    outcome = lm("eval", *models)
    assert "The vocabularies differ" in outcome.out
    assert "stupid: stupid backoff gives scores" in outcome.out
    assert "vocabularies" not in lm("eval", "all", "stupid", *models).out


def test_a_damaged_model_is_left_out_of_all_but_an_error_when_named(
    lm: Run, tmp_path: Path
) -> None:
    lm("train", "ngram", "play.txt", "--models", tmp_path, "--name", "good")
    (tmp_path / "bad.safetensors").write_bytes(b"damaged")
    every = lm("eval", "--models", tmp_path)
    assert every.code == 0
    assert "good" in every.out
    assert "left out: " in every.err
    assert "bad.safetensors is no model file" in lm("eval", "bad", "--models", tmp_path).error
    (tmp_path / "good.safetensors").unlink()
    assert lm("eval", "--models", tmp_path).code == 1


def test_an_empty_folder_says_what_to_do(lm: Run, tmp_path: Path) -> None:
    assert lm("eval", "--models", tmp_path).error == (
        f"no models in {tmp_path}; make one: lm train ngram"
    )


def test_a_validation_text_that_was_exchanged_is_noticed(lm: Run, tmp_path: Path) -> None:
    lm("train", "ngram", "play.txt", "--models", tmp_path)
    lm("train", "ngram", "play.txt", "--models", tmp_path, "--name", "b", "--valid", "0.3")
    (tmp_path / "b.valid.txt.gz").replace(tmp_path / "ngram.valid.txt.gz")
    assert "another training; give a text with --text" in (
        lm("eval", "ngram", "--models", tmp_path).error
    )


def test_adapting_is_told_apart_and_needs_a_network(lm: Run, tmp_path: Path) -> None:
    network = ("--models", str(tmp_path))
    short = ("--hidden", "16", "--embed", "8", "--epochs", "0.2", "--tokenizer", "char")
    assert lm("train", "rnn", "play.txt", *short, *network, "-q").done
    text = b"My lord, my lord, my lord.\n" * 40
    static, adapted = (
        json.loads(lm("eval", "rnn", *network, "--json", *more, stdin=text).out)[0]
        for more in ([], ["--adapt", "--adapt-rate", "0.005"])
    )
    assert list(adapted) == [*KEYS, "adapted"]
    assert adapted["perplexity"] < static["perplexity"]
    table = lm("eval", "rnn", *network, "--adapt", stdin=text)
    assert "learned from the text" in " ".join(table.out.split())
    refused = lm("eval", "words", "--adapt", stdin=text)
    assert refused.code == 2
    assert "cannot adapt" in refused.err
