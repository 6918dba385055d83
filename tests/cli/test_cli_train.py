"""``lm train ngram`` and what all trainings share: splits, --like, --config, the report."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from hardening.command import Run
from lmsuite.models.ngram import SMOOTHINGS
from lmsuite.store.artefact import read_manifest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LM_MODELS", raising=False)
    Path("play.txt").write_text(play[:6000], encoding="utf-8")
    Path("other.txt").write_text(play[9000:11000], encoding="utf-8")


def manifest(name: str) -> Any:
    return read_manifest(Path(f"models/{name}.safetensors"))


def info(lm: Run, name: str) -> Any:
    return json.loads(lm("info", name, "--json").out)


def test_the_report_says_what_there_is_now(lm: Run) -> None:
    outcome = lm("train", "ngram", "play.txt", "--n", "2")
    assert outcome.code == 0
    report = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert list(report) == ["trained", "validation", "saved", "next"]
    assert "play.txt" in report["trained"]
    assert "perplexity" in report["validation"]
    assert report["saved"].startswith("models/ngram.safetensors (")
    assert report["next"] == "lm sample ngram"
    assert outcome.err.startswith("play.txt: ")
    assert lm(*report["next"].split()[1:]).code == 0
    assert lm("train", "ngram", "play.txt", "-q", "--smoothing", "witten-bell").err == ""


def test_the_perplexity_reported_is_that_of_eval_and_of_the_model_file(lm: Run) -> None:
    outcome = lm("train", "ngram", "play.txt", "--tokenizer", "char")
    (row,) = json.loads(lm("eval", "ngram", "--json").out)
    recorded = manifest("ngram").provenance.validation
    assert recorded.perplexity == row["perplexity"]
    assert recorded.tokens == row["tokens"]
    assert f"perplexity {row['perplexity']:.2f}" in outcome.out


def test_the_last_tenth_is_set_aside(lm: Run) -> None:
    lm("train", "ngram", "play.txt", "--tokenizer", "char")
    text = Path("play.txt").read_text(encoding="utf-8")
    valid = gzip.decompress(Path("models/ngram.valid.txt.gz").read_bytes()).decode()
    assert text.endswith(valid)
    assert len(valid) == 600
    assert manifest("ngram").provenance.validation.split == "0.1"


def test_in_lines_the_cut_is_at_a_line(lm: Run) -> None:
    lm("train", "ngram", "play.txt", "--lines", "--valid", "0.3")
    text = Path("play.txt").read_text(encoding="utf-8")
    valid = gzip.decompress(Path("models/ngram.valid.txt.gz").read_bytes()).decode()
    assert text[: -len(valid)].endswith("\n")
    assert 1500 < len(valid) <= 1800


def test_a_validation_file_leaves_the_whole_text_to_train_on(lm: Run) -> None:
    lm("train", "ngram", "play.txt", "--tokenizer", "char", "--valid", "other.txt")
    lm("train", "ngram", "play.txt", "--tokenizer", "char", "--valid", "0", "--name", "all")
    assert info(lm, "ngram")["3-grams"] == info(lm, "all")["3-grams"]
    (row,) = json.loads(lm("eval", "ngram", "--json").out)
    assert row["chars"] == 2000
    assert manifest("ngram").provenance.validation.split == "other.txt"


def test_without_a_validation_text_none_is_left_from_before(lm: Run) -> None:
    lm("train", "ngram", "play.txt")
    assert Path("models/ngram.valid.txt.gz").exists()
    outcome = lm("train", "ngram", "play.txt", "--valid", "0")
    assert "validation  none" in outcome.out
    assert not Path("models/ngram.valid.txt.gz").exists()
    assert "has no validation text" in lm("eval", "ngram").error


def test_a_text_too_short_to_be_divided_is_trained_on_whole(lm: Run) -> None:
    outcome = lm("train", "ngram", "--n", "1", "--lines", stdin=b"the cow and the cat and the")
    assert outcome.code == 0
    assert "validation  none (the text is too short" in outcome.out


def test_text_from_a_pipe_and_several_files(lm: Run) -> None:
    piped = Path("play.txt").read_bytes()
    lm("train", "ngram", "--name", "piped", stdin=piped)
    lm("train", "ngram", "-", "--name", "dash", stdin=piped)
    lm("train", "ngram", "play.txt", "--name", "file")
    assert (
        info(lm, "piped")["3-grams"] == info(lm, "file")["3-grams"] == info(lm, "dash")["3-grams"]
    )
    assert manifest("piped").provenance.corpus == "standard input"
    assert lm("train", "ngram", "play.txt", "other.txt", "--name", "both").code == 0
    assert manifest("both").provenance.corpus == "play.txt, other.txt"


def test_without_a_text_it_is_the_embedded_play(lm: Run) -> None:
    lm("train", "ngram", "--n", "1")
    assert manifest("ngram").provenance.corpus == "play"


def test_the_command_is_remembered_as_it_was_typed(lm: Run) -> None:
    lm("train", "ngram", "play.txt", "--name", "two words")
    assert manifest("two words").provenance.command == "lm train ngram play.txt --name 'two words'"


def test_the_models_folder_by_option_and_by_environment(
    lm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = lm("train", "ngram", "play.txt", "--models", "a b/c")
    assert Path("a b/c/ngram.safetensors").is_file()
    assert outcome.out.splitlines()[-1] == "next        lm sample ngram --models 'a b/c'"
    monkeypatch.setenv("LM_MODELS", "elsewhere")
    lm("train", "ngram", "play.txt")
    assert Path("elsewhere/ngram.safetensors").is_file()
    assert not Path("models").exists()


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_every_smoothing(lm: Run, smoothing: str) -> None:
    outcome = lm("train", "ngram", "play.txt", "--smoothing", smoothing)
    assert outcome.code == 0
    assert manifest("ngram").settings["smoothing"] == smoothing


def test_options_reach_the_model(lm: Run) -> None:
    lm("train", "ngram", "play.txt", "--smoothing", "add-k", "--k", "0.25", "--n", "4", "--lines")
    assert manifest("ngram").settings["k"] == 0.25
    assert manifest("ngram").settings["order"] == 4
    assert manifest("ngram").text["boundaries"] == "lines"
    lm("train", "ngram", "play.txt", "--name", "full")
    lm("train", "ngram", "play.txt", "--name", "cut", "--prune", "0,0,1")
    lm("train", "ngram", "play.txt", "--name", "small", "--entropy-prune", "1e-4")
    lm("train", "ngram", "play.txt", "--name", "rare", "--min-count", "2")
    lm("train", "ngram", "play.txt", "--name", "few", "--max-vocab", "50")
    full, cut, small, rare, few = (
        info(lm, name) for name in ("full", "cut", "small", "rare", "few")
    )
    assert cut["3-grams"] < full["3-grams"]
    assert cut["2-grams"] == full["2-grams"]
    assert small["3-grams"] < full["3-grams"]
    assert rare["vocabulary"] < full["vocabulary"]
    assert few["vocabulary"] == 50


def test_a_vocabulary_file(lm: Run) -> None:
    Path("vocab.txt").write_text("the\nand\n\\n\n", encoding="utf-8")
    assert lm("train", "ngram", "play.txt", "--vocab", "vocab.txt").code == 0
    assert info(lm, "ngram")["vocabulary"] == 6


def test_bpe_and_its_size(lm: Run) -> None:
    assert lm("train", "ngram", "play.txt", "--tokenizer", "bpe", "--bpe-size", "300").code == 0
    assert info(lm, "ngram")["vocabulary"] <= 303


def test_the_seedless_training_is_repeatable(lm: Run) -> None:
    lm("train", "ngram", "play.txt", "--name", "a")
    lm("train", "ngram", "play.txt", "--name", "b")
    assert manifest("a").checksum == manifest("b").checksum


class TestLike:
    """``--like MODEL``."""

    def test_takes_tokens_vocabulary_boundaries_and_split(self, lm: Run) -> None:
        lm("train", "ngram", "play.txt", "--lines", "--min-count", "2", "--valid", "0.2")
        lm("train", "ngram", "play.txt", "--like", "ngram", "--name", "twin", "--n", "2")
        assert manifest("twin").text == manifest("ngram").text
        first, second = manifest("ngram").provenance, manifest("twin").provenance
        assert first.validation.sha256 == second.validation.sha256
        assert first.validation.oov == second.validation.oov > 0
        assert "vocabularies differ" not in lm("eval").out

    def test_takes_the_validation_file_that_may_be_gone(self, lm: Run) -> None:
        lm("train", "ngram", "play.txt", "--valid", "other.txt")
        Path("other.txt").unlink()
        assert lm("train", "ngram", "play.txt", "--like", "ngram", "--name", "twin").code == 0
        assert Path("models/twin.valid.txt.gz").read_bytes() == (
            Path("models/ngram.valid.txt.gz").read_bytes()
        )

    def test_takes_no_split_where_there_was_none(self, lm: Run) -> None:
        lm("train", "ngram", "play.txt", "--valid", "0")
        outcome = lm("train", "ngram", "play.txt", "--like", "ngram", "--name", "twin")
        assert "validation  none" in outcome.out

    def test_says_when_the_text_is_another(self, lm: Run) -> None:
        lm("train", "ngram", "play.txt")
        outcome = lm("train", "ngram", "other.txt", "--like", "ngram", "--name", "twin")
        assert "note: ngram was trained on another text (play.txt)" in outcome.err

    @pytest.mark.parametrize(
        "option",
        [("--tokenizer", "word"), ("--stream",), ("--min-count", "1"), ("--valid", "0.1")],
    )
    def test_leaves_nothing_to_choose(self, lm: Run, option: tuple[str, ...]) -> None:
        lm("train", "ngram", "play.txt")
        outcome = lm("train", "ngram", "play.txt", "--like", "ngram", *option)
        assert outcome.code == 2
        assert "--like takes the tokens and the split of ngram; leave out --" in outcome.only_line


class TestConfig:
    """``--config FILE.toml``."""

    def test_gives_options_that_the_command_line_overrules(self, lm: Run) -> None:
        Path("c.toml").write_text(
            'n = 2\nsmoothing = "add-k"\nk = 0.5\nlines = true\nmin-count = 2\nprune = [0, 1]\n'
            'name = "named"\nvalid = 0.2\nquiet = true\n',
            encoding="utf-8",
        )
        outcome = lm("train", "ngram", "play.txt", "--config", "c.toml", "--k", "0.125")
        assert outcome.code == 0
        assert outcome.err == ""
        made = manifest("named")
        assert made.settings["order"] == 2
        assert made.settings["k"] == 0.125
        assert made.settings["prune"] == [0, 1]
        assert made.text["boundaries"] == "lines"
        assert made.provenance.validation.split == "0.2"

    def test_knows_the_negative_form(self, lm: Run) -> None:
        Path("c.toml").write_text("stream = true\n", encoding="utf-8")
        lm("train", "ngram", "play.txt", "--config", "c.toml")
        assert manifest("ngram").text["boundaries"] == "stream"
        Path("c.toml").write_text("stream = false\n", encoding="utf-8")
        lm("train", "ngram", "play.txt", "--config", "c.toml")
        assert manifest("ngram").text["boundaries"] == "lines"

    @pytest.mark.parametrize(
        ("content", "code", "said"),
        [
            ("layers = 3\n", 2, "'layers' is not an option of lm train ngram (known: "),
            ("[train]\nn = 2\n", 2, "'train' is not an option"),
            ('debug = true\nn = "3"\n', 2, "'debug' is not an option"),
            ("n = {a = 1}\n", 2, "is a table"),
            ("n = \n", 1, "c.toml is not TOML"),
        ],
    )
    def test_refuses_what_it_does_not_know(
        self, lm: Run, content: str, code: int, said: str
    ) -> None:
        Path("c.toml").write_text(content, encoding="utf-8")
        outcome = lm("train", "ngram", "play.txt", "--config", "c.toml")
        assert outcome.code == code
        assert said in outcome.only_line
        assert not Path("models").exists()

    def test_refuses_a_value_of_the_wrong_kind(self, lm: Run) -> None:
        Path("c.toml").write_text('n = "three"\n', encoding="utf-8")
        outcome = lm("train", "ngram", "play.txt", "--config", "c.toml")
        assert outcome.code == 2
        assert "--n" in outcome.err

    def test_names_a_file_that_is_not_there(self, lm: Run) -> None:
        outcome = lm("train", "ngram", "play.txt", "--config", "none.toml")
        assert outcome.error == "cannot read none.toml: No such file or directory"


class TestValidByRandom:
    """``--valid-by random``."""

    @pytest.fixture(autouse=True)
    def sorted_names(self) -> None:
        rng = random.Random(5)
        names = {
            "".join(rng.choices(["an", "be", "lo", "ri", "sta", "z"], k=3)) for _ in range(400)
        }
        Path("names.txt").write_text("\n".join(sorted(names)) + "\n", encoding="utf-8")

    TRAIN = ("train", "ngram", "names.txt", "--tokenizer", "char", "--n", "4")

    @pytest.mark.parametrize("boundaries", ["--lines", "--stream"])
    def test_a_sorted_list_is_judged_as_it_should_be(self, lm: Run, boundaries: str) -> None:
        end = lm(*self.TRAIN, boundaries, "--name", "end")
        drawn = lm(*self.TRAIN, boundaries, "--name", "drawn", "--valid-by", "random")
        assert "the lines come sorted" in end.err and "--valid-by random" in end.err
        assert "sorted" not in drawn.err
        of_end, of_drawn = (manifest(n).provenance.validation.perplexity for n in ("end", "drawn"))
        assert of_end > 1.2 * of_drawn

    def test_it_is_recorded_and_another_model_takes_it_over(self, lm: Run) -> None:
        lm(*self.TRAIN, "--valid", "0.2", "--valid-by", "random", "--lines")
        recorded = manifest("ngram").provenance.validation
        assert recorded.split == "0.2 of random lines, seed 0"
        valid = gzip.decompress(Path("models/ngram.valid.txt.gz").read_bytes()).decode()
        assert len(valid) == pytest.approx(0.2 * Path("names.txt").stat().st_size, abs=8)
        assert lm("train", "ngram", "names.txt", "--like", "ngram", "--name", "other").code == 0
        assert manifest("other").provenance.validation.sha256 == recorded.sha256
        cut = lm("prune", "ngram", "--name", "cut", "--counts", "0,1", "--train", "names.txt")
        assert cut.code == 0
        anew = ("train", "ngram", "names.txt", "--like", "ngram", "--n", "4", "--prune", "0,1")
        lm(*anew, "--name", "anew")
        assert info(lm, "cut")["2-grams"] == info(lm, "anew")["2-grams"]

    def test_what_it_cannot_do_is_refused(self, lm: Run) -> None:
        none = lm(*self.TRAIN, "--valid", "0", "--valid-by", "random")
        assert none.code == 2 and "asks for none" in none.err
        lm(*self.TRAIN)
        refused = lm("train", "ngram", "names.txt", "--like", "ngram", "--valid-by", "end")
        assert refused.code == 2 and "leave out --valid-by" in refused.err
        one = lm("train", "ngram", "--valid-by", "random", stdin=b"one line of a few words\n")
        assert one.code == 1 and "too few different lines" in one.error
