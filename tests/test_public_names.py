"""What a public signature, field or error mentions is public too, and `help` shows it."""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import pydoc
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import numpy.typing
import pytest

import lmsuite
import lmsuite.nn

PUBLIC = {name: getattr(lmsuite, name) for name in lmsuite.__all__}
OTHERS = (typing, collections.abc, numpy.typing, builtins)


def functions_of(thing: Any) -> Iterator[Any]:
    """The function itself, or the public methods and properties of a class."""
    if inspect.isfunction(thing):
        yield thing
    if not isinstance(thing, type):
        return
    for kind in thing.__mro__:
        if not kind.__module__.startswith("lmsuite"):
            continue
        for name, value in vars(kind).items():
            if name.startswith("_") and name != "__init__":
                continue
            inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(inner):
                yield inner


def annotations_of(thing: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every annotation of a public function, method or field, and where its names are looked up."""
    for function in functions_of(thing):
        if not function.__module__.startswith("lmsuite"):
            continue
        for annotation in function.__annotations__.values():
            yield str(annotation), function.__globals__
    if isinstance(thing, type):
        for kind in thing.__mro__:
            if kind.__module__.startswith("lmsuite"):
                names = vars(inspect.getmodule(kind))
                for name, annotation in vars(kind).get("__annotations__", {}).items():
                    if not name.startswith("_"):
                        yield getattr(annotation, "__forward_arg__", str(annotation)), names


def ours(name: str, names: dict[str, Any]) -> bool:
    """Whether a name in an annotation is a class or an alias of this package."""
    if name.startswith("_") or name not in names or inspect.ismodule(names[name]):
        return False
    value = names[name]
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return value.__module__.startswith("lmsuite")
    return not any(hasattr(module, name) for module in OTHERS)


@pytest.mark.parametrize("public", sorted(PUBLIC))
def test_what_a_public_name_mentions_is_public(public: str) -> None:
    thing = PUBLIC[public]
    mentioned = {
        name
        for annotation, names in annotations_of(thing)
        for name in re.findall(r"[A-Za-z_]\w*", annotation)
        if ours(name, names)
    }
    mentioned |= set(re.findall(r"\b[A-Z]\w+Error\b", inspect.getdoc(thing) or ""))
    hidden = mentioned - PUBLIC.keys() - set(lmsuite.nn.__all__) - set(dir(builtins))
    assert not hidden


def test_help_shows_every_name_and_the_fields_of_results() -> None:
    shown = pydoc.plain(pydoc.render_doc(lmsuite))
    for name in PUBLIC:
        assert re.search(rf"^    (class )?{name}\b", shown, re.MULTILINE), name
    assert "finish_reason" in shown and "surprisal" in shown
