"""``lm sample``: prompts, seeds, stops, what a terminal and a pipe are given."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from hardening.command import Run, on_terminal, started

pytestmark = pytest.mark.usefixtures("in_workplace")


def test_the_same_seed_gives_the_same_bytes(lm: Run, lm_process: Run) -> None:
    arguments = ("sample", "words", "--seed", "7", "--temp", "0.8", "--max-tokens", "50")
    first, again = lm(*arguments), lm_process(*arguments)
    assert first.code == 0
    assert first.out == again.out
    assert first.out != lm(*arguments[:3], "8", *arguments[4:]).out
    assert lm("sample", "words").out != lm("sample", "words").out


def test_the_prompt_comes_first_from_an_argument_or_a_pipe(lm: Run) -> None:
    options = ("--seed", "1", "--max-tokens", "20")
    typed = lm("sample", "words", "My lord,", *options)
    piped = lm("sample", "words", *options, stdin=b"My lord,\n")
    assert typed.out.startswith("My lord,")
    assert typed.out == piped.out
    assert lm("sample", "words", "My lord,", *options, stdin=b"ignored").out == typed.out
    # A space at the end is the next word's own, where tokens do not show spaces.
    assert lm("sample", "words", "My lord, ", *options).out == typed.out
    assert lm("sample", "chars", "My lord, ", *options).out.startswith("My lord, ")


def test_greedy_needs_no_seed(lm: Run) -> None:
    arguments = ("sample", "chars", "My", "--temp", "0", "--max-tokens", "40")
    assert lm(*arguments).out == lm(*arguments).out == lm(*arguments, "--top-k", "1").out


def test_unseen_words_and_characters_are_warned_of_once(lm: Run) -> None:
    outcome = lm("sample", "chars", "Émile ∞", "--max-tokens", "5", "--seed", "1")
    assert outcome.code == 0
    assert outcome.out.startswith("Émile ∞")
    assert outcome.err == (
        "warning: the prompt has 2 tokens that the model does not know; it reads <unk> there\n"
    )
    assert "a token that" in lm("sample", "words", "zebra", "--max-tokens", "1").err


def test_unknown_tokens_are_never_drawn(lm: Run, tmp_path: Path) -> None:
    lm("train", "ngram", "play.txt", "--min-count", "5", "--models", tmp_path)
    outcome = lm("sample", "ngram", "--max-tokens", "2000", "--seed", "1", "--models", tmp_path)
    assert len(outcome.out) > 1000
    assert "<unk>" not in outcome.out


def test_samples_are_divided_by_a_line(lm: Run) -> None:
    outcome = lm("sample", "chars", "A", "--samples", "3", "--max-tokens", "30", "--seed", "1")
    parts = outcome.out.split("---\n")
    assert len(parts) == 3
    assert all(part.startswith("A") and part.endswith("\n") for part in parts)
    assert len(set(parts)) == 3


def test_json_adds_ids_and_log_probs(lm: Run) -> None:
    arguments = ("sample", "words", "My lord,", "--seed", "3", "--max-tokens", "10")
    lines = lm(*arguments, "--samples", "2", "--json").out.splitlines()
    assert len(lines) == 2
    for line in lines:
        drawn = json.loads(line)
        assert list(drawn) == ["prompt", "text", "ids", "log_probs"]
        assert drawn["prompt"] == "My lord,"
        assert len(drawn["ids"]) == len(drawn["log_probs"]) == 10
        assert all(value < 0 for value in drawn["log_probs"])
    single = json.loads(lm(*arguments, "--json").out)
    assert lm(*arguments).out.rstrip("\n") == (single["prompt"] + single["text"]).rstrip("\n")


def test_stop_texts(lm: Run) -> None:
    whole = lm("sample", "chars", "--seed", "5", "--max-tokens", "300").out
    line = lm("sample", "chars", "--seed", "5", "--max-tokens", "300", "--stop", "\\n").out
    assert line == whole.split("\n")[0] + "\n"
    either = lm("sample", "chars", "--seed", "5", "--stop", "th", "--stop", " w").out
    assert either.rstrip("\n") == whole[: min(whole.index("th"), whole.index(" w"))].rstrip("\n")


def test_a_model_of_lines_writes_lines(lm: Run) -> None:
    outcome = lm("sample", "lines", "--seed", "1", "--max-tokens", "100")
    assert outcome.out.count("\n") > 5
    assert lm("sample", "lines", "--seed", "1", "--stop", "\\n").out.count("\n") == 1


def test_a_prompt_that_is_not_utf_8(lm: Run) -> None:
    assert "the prompt: not utf-8 at byte" in lm("sample", "chars", stdin=b"\xff\xfe").error
    assert "the prompt: not utf-8 at byte" in lm("sample", "chars", os.fsdecode(b"ab\xff")).error


@pytest.mark.parametrize(
    "wrong", [("--top-p", "0"), ("--top-p", "2"), ("--temp", "-1"), ("--min-p", "1.5")]
)
def test_filters_out_of_range(lm: Run, wrong: tuple[str, ...]) -> None:
    outcome = lm("sample", "chars", *wrong)
    assert outcome.code == 2
    assert wrong[0].strip("-") in outcome.err


def test_escapes_in_arguments_alone(lm: Run) -> None:
    """``\\n`` is a line end in a prompt and in --stop, and two characters in what is piped in."""
    options = ("--seed", "2", "--max-tokens", "5")
    assert lm("sample", "chars", "A\\n\\t\\\\n", *options).out.startswith("A\n\t\\n")
    assert lm("sample", "chars", *options, stdin=b"A\\n\n").out.startswith("A\\n")
    kept = lm("sample", "chars", "--seed", "5", "--stop", "\\n", "--keep-stop", "--json").out
    assert json.loads(kept)["text"].count("\n") == 1
    assert json.loads(kept)["text"].endswith("\n")


def test_the_first_of_several_texts_is_the_only_one(lm: Run) -> None:
    options = ("--seed", "1", "--max-tokens", "30")
    one = lm("sample", "words", *options).out
    three = lm("sample", "words", *options, "--samples", "3").out
    assert three.split("---\n")[0] == one


def test_of_a_long_prompt_the_warning_speaks_of_what_was_read(lm: Run) -> None:
    err = lm("sample", "words", "--max-tokens", "1", stdin=b"zebrax " * 20_000).err
    assert err.startswith("warning: the end of the prompt, the only part that is read, has ")


def test_a_prompt_of_megabytes_costs_what_writing_it_costs(lm_process: Run) -> None:
    prompt = b"the king and the crown " * 450_000  # 10 MB
    began = time.perf_counter()
    outcome = lm_process("sample", "words", "--max-tokens", "20", "--seed", "1", stdin=prompt)
    assert time.perf_counter() - began < 5  # 0.6 s on a quiet machine
    assert len(outcome.out) > len(prompt)


def test_a_pipe_is_given_each_piece_as_it_is_made() -> None:
    process = started("sample", "chars", "--max-tokens", "100000000")
    assert process.stdout is not None
    assert len(os.read(process.stdout.fileno(), 65536)) < 65536  # less than a full buffer
    process.kill()
    process.communicate()


def test_a_thousand_words_take_as_long_as_a_few_starts(lm_process: Run) -> None:
    """Processor time, one beside the other: a slow or busy machine slows both."""

    def seconds(tokens: str) -> float:
        before = os.times()
        assert lm_process("sample", "words", "--max-tokens", tokens, "--seed", "1").code == 0
        after = os.times()
        user = after.children_user - before.children_user
        return user + after.children_system - before.children_system

    assert min(seconds("1000") for _ in range(2)) < 4 * min(seconds("1") for _ in range(2))


def test_a_terminal_is_shown_control_characters_and_a_pipe_is_given_them(
    lm: Run, lm_process: Run, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("\x1b[31mred\x07\tand\n" * 20, encoding="utf-8")
    models = ("--models", str(tmp_path))
    lm("train", "ngram", text, "--tokenizer", "char", *models)
    command = ["sample", "ngram", "\x1b[31mred", "--seed", "1", "--max-tokens", "40", *models]
    assert "\x1b[31m" in lm_process(*command).out
    shown = on_terminal(lm_process, *command, columns=80, env={"TERM": "dumb"}).done.out
    assert "\x1b" not in shown
    assert "\\x1b[31mred\\x07" in shown
    assert "\t" in shown


@pytest.mark.parametrize("columns", [120, 80, 40])
def test_tables_fit_the_terminal(lm_process: Run, columns: int) -> None:
    for command in (["eval"], ["models"], ["info", "words"]):
        shown = on_terminal(lm_process, *command, columns=columns, env={"TERM": "dumb"})
        lines = shown.done.out.splitlines()
        for line in lines:  # a checksum or a path has no place to be broken at
            assert len(line) <= columns or max(map(len, line.split())) > columns - 20
        text = " ".join(lines)
        assert "…" not in text
        assert "words" in text


def test_a_pipe_is_given_the_whole_table(lm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    header, *rows = lm("models").out.splitlines()
    assert header.startswith("model ")
    assert len(rows) == 4
    assert all(len(row.split()) >= 7 for row in rows)


def test_prompts_of_a_file_are_gone_on_with_in_their_order(lm: Run, tmp_path: Path) -> None:
    lines = ["My lord,", "The king", "THE\\nTIDE"] * 3
    (tmp_path / "p.txt").write_text("\n".join(lines) + "\n")
    records = [json.dumps({"prompt": line.replace("\\n", "\n")}) for line in lines]
    (tmp_path / "p.jsonl").write_text("\n".join(records) + "\n")
    options = ("--seed", "3", "--max-tokens", "9")
    out = lm("sample", "words", "--prompts", tmp_path / "p.txt", *options, "--json").done.out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["prompt"] for row in rows] == [line.replace("\\n", "\n") for line in lines]
    assert all(len(row["ids"]) == 9 for row in rows)
    again = lm("sample", "words", "--prompts", tmp_path / "p.jsonl", *options, "--json").done.out
    assert again == out
    piped = lm("sample", "words", "--prompts", "-", *options, stdin=b"My lord,\nThe king\n").done
    texts = piped.out.split("---\n")
    assert [text[:8] for text in texts] == ["My lord,", "The king"]


def test_what_stands_between_texts(lm: Run) -> None:
    options = ("--samples", "3", "--seed", "1", "--max-tokens", "5")
    whole = lm("sample", "words", *options).done.out
    other = lm("sample", "words", *options, "--separator", "\\n").done.out
    assert other == whole.replace("---\n", "\n")


@pytest.mark.parametrize("model", ["words", "chars", "lines"])
def test_wanted_texts(lm: Run, model: str) -> None:
    options = ("--stop", "\\n", "--samples", "4", "--seed", "1", "--min-tokens", "3", "--json")
    for wanted in (("--contains", "the"), ("--ends-with", "the"), ("--contains", "th")):
        if wanted[1] == "th" and model != "chars":
            continue
        outcome = lm("sample", model, *wanted, *options).done
        for line in outcome.out.splitlines():
            row = json.loads(line)
            assert wanted[1] in row["text"]
            assert row["draws"] >= 1
            assert len(row["ids"]) >= 3
            if wanted[0] == "--ends-with":
                assert row["text"].endswith("the")


def test_a_text_that_is_drawn_again_is_counted(lm: Run) -> None:
    """A stop text of several tokens is not looked for ahead."""
    outcome = lm("sample", "words", "--contains", "the", "--stop", "my lord", "--seed", "2").done
    again = lm(
        *("sample", "words", "--contains", "the", "--stop", "my lord", "--seed", "2"),
        *("--samples", "8", "--max-tokens", "6"),
    ).done
    assert "the" in outcome.out
    assert "for 8 texts that are wanted" in again.err


def test_conditions_that_cannot_be_kept(lm: Run) -> None:
    assert "'zebra', a token that the model" in lm("sample", "words", "--contains", "zebra").err
    outcome = lm("sample", "words", "--contains", "the the the", "--max-tokens", "2")
    assert "no text of at most 2 tokens is as --contains 'the the the'" in outcome.error
    assert "--max-tokens" in outcome.error
    assert "exclude" in lm("sample", "words", "My", "--prompts", "p").err
    assert "--min-tokens must be at most" in lm("sample", "words", "--min-tokens", "300").err
    assert "--beam" in lm("sample", "words", "--beam", "2", "--contains", "the").err


def test_no_longer_run_is_copied_from_the_play(lm: Run) -> None:
    options = ("--seed", "5", "--max-tokens", "80", "--novelty", "play.txt", "--json")
    free = json.loads(lm("sample", "chars", "My", *options).done.out)
    bound = json.loads(
        lm("sample", "chars", "My", *options, "--max-copy", "6", "play.txt").done.out
    )
    assert free["novelty"]["copied_tokens"] > 6 >= bound["novelty"]["copied_tokens"]


def test_a_beam_is_at_least_as_probable_as_greedy(lm: Run) -> None:
    options = ("sample", "words", "My", "--max-tokens", "8", "--json")
    [greedy] = lm(*options, "--temp", "0").done.out.splitlines()
    best, second = lm(*options, "--beam", "20", "--samples", "2").done.out.splitlines()
    sums = [sum(json.loads(line)["log_probs"]) for line in (best, second, greedy)]
    assert sums[0] >= sums[1] and sums[0] >= sums[2]
    plain = lm("sample", "words", "My", "--max-tokens", "8", "--beam", "20").done.out
    assert plain.rstrip("\n") == "My" + json.loads(best)["text"].rstrip("\n")
