"""Pages that run: a Markdown page is a program, and shows what that program prints and draws.

    python -m docs.pages PAGE…          runs pages, and names the first thing that is not as shown
    python -m docs.pages --write PAGE…  puts what comes out now into the pages and the pictures

* Blocks marked ``python`` are one program. They run in order, in a folder of their own.
* Blocks marked ``sh`` are for the shell. They run there too, between the blocks of Python.
* A block marked ``text`` shows all that the block before it prints. A Python block that prints
  something must have one. What a command writes to stderr is not shown.
* A picture is a file that the page names, ``![what is seen](pictures/xor.svg)``, and makes in the
  folder in which it runs, under the same name. ``--write`` copies it to where the page is.

What is printed is compared word by word, white space aside. Whole numbers must be equal. Other
numbers may differ by one in the last digit that the page shows, or by the share that the block's
first line names: ``text within 5%``. The sign ``…`` stands for any text. A decimal number in the
prose must be one that a block holds, rounded perhaps.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest.mock import patch

from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent
SLOW = "<!-- slow -->"  # a page with this line takes more than some seconds

_FENCE = re.compile(r"^```(\w+)(?: within (\S+)%)?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^):]+\.(?:svg|png))\)")
_NUMBER = re.compile(r"((?<![\w.])[-−+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?)", re.IGNORECASE)
_NO_PROSE = re.compile(r"^```.*?^```$|<!--.*?-->|\]\([^)]*\)|https?:\S+", re.MULTILINE | re.DOTALL)
_PICTURE_TOLERANCE = 1.0  # in points, of 1/72 inch
_MOST_BYTES = 300_000  # of a picture in the repository


class PageError(Exception):
    """A page is not as it should be."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str  # the word after the fence
    text: str
    start: int  # the place of its fence in the page
    end: int  # the place after its last fence
    line: int  # the line of its first fence, from 1
    within: float | None  # the share by which numbers may differ from those shown


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(
            found[1],
            found[3],
            found.start(),
            found.end(),
            page.count("\n", 0, found.start()) + 1,
            float(found[2]) / 100 if found[2] else None,
        )
        for found in _FENCE.finditer(page)
    ]


def commands(block: str) -> list[str]:
    """The commands of a shell block, a line each; a line that ends in a backslash goes on."""
    joined = block.replace("\\\n", "")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def shell(command: str, folder: Path) -> str:
    """What a command prints that is typed in this folder.

    Raises:
        PageError: the command fails.
    """
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"]}
    environment.pop("LM_MODELS", None)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or "Traceback" in done.stderr:
        raise PageError(f"{command}\nends with {done.returncode}\n{done.stderr}")
    return done.stdout


def check(path: Path, *, write: bool = False) -> None:
    """Run a page, and compare what it prints and draws with what it shows.

    With `write`, what comes out replaces what is not as shown.

    Raises:
        PageError: a block fails, or something is not as shown.
    """
    page = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for picture in pictures(page):
            (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        with _in(folder, page):
            page = _run(path, page, folder, write=write)
        for picture in pictures(page):
            _compare_picture(path.parent / picture, folder / picture, write=write)
    if write:
        path.write_text(page, encoding="utf-8")
    _check_prose(path, page)


def pictures(page: str) -> list[str]:
    """The files of the pictures of a page, from its folder on."""
    return sorted(set(_PICTURE.findall(page)))


def difference(shown: str, found: str, within: float | None = None) -> str | None:
    """Where a text differs from the one shown; None if they agree (see above)."""
    shown_lines, found_lines = shown.splitlines(), found.splitlines()
    if "…" in shown:
        return None if _matches(" ".join(shown.split()), " ".join(found.split()), within) else shown
    for expected, line in zip(shown_lines, found_lines, strict=False):
        if not _matches(" ".join(expected.split()), " ".join(line.split()), within):
            return f"shown: {expected}\nfound: {line}"
    if len(shown_lines) != len(found_lines):
        return f"{len(shown_lines)} lines shown, {len(found_lines)} found:\n{found}"
    return None


def _matches(shown: str, found: str, within: float | None) -> bool:
    """Whether a text is as shown: white space is single, ``…`` stands for anything."""
    pieces = _NUMBER.split(shown)  # text and numbers by turns
    pattern = "".join(
        r"([-−+]?[\d,.e+-]+?)" if i % 2 else re.escape(piece).replace("…", ".*?")
        for i, piece in enumerate(pieces)
    )
    match = re.fullmatch(pattern, found, flags=re.IGNORECASE)
    numbers = zip(pieces[1::2], match.groups(), strict=True) if match else ()
    return match is not None and all(_close(a, b, within) for a, b in numbers)


def _close(shown: str, found: str, within: float | None) -> bool:
    try:
        expected, value = _value(shown), _value(found)
    except ValueError:
        return False
    if within is not None:
        return abs(value - expected) <= within * abs(expected)
    return abs(value - expected) <= _last_digit(shown) * 1.001


def _value(number: str) -> float:
    return float(number.replace("−", "-").replace(",", ""))


def _last_digit(number: str) -> float:
    """The value of one in the last digit; 0 for a whole number."""
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    if not decimals and not exponent:
        return 0.0
    return float(10.0 ** (int(exponent or 0) - decimals))


def _run(path: Path, page: str, folder: Path, *, write: bool) -> str:
    """Run the blocks of a page; the page with what came out, if that is to be written."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parts = []
    end = 0
    found = blocks(page)
    for block, following in zip_longest(found, found[1:]):
        if block.kind not in ("python", "sh"):
            continue
        where = f"{path}:{block.line}"
        if block.kind == "sh":
            try:
                printed = shell(block.text, folder)
            except PageError as error:
                raise PageError(f"{where}: {error}") from None
        else:
            printed = _python(block, path, names)
        if following is not None and following.kind == "text":
            wrong = difference(following.text, printed, following.within)
            where = f"{path}:{following.line}"
            place = following.start, following.end
            fence = page[following.start :].partition("\n")[0]
        else:
            wrong = printed if printed and block.kind == "python" else None
            place = block.end, block.end
            fence = "\n\n```text"
        if wrong is None:
            continue
        if not write:
            raise PageError(f"{where}: what is printed is not what is shown\n{wrong}")
        lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        parts += [page[end : place[0]], f"{fence}\n{lines}```"]
        end = place[1]
    return "".join([*parts, page[end:]])


def _python(block: Block, path: Path, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    code = "\n" * block.line + block.text  # so that a traceback has the lines of the page
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.parse(code, str(path)), str(path), "exec"), names)
    except Exception:
        raise PageError(f"{path}:{block.line}: the block fails\n{traceback.format_exc()}") from None
    return printed.getvalue()


@contextlib.contextmanager
def _in(folder: Path, page: str) -> Iterator[None]:
    """Within this context the folder is the current one, and pictures are drawn in our style.

    Products of matrices have one thread: a page then prints the same with any number of cores.
    """
    import numpy  # noqa: F401  # its BLAS must be loaded to be limited

    before = Path.cwd()
    os.chdir(folder)
    try:
        style = _our_style() if "matplotlib" in page else contextlib.nullcontext()
        with style, threadpool_limits(1):
            yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _our_style() -> Iterator[None]:
    import matplotlib
    from matplotlib import pyplot

    dated = patch.dict(os.environ, SOURCE_DATE_EPOCH="0")  # a picture names no day
    with matplotlib.rc_context(fname=HERE / "matplotlibrc"), dated:
        yield
    pyplot.close("all")


def _compare_picture(shown: Path, made: Path, *, write: bool) -> None:
    if not made.is_file():
        raise PageError(f"{shown}: the page names this picture and does not make it")
    if made.stat().st_size > _MOST_BYTES:
        raise PageError(f"{shown}: {made.stat().st_size} bytes; at most {_MOST_BYTES}")
    if shown.is_file() and _same_picture(shown, made):
        return
    if not write:
        raise PageError(f"{shown}: not the picture that the page makes; run with --write, and look")
    shown.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, shown)


def _same_picture(shown: Path, made: Path) -> bool:
    """Whether two pictures look alike. Other versions of matplotlib lay out pictures otherwise."""
    if shown.suffix == ".png":
        from matplotlib.image import imread

        one, other = imread(shown), imread(made)
        return one.shape == other.shape and float(abs(one - other).mean()) < 0.02
    one, other = (path.read_text(encoding="utf-8") for path in (shown, made))
    creator = re.compile(r"Matplotlib v[\d.]+")
    if creator.findall(one) != creator.findall(other):
        return True
    # Rounding decides whether a contour line that ends where it began is closed (z).
    texts = [re.sub(r"^z$\n", "", text, flags=re.MULTILINE) for text in (one, other)]
    pieces = [re.split(r"(-?\d+(?:\.\d+)?)", text) for text in texts]
    return len(pieces[0]) == len(pieces[1]) and all(
        a == b or (i % 2 == 1 and abs(float(a) - float(b)) <= _PICTURE_TOLERANCE)
        for i, (a, b) in enumerate(zip(*pieces, strict=True))
    )


def _check_prose(path: Path, page: str) -> None:
    """Every decimal number in the prose must be one of the blocks, rounded perhaps."""
    held = [_value(n) for block in blocks(page) for n in _NUMBER.findall(block.text)]
    for number in _NUMBER.findall(_NO_PROSE.sub("", page)):
        half = 0.501 * _last_digit(number)
        if "." in number and not any(
            abs(abs(_value(number)) - abs(value)) <= half for value in held
        ):
            raise PageError(f"{path}: no block of the page holds the number {number} of its prose")


def main() -> int:
    """Run the pages that are named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put what comes out into the pages")
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    asked = parser.parse_args()
    for path in asked.pages:
        try:
            check(path.resolve(), write=asked.write)
        except PageError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
