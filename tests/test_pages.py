"""The pages of the documentation run, and show what comes out; and so does what runs them.

Every page that has a block of Python is run, in a process of its own. Pages with the line
``<!-- slow -->`` are marked slow.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

import lmsuite
import lmsuite.nn
from docs.pages import SLOW, PageError, blocks, check, difference

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "docs" / "course"
PAGES = sorted(COURSE.rglob("*.md"))
RUNNING = [
    path for path in [ROOT / "docs" / "python.md", *PAGES] if "```python" in path.read_text()
]
PUBLIC = {"lmsuite": set(lmsuite.__all__), "lmsuite.nn": set(lmsuite.nn.__all__)}
FOREIGN = {"numpy", "matplotlib", "nltk", *sys.stdlib_module_names}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT / "docs"))


def program(path: Path) -> ast.Module:
    texts = (b.text for b in blocks(path.read_text(encoding="utf-8")) if b.kind == "python")
    return ast.parse("".join(texts))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=[pytest.mark.slow] if SLOW in path.read_text().splitlines() else []
        )
        for path in RUNNING
    ],
    ids=named,
)
def test_a_page_prints_and_draws_what_it_shows(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.pages", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_a_page_of_the_course_uses_public_names_only(path: Path) -> None:
    for node in ast.walk(program(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name in PUBLIC or alias.name.split(".")[0] in FOREIGN, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module in PUBLIC:
            assert {alias.name for alias in node.names} <= PUBLIC[node.module]
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in FOREIGN, node.module
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr.endswith("__"), node.attr


@pytest.mark.parametrize("path", [p for p in PAGES if "applications" in p.parts], ids=named)
def test_an_application_is_short(path: Path) -> None:
    texts = [b.text for b in blocks(path.read_text(encoding="utf-8")) if b.kind == "python"]
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) <= 150


@pytest.mark.parametrize("path", [path for path in RUNNING if path in PAGES], ids=named)
def test_a_page_of_the_course_is_a_notebook_too(path: Path) -> None:
    notebook = jupytext.read(path)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    cells = [cell.source.strip() for cell in notebook.cells if cell.cell_type == "code"]
    shown = blocks(path.read_text(encoding="utf-8"))
    prefix = {"python": "", "sh": "%%sh\n"}
    assert cells == [prefix[b.kind] + b.text.strip() for b in shown if b.kind in prefix]


@pytest.mark.parametrize("path", [p for p in PAGES if p.name != "README.md"], ids=named)
def test_the_index_of_the_course_names_the_page(path: Path) -> None:
    index = (COURSE / "README.md").read_text(encoding="utf-8")
    assert f"]({path.relative_to(COURSE)})" in index


GOOD = """# A page

Half of 1 is 0.5.

```python
x = 1
print(x / 2, "half")
```

```text
0.5 half
```

```sh
mkdir -p pictures && echo 12 > twelve
```

```python
from pathlib import Path
import matplotlib.pyplot as plt

print(int(Path("twelve").read_text()) + x)
figure, axes = plt.subplots()
axes.plot([1, 2, x])
figure.savefig("pictures/line.svg")
```

```text
13
```

![A line](pictures/line.svg)
"""


def test_a_page_that_shows_what_comes_out_is_good(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD)
    with pytest.raises(PageError, match=r"line\.svg: not the picture"):
        check(page)
    check(page, write=True)
    assert page.read_text() == GOOD
    check(page)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5 half", "0.7 half", "page.md:10: .*\nshown: 0.7 half\nfound: 0.5 half"),
        ("0.5 half", "0.5 third", "page.md:10"),
        ("```text\n13\n```\n", "", "page.md:18: .*\n13"),
        ("is 0.5", "is 0.4", "no block of the page holds the number 0.4"),
        ("x / 2", "x / 0", r"page.md:5: (.|\n)*line 7, in <module>\n(.|\n)*ZeroDivisionError"),
        ("echo 12 > twelve", "nonesuch", r"page.md:14: .*nonesuch(.|\n)*not found"),
        ('savefig("pictures/line.svg")', "clear()", "names this picture and does not make it"),
        ("[1, 2, x]", "[2, 1, x]", r"line\.svg: not the picture"),
    ],
)
def test_a_page_is_told_where_it_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD)
    check(page, write=True)
    page.write_text(GOOD.replace(old, new))
    with pytest.raises(PageError, match=message):
        check(page)


def test_what_comes_out_can_be_written_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(GOOD.replace("```text\n13\n```\n\n", "").replace("0.5 half", "1 quarter"))
    check(page, write=True)
    assert page.read_text() == GOOD


@pytest.mark.parametrize(
    ("shown", "found", "within", "agree"),
    [
        ("loss 0.123", "loss 0.124", None, True),
        ("loss 0.123", "loss 0.125", None, False),
        ("12 steps", "13 steps", None, False),
        ("1,200 steps", "1200 steps", None, True),
        ("1.3e-09", "1.4e-09", None, True),
        ("1.3e-09", "1.3e-08", None, False),
        ("0.00 a", "-0.00  a", None, True),
        ("loss 2.00, 100 words", "loss 2.09, 104 words", 0.05, True),
        ("loss 2.00, 100 words", "loss 2.09, 106 words", 0.05, False),
        ("in … seconds: 3.1", "in 12.3 seconds: 3.2", None, True),
        ("in … seconds: 3.1", "in 12.3 seconds: 3.3", None, False),
        ("a\n…\nd 4", "a\nb\nc\nd 4", None, True),
        ("a\n…\nd 4", "a\nb\nc\nd 5", None, False),
        ("a\nb", "a", None, False),
        ("a", "a\nb", None, False),
        ("[[0 1]\n [1 0]]", "[[0 1]\n [1 0]]", None, True),
    ],
)
def test_numbers_are_compared_by_the_digits_shown(
    shown: str, found: str, within: float | None, agree: bool
) -> None:
    assert (difference(shown, found, within) is None) is agree
