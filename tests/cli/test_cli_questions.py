"""mix, compare, explain, neighbours, prune and sample --novelty, as a user types them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from hardening.command import Run
from lmsuite.models.ngram import NgramModel
from lmsuite.store.artefact import load_model, open_model_file
from lmsuite.store.records import TrainingRecord


@pytest.fixture(scope="module")
def made(workplace: Path, tmp_path_factory: pytest.TempPathFactory, lm: Run) -> Path:
    """A workplace of one's own, with more models."""
    folder = tmp_path_factory.mktemp("questions")
    shutil.copytree(workplace, folder, dirs_exist_ok=True)
    models = ("--models", str(folder / "models"), "--quiet")
    play = str(folder / "play.txt")
    for command in (
        ("ngram", play, "--n", "2", "--like", "words", "--name", "bi"),
        ("ngram", play, "--n", "1", "--like", "lines", "--name", "lines1"),
        ("ffnn", play, "--like", "words", "--epochs", "1", "--name", "net"),
        ("ngram", play, "--n", "2", "--smoothing", "stupid-backoff", "--name", "scores"),
    ):
        assert lm("train", *command, *models).done
    return folder


@pytest.fixture
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    monkeypatch.delenv("LM_MODELS", raising=False)
    return made


def perplexities(lm: Run, *models: str) -> list[float]:
    rows = json.loads(lm("eval", *models, "--json").out)
    return [row["perplexity"] for row in rows]


class TestMix:
    def test_is_a_model_like_any_other_and_complete(self, lm: Run, there: Path) -> None:
        done = lm("mix", "words", "bi", "net", "--name", "best")
        assert done.code == 0
        assert "words, bi, net" in done.err
        assert done.out.splitlines()[-1] == "next        lm sample best"
        alone = there / "alone"
        alone.mkdir()
        for file in (there / "models").glob("best.*"):
            shutil.copy(file, alone)
        best, *members = perplexities(lm, "best", "words", "bi", "net")
        assert best <= min(members)
        assert perplexities(lm, "--models", str(alone))[0] == pytest.approx(best)
        assert f"perplexity {best:.2f}" in done.out
        for command in (["sample", "best", "--seed", "1"], ["info", "best"], ["check", "best"]):
            outcome = lm(*command, "--models", alone)
            assert outcome.code == 0, outcome
            assert outcome.out

    def test_a_cache_has_its_half_life_printed(self, lm: Run, there: Path) -> None:
        done = lm("mix", "cache", "lines1", "--name", "cached")
        assert "half-life" in done.out
        assert perplexities(lm, "cached")[0] < perplexities(lm, "lines1")[0]
        assert lm("sample", "cached", "--seed", "1", "--max-tokens", "20").code == 0

    def test_given_weights_and_another_text(self, lm: Run, there: Path) -> None:
        other = there / "other.txt"
        other.write_text("My lord, the king is dead.\nLong live the king!\n")
        assert lm("mix", "words", "bi", "--weights", "3,1", "--text", other).code == 0
        model, manifest = open_model_file(there / "models" / "mixture.safetensors")
        assert model.arrays()["weights"].tolist() == [0.75, 0.25]
        assert manifest.provenance.training == TrainingRecord(
            weights={"words": 0.75, "bi": 0.25}, tuned=False
        )
        tokens = json.loads(lm("eval", "mixture", "--json").out)[0]["tokens"]
        assert tokens == 15  # its validation text is the one that was given

    def test_given_weights_need_no_text(self, lm: Run, there: Path) -> None:
        (there / "short.txt").write_text("My lord, the king.\n" * 9)
        train = ("train", "ngram", "short.txt", "--valid", "0", "--name", "no_valid")
        assert lm(*train).code == 0
        assert lm("train", "ngram", "short.txt", "--like", "no_valid", "--n", "1").code == 0
        assert "no validation text" in lm("mix", "no_valid", "ngram", "cache").error
        done = lm("mix", "no_valid", "ngram", "cache", "--weights", "2,1,1", "--name", "untuned")
        assert done.code == 0
        assert "half-life 256 tokens" in done.out
        assert "validation  none" in done.out

    def test_says_of_other_tokens_which_line_would_make_them_fit(
        self, lm: Run, there: Path
    ) -> None:
        said = lm("mix", "words", "chars", "--name", "over_lines").done.err
        [note] = [line for line in said.splitlines() if "chars has other tokens than words" in line]
        line = note.rpartition(": ")[2]
        assert line.endswith("--like words")
        assert "--tokenizer" not in line
        again = line.replace("--name chars", "--name fitted").split()[1:]
        assert lm(*again, "--models", "models").code == 0
        assert lm("mix", "words", "fitted", "--name", "both").code == 0

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["words"], 2, "two members"),
            (["cache"], 2, "a cache alone"),
            (["words", "words"], 2, "named twice"),
            (["words", "scores"], 2, "scores that are not probabilities"),
            (["words", "nothing"], 1, "no model 'nothing'"),
            (["words", "bi", "--weights", "1"], 2, "give 2"),
            (["words", "bi", "--weights", "a,b"], 2, "numbers"),
            (["words", "bi", "--weights", "-1,2"], 2, "of at least 0"),
            (["words", "bi", "--name", "a/b"], 2, "no name"),
            (["words", "bi", "--text", "missing.txt"], 1, "missing.txt"),
        ],
    )
    def test_bad_input(
        self, lm: Run, there: Path, arguments: list[str], code: int, said: str
    ) -> None:
        before = sorted((there / "models").iterdir())
        outcome = lm("mix", *arguments)
        assert outcome.code == code
        assert said in outcome.only_line
        assert sorted((there / "models").iterdir()) == before


class TestCompare:
    def test_figures_are_those_of_eval(self, lm: Run, there: Path) -> None:
        rows = json.loads(lm("eval", "words", "bi", "--json").out)
        result = json.loads(lm("compare", "words", "bi", "--json").out)
        for row, figures in zip(rows, result["figures"], strict=True):
            assert figures["perplexity"] == pytest.approx(row["perplexity"])
            assert figures["bits_per_char"] == pytest.approx(row["bits_per_char"])
        difference = rows[0]["perplexity"] - rows[1]["perplexity"]
        assert result["perplexity"]["value"] == pytest.approx(difference)
        assert result["perplexity"]["low"] < difference < result["perplexity"]["high"]
        assert len(result["places"]) == 10
        assert sum(result["tally"].values()) == rows[0]["tokens"]

    def test_the_table_says_who_is_better(self, lm: Run, there: Path) -> None:
        out = lm("compare", "lines", "lines1").out
        assert "lines is better (p = 0.001)." in out
        assert "Bootstrap over" in out and "lines." in out
        assert "Where they differ most:" in out

    def test_models_of_other_tokens_are_compared_by_lines(self, lm: Run, there: Path) -> None:
        text = there / "play.txt"
        outcome = lm("compare", "words", "chars", "--text", text)
        assert outcome.code == 0
        assert "compared line by line" in outcome.out
        assert "perplexity" not in outcome.out

    def test_one_line_has_no_interval_and_says_so(self, lm: Run, there: Path) -> None:
        for models in (("lines", "lines1"), ("words", "bi")):
            out = lm("compare", *models, stdin=b"My lord, the king\n").out
            assert "No interval is possible" in out
            assert "too short" in out
            assert " to " not in out.splitlines()[1]

    def test_a_mixture_on_the_text_that_tuned_it_is_marked(self, lm: Run, there: Path) -> None:
        lm("mix", "words", "bi", "--name", "tuned")
        for command in ("compare", "eval"):
            out = " ".join(lm(command, "tuned", "words").out.split())
            assert out.count("tuned has its weights from this very text") == 1
            with_text = lm(command, "tuned", "words", "--text", "play.txt").out
            assert "this very text" not in with_text

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["words", "nothing"], "no model"),
            (["words", "lines"], "different validation texts"),
            (["words", "counts", "--text", "play.txt"], "probability zero"),
            (["words", "bi", "--text", "empty.txt"], "empty"),
        ],
    )
    def test_bad_input(self, lm: Run, there: Path, arguments: list[str], said: str) -> None:
        (there / "empty.txt").write_text("")
        assert said in lm("compare", *arguments).error


class TestExplain:
    def test_a_line_a_token(self, lm: Run, there: Path) -> None:
        out = lm("explain", "words", "My lord, the zebra").out.splitlines()
        assert [line.split()[0] for line in out[1::2]] == ["My", "lord", ",", "the", "zebra"]
        assert all("-gram: " in line for line in out[2::2])
        assert "zebra <unk>" in out[9]

    def test_json_has_the_parts_of_the_probability(self, lm: Run, there: Path) -> None:
        outcome = lm("explain", "words", "--json", stdin=b"My lord, the king\n")
        tokens = [json.loads(line) for line in outcome.out.splitlines()]
        assert [token["token"] for token in tokens] == ["My", "lord", ",", "the", "king", "\n"]
        assert [token["start"] for token in tokens] == [0, 3, 7, 9, 13, 17]
        for token in tokens:
            product = math.prod(factor["value"] for factor in token["factors"])
            assert product == pytest.approx(token["prob"], rel=1e-5)
            assert len(token["alternatives"]) == 5

    def test_members_of_a_mixture_are_shown(self, lm: Run, there: Path) -> None:
        lm("mix", "words", "bi", "--name", "shown")
        out = lm("explain", "shown", "My lord").out
        assert out.count("words: ") == out.count("bi: ") == 2
        assert "share" in out

    def test_the_page_shows_hostile_text_as_text(self, lm: Run, there: Path) -> None:
        page = there / "page.html"
        hostile = "<script>alert('x')</script> & \u202eabc\x07 My lord"
        assert lm("explain", "chars", hostile, "--html", page).code == 0
        html = page.read_text()
        assert "<script" not in html
        assert "alert" not in html  # every character is an element of its own
        assert "\u202e" not in html and "\x07" not in html

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["words", ""], 1, "no tokens"),
            (["words"], 2, "no text"),
            (["words", "a", "--html", "a.html", "--json"], 2, "one at a time"),
            (["words", "a", "--html", "missing/a.html"], 1, "cannot write missing/a.html"),
            (["words", "a", "--html", "models"], 1, "it is a folder"),
        ],
    )
    def test_bad_input(
        self, lm: Run, there: Path, arguments: list[str], code: int, said: str
    ) -> None:
        outcome = lm("explain", *arguments)
        assert outcome.code == code
        assert said in outcome.only_line
        assert outcome.out == ""


class TestNeighbours:
    def test_are_listed_by_falling_cosine(self, lm: Run, there: Path) -> None:
        found = json.loads(lm("neighbours", "net", "the", "--n", "5", "--json").out)
        cosines = [each["cosine"] for each in found]
        assert cosines == sorted(cosines, reverse=True)
        assert len(lm("neighbours", "net", "the").out.splitlines()) == 11

    def test_models_without_an_embedding_say_so(self, lm: Run, there: Path) -> None:
        outcome = lm("neighbours", "words", "the")
        assert outcome.code == 2
        assert "words (ngram) has no embedding" in outcome.only_line
        assert "does not know 'zebra'" in lm("neighbours", "net", "zebra").error


class TestPrune:
    def test_makes_a_smaller_model_that_sums_to_one_and_exports(self, lm: Run, there: Path) -> None:
        done = lm("prune", "words", "--entropy", "1e-4", "--name", "small")
        assert done.code == 0
        small, manifest = open_model_file(there / "models" / "small.safetensors")
        large = load_model(there / "models" / "words.safetensors")
        assert isinstance(small, NgramModel) and isinstance(large, NgramModel)
        assert small.table.sizes < large.table.sizes
        for order, size in enumerate(small.table.sizes, start=1):
            row = next(line for line in done.out.splitlines() if line.startswith(f"{order} "))
            assert f"{size:,}" in row
        before, after = perplexities(lm, "words", "small")
        assert f"perplexity  {before:.2f} before, {after:.2f} after" in done.out
        assert manifest.provenance.training == TrainingRecord(pruned_from="words")
        assert lm("check", "small").code == 0
        assert lm("convert", "small", "small.arpa").code == 0
        exported = NgramModel.from_arpa(there / "small.arpa").table
        assert exported.sizes == small.table.sizes
        for ours, theirs in zip(small.table.orders, exported.orders, strict=True):
            np.testing.assert_allclose(
                np.sort(np.exp(theirs.log_probs)), np.sort(np.exp(ours.log_probs)), atol=1e-6
            )

    @pytest.mark.parametrize("model", ["words", "lines", "chars"])
    def test_counts_give_what_training_with_cut_offs_gives(
        self, lm: Run, there: Path, model: str
    ) -> None:
        train = there / "play.txt"
        done = lm("prune", model, "--counts", "0,1", "--train", train, "--name", "cut")
        assert done.code == 0, done
        order = load_model(there / "models" / f"{model}.safetensors").settings.order
        options = ("--like", model, "--n", order, "--prune", "0,1", "--name", "direct")
        assert lm("train", "ngram", train, *options).code == 0
        cut, direct = (
            open_model_file(there / "models" / f"{n}.safetensors") for n in ("cut", "direct")
        )
        assert cut[0].settings == direct[0].settings
        ours, theirs = cut[0].arrays(), direct[0].arrays()
        assert all((ours[name] == theirs[name]).all() for name in theirs)
        assert cut[1].provenance.validation == direct[1].provenance.validation

    def test_a_model_without_validation_text_is_pruned_too(self, lm: Run, there: Path) -> None:
        lm("convert", "words", "words.arpa")
        done = lm("prune", "words.arpa", "--entropy", "1e-5", "--name", "from_arpa")
        assert done.code == 0
        assert "before," not in done.out

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["words"], 2, "nothing to prune by"),
            (["words", "--entropy", "0"], 2, "above 0"),
            (["scores", "--entropy", "1e-7"], 2, "--entropy needs probabilities"),
            (["words", "--entropy", "1e-7", "--name", "words"], 2, "a name of its own"),
            (["net", "--entropy", "1e-7"], 2, "net is a ffnn model"),
            (["words", "--counts", "0,x"], 2, "--counts takes counts"),
            (["words", "--counts", "0,1"], 2, "--train TEXT"),
            (["words", "--counts", "0,1", "--train", "short.txt"], 1, "trained on"),
            (["words", "--entropy", "1e-7", "--train", "play.txt"], 2, "--train is for --counts"),
            (["words", "--entropy", "1e-7", "--text", "missing.txt"], 1, "missing.txt"),
        ],
    )
    def test_bad_input(
        self, lm: Run, there: Path, arguments: list[str], code: int, said: str
    ) -> None:
        (there / "short.txt").write_text("My lord\n")
        outcome = lm("prune", *arguments)
        assert outcome.code == code
        assert said in outcome.only_line
        assert outcome.out == ""


class TestNovelty:
    def test_is_told_beside_the_sample(self, lm: Run, there: Path) -> None:
        sample = ("sample", "words", "--seed", "1", "--max-tokens", "40")
        plain, told = lm(*sample), lm(*sample, "--novelty", "play.txt")
        assert told.out == plain.out
        assert "longest run that is in" in told.err
        assert "by order: 3: " in told.err

    def test_json_holds_it_for_each_text(self, lm: Run, there: Path) -> None:
        arguments = ("--json", "--samples", "2", "--temp", "0", "--max-tokens", "30")
        lines = lm("sample", "chars", *arguments, "--novelty", "play.txt").out.splitlines()
        for drawn in map(json.loads, lines):
            told = drawn["novelty"]
            assert told["copied"] in (there / "play.txt").read_text()
            assert told["copied"] in drawn["text"]
            assert len(told["copied"]) == told["copied_tokens"] > 3
            assert list(told["novel"]) == ["3", "4", "5", "6", "7", "8"]

    def test_a_text_that_is_missing_is_an_error_before_anything_is_drawn(
        self, lm: Run, there: Path
    ) -> None:
        outcome = lm("sample", "words", "--novelty", "missing.txt")
        assert "missing.txt" in outcome.error
        assert outcome.out == ""
