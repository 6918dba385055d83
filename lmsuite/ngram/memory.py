"""The memory that the program takes, and amounts of memory as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lmsuite.errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MOST = float(1 << 60)  # more than any machine has, but small enough for 64-bit arithmetic
_STATISTICS = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The memory that the process takes now; if the system does not tell, the most so far."""
    if _STATISTICS.exists():
        pages = int(_STATISTICS.read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def machine_bytes() -> int:
    """The memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def bytes_of(amount: str) -> int:
    """The bytes in an amount such as 800M or 1.5G.

    Raises:
        UsageError: it is not such an amount.
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?", amount.strip().upper())
    if parts is None:
        raise UsageError(
            f"{{memory}} must be an amount such as 800M or 1.5G, not {amount!r}",
            "memory",
            value=amount,
        )
    return int(min(float(parts[1]) * _UNITS[parts[2]], _MOST))


def with_unit(amount: int) -> str:
    """Bytes as `bytes_of` reads them, rounded up to whole megabytes."""
    return f"{-(-amount // _UNITS['M'])}M"
