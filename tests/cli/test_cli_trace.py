"""``lm trace``: passes, fractions and worksheets, as a user asks for them."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest

from hardening.command import Run, on_terminal

TINY = ("--epochs", "0.05", "--embed", "3", "--valid", "0", "--quiet")


@pytest.fixture(scope="module")
def made(workplace: Path, tmp_path_factory: pytest.TempPathFactory, lm: Run) -> Path:
    """The workplace with tiny networks, too."""
    folder = tmp_path_factory.mktemp("traces")
    shutil.copytree(workplace, folder, dirs_exist_ok=True)
    where = ("--models", str(folder / "models"))
    play = str(folder / "play.txt")
    for command in (
        ("rnn", play, "--cell", "lstm", "--hidden", "5", "--name", "lstm"),
        ("rnn", play, "--cell", "gru", "--hidden", "4", "--layers", "2", "--name", "gru"),
        ("ffnn", play, "--hidden", "4", "--context", "2", "--name", "net"),
    ):
        assert lm("train", *command, *TINY, *where).done
    return folder


@pytest.fixture
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    monkeypatch.delenv("LM_MODELS", raising=False)
    return made


class TestNetworks:
    def test_a_table_of_steps_and_one_of_nodes(self, lm: Run, there: Path) -> None:
        out = lm("trace", "lstm", "My lord, the king").done.out
        assert "J = L_1 + … + L_5" in out
        assert "step 5: reads the, predicts king" in out
        nodes = out[out.index("node ") :].splitlines()
        names = [line.split("  ")[0] for line in nodes[1:]]
        for name in ("c_5 = f_5 · c_4 + i_5 · g_5", "h_5 = o_5 · tanh(c_5)", "U_o", "W_y"):
            assert name in names
        [h] = [line for line in nodes if line.startswith("o_5 =")]
        assert "by a_o,5: o_5 (1 − o_5) = " in h

    def test_a_step_is_chosen(self, lm: Run, there: Path) -> None:
        out = lm("trace", "gru", "My lord, the king", "--step", "2").done.out
        assert "step 2: reads My, predicts lord" in out
        assert "h²_2 = (1 − z²_2) · n²_2 + z²_2 · h²_1" in out
        assert "_3" not in out[out.index("step 2") :]

    def test_one_unit_can_be_followed_by_hand(self, lm: Run, there: Path) -> None:
        out = lm("trace", "net", "My lord", "--unit", "1").done.out
        lines = dict(
            line.replace("−", "-").split(" = ", 1) for line in out.splitlines() if " = " in line
        )
        z, a = (float(lines[name].split(" = ")[-1]) for name in ("z_2[1]", "a_2[1]"))
        assert math.tanh(z) == pytest.approx(a, abs=1e-3)
        upstream, slope = re.match(r"(\S+) · (\S+) \(1 - a_2²\)", lines["dJ/dz_2[1]"]).groups()
        assert float(slope) == pytest.approx(1 - a**2, abs=1e-3)
        assert float(lines["dJ/da_2[1]"].split()[0]) == pytest.approx(float(upstream))
        terms = re.findall(r"(\S+)·(\S+)", lines["(x_2 H)[1]"])
        assert len(terms) == 3
        assert lines["z_2[1]"].startswith(lines["(x_2 H)[1]"].split(" = ")[-1])

    def test_json_has_every_number(self, lm: Run, there: Path) -> None:
        found = json.loads(lm("trace", "lstm", "My lord,", "--json").done.out)
        assert [step["predicts"] for step in found["steps"]] == ["My", "lord", ","]
        assert found["loss"] == pytest.approx(sum(step["loss"] for step in found["steps"]))
        scores = [
            json.loads(line)["log_prob"]
            for line in lm(
                "score", "lstm", "--tokens", "--json", stdin=b"My lord,"
            ).done.out.splitlines()
        ]
        assert [-step["loss"] for step in found["steps"]] == pytest.approx(scores[:3], abs=1e-4)
        nodes = {node["node"]: node for step in found["steps"] for node in step["nodes"]}
        o, tanh_c = nodes["o_2"], nodes["tanh(c_2)"]
        product = [a * b for a, b in zip(o["value"], tanh_c["value"], strict=True)]
        assert nodes["h_2"]["value"] == pytest.approx(product)
        assert nodes["h_2"]["inputs"][0]["derivative"] == "tanh(c_2)"
        assert {each["node"] for each in found["parameters"]} > {"C", "W_o", "U_f", "b_g", "b_y"}
        [only] = json.loads(lm("trace", "lstm", "My lord,", "--json", "--step", "2").out)["steps"]
        assert only["step"] == 2

    def test_the_page_has_the_graph(self, lm: Run, there: Path) -> None:
        assert lm("trace", "gru", "My <b>lord", "--html", "page.html", "--step", "3").done
        page = (there / "page.html").read_text(encoding="utf-8")
        assert page.count('class="t box') > 30
        assert "<b>lord" not in page
        assert "<b>h²_3</b>" in page

    def test_a_narrow_terminal_gets_a_block_a_node(self, lm: Run, there: Path) -> None:
        arrived = on_terminal(lm, "trace", "net", "My lord", columns=60).done.out
        assert max(len(line.rstrip()) for line in arrived.splitlines()) <= 60
        assert "local derivative" in arrived


class TestNgrams:
    def test_counts_from_the_text_that_the_model_names(self, lm: Run, there: Path) -> None:
        shutil.copy("play.txt", "mine.txt")
        options = ("train", "ngram", "mine.txt", "--n", "2")
        assert lm(*options, "--smoothing", "witten-bell", "--name", "wb").done
        out = lm("trace", "wb", "My lord").done.out
        assert "lord: p = " in out
        assert "2-gram, after My" in out
        share = re.search(
            r"share +(\S+) +c\(hw\) / \(c\(h·\) \+ T\(h\)\) = (\d+) / \((\d+) \+ (\d+)\)", out
        )
        value, c, total, types = map(float, share.groups())
        assert value == pytest.approx(c / (total + types), rel=1e-5)
        Path("mine.txt").unlink()
        gone = lm("trace", "wb", "My lord").done
        assert "note: no counts are shown: " in gone.err
        assert "--training TEXT" in gone.err
        assert "c(hw)" not in gone.out
        given = lm("trace", "wb", "My lord", "--training", "play.txt").done.out
        assert given == out

    def test_json_and_page_have_the_lines(self, lm: Run, there: Path) -> None:
        options = ("trace", "words", "My lord,", "--training", "play.txt")
        lines = lm(*options, "--json").done.out.splitlines()
        assert [json.loads(line)["token"] for line in lines] == ["My", "lord", ","]
        last = json.loads(lines[-1])
        assert last["levels"][-1]["lines"][-1]["value"] == pytest.approx(last["prob"], rel=1e-5)
        assert math.prod(each["value"] for each in last["stored"]) == pytest.approx(last["prob"])
        assert lm(*options, "--html", "fractions.html", "--step", "2").done
        page = (there / "fractions.html").read_text(encoding="utf-8")
        assert page.count("<h2") == 1
        assert "leftover" in page

    def test_lines_split_at_random_and_a_validation_file_are_counted_alike(
        self, lm: Run, there: Path
    ) -> None:
        for options in (("--valid-by", "random"), ("--valid", "0"), ("--valid", "play.txt")):
            name = ("--name", "split", "--lines", "--n", "2", *options)
            assert lm("train", "ngram", "play.txt", *name).done
            assert "c(hw)" in lm("trace", "split", "My lord").done.out

    def test_another_text_is_refused(self, lm: Run, there: Path) -> None:
        Path("other.txt").write_text("My lord, my lord.\n" * 20)
        refused = lm("trace", "words", "My lord", "--training", "other.txt")
        assert "was not trained on this text; give --training TEXT" in refused.error


class TestExercises:
    @pytest.mark.parametrize("seed", ["2", "3", "4", "5", "8"])
    def test_the_solution_passes_its_own_check(self, lm: Run, tmp_path: Path, seed: str) -> None:
        sheet = lm("trace", "--exercise", seed).done.out
        solved = lm("trace", "--exercise", seed, "--solution").done.out
        gaps = sheet.count("= ________")
        assert gaps > 7
        for text in (solved, " ".join(re.findall(r"^\(\d+\).* = (\S+)$", solved, flags=re.M))):
            (tmp_path / "answers.txt").write_text(text, encoding="utf-8")
            right = lm("trace", "--exercise", seed, "--check", tmp_path / "answers.txt").done.out
            assert right == f"all {gaps} answers are right\n"
        again = lm("trace", "--exercise", seed).done.out
        assert again == sheet

    def test_the_first_wrong_number_is_named(self, lm: Run) -> None:
        solved = lm("trace", "--exercise", "7", "--solution").done.out
        wrong = re.sub(r"^(\((?:12|5)\).* = ).*$", r"\g<1>9.5", solved, flags=re.M)
        refused = lm("trace", "--exercise", "7", "--check", "-", stdin=wrong.encode())
        assert refused.error == "(5) y1 = h1 U11 + h2 U21 + c1: 9.5 is wrong"
        sheet = lm("trace", "--exercise", "7").done.out
        empty = lm("trace", "--exercise", "7", "--check", "-", stdin=sheet.encode())
        assert empty.error.endswith("there is no answer yet")
        words = lm("trace", "--exercise", "7", "--check", "-", stdin=b"one two")
        assert words.error.endswith("'one' is not a number")

    def test_json(self, lm: Run) -> None:
        sheet = json.loads(lm("trace", "--exercise", "3", "--json").done.out)
        assert all("answer" not in question for question in sheet["questions"])
        solved = json.loads(lm("trace", "--exercise", "3", "--json", "--solution").done.out)
        answers = " ".join(str(question["answer"]) for question in solved["questions"])
        checked = lm("trace", "--exercise", "3", "--check", "-", "--json", stdin=answers.encode())
        assert json.loads(checked.done.out) == {"exercise": 3, "right": len(sheet["questions"])}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lstm", ""], 1, "no tokens"),
        (["lstm"], 2, "no text"),
        ([], 2, "name a MODEL and a text to trace, or ask for --exercise SEED"),
        (["lstm", "a", "--html", "a.html", "--json"], 2, "one at a time"),
        (["lstm", "a", "--html", "missing/a.html"], 1, "cannot write missing/a.html"),
        (["lstm", "a", "--step", "2"], 2, "--step must be from 1 to 1, not 2"),
        (["words", "a", "--step", "2"], 2, "--step must be from 1 to 1, not 2"),
        (["lstm", "a", "--unit", "5"], 2, "--unit must be from 0 to 4, not 5"),
        (["words", "a", "--unit", "0"], 2, "an n-gram model has no units"),
        (["lstm", "a", "--training", "play.txt"], 2, "--training is for n-gram models"),
        (["lstm", "a", "--solution"], 2, "--solution belongs to a worksheet"),
        (["lstm", "a", "--check", "x"], 2, "--check belongs to a worksheet"),
        (["lstm", "a", "--exercise", "1"], 2, "--exercise has a tiny model of its own"),
        (["--exercise", "1", "--unit", "1"], 2, "--unit is not for --exercise"),
        (["--exercise", "1", "--check", "none.txt"], 1, "none.txt: no such file"),
    ],
)
def test_bad_input(lm: Run, there: Path, arguments: list[str], code: int, said: str) -> None:
    outcome = lm("trace", *arguments)
    assert outcome.code == code
    assert said in outcome.only_line


def test_a_mixture_is_refused_by_name(lm: Run, there: Path) -> None:
    assert lm("train", "ngram", "play.txt", "--n", "2", "--like", "words", "--name", "bi").done
    assert lm("mix", "words", "bi", "--name", "mixed").done
    refused = lm("trace", "mixed", "My lord")
    assert "mixed is a mixture" in refused.error
    assert "lm explain mixed" in refused.error
