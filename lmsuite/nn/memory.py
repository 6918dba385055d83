"""Memory that a training uses again and again.

The C library gives a large array's memory back to the system when the array is freed, and the next
one of that size is paid for page by page: at a few hundred hidden units that takes a third of a
training step. A process that trains asks it, once, to keep what is freed.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next array, in this process, from now on.

    False, and nothing else, where the C library is not GNU's.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
