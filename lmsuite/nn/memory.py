"""Keep the memory of freed arrays for the next ones.

When a large array is freed, the C library gives its memory back to the system. The next array of
that size then gets new memory page by page. At a few hundred hidden units that takes a third of a
training step. So a process that trains asks the C library, once, to keep freed memory.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next array, in this process, from now on.

    If the C library is not GNU's, do nothing and return False.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
