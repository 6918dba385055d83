"""``lm mix``: a neural cache, and weights by context."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hardening.command import Run

LINES = b"the king is here and the king is there\nwho calls the king\n" * 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, play: str, lm: Run) -> Path:
    """A network and an n-gram model with the same words, and a text of other lines."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "play.txt").write_text(play[:15_000], "utf-8")
    (folder / "test.txt").write_bytes(LINES)
    where = ("--models", str(folder), "-q")
    assert lm("train", "ngram", folder / "play.txt", "--n", "3", *where).done
    short = ("--hidden", "16", "--embed", "16", "--epochs", "1", "--like", "ngram")
    assert lm("train", "rnn", folder / "play.txt", *short, *where).done
    return folder


def perplexity(lm: Run, folder: Path, name: str) -> float:
    said = lm("eval", name, "--text", folder / "test.txt", "--models", folder, "--json")
    assert said.done, said.err
    return float(json.loads(said.out)[0]["perplexity"])


def test_a_network_with_its_cache(lm: Run, folder: Path) -> None:
    text = ("--text", folder / "test.txt", "--models", folder)
    made = lm("mix", "rnn", "neural-cache", "--name", "cached", *text)
    assert made.done, made.err
    assert perplexity(lm, folder, "cached") < 0.8 * perplexity(lm, folder, "rnn")
    assert "neural cache" in lm("info", "cached", "--models", folder).out
    same = lm("sample", "cached", "The", "--max-tokens", "9", "--seed", "2", "--models", folder)
    assert same.done
    assert same.out.startswith("The")


def test_a_cached_network_and_n_grams_by_context(lm: Run, folder: Path) -> None:
    models = ("--models", folder, "--json")
    plain = lm("mix", "rnn", "neural-cache", "ngram", "--name", "plain", *models)
    assert plain.done, plain.err
    assert [each["member"] for each in json.loads(plain.out)["members"]] == ["rnn+cache", "ngram"]
    made = lm("mix", "rnn", "neural-cache", "ngram", "--by-context", "--name", "mixed", *models)
    assert made.done, made.err
    rows = {row["model"]: row for row in json.loads(lm("eval", "plain", "mixed", *models).out)}
    assert rows["mixed"]["perplexity"] < 0.998 * rows["plain"]["perplexity"]
    assert "buckets" in lm("info", "mixed", "--models", folder).out


def test_a_network_with_fewer_words_chooses_its_cache_as_it_does_alone(
    lm: Run, folder: Path
) -> None:
    (folder / "new.txt").write_bytes(LINES.replace(b"calls", b"xyzzies"))
    models = ("--models", folder)
    assert lm("train", "ngram", folder / "new.txt", "--name", "new", "--valid", "0", *models).done
    chosen = []
    for others in ((), ("new",)):
        made = ("mix", "rnn", "neural-cache", *others, "--name", "one", *models)
        assert lm(*made, "--text", folder / "test.txt").done
        facts = " ".join(lm("info", "one", *models).out.split())
        chosen.append(re.findall("weight [0-9.]+, flatness [0-9.]+, the last [0-9,]+", facts))
    assert "rnn+cache: words known" in facts
    assert len(chosen[0]) == 1
    assert chosen[0] == chosen[1]


def test_the_advice_on_other_tokens_names_the_network_of_a_cache(lm: Run, folder: Path) -> None:
    models = ("--models", folder)
    characters = ("--tokenizer", "char", "--name", "chars", "-q")
    assert lm("train", "ngram", folder / "test.txt", *characters, *models).done
    refused = lm("mix", "chars", "rnn", "neural-cache", *models)
    assert refused.code == 1
    assert "error: rnn has other tokens than chars" in refused.err
    assert refused.err.strip().endswith("--like chars")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("neural-cache", "rnn"), "name the network before it"),
        (("ngram", "neural-cache"), "model of kind ngram"),
        (("rnn", "neural-cache", "--weights", "1,2"), "--weights"),
        (("rnn", "cache", "--by-context"), "need an n-gram model"),
        (("ngram", "rnn", "--by-context", "--static"), "leave out --static"),
        (("ngram", "neural-cache", "--static"), "no table of n-grams"),
    ],
)
def test_what_has_no_meaning_is_refused(
    lm: Run, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    refused = lm("mix", *arguments, "--name", "none", "--models", folder)
    assert refused.code == 2, refused.err
    assert said in refused.err
    assert not (folder / "none.safetensors").exists()
