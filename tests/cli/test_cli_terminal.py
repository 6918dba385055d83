"""A model, a file or an argument may hold orders for a terminal; none of them arrives there.

Every command runs on a real pseudo-terminal, on text, names and arguments full of control
characters. Into a pipe the same text goes byte for byte.
"""

from __future__ import annotations

import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hardening.command import Run, on_terminal

CONTROLS = "".join(map(chr, sorted({*range(1, 0x20), *range(0x7F, 0xA0)} - {9, 10, 13})))
TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ORDERS = (
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x9b6n",
    "\x1bP$q\x1b\\",
    "\x1b[31mred",
    "a\rb",
    "\x08",
)
EVIL = "\x1b]0;owned\x07\x9b2J\u202e\r\x7f"
"""A name or an argument: a terminal's title, a cleared screen, a line turned around."""

FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # all but tab and newline
)
DRAWN = re.compile(r"\x1b\[[01]m|\x1b\[A")
"""What we ourselves send: bold, no longer bold, and the bar's step up. `EVIL` has none of these."""


def orders_in(arrived: str, *, bar: bool = False) -> list[str]:
    """What a terminal would obey in `arrived`, apart from what we ourselves draw."""
    rest = DRAWN.sub("", arrived)
    if bar:
        rest = rest.replace("\r", "")
    return FORBIDDEN.findall(rest)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, lm: Run) -> Path:
    """A folder of hostile names with models of hostile text; not to be changed."""
    folder = tmp_path_factory.mktemp("terminal")
    text = "".join(
        f"the {order} king {c}x{t}\n" for order in ORDERS for c in CONTROLS for t in TURNS
    )
    (folder / f"text{EVIL}.txt").write_text(text[:12_000], encoding="utf-8")
    (folder / "plain.txt").write_text(text[:12_000], encoding="utf-8")
    (folder / "few.txt").write_text(text[:600], encoding="utf-8")
    (folder / "words.txt").write_text(f"the\n{EVIL}\nking\n{EVIL}\n", encoding="utf-8")
    (folder / "bad.toml").write_text('n = 3\n"\\u001b[31m\\u009b2J" = 1\n', encoding="utf-8")
    (folder / "worse.toml").write_text("n = 3\n[\x1b[2J]\n", encoding="utf-8")
    common = ("--models", str(folder / "models"), "--quiet", "--smoothing", "witten-bell")
    source = str(folder / f"text{EVIL}.txt")
    for options in (
        ("--name", "chars", "--tokenizer", "char", "--n", "4"),
        ("--name", f"evil{EVIL}", "--tokenizer", "char", "--n", "2"),
        ("--name", "space", "--tokenizer", "whitespace", "--n", "2"),
        ("--name", "lines", "--tokenizer", "bpe", "--bpe-size", "300", "--lines", "--n", "2"),
    ):
        _run(lm, "train", "ngram", source, *options, *common)
    network = ("--epochs", "0.02", "--threads", "1", "--embed", "4", "--patience", "0")
    place = ("--models", str(folder / "models"), "--quiet")
    like = ("--hidden", "4", "--like", f"evil{EVIL}")
    _run(lm, "train", "rnn", source, *network, *place, *like)
    _run(lm, "train", "ffnn", source, *network, *place, *like, "--name", f"net{EVIL}")
    _run(lm, "mix", f"evil{EVIL}", "rnn", "cache", "--name", "mix", *place[:2])
    return folder


def _run(lm: Run, *arguments: str) -> None:
    assert not orders_in(on_terminal(lm, *arguments).done.out)


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `place`, as the current folder."""
    shutil.copytree(place, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.delenv("LM_MODELS", raising=False)
    return tmp_path / "copy"


TEXT = f"text{EVIL}.txt"
PROMPT = "the king " + CONTROLS + TURNS
TINY = ("--epochs", "0.02", "--threads", "1", "--embed", "4", "--hidden", "4")

SHOWN: list[tuple[str, ...]] = [
    ("sample", "chars", PROMPT, "--seed", "1", "--max-tokens", "2000"),
    ("sample", "chars", PROMPT, "--seed", "1", "--samples", "3"),
    ("sample", "space", PROMPT, "--json", "--seed", "1"),
    ("sample", "lines", PROMPT, "--seed", "1", "--novelty", TEXT),
    ("sample", f"evil{EVIL}", PROMPT, "--seed", "1", "--stop", EVIL),
    ("score", "chars", TEXT),
    ("score", "chars", TEXT, "--json"),
    ("score", "space", TEXT, "--tokens"),
    ("score", "lines", TEXT, "--tokens", "--json"),
    ("explain", "chars", PROMPT),
    ("explain", "space", PROMPT),
    ("explain", "mix", PROMPT),
    ("explain", "mix", PROMPT, "--json"),
    ("explain", "rnn", PROMPT, "--html", f"page{EVIL}.html"),
    ("trace", "chars", PROMPT, "--training", TEXT),
    ("trace", "lines", PROMPT),
    ("trace", "rnn", PROMPT),
    ("trace", "rnn", PROMPT, "--unit", "0", "--step", "11"),
    ("trace", f"net{EVIL}", PROMPT, "--html", f"page{EVIL}.html"),
    ("tokenize", TEXT),
    ("tokenize", TEXT, "--tokenizer", "char"),
    ("tokenize", TEXT, "--tokenizer", "treebank", "--json"),
    ("tokenize", TEXT, "--tokenizer", "bpe", "--bpe-size", "300"),
    ("tokenize", TEXT, "--like", f"evil{EVIL}"),
    ("eval",),
    ("eval", f"evil{EVIL}", "chars", "space", "--text", TEXT),
    ("eval", "--json"),
    ("compare", "chars", f"evil{EVIL}"),
    ("compare", "chars", f"evil{EVIL}", "--text", TEXT, "--json"),
    ("compare", "space", f"evil{EVIL}", "--text", TEXT),
    ("mix", f"evil{EVIL}", "rnn", "--name", f"new{EVIL}", "--text", TEXT),
    ("prune", f"evil{EVIL}", "--entropy", "1e-4", "--text", TEXT),
    ("convert", f"evil{EVIL}", f"out{EVIL}.arpa"),
    ("models",),
    ("models", "--json"),
    ("models", "--models", f"none{EVIL}"),
    ("info", f"evil{EVIL}"),
    ("info", "mix"),
    ("info", "lines", "--json"),
    ("check", f"evil{EVIL}"),
    ("check", f"net{EVIL}"),
    ("neighbours", "rnn", "\x1b"),
    ("neighbours", "rnn", "k", "--json"),
    ("plot", f"net{EVIL}", "rnn", "--text"),
    ("plot", f"evil{EVIL}", "--by-order", "--text"),
    ("plot", f"net{EVIL}", "--embedding", "--text"),
    ("plot", f"evil{EVIL}", f"net{EVIL}", "--by-order", "-o", f"plot{EVIL}.svg"),
    ("report", f"evil{EVIL}", "chars", "--title", EVIL, "-o", f"page{EVIL}.html"),
    ("train", "ngram", TEXT, "--name", f"new{EVIL}", "--models", f"models{EVIL}"),
    ("train", "ngram", TEXT, "--like", f"evil{EVIL}", "--smoothing", "katz", "--name", "new"),
]
REFUSED: list[tuple[str, ...]] = [
    (EVIL,),
    ("corpus", EVIL),
    ("corpus", "show", EVIL),
    ("corpus", "fetch", EVIL),
    ("sample", EVIL),
    ("sample", "chars", "--" + EVIL),
    ("sample", "chars", "--temp", EVIL),
    ("sample", "chars", "x", EVIL),
    ("score", "chars", EVIL),
    ("score", "chars", TEXT, "--encoding", EVIL),
    ("explain", "chars", EVIL, "--html", f"none{EVIL}/x.html"),
    ("trace", "chars", EVIL, "--training", EVIL),
    ("trace", "--exercise", "1", "--check", EVIL),
    ("neighbours", "rnn", EVIL),
    ("neighbours", f"evil{EVIL}", "k"),
    ("convert", "chars", EVIL),
    ("convert", f"net{EVIL}", "x.arpa"),
    ("mix", "rnn", "rnn", "--weights", EVIL),
    ("mix", f"evil{EVIL}", "space", "cache"),
    ("mix", f"evil{EVIL}", f"evil{EVIL}"),
    ("prune", f"net{EVIL}", "--entropy", "1"),
    ("prune", "chars", "--counts", EVIL),
    ("plot", f"evil{EVIL}", "-o", EVIL),
    ("plot", f"evil{EVIL}"),
    ("train", EVIL),
    ("train", "ngram", EVIL),
    ("train", "ngram", TEXT, "--name", f"/{EVIL}"),
    ("train", "ngram", TEXT, "--valid", EVIL),
    ("train", "ngram", TEXT, "--memory", EVIL),
    ("train", "ngram", TEXT, "--prune", EVIL),
    ("train", "ngram", TEXT, "--smoothing", EVIL),
    ("train", "ngram", TEXT, "--tokenizer", EVIL),
    ("train", "ngram", TEXT, "--like", EVIL),
    ("train", "ngram", TEXT, "--vocab", EVIL),
    ("train", "ngram", TEXT, "--vocab", "words.txt"),
    ("train", "ngram", TEXT, "--config", EVIL),
    ("train", "ngram", TEXT, "--config", "bad.toml"),
    ("train", "ngram", TEXT, "--config", "worse.toml"),
    ("train", "ffnn", TEXT, "--hidden", EVIL),
]


def _called(arguments: tuple[str, ...]) -> str:
    return ascii(" ".join(arguments).replace(EVIL, "EVIL").replace(PROMPT, "PROMPT"))[1:-1]


@pytest.mark.parametrize("arguments", SHOWN, ids=_called)
def test_no_command_sends_a_terminal_what_a_text_or_a_name_holds(
    lm: Run, here: Path, arguments: tuple[str, ...]
) -> None:
    assert orders_in(on_terminal(lm, *arguments).done.out) == []


@pytest.mark.parametrize("arguments", REFUSED, ids=_called)
def test_no_error_sends_a_terminal_what_was_typed(
    lm: Run, here: Path, arguments: tuple[str, ...]
) -> None:
    refused = on_terminal(lm, *arguments)
    assert refused.code in (1, 2)
    assert "Traceback" not in refused.out
    assert orders_in(refused.out) == []


def test_a_narrow_terminal_is_no_less_safe(lm: Run, here: Path) -> None:
    for arguments in (
        ("eval",),
        ("models",),
        ("explain", "mix", PROMPT),
        ("compare", "chars", "rnn"),
    ):
        assert orders_in(on_terminal(lm, *arguments, columns=30).done.out) == []


def test_a_bar_is_drawn_and_nothing_else(lm: Run, here: Path) -> None:
    training = ("train", "rnn", TEXT, *TINY, "--name", f"new{EVIL}", "--valid", "0")
    arrived = on_terminal(lm, *training).done.out
    assert "%" in arrived
    assert orders_in(arrived, bar=True) == []


def test_a_traceback_that_was_asked_for_is_text_too(lm_process: Run, here: Path) -> None:
    arrived = on_terminal(lm_process, "score", "chars", EVIL, "--debug").out
    assert "Traceback" in arrived
    assert orders_in(arrived) == []


def test_a_process_on_a_terminal_and_one_in_a_pipe(lm_process: Run, here: Path) -> None:
    arguments = ("sample", "chars", PROMPT, "--seed", "1", "--max-tokens", "500")
    arrived = on_terminal(lm_process, *arguments).done.out
    assert orders_in(arrived) == []
    assert "\\x1b" in arrived
    piped = lm_process(*arguments).done.out
    assert piped.startswith(PROMPT)
    assert FORBIDDEN.findall(piped.removeprefix(PROMPT))  # the model wrote orders of its own
    assert arrived.endswith(FORBIDDEN.sub(_spelled, piped))  # after a warning


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_is_no_crash(lm_process: Run, here: Path, closed: str) -> None:
    number = {"stdout": 1, "stderr": 2}[closed]
    for arguments in (["sample", "none"], ["eval", "chars"]):
        ended = lm_process(*arguments, before=lambda: os.close(number))
        assert ended.code == (1 if "none" in arguments else 0)
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [("score", "chars", "few.txt"), ("info", f"evil{EVIL}")],
    ids=_called,
)
def test_a_pipe_gets_every_character(lm: Run, here: Path, arguments: tuple[str, ...]) -> None:
    assert FORBIDDEN.findall(lm(*arguments).done.out)


def test_json_is_the_same_on_a_terminal_and_in_a_pipe(lm: Run, here: Path) -> None:
    arguments = ("score", "chars", TEXT, "--json")
    in_a_pipe = lm(*arguments).done.out
    assert on_terminal(lm, *arguments).done.out == in_a_pipe
    assert not FORBIDDEN.findall(in_a_pipe)


MARKUP = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>&lt;\"'"


def test_pages_show_markup_and_do_not_obey_it(lm: Run, here: Path) -> None:
    name = MARKUP.replace("/", "")
    Path("markup.txt").write_text(f"{MARKUP}\n" * 80, encoding="utf-8")
    options = ("--n", "2", "--tokenizer", "whitespace", "--smoothing", "witten-bell")
    assert lm("train", "ngram", "markup.txt", "--name", name, *options).done
    for arguments, page in (
        (("explain", name, f"{MARKUP} {MARKUP}", "--html", "e.html"), "e.html"),
        (("trace", name, f"{MARKUP} {MARKUP}", "--html", "t.html"), "t.html"),
        (("report", name, "--title", MARKUP, "--prompt", MARKUP, "-o", "r.html"), "r.html"),
        (("plot", name, "--by-order", "-o", "p.svg"), "p.svg"),
    ):
        assert lm(*arguments).done
        content = Path(page).read_text(encoding="utf-8")
        assert "alert(1)" in content
        assert not _Obeyed(content).found


class _Obeyed(HTMLParser):
    """What a browser would run or fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag in ("script", "img") or any(
            name.startswith("on") or name == "src" for name in names
        ):
            self.found.append(self.get_starttag_text() or tag)
