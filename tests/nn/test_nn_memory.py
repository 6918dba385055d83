"""The request to the C library."""

from __future__ import annotations

import ctypes
import platform

import pytest

from lmsuite.nn.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a request to GNU's C library")
def test_gnu_libc_agrees() -> None:
    assert keep_freed_memory()


@pytest.mark.parametrize("reason", [OSError, TypeError, AttributeError])
def test_other_systems_do_without(reason: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str | None) -> ctypes.CDLL:
        raise reason

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_freed_memory()
