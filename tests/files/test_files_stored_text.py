"""A stored text is divided, searched and read as the string that it holds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmsuite.files import stored_text
from lmsuite.files.stored_text import (
    StoredText,
    TextWriter,
    blocks,
    is_blank,
    sha256_of,
    whole_units,
)

TEXTS = st.text("ab\n\x1eé語🙂\ud800", max_size=40)


def stored(text: str, size: int) -> StoredText:
    """The text on disk, written and kept in blocks of this size."""
    writer = TextWriter(0)
    for begin in range(0, len(text), size):
        writer.write(text[begin : begin + size])
    found = writer.text()
    assert isinstance(found, StoredText) or not text
    return found if isinstance(found, StoredText) else StoredText(stored_text._File(), 0, 0)


@given(TEXTS, st.integers(1, 5), st.integers(-3, 45), st.integers(-3, 45))
def test_it_is_sliced_and_searched_as_a_string(text: str, size: int, begin: int, end: int) -> None:
    with mock.patch.object(stored_text, "BLOCK", size):
        long = stored(text, 3)
        assert (len(long), str(long), bool(long)) == (len(text), text, bool(text))
        assert str(long[begin:end]) == text[begin:end]
        part, plain = long[begin:end], text[begin:end]
        for what in ("\n", "a", "b\n"):
            assert part.find(what) == plain.find(what)
            assert part.rfind(what) == plain.rfind(what)
            start, stop = abs(begin), abs(end)
            assert long.find(what, start, stop) == text.find(what, start, stop)
            assert long.rfind(what, start, stop) == text.rfind(what, start, stop)
            assert part.endswith(what) == plain.endswith(what)
        assert [part[place] for place in range(len(plain))] == list(plain)
        assert "".join(blocks(part)) == plain
        assert is_blank(part) == (not plain.strip())
        assert sha256_of(part) == hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
        assert part == stored(plain, 2)
        assert not plain or part != stored(plain[:-1] + "?", 2)


@given(TEXTS, st.integers(1, 5))
def test_whole_units_end_with_their_end(text: str, size: int) -> None:
    parts = list(whole_units((text[i : i + size] for i in range(0, len(text), size)), "\n"))
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts[:-1])


def test_a_short_text_stays_a_string() -> None:
    writer = TextWriter(4)
    writer.write("ab")
    writer.write("cd")
    assert writer.text() == "abcd"
    assert isinstance(writer.text(), str)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of resources")
def test_a_full_disk_is_one_line() -> None:
    script = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from lmsuite.files.stored_text import TextWriter\n"
        "try:\n    TextWriter(0).write('x' * 5000)\n"
        "except Exception as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "the text is long, and cannot be stored in" in done.stdout, done
    assert "TMPDIR" in done.stdout
