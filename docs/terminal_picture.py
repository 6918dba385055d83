"""Draws docs/terminal.svg: what three commands print, from a real run on the embedded play.

python docs/terminal_picture.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 92
COMMANDS = (
    ("train", "ngram", "--n", "3", "-q"),
    ("train", "ngram", "--n", "7", "--tokenizer", "char", "--name", "chars", "-q"),
    ("eval",),
    ("sample", "ngram", "My lord,", "--max-tokens", "60", "--seed", "7"),
)
SHOWN = {0, 2, 3}  # of the commands; the picture is of these


def output(command: tuple[str, ...], folder: str) -> str:
    """What ``lm`` prints in this folder."""
    return subprocess.run(
        [sys.executable, "-m", "lmsuite", *command],
        cwd=folder,
        env=os.environ | {"COLUMNS": str(COLUMNS)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def main() -> None:
    """Run the commands and write the picture."""
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder:
        for number, command in enumerate(COMMANDS):
            printed = output(command, folder)
            if number in SHOWN:
                typed = " ".join(f'"{word}"' if " " in word else word for word in ("lm", *command))
                console.print(Text(f"$ {typed}", style="bold green"))
                console.print(Text(printed.rstrip() + "\n"))
    svg = console.export_svg(title="lmsuite", unique_id="lmsuite")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # nothing from elsewhere
    (Path(__file__).parent / "terminal.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
