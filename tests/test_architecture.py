"""The rooms and the direction of imports between them, read from the source itself."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "lmsuite"

# Each room and the rooms it may import, itself apart. The words a user types are at the bottom,
# the arrays at the top; the two workshops, ``ngram`` and ``nn``, never see each other. Every room
# may import ``types``.
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "settings": {"errors"},
    "sampling": {"settings", "errors"},
    "terminal": set(),
    "progress": set(),
    "files": {"errors"},
    "sources": {"files", "settings", "progress", "errors", "terminal"},
    "executors": {"errors"},
    "text": {"files", "executors", "settings", "progress", "errors"},
    "nn": {"executors", "errors"},
    "ngram": {"text", "files", "executors", "settings", "progress", "errors"},
    "models": {"ngram", "nn", "text", "executors", "files", "settings", "errors"},
    "store": {"models", "text", "sources", "files", "errors"},
    "exporting": {"models", "nn", "text", "files", "errors"},
    "mapped_ngram": {"errors"},
    "generation": {"models", "sampling", "text", "errors"},
    "analysis": {"models", "ngram", "nn", "text", "files", "progress", "errors"},
    "training": {
        *("store", "analysis", "models", "ngram", "nn", "text", "sources", "files", "settings"),
        *("executors", "errors"),
    },
    "report": {
        *("analysis", "generation", "training", "store", "models", "ngram", "nn", "text", "files"),
        "errors",
    },
    "serve": {
        *("report", "generation", "sampling", "models", "text", "settings", "errors"),
    },
    "cli": {
        "serve",
        *("report", "training", "analysis", "generation", "store", "exporting", "models", "ngram"),
        *("text", "sources", "files", "sampling", "settings", "executors", "progress", "terminal"),
        "errors",
    },
}
THIRD_PARTY_OF_NN = {"numpy"}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(source: Path) -> str:
    first = source.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def module_of(source: Path) -> str:
    parts = ("lmsuite", *source.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(source): source for source in SOURCES}


@cache
def imported_modules(source: Path) -> set[str]:
    """Full names of all modules that the file imports: in functions and for types alone, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            package = node.module or ""
            each = (f"{package}.{alias.name}" for alias in node.names)
            names.update(name if name in MODULES else package for name in each)
    return names


def rooms_imported(source: Path) -> set[str]:
    parts = (name.split(".") for name in imported_modules(source))
    return {part[1] for part in parts if part[0] == "lmsuite" and len(part) > 1}


def test_no_two_files_import_each_other_even_by_way_of_others() -> None:
    """No circle, within a room either, and none that an import in a function hides."""
    imports = {name: imported_modules(source) & MODULES.keys() for name, source in MODULES.items()}
    assert len(imports["lmsuite.cli.app"]) > 3
    TopologicalSorter(imports).prepare()  # a CycleError names those in the circle


def test_imports_run_one_way() -> None:
    for source in SOURCES:
        room = room_of(source)
        if room in {"__init__", "__main__"}:
            assert room == "__main__" or "cli" not in rooms_imported(source)
            continue
        assert room in MAY_IMPORT, f"{room} is a room that the design does not know"
        forbidden = rooms_imported(source) - MAY_IMPORT[room] - {room, "types"}
        assert not forbidden, f"{source}: {room} may not import {sorted(forbidden)}"


def tops_imported(source: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_modules(source)}


def test_the_array_workshop_needs_numpy_alone() -> None:
    sources = [source for source in SOURCES if room_of(source) == "nn"]
    assert len(sources) > 20
    for source in sources:
        foreign = tops_imported(source) - set(sys.stdlib_module_names)
        foreign -= {"lmsuite"} | THIRD_PARTY_OF_NN
        assert not foreign, f"{source.name} imports {sorted(foreign)}"


def test_no_framework_and_no_compiler() -> None:
    for source in SOURCES:
        banned = {"torch", "jax", "numba", "tensorflow", "cupy", "scipy", "pickle", "cffi"}
        if source.name != "memory.py":  # one call of the C library's own allocator
            banned.add("ctypes")
        found = tops_imported(source) & banned
        assert not found, f"{source} imports {sorted(found)}"


def test_there_is_no_drawer_for_everything() -> None:
    names = {source.stem for source in SOURCES}
    assert not names & {"utils", "util", "helpers", "common", "misc", "config"}
