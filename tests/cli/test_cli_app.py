"""The command line as a whole: help, completion, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hardening.command import Run, started
from lmsuite import __version__
from lmsuite.cli import failures
from lmsuite.cli.app import make_group
from lmsuite.cli.interruption import InterruptedCommand
from lmsuite.cli.registry import COMMANDS, GROUPS
from lmsuite.errors import LmError


def command(path: str) -> Any:
    """The click command of these words."""
    found = make_group()
    for word in path.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize("path", COMMANDS)
def test_the_table_says_what_the_command_says(path: str) -> None:
    help_text = command(path).help
    assert help_text.splitlines()[0] == COMMANDS[path].help
    examples = [line for line in help_text.splitlines() if line.startswith("  ") and "lm " in line]
    assert len(examples) >= 2, "--help shows two examples"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_explained(path: str) -> None:
    for parameter in command(path).params:
        assert parameter.help, parameter.name


def test_help_lists_every_command(lm: Run) -> None:
    whole = lm("--help")
    assert whole.code == 0
    words = [line.split()[0] for line in whole.out.splitlines() if line.startswith("  ")]
    for path in COMMANDS:
        assert path.split()[0] in words
    for group, line in GROUPS.items():
        assert line in lm(group, "--help").out


def test_help_is_quick_and_imports_no_numpy() -> None:
    script = (
        "import sys\nfrom lmsuite.cli.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'numpy', 'rich', 'nltk', 'tokenizers', 'tqdm'} & set(sys.modules)\n"
        "assert not any(name.startswith('lmsuite.cli.commands.sample') for name in sys.modules)\n"
    )
    ours, typer = 0.0, 0.0
    # In turn, so that a slow moment of the machine meets both. The system counts in hundredths of a
    # second, which are coarse for one run, and for five if they are near the bound.
    for _ in range(5):
        for _ in range(5):
            ours += seconds_of(script)
            typer += seconds_of("import typer, typer.core")
        if ours < 1.5 * typer:
            break
    assert ours < 1.5 * typer


def seconds_of(script: str) -> float:
    """Processor time of a Python process that runs it."""
    before = children_seconds()
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
    return children_seconds() - before


def children_seconds() -> float:
    """Processor time of all processes started from here that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def test_version(lm: Run) -> None:
    assert lm("--version").out == f"lm {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "No such command"),
        (["evl"], "Did you mean 'eval'"),
        (["eval", "--blok", "3"], "No such option"),
        (["eval", "--block", "0"], "--block"),
        (["sample"], "MODEL"),
        (["train", "ngram", "--n", "two"], "--n"),
        (["train", "ngram", "--n", "0"], "--n"),
        (["train", "ngram", "--smoothing", "none"], "--smoothing"),
        (["train", "ngram", "--k", "0.5"], "--k is for --smoothing add-k"),
        (["train", "ngram", "--prune", "a,b"], "--prune takes counts"),
        (["train", "ngram", "--valid", "1.5"], "--valid takes a share"),
        (["train", "ngram", "--name", "a/b"], "no name for a model"),
        (["train", "ngram", "--name", "a\nb"], "'a\\nb' is no name for a model"),
        (["train", "rnn", "--name", "a\nb"], "'a\\nb' is no name for a model"),
        (["mix", "words", "words", "--name", "a\nb"], "'a\\nb' is no name for a model"),
        (["prune", "words", "--entropy", "1", "--name", "a\n"], "'a\\n' is no name for a model"),
        (["train", "ngram", "play.txt", "--encoding", "klingon"], "klingon"),
    ],
)
def test_wrong_usage_is_exit_code_two(
    lm: Run, in_workplace: Path, arguments: list[str], said: str
) -> None:
    outcome = lm(*arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_debug_shows_the_traceback(lm_process: Run, in_workplace: Path) -> None:
    plain, debug = lm_process("info", "none"), lm_process("info", "none", "--debug")
    assert "no model 'none'" in plain.error
    assert debug.code == 1
    assert "Traceback" in debug.err
    assert "no model 'none'" in debug.err


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (LmError("the first\nand the second line"), 1, "error: the first and the second line\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (InterruptedCommand(15), 143, "interrupted\n"),
        (MemoryError("Unable to allocate 9 TiB"), 1, "error: not enough memory"),
        (OSError(28, "No space left on device"), 1, "free some space"),
        (PermissionError(13, "Permission denied", "a.txt"), 1, "error: a.txt: Permission denied\n"),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
    ],
)
def test_what_becomes_of_an_exception(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(failures, "_discard_stdout", lambda: None)
    with pytest.raises(SystemExit) as ended, failures.reporting_failures(lambda: False):
        raise failure
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_characters_that_the_terminal_lacks_are_escaped(
    lm_process: Run, in_workplace: Path
) -> None:
    outcome = lm_process(
        *("sample", "words", "Émile—", "--max-tokens", "1"),
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert outcome.code == 0
    assert outcome.out.startswith("\\xc9mile\\u2014")


def test_a_mistake_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), failures.reporting_failures(lambda: False):
        raise ZeroDivisionError


def test_an_interrupt_is_130(in_workplace: Path) -> None:
    process = started("sample", "chars", "--max-tokens", "100000000")
    assert process.stdout is not None
    assert process.stdout.read(100)  # it has begun
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == b"interrupted\n"


def test_a_reader_that_has_enough_ends_it_quietly(in_workplace: Path) -> None:
    process = started("sample", "chars", "--max-tokens", "100000000")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(100)
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert process.stderr.read() == b""


def test_output_that_cannot_be_written_is_an_error(lm_process: Run, in_workplace: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for arguments in (["models"], ["sample", "words"], ["eval", "words"]):
        with Path("/dev/full").open("wb") as full:
            error = lm_process(*arguments, out=full.fileno()).error
        assert error.startswith("cannot write to standard output: No space left"), arguments


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("lm ev", {"eval"}),
        ("lm train n", {"ngram"}),
        ("lm train ngram --smoothing wit", {"witten-bell"}),
        ("lm train ngram --entr", {"--entropy-prune"}),
        ("lm sample wor", {"words"}),
        ("lm eval words ch", {"chars"}),
        ("lm train ngram --like ", {"words", "chars", "lines", "counts"}),
    ],
)
def test_completion(
    in_workplace: Path,
    lm: Run,
    typed: str,
    offered: set[str],
) -> None:
    env = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    completed = lm(env=env | {"_LM_COMPLETE": "complete_bash"})
    assert offered <= set(completed.out.split())


def test_completion_knows_the_folder_that_was_named(
    in_workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmsuite.cli.options import complete_models

    (tmp_path / "other.safetensors").write_bytes(b"")
    context = typer.Context(command("info"))
    context.params["models"] = None
    assert complete_models(context, "w") == ["words"]
    monkeypatch.setenv("LM_MODELS", str(tmp_path))
    assert complete_models(context, "") == ["other"]
    context.params["models"] = in_workplace / "models"
    assert complete_models(context, "w") == ["words"]


def test_the_script_for_the_shell_can_be_shown(lm_process: Run) -> None:
    env = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "_LM_COMPLETE=complete_bash" in lm_process("--show-completion", "bash", env=env).done.out
