"""The oldest versions that ``pyproject.toml`` allows, as requirements for pip.

Run ``python -m hardening.oldest > oldest.txt``; ``.ci/oldest`` installs these versions and runs the
tests.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_BOUND = re.compile(
    r"(?P<name>[\w.-]+(?:\[[\w,.-]+\])?)\s*>=\s*(?P<version>[\w.]+)(?P<condition>\s*;.*)?"
)


def oldest(project: Path = _PROJECT) -> list[str]:
    """Every dependency and every extra of the tests, each at its lower bound.

    Raises:
        ValueError: one has no lower bound, or more than one.
    """
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    pins = []
    for wanted in (*table["dependencies"], *table["optional-dependencies"]["test"]):
        bound = _BOUND.fullmatch(wanted.strip())
        if bound is None:
            raise ValueError(f"{wanted!r}: no lower bound, or more than that")
        pins.append(f"{bound['name']}=={bound['version']}{bound['condition'] or ''}")
    return pins


if __name__ == "__main__":
    sys.stdout.write("\n".join(oldest()) + "\n")
